"""Pictures in and out: the one door through which every task reads and writes them.

A picture is a file of unknown origin. It is opened by `atelier.media.opening`, its size is judged
before it is decoded, and reading it takes no more memory than its file twice, `BYTES_A_PIXEL` for
each of its pixels, and `HEAD_BYTES`.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from PIL import Image

from atelier.errors import ImageError
from atelier.files import files_below, read_bounded
from atelier.media.arrays import as_array, as_uint8
from atelier.media.decoding import decode, to_pixels
from atelier.media.formats.metadata import NOTHING, Metadata, read_metadata
from atelier.media.opening import UnreadableError, hush_pillow, open_image
from atelier.media.pixels import flatten
from atelier.media.saving import save_image as save_image
from atelier.media.saving import write_png as write_png

MAX_PIXELS = 100_000_000
"""Pictures with more pixels than this are refused before they are decoded."""

READABLE = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".avif", ".bmp", ".gif"),
    *(".tif", ".tiff", ".ppm", ".pgm"),
    *(".apng", ".pnm", ".pbm", ".pfm", ".heic", ".heif", ".hif", ".jxl"),
)
"""The suffixes by which a folder's pictures are found."""

KINDS = 5
"""Of so many kinds of files that are passed over, the commonest, the numbers are told."""

BYTES_A_PIXEL = 48
"""The most memory that reading takes for each pixel, beside twice the file's size."""

HEAD_BYTES = 100_000_000
"""The most memory that reading takes besides, for EXIF data and all else that is no pixel."""

MAX_SCANS = 50
"""The most scans that a progressive JPEG may have; ordinary ones have about ten."""

_SOURCES = (
    "a path, a file's bytes, an open file, a PIL image, or an array or tensor of uint8 or of "
)
_SOURCES += "floats in [0, 1]"

MAX_SEGMENTS = 10_000
"""The most segments that a progressive JPEG may have; ordinary ones have some dozens."""

_MARKER = re.compile(rb"\xff[\x02-\xcf\xd9-\xfe]")
"""A JPEG file's markers, but for those that stand in coded data and have no length."""

