"""Finds objects on pictures: `python -m detection.run INPUT… --out FOLDER`."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import tyro

from atelier import cli
from atelier.cli.jobs import STDOUT
from atelier.cluster import batches
from atelier.errors import SettingsError
from detection.config import DetectConfig


@dataclasses.dataclass(frozen=True)
class RunArguments(batches.ClusterSettings, DetectConfig):
    """Find objects on pictures and videos, and draw boxes around them.

    With no input, a picture that comes with scikit-image is searched, if the model is not that for
    blood cells, which none of them shows.
    """

    inputs: tyro.conf.Positional[tuple[str, ...]] = ()
    """Pictures and videos: files, folders, .txt lists of files, or - for a picture on standard
    input."""
    out: Path = Path("out/detection")
    """Where to: a folder, in which results keep the inputs' names, pictures as .png and videos in
    their own format where it can be written (.mov, .mkv), else as .mp4; the name of a picture's or
    video's file; or - for a PNG on standard output."""
    draw: bool = True
    """Draw the boxes; else only what is asked for below is written."""
    csv: Path | None = None
    """A table with a row an object."""
    coco: Path | None = None
    """A data set in COCO's form: one JSON file of all pictures, with scores."""
    voc: Path | None = None
    """A folder for a data set in Pascal VOC's form, as labelImg and datumaro read it:
    Annotations/NAME.xml of each picture, and a list of them, ImageSets/Main/default.txt."""
    crops: Path | None = None
    """A folder for what is in the boxes: NAME/01-person.png and so on, the surest first."""
    deinterlace: bool = True
    """Make interlaced videos progressive before all else."""
    overwrite: bool = False
    """Replace existing results."""
    json: bool = False
    """Print one JSON object a result on standard output."""
    strip: bool = False
    """Leave out EXIF and XMP data, such as where a photo was taken; else pictures keep them."""

    def __post_init__(self):
        super().__post_init__()
        self.check_cluster()
        files = {"csv": self.csv, "coco": self.coco, "voc": self.voc, "crops": self.crops}
        given = {name: path for name, path in files.items() if path is not None}
        for name, path in given.items():
            if path == STDOUT:
                raise SettingsError(f"--{name} takes a path, and cannot write to standard output")
        if self.csv is not None and self.csv == self.coco:
            raise SettingsError(f"--csv and --coco would both write {self.csv}")
        if not self.draw and not given and not self.json:
            flags = ", ".join(f"--{name}" for name in (*files, "json"))
            raise SettingsError(f"--no-draw leaves nothing to do: pass one of {flags}")
        if self.out == STDOUT and self.json:
            raise SettingsError("--json and --out - would both write to standard output")
        if self.out == STDOUT and not self.draw:
            raise SettingsError("--out - takes the drawing: drop --no-draw")


@cli.command
def main(argv: Sequence[str]) -> int:
    arguments = cli.parse(RunArguments, argv, prog="python -m detection.run")
    from detection import work  # TensorFlow is imported once the arguments make sense.

    return work.execute(arguments)


if __name__ == "__main__":
    sys.exit(main())
