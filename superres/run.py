"""Enlarges pictures and videos: `python -m superres.run INPUT… --out FOLDER`."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import tyro

from atelier import cli
from atelier.cluster import batches
from superres.config import UpscaleConfig


@dataclasses.dataclass(frozen=True)
class RunArguments(batches.ClusterSettings, UpscaleConfig):
    """Enlarge pictures and videos two, three or four times, with more detail than bicubic.

    With no input, a picture that comes with scikit-image is halved, compressed and enlarged again.
    """

    inputs: tyro.conf.Positional[tuple[str, ...]] = ()
    """Pictures and videos: files, folders, .txt lists of files, or - for a picture on standard
    input."""
    out: Path = Path("out/superres")
    """Where to: a folder, in which results keep the inputs' names, pictures as .png, animations and
    videos in their own format where it can be written (.mov, .mkv), else as .mp4; or the name of a
    picture's or video's file."""
    deinterlace: bool = True
    """Make interlaced videos progressive before all else."""
    first_frame: bool = False
    """Take the first frame alone of animations, and the first page of files with many; else all,
    into a file of the same format."""
    overwrite: bool = False
    """Replace existing results."""
    json: bool = False
    """Print one JSON object a result on standard output."""
    compare: bool = False
    """Also write, for each picture, NAME.compare.png: bicubic interpolation and the result side by
    side, where they differ most."""
    strip: bool = False
    """Leave out EXIF and XMP data, such as where a photo was taken; else pictures keep them."""

    def __post_init__(self):
        super().__post_init__()
        self.check_cluster()


@cli.command
def main(argv: Sequence[str]) -> int:
    arguments = cli.parse(RunArguments, argv, prog="python -m superres.run")
    from superres import work  # TensorFlow is imported once the arguments make sense.

    return work.execute(arguments)


if __name__ == "__main__":
    sys.exit(main())
