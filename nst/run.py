"""Repaints photos: `python -m nst.run PHOTO PAINTING… --out FOLDER`."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import tyro

from atelier import cli
from nst.config import PRESETS, StyleTransferConfig

DEFAULT_STYLE = "impasto"


@dataclasses.dataclass(frozen=True)
class RunArguments(StyleTransferConfig):
    """Repaint photos in the style of paintings.

    With one picture, it is repainted in the style `impasto`; with none, a picture that comes with
    scikit-image is.
    """

    inputs: tyro.conf.Positional[tuple[str, ...]] = ()
    """The photo (a file, a folder of photos, or - for standard input), then one or several
    paintings: files, or impasto, ink, mosaic, pointillist, stained_glass, watercolor, woodcut."""
    out: Path = Path("out/nst")
    """Where to: a folder, in which results keep the photos' names, or a picture's file name."""
    preset: Literal["fast", "report"] = "fast"
    """Settings to start from; flags change single ones. `report` is the report's own way."""
    first_frame: bool = False
    """Take the first frame alone of animations, and the first page of files with many; else all,
    into a file of the same format."""
    overwrite: bool = False
    """Replace existing results."""
    json: bool = False
    """Print one JSON object a result on standard output."""
    strip: bool = False
    """Leave out EXIF and XMP data, such as where a photo was taken; else pictures keep them."""
    every: int = 0
    """Also write the picture every so many steps; 0: never."""
    animation: Literal["none", "gif", "mp4"] = "none"
    """Also write the way to the picture as an animation."""
    history: bool = False
    """Also write the losses of all steps as .csv and as a plot."""


@cli.command
def main(argv: Sequence[str]) -> int:
    arguments = cli.parse(RunArguments, argv, prog="python -m nst.run", presets=PRESETS)
    from nst import work  # TensorFlow is imported once the arguments make sense.

    return work.execute(arguments)


if __name__ == "__main__":
    sys.exit(main())
