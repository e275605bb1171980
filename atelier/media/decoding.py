"""Decodes pictures that have been opened, to 8-bit sRGB."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
from PIL import Image

from atelier.media.formats.cicp import Coding
from atelier.media.formats.colour import stated, to_srgb
from atelier.media.formats.deep import Deep, to_8_bit, to_levels
from atelier.media.formats.tiff import decode_all_bits, read_tiff
from atelier.media.opening import UnreadTiff, upright
from atelier.media.pixels import as_rgba, flatten, is_deep, is_transparent

_GREY = ("1", "L", "LA", "La")
_MODES = {(1, 1): "L", (2, 1): "LA", (3, 3): "RGB", (4, 3): "RGBA", (4, 4): "CMYK"}
"""Pillow's modes by channels and by channels of colour."""

_NO_COLOURS = ("exif", "icc_profile", "dpi", "xmp", "photoshop")
"""What a picture's pixels leave as it is."""

_HALF = 128


@dataclasses.dataclass(frozen=True)
class Decoded:
    """A picture of 8 bits, upright, before its colours and its transparency are looked at."""

    image: Image.Image
    is_grey: bool
    """Whether it is grey, perhaps with transparency."""
    coding: Coding | None
    """What its file states of its colours, if that is no ICC profile."""
    notes: tuple[str, ...] = ()
    """What a user is told of its values."""


def decode(image: Image.Image, source: bytes | None, max_pixels: int) -> Decoded:
    """Does all for which Pillow may find a file damaged.

    Args:
        image: opened, of a size within the bound.
        source: its file, if there is one.
        max_pixels: the bound on width × height of what else is in the file.

    Raises:
        UnreadableError: it is of a kind that cannot be read.
        Exception: of any kind; it is damaged.
    """
    notes, deep = [], None
    if source is not None and image.format == "TIFF":
        deep = read_tiff(source, max_pixels, not isinstance(image, UnreadTiff))
    decoded = image
    if deep is None:
        image.load()
        if source is not None and image.format == "PNG":
            deep = _dark_png(image, source)
    if deep is not None:
        decoded, note = _from_deep(deep, image)
        notes.append(note)
    elif image.format == "PPM" and image.mode == "I":  # Pillow scales what its head states.
        decoded, note = _from_deep(Deep(np.asarray(image), 16, 1, (0, 2**16 - 1)), image)
        notes.append(note)
    elif is_deep(image):
        decoded, note = to_8_bit(image)
        notes.append(note)
    found, note = stated(image, source)
    notes.append(note)
    decoded = upright(decoded)
    is_grey = decoded.mode in _GREY
    if is_transparent(decoded):
        decoded = as_rgba(decoded)
    return Decoded(decoded, is_grey, found, tuple(filter(None, notes)))


def to_pixels(
    decoded: Decoded,
    alpha: Literal["flatten", "keep"],
    background: tuple[int, int, int],
    grey: Literal["rgb", "keep"],
) -> tuple[np.ndarray, str]:
    """Returns the pixels, as `atelier.media.images.load_image` gives them, and the name of the
    colours from which they have been converted, if any."""
    image, profile = to_srgb(decoded.image, decoded.coding, decoded.is_grey)
    transparent = is_transparent(image)
    if grey == "keep" and image.mode in ("1", "L") and not transparent:
        return np.asarray(image.convert("L")).copy(), profile
    array = np.asarray(image.convert("RGBA" if transparent else "RGB"))
    if transparent and alpha == "flatten":
        return flatten(array, background), profile
    return array.copy(), profile


def _from_deep(deep: Deep, image: Image.Image) -> tuple[Image.Image, str]:
    levels, note = to_levels(deep)
    channels = 1 if levels.ndim == 2 else levels.shape[2]
    result = Image.fromarray(levels)
    if channels > 1:
        mode = _MODES[channels, deep.colours]
        result = Image.frombytes(mode, result.size, levels.tobytes())
    result.info = {key: image.info[key] for key in _NO_COLOURS if key in image.info}
    return result, note


def _dark_png(image: Image.Image, source: bytes) -> Deep | None:
    """All 16 bits of a PNG in colour or with opacity, of which Pillow keeps the upper 8, if it may
    be that only the lower ones are used."""
    if source[24:25] != b"\x10" or image.mode not in ("RGB", "RGBA", "LA"):
        return None
    colours = len(image.mode.rstrip("A"))
    ends = image.getextrema()[:colours]
    if max(high for _, high in ends) >= _HALF or "transparency" in image.info:
        return None
    values = decode_all_bits(source)
    if values is None or values.dtype != np.uint16 or values.ndim != 3:
        return None
    if image.mode == "LA":  # OpenCV repeats the grey.
        values = values[..., [0, -1]] if values.shape[2] in (2, 4) else values
    if values.shape != (image.height, image.width, len(image.mode)):
        return None
    return Deep(values, 16, colours)
