"""Makes a finished training part of the package: `python -m detection.embed RUN NAME`."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import tyro

from atelier import cli
from atelier.files import refuse_existing
from atelier.nets.weights import save_embedded
from detection.predict import WEIGHTS, Detector


@dataclasses.dataclass(frozen=True)
class EmbedArguments:
    """Copy a trained detector into the package, as float16. For developers."""

    run: tyro.conf.Positional[Path]
    """The run folder."""
    name: tyro.conf.Positional[str]
    """What it is to be called."""
    data_licence: str
    """Of the pictures that it was trained on, for the card."""
    out: Path = WEIGHTS
    """The folder of embedded weights."""
    overwrite: bool = False
    """Replace the weights of that name."""


@cli.command
def main(argv: Sequence[str]) -> int:
    arguments = cli.parse(EmbedArguments, argv, prog="python -m detection.embed")
    detector = Detector.load(arguments.run)
    refuse_existing(arguments.out / f"{arguments.name}.npz", arguments.overwrite)
    card = {**detector.card, "data_licence": arguments.data_licence}
    file = save_embedded(detector.model, arguments.name, card, arguments.out)
    cli.print_note(f"{file}: {file.stat().st_size:,} bytes")
    return cli.DONE


if __name__ == "__main__":
    sys.exit(main())
