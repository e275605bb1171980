"""Files that annotations name: bounded, and never outside the data set's folder."""

from __future__ import annotations

import errno
import os
from pathlib import Path, PureWindowsPath

from atelier import files
from atelier.media.images import MAX_PIXELS
from atelier.media.opening import open_image, orientation
from detection.annotations.sizes import Frame
from detection.annotations.text import FaultError, plain


def inside(folder: Path, name: str) -> Path:
    """The file or folder `name` below `folder`.

    Raises:
        FaultError: the name leads out of it: absolute, by `..`, or by a link.
    """
    parts = {*Path(name).parts, *PureWindowsPath(name).parts}
    absolute = name.startswith(("/", "\\")) or PureWindowsPath(name).drive
    if not name.strip() or "\0" in name or absolute or ".." in parts:
        raise FaultError(f"the file name {plain(name)!r} leads out of the folder")
    try:
        within = (folder / name).resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # A name too long; a link to itself.
        raise FaultError(f"the file name {plain(name)!r} cannot be followed") from None
    if not within:
        raise FaultError(f"{plain(name)!r} is a link that leads out of the folder")
    return folder / name


def read_bounded(path: Path, limit: int) -> bytes:
    """A file's bytes.

    Raises:
        FaultError: no such file, or larger than `limit` bytes.
    """
    try:
        return files.read_bounded(path, limit)
    except FileNotFoundError:
        raise FaultError("no such file") from None
    except (OSError, ValueError) as error:
        if getattr(error, "errno", None) == errno.EFBIG:
            raise FaultError(error.strerror) from None
        raise FaultError(f"cannot be read ({getattr(error, 'strerror', error)})") from None


def picture_frame(file: Path | bytes) -> Frame:
    """Returns a picture's size and EXIF turn, from the head of the file alone; of a PNG all of it
    is read.

    Raises:
        FaultError: missing, no picture, or larger than `MAX_PIXELS`.
    """
    if isinstance(file, Path) and not os.path.isfile(file):
        raise FaultError(f"the picture {plain(file.name)} is missing")
    try:
        with open_image(file) as image:
            width, height = image.size
            small = width * height <= MAX_PIXELS
            if small and image.format == "PNG":  # Its orientation may stand behind the pixels.
                image.load()
            turn = orientation(image) if small else 1
    except Exception as error:  # Damaged files raise a dozen kinds.
        reason = plain(" ".join(str(error).split())) or type(error).__name__
        raise FaultError(f"the picture cannot be read ({reason})") from None
    if not small:
        raise FaultError(f"the picture of {width}×{height} has more than {MAX_PIXELS:,} pixels")
    return Frame((height, width), turn)


def picture_size(file: Path | bytes) -> tuple[int, int]:
    """Returns the height and width that `load_image` will give.

    Raises:
        FaultError: as `picture_frame`.
    """
    return picture_frame(file).shown