_TILE_WIDTH, _TILE_LENGTH = 322, 323
"""TIFF's tags."""


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture and what its file says beside its pixels."""

    image: np.ndarray
    """uint8 (H, W, 3), (H, W, 4) or (H, W), upright, in sRGB."""
    metadata: Metadata = NOTHING
    """To be given to `save_image` with what is made of it."""


ImageSource = (
    str
    | os.PathLike
    | bytes
    | bytearray
    | memoryview
    | BinaryIO
    | Image.Image
    | np.ndarray
    | Picture
)
"""What a picture is read from."""


def load_image(
    source: ImageSource,
    *,
    alpha: Literal["flatten", "keep"] = "flatten",
    background: tuple[int, int, int] = (255, 255, 255),
    grey: Literal["rgb", "keep"] = "rgb",
    max_pixels: int | None = None,
) -> np.ndarray:
    """Reads a picture of any common kind as 8-bit RGB.

    EXIF orientation is applied; colours are converted to sRGB from what the file states (see
    `atelier.media.formats.colour`); grey, palette, CMYK and LAB pictures are converted, those of
    more than 8 bits and of floats by what the file states of their range, else by what is used of
    it (see `atelier.media.formats.deep`); of an animation, the first frame is taken. EXIF data and
    colour profiles that are damaged are passed over.

    Args:
        source: a path, a file's bytes, a file that is open for reading bytes, a PIL image, a
            `Picture`, or an array or tensor (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8, of
            floats in [0, 1] or of uint16.
        alpha: "flatten" lays transparent pictures on `background`; "keep" gives them a fourth
            channel.
        background: RGB, each in [0, 255].
        grey: "keep" leaves a grey picture without transparency, as its format or its array's
            shape has it, with its one channel.
        max_pixels: the bound on width × height; `MAX_PIXELS` if left out.

    Returns:
        uint8 (H, W, 3), or (H, W, 4) when `alpha` is "keep" and the picture has transparency, or
        (H, W) when `grey` is "keep" and the picture is grey.

    Raises:
        ImageError: missing, unreadable, truncated, not a picture, empty, or too large. The text
            names the file and the reason.
        TypeError: `source` is of another type; `KindError`, which is an `ImageError`, too, if it is
            an array of one.
    """
    return _load(source, alpha, background, grey, max_pixels)[0]


def load_picture(
    source: ImageSource,
    *,
    alpha: Literal["flatten", "keep"] = "flatten",
    background: tuple[int, int, int] = (255, 255, 255),
    grey: Literal["rgb", "keep"] = "rgb",
    max_pixels: int | None = None,
) -> Picture:
    """Reads a picture as `load_image` does, with what its file says beside its pixels."""
    image, read = _load(source, alpha, background, grey, max_pixels)
    return Picture(image, read())


def _load(source, alpha, background, grey, max_pixels) -> tuple[np.ndarray, Callable[[], Metadata]]:
    """A picture's pixels, and what reads the rest when it is asked for."""
    max_pixels = MAX_PIXELS if max_pixels is None else max_pixels
    if isinstance(source, Picture):
        _check_size(source.image.shape[1], source.image.shape[0], "array", max_pixels)
        image = _from_array(as_uint8(source.image)[0], alpha, background, grey)
        return image, lambda: source.metadata
    array = None if isinstance(source, Image.Image) else as_array(source)
    if array is not None:
        if array.ndim in (2, 3):
            _check_size(array.shape[1], array.shape[0], "array", max_pixels)
        levels, changed = as_uint8(array)
        image = _from_array(levels, alpha, background, grey)
        return image, lambda: Metadata(changed=changed)
    name = name_of(source)
    if isinstance(source, Image.Image):  # Perhaps opened, but not decoded so far.
        data, opened = None, source
        with _refusing(name, max_pixels), hush_pillow():
            _check_size(*source.size, name, max_pixels)
            decoded = decode(source, None, max_pixels)
    else:
        data = read_source(source, max_pixels)
        if not data:
            raise ImageError(f"{name}: the file is empty")
        with _refusing(name, max_pixels), open_image(data, max_pixels) as opened:
            _check_size(*opened.size, name, max_pixels)
            _check_effort(opened, data, name, max_pixels)
            decoded = decode(opened, data, max_pixels)
    array, profile = to_pixels(decoded, alpha, background, grey)
    return array, functools.partial(read_metadata, opened, data, profile, decoded.notes)


def read_source(source: ImageSource, max_pixels: int | None = None) -> ImageSource:
    """What a picture is to be read from, itself read: of paths and open files the bytes.

    Raises:
        ImageError: it cannot be read, or is larger than the file of a picture may be.
        TypeError: it is nothing that a picture is read from.
    """
    if isinstance(source, (np.ndarray, Image.Image, Picture, bytes)) or hasattr(
        source, "__array__"
    ):
        return source
    if isinstance(source, (bytearray, memoryview)):
        return bytes(source)
    limit = file_bound(max_pixels)
    if isinstance(source, (str, os.PathLike)):
        return _read_bytes(Path(source), limit)
    read = getattr(source, "read", None)
    if read is None:
        raise TypeError(f"a picture is {_SOURCES}, not {type(source).__name__}")
    try:
        data = read(limit + 1)
    except (OSError, ValueError) as error:
        raise ImageError(f"{name_of(source)}: cannot be read ({_one_line(error)})") from None
    if not isinstance(data, bytes):
        raise TypeError(f"a picture's file is opened for bytes, not for {type(data).__name__}")
    if len(data) > limit:
        raise ImageError(f"{name_of(source)}: more than {limit:,} bytes, which no picture takes")
    return data


def name_of(source: object) -> str:
    """What the user is told a source is."""
    return os.fspath(source) if isinstance(source, (str, os.PathLike)) else "picture"


def file_bound(max_pixels: int | None = None) -> int:
    """The bytes that the file of a picture of so many pixels may have: eight a pixel, the most that
    any format takes uncompressed, and 64 MiB for all that is not pixels."""
    return 8 * (MAX_PIXELS if max_pixels is None else max_pixels) + 2**26


def find_pictures(folders: Sequence[str | os.PathLike]) -> list[Path]:
    """All files in `folders` and below that have a picture's suffix and are not hidden, sorted.

    Raises:
        ImageError: there is none.
    """
    files = (file for folder in folders for file in files_below(folder))
    pictures = sorted(
        file
        for file in files
        if file.suffix.lower() in READABLE and not file.name.startswith(".") and file.is_file()
    )
    if not pictures:
        raise ImageError(f"no pictures in {', '.join(map(str, folders))}: looked for {READABLE}")
    return pictures


def others_below(folders: Sequence[str | os.PathLike]) -> list[str]:
    """A line for each folder in which `find_pictures` passes over files that are not hidden."""
    lines = []
    for folder in folders:
        files = [file for file in files_below(folder) if not file.name.startswith(".")]
        told = passed_over([file for file in files if file.suffix.lower() not in READABLE])
        lines += [f"{os.fspath(folder)}: {told}"] if told else []
    return lines


def passed_over(files: Sequence[Path]) -> str:
    """Says how many files are passed over, and of which kinds; empty if there are none."""
    if not files:
        return ""
    kinds = collections.Counter(file.suffix.lower() for file in files)
    common = kinds.most_common(KINDS)
    told = [f"{count:,} {kind or 'without a suffix'}" for kind, count in common]
    if rest := len(files) - sum(count for _, count in common):
        told.append(f"{rest:,} of other kinds")
    count = "1 other file is" if len(files) == 1 else f"{len(files):,} other files are"
    return f"{count} passed over: {', '.join(told)}"


def sample(name: str) -> Path:
    """The file of a picture that comes with scikit-image, such as "astronaut.png"."""
    import skimage

    return Path(skimage.__file__).parent / "data" / name


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resamples with antialiasing (Lanczos).

    Args:
        image: uint8 (H, W, C), or float32 (H, W) or (H, W, C) in any range.
        size: the new (height, width).

    Returns:
        The same dtype and channels. Floats may overshoot their range slightly.
    """
    height, width = size
    if image.shape[:2] == (height, width):
        return image
    if image.dtype == np.uint8:
        return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))
    planes = image[..., None] if image.ndim == 2 else image
    resized = [
        Image.fromarray(np.ascontiguousarray(planes[..., channel], np.float32)).resize(
            (width, height), Image.Resampling.LANCZOS
        )
        for channel in range(planes.shape[-1])
    ]
    return np.stack(resized, axis=-1).reshape((height, width, *image.shape[2:]))


def fit_size(shape: tuple[int, ...], longest: int) -> tuple[int, int]:
    """The (height, width) at which the longer side of `shape` is `longest`, aspect kept."""
    height, width = shape[:2]
    scale = longest / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _read_bytes(path: Path, limit: int) -> bytes:
    try:
        if path.is_dir():
            if not os.access(path, os.R_OK | os.X_OK):
                raise ImageError(f"{path}: this folder cannot be read")
            raise ImageError(f"{path}: a folder, not a picture")
        return read_bounded(path, limit)
    except FileNotFoundError:
        raise ImageError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise ImageError(f"{path}: cannot be read ({_one_line(error)})") from None


def _from_array(array: np.ndarray, alpha, background, grey) -> np.ndarray:
    """A picture, uint8 (H, W, C), in memory of its own."""
    if array.shape[2] == 1:
        return array[..., 0].copy() if grey == "keep" else np.repeat(array, 3, axis=2)
    if array.shape[2] == 4 and alpha == "flatten":
        return flatten(array, background)
    return array.copy()


@contextlib.contextmanager
def _refusing(name: str, max_pixels: int) -> Iterator[None]:
    """What Pillow raises while it opens and decodes a file, as an `ImageError`."""
    try:
        yield
    except ImageError:
        raise
    except UnreadableError as error:
        raise ImageError(f"{name}: {_one_line(error)}") from None
    except Image.DecompressionBombError:
        bound = min(max_pixels, 2 * Image.MAX_IMAGE_PIXELS)  # Pillow has one of its own.
        raise ImageError(f"{name}: more than {bound:,} pixels") from None
    except Image.UnidentifiedImageError:
        raise ImageError(f"{name}: not a picture in a format that can be read") from None
    except MemoryError:
        raise ImageError(f"{name}: takes more memory than there is") from None
    except Exception as error:  # Pillow's decoders raise two dozen kinds on damaged files.
        raise ImageError(f"{name}: damaged or truncated ({_one_line(error)})") from None


def count_scans(data: bytes) -> int:
    """The scans of a JPEG file's first picture (ITU-T T.81, section B.1.1): what stands in its
    other segments, and behind it, are none.

    Raises:
        OSError: it has more than `MAX_SEGMENTS` segments.
    """
    scans, place = 0, 2
    for _ in range(MAX_SEGMENTS):
        marker = _MARKER.search(data, place)
        if marker is None:
            return scans
        place, kind = marker.end(), marker[0][1]
        if kind == 0xD9:  # The end of the picture.
            return scans
        scans += kind == 0xDA
        place += max(2, int.from_bytes(data[place : place + 2], "big"))
    raise OSError("it is in too many pieces")


def _check_effort(image: Image.Image, source: bytes, name: str, max_pixels: int) -> None:
    """Refuses JPEGs of more than `MAX_SCANS` scans, and TIFFs of tiles beyond `max_pixels`."""
    if image.format in ("JPEG", "MPO") and "progressive" in image.info:
        scans = count_scans(source)
        if scans > MAX_SCANS:
            raise ImageError(f"{name}: a JPEG of {scans:,} scans, more than {MAX_SCANS}")
    elif image.format == "TIFF" and _TILE_WIDTH in image.tag_v2:
        width, height = (int(image.tag_v2.get(tag, 0)) for tag in (_TILE_WIDTH, _TILE_LENGTH))
        if width * height > max_pixels:
            raise ImageError(f"{name}: tiles of {width}×{height} are too large")


def _check_size(width: int, height: int, name: str, max_pixels: int) -> None:
    if width < 1 or height < 1:
        raise ImageError(f"{name}: has no pixels")
    if width * height > max_pixels:
        raise ImageError(f"{name}: {width}×{height} is more than {max_pixels:,} pixels")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
