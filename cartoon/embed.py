"""Makes a finished training part of the package: `python -m cartoon.embed RUN`. For developers."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import tyro

from atelier import cli
from atelier.files import refuse_existing
from atelier.nets.weights import save_embedded
from cartoon.people.person import NAME, WEIGHTS, PersonNetwork


@dataclasses.dataclass(frozen=True)
class EmbedArguments:
    """Copy a trained person segmenter into the package, as float16."""

    run: tyro.conf.Positional[Path]
    """The run folder."""
    data_licence: str = "none stated; research use"
    """Of the photos that it was trained on, for the card."""
    out: Path = WEIGHTS
    """The folder of embedded weights."""
    overwrite: bool = False
    """Replace the weights that are there."""


@cli.command
def main(argv: Sequence[str]) -> int:
    arguments = cli.parse(EmbedArguments, argv, prog="python -m cartoon.embed")
    network = PersonNetwork.load(arguments.run)
    refuse_existing(arguments.out / f"{NAME}.npz", arguments.overwrite)
    card = {**network.card, "data_licence": arguments.data_licence}
    file = save_embedded(network.model, NAME, card, arguments.out)
    cli.print_note(f"{file}: {file.stat().st_size:,} bytes")
    return cli.DONE


if __name__ == "__main__":
    sys.exit(main())
