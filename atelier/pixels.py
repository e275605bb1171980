"""Pixels of every kind that files have, as 8-bit sRGB."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageCms

_UNIT, _BYTE = 2, 2 * 255
"""Floats whose bright end is up to the first are taken for [0, 1], to the second for [0, 255], and
beyond for [0, 65535]: resampling overshoots, and highlights lie above 1."""

_BRIGHT = 99.5
"""The percentile that is the bright end."""

_SOME = 2**16
"""Values by which that is judged."""

_ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")
"""Pillow's modes with transparency."""


def is_transparent(image: Image.Image) -> bool:
    """Whether a picture has transparency: a channel of it, or a colour that stands for it."""
    return image.mode in _ALPHA or "transparency" in image.info


def is_deep(image: Image.Image) -> bool:
    """Whether a picture is grey of more than 8 bits, or of floats."""
    return image.mode.startswith("I") or image.mode == "F"


def as_rgba(image: Image.Image) -> Image.Image:
    """A picture of 8 bits with transparency as RGBA."""
    if image.mode == "RGBA":
        return image
    colour = image.info.get("transparency")
    if isinstance(colour, tuple) and max(colour) > 255:  # Of 16 bits, of which these are left.
        image = image.copy()
        image.info["transparency"] = tuple(value >> 8 for value in colour)
    return image.convert("RGBA")


def to_8_bit(image: Image.Image) -> Image.Image:
    """Integer and float greys as "L", or "LA" where one value stands for transparency.

    16 bits are divided by 257; 32 bits, too, if they do not fit 8. Floats are multiplied by 255,
    taken as they are, or divided by 257, by where their bright end lies.
    """
    values = np.asarray(image)
    factor = _factor(image, values)
    levels = np.empty(values.shape, np.uint8)
    for rows in strips(values.shape):
        part = np.nan_to_num(values[rows].astype(np.float64) * factor)
        levels[rows] = np.clip(np.rint(part), 0, 255)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        opacity = np.where(values == transparent, 0, 255).astype(np.uint8)
        return Image.merge("LA", (Image.fromarray(levels), Image.fromarray(opacity)))
    return Image.fromarray(levels)


def _factor(image: Image.Image, values: np.ndarray) -> float:
    if image.mode == "F":
        some = values.ravel()[:: max(1, values.size // _SOME)]
        some = some[np.isfinite(some)]
        bright = np.percentile(some, _BRIGHT, method="higher") if some.size else 0
        return 255 if bright <= _UNIT else 1 if bright <= _BYTE else 1 / 257
    return 1 / 257 if image.mode.startswith("I;16") or values.max(initial=0) > 255 else 1


def to_srgb(image: Image.Image) -> tuple[Image.Image, str]:
    """Converts a picture's colours by the profile that it has.

    Returns:
        The picture in sRGB, and the name of the profile; empty if there is none, or one of sRGB, or
        one that is damaged or does not fit the picture, which is left as it is then.
    """
    profile = image.info.get("icc_profile")
    if not profile or image.mode not in ("RGB", "RGBA", "CMYK", "L", "P"):
        return image, ""
    if image.mode == "P":
        image = image.convert("RGB")
    mode = "RGBA" if image.mode == "RGBA" else "RGB"
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        target = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, source, target, outputMode=mode)
        name = " ".join(ImageCms.getProfileDescription(source).split())[:80] or "their profile"
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image, ""  # A broken profile is common, and no reason to refuse the picture.
    return converted, "" if "srgb" in name.lower() else name


def flatten(array: np.ndarray, background: tuple[int, int, int]) -> np.ndarray:
    """Lays a picture, uint8 (H, W, 4), on a colour, RGB in [0, 255]: uint8 (H, W, 3)."""
    flat = np.empty((*array.shape[:2], 3), np.uint8)
    for rows in strips(array.shape):
        opacity = array[rows, :, 3:].astype(np.float32) / 255
        mixed = array[rows, :, :3] * opacity + np.asarray(background, np.float32) * (1 - opacity)
        flat[rows] = np.rint(mixed)
    return flat


def strips(shape: tuple[int, ...]) -> Iterator[slice]:
    """Rows of a picture, about a million pixels at once: as floats, all would take much memory."""
    rows = max(1, 2**20 // shape[1])
    return (slice(start, start + rows) for start in range(0, shape[0], rows))
