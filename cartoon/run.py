"""Draws people as cartoons: `python -m cartoon.run INPUT… --out FOLDER`."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from atelier import cli
from atelier.cli.jobs import STDOUT
from atelier.cluster import batches
from atelier.errors import SettingsError
from cartoon.config import PRESETS, PortraitConfig


@dataclasses.dataclass(frozen=True)
class RunArguments(batches.ClusterSettings, PortraitConfig):
    """Cut people out of photos and videos and draw them as cartoons.

    With no input, a picture that comes with scikit-image is drawn.
    """

    inputs: tyro.conf.Positional[tuple[str, ...]] = ()
    """Pictures and videos: files, folders, .txt lists of files, or - for a picture on standard
    input."""
    out: Path = Path("out/cartoon")
    """Where to: a folder, in which results keep the inputs' names, pictures as .png, animations and
    videos in their own format where it can be written (.mov, .mkv), else as .mp4; the name of a
    picture's or video's file; or - for a PNG on standard output."""
    preset: Literal["report", "fine"] = "fine"
    """The report's drawing, or one with calmer areas and even outlines."""
    background: str = "white"
    """What people are laid on: transparent, photo, a colour (white, #ffcc00, #ffcc0080), or a
    picture's file."""
    bgcolor: tuple[int, int, int, int] | None = None
    """The same as red, green, blue and opacity, each from 0 to 255."""
    draw: bool = True
    """Draw a cartoon; else the cut-out stays a photo."""
    only_mask: Annotated[bool, tyro.conf.arg(aliases=["-om"])] = False
    """Write the mask alone, white where people are."""
    deinterlace: bool = True
    """Make interlaced videos progressive before all else."""
    first_frame: bool = False
    """Take the first frame alone of animations, and the first page of files with many; else all,
    into a file of the same format."""
    overwrite: bool = False
    """Replace existing results."""
    json: bool = False
    """Print one JSON object a result on standard output."""
    strip: bool = False
    """Leave out EXIF and XMP data, such as where a photo was taken; else pictures keep them."""

    def __post_init__(self):
        super().__post_init__()
        self.check_cluster()
        if self.bgcolor is not None and not all(0 <= level <= 255 for level in self.bgcolor):
            raise SettingsError(f"--bgcolor takes four numbers from 0 to 255, not {self.bgcolor}")
        if not self.cut_out and (self.only_mask or not self.draw):
            raise SettingsError("--no-cut-out leaves nothing to do: drop --only-mask or --no-draw")
        if self.out == STDOUT and self.json:
            raise SettingsError("--json and --out - would both write to standard output")

    @property
    def behind(self) -> str:
        """The name of the background."""
        if self.bgcolor is None:
            return self.background
        return "#" + "".join(f"{level:02x}" for level in self.bgcolor)


@cli.command
def main(argv: Sequence[str]) -> int:
    arguments = cli.parse(RunArguments, argv, prog="python -m cartoon.run", presets=PRESETS)
    from cartoon import work  # TensorFlow is imported once the arguments make sense.

    return work.execute(arguments)


if __name__ == "__main__":
    sys.exit(main())
