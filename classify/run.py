"""Says what pictures show: `python -m classify.run IMAGE|FOLDER…`."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import tyro

from atelier import cli
from atelier.cluster import batches
from atelier.errors import SettingsError
from classify.config import Fit


@dataclasses.dataclass(frozen=True)
class RunArguments(batches.ClusterSettings):
    """Say what pictures show: one of CIFAR-10's ten classes, or none of the ten.

    With no input, pictures that come with scikit-image are classified.
    """

    inputs: tyro.conf.Positional[tuple[str, ...]] = ()
    """Pictures: files, folders, .txt lists of files, or - for standard input."""
    out: Path = Path("out/classify")
    """The folder for the contact sheet, the table and the overlays."""
    network: str = "strong"
    """An embedded network, or a run folder."""
    fit: Fit = "squeeze"
    """How a picture comes to be square: squeezed, as CIFAR-10's own were, or its middle cropped."""
    top: int = 3
    """How many classes to name."""
    views: Literal[0, 1, 2, 6] = 0
    """Over which logits are averaged; 0 for the network's own number."""
    sheet: int = 48
    """Pictures on contact_sheet.png, the first ones; 0 for no sheet."""
    csv: bool = False
    """Write classes.csv: a row a picture, with the probability of each class named."""
    gradcam: bool = False
    """Write NAME.gradcam.png for each picture: where the network sees what it names first."""
    overwrite: bool = False
    """Replace existing results."""
    json: bool = False
    """Print one JSON object a picture on standard output."""

    def __post_init__(self):
        if not 1 <= self.top <= 10:
            raise SettingsError(f"--top is from 1 to 10, not {self.top}")
        if not 0 <= self.sheet <= 400:
            raise SettingsError(f"--sheet is from 0 to 400 pictures, not {self.sheet}")
        self.check_cluster()


@cli.command
def main(argv: Sequence[str]) -> int:
    arguments = cli.parse(RunArguments, argv, prog="python -m classify.run")
    from classify import work  # TensorFlow is imported once the arguments make sense.

    return work.execute(arguments)


if __name__ == "__main__":
    sys.exit(main())
