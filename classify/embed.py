"""Makes a finished training part of the package: `python -m classify.embed RUN NAME`.

For developers: the weights go to `classify/weights/NAME.npz` as float16, their card and the run's
history beside them.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import tyro

from atelier import cli
from atelier.errors import WeightsError
from atelier.files import read_table, refuse_existing, write_json, write_table
from atelier.nets.weights import save_embedded
from classify.networks import WEIGHTS, Network


@dataclasses.dataclass(frozen=True)
class EmbedArguments:
    """Copy a trained network into the package."""

    run: tyro.conf.Positional[Path]
    """The run folder."""
    name: tyro.conf.Positional[str]
    """What it is to be called."""
    out: Path = WEIGHTS
    """The folder of embedded weights."""
    card_only: bool = False
    """Keep the card and the history, and leave the weights out."""
    overwrite: bool = False
    """Replace the weights of that name."""


@cli.command
def main(argv: Sequence[str]) -> int:
    arguments = cli.parse(EmbedArguments, argv, prog="python -m classify.embed")
    network = Network.load(arguments.run)
    history = read_table(arguments.run / "history.csv", key="epoch")
    if not history:
        raise WeightsError(f"{arguments.run} holds no history.csv; train it anew")
    card = {**network.card, "data_licence": "CIFAR-10 (Krizhevsky): published without a licence"}
    target = arguments.out / f"{arguments.name}.json"
    refuse_existing(target, arguments.overwrite)
    if arguments.card_only:
        target.with_suffix(".npz").unlink(missing_ok=True)  # Another training's.
        write_json(target, card)
    else:
        file = save_embedded(network.model, arguments.name, card, arguments.out)
        cli.print_note(f"{file}: {file.stat().st_size:,} bytes")
    write_table(target.with_suffix(".csv"), history)
    cli.print_note(str(target))
    return cli.DONE


if __name__ == "__main__":
    sys.exit(main())
