"""Pictures out, with what their files are to say beside the pixels."""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from atelier.errors import OutputError, one_line
from atelier.files import atomic_path, write_stream
from atelier.media.formats.metadata import METADATA_OPTIONS, Metadata, save_options
from atelier.media.opening import OPTIONAL_SUFFIXES, UnreadableError, hush_pillow, register
from atelier.media.pixels import flatten

PNG_LEVEL = 4
"""zlib's level for PNG files: about twice as fast as its usual 6, for up to 5 % more bytes, by
`python -m benchmarks.png`."""


def save_image(
    path: str | os.PathLike,
    image: np.ndarray,
    *,
    overwrite: bool = True,
    quality: int = 95,
    metadata: Metadata | None = None,
) -> tuple[str, ...]:
    """Writes a picture, whole or not at all, in the format that the suffix names.

    Args:
        path: where to; JPEG (no alpha: laid on white), PNG, WebP, TIFF, AVIF, BMP, GIF;
            and HEIC and JPEG XL with the extra `formats`.
        image: uint8 (H, W), (H, W, 3) or (H, W, 4), in sRGB.
        overwrite: whether an existing file may be replaced.
        quality: of JPEG, WebP, AVIF, HEIC and JPEG XL, in [1, 100].
        metadata: of the picture that it was made from, to be written as far as the format holds it.

    Returns:
        A line for each thing of the metadata that is not as the picture's file had it.

    Raises:
        OutputError: an unknown suffix, an existing file, a place that cannot be written, or a
            picture that is too large for the format.
    """
    suffix = Path(path).suffix.lower()
    if suffix in OPTIONAL_SUFFIXES:
        try:
            register(OPTIONAL_SUFFIXES[suffix])
        except UnreadableError as error:
            raise OutputError(f"cannot write {path}: {error}") from None
    format = Image.registered_extensions().get(suffix)
    if format not in Image.SAVE:
        raise OutputError(f"{path}: no picture format for the suffix {suffix!r}; try .png or .jpg")
    if image.ndim == 3 and image.shape[2] == 4 and format in ("JPEG", "MPO", "BMP", "PPM"):
        image = flatten(image, (255, 255, 255))
    options, notes = pillow_options(format, image, metadata, quality)
    with atomic_path(path, overwrite=overwrite) as temporary:
        try:
            return _write(image, temporary, format, options, notes)
        # Sides beyond what the format can say.
        except (ValueError, OverflowError, struct.error) as error:
            raise OutputError(f"cannot write {path}: {one_line(str(error))}") from None


def write_png(
    stream: BinaryIO, image: np.ndarray, metadata: Metadata | None = None
) -> tuple[str, ...]:
    """Writes a picture, uint8 (H, W), (H, W, 3) or (H, W, 4), into an open file, such as
    `sys.stdout.buffer`.

    Args:
        stream: the file.
        image: the picture.
        metadata: of the picture that it was made from.

    Returns:
        A line for each thing of the metadata that is not as the picture's file had it.

    Raises:
        OutputError: it cannot be written, because the disk is full, say.
        BrokenPipeError: whoever reads it has gone.
    """
    file = io.BytesIO()
    options, notes = pillow_options("PNG", image, metadata)
    notes = _write(image, file, "PNG", options, notes)
    write_stream(stream, file.getvalue())
    return notes


def pillow_options(
    format: str, image: np.ndarray, metadata: Metadata | None, quality: int = 95
) -> tuple[dict[str, object], tuple[str, ...]]:
    """Pillow's arguments for saving a picture, and what a user is told of the metadata."""
    options, notes = {}, ()
    if metadata is not None:
        options, notes = save_options(metadata, format, image.shape[1], image.shape[0])
    if format in ("JPEG", "MPO", "WEBP", "AVIF", "HEIF", "JXL"):
        options["quality"] = quality
    if format in ("JPEG", "MPO"):
        options["subsampling"] = 0
    if format == "PNG":
        options["compress_level"] = PNG_LEVEL
    return options, notes


def _write(
    image: np.ndarray,
    file: Path | BinaryIO,
    format: str,
    options: dict[str, object],
    notes: tuple[str, ...],
) -> tuple[str, ...]:
    """Writes a picture; without metadata where Pillow cannot write that, which is then said."""
    picture = Image.fromarray(image)
    try:
        with hush_pillow():  # Of metadata that is odd.
            picture.save(file, format, **options)
    except OSError:
        raise
    except Exception as error:  # Values of types that no standard has raise several kinds.
        bare = {name: value for name, value in options.items() if name not in METADATA_OPTIONS}
        if bare == options:
            raise
        picture.save(file, format, **bare)
        return (*notes, f"EXIF and XMP data are left out: {one_line(str(error))}")
    return notes
