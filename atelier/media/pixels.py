"""Transparency of pictures, and how it is laid on a colour."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

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


def flatten(array: np.ndarray, background: tuple[int, int, int]) -> np.ndarray:
    """Lays a picture, uint8 (H, W, 4), on a colour, RGB in [0, 255]: uint8 (H, W, 3)."""
    flat = np.empty((*array.shape[:2], 3), np.uint8)
    for rows in strips(array.shape):
        opacity = array[rows, :, 3:].astype(np.float32) / 255
        mixed = array[rows, :, :3] * opacity + np.asarray(background, np.float32) * (1 - opacity)
        flat[rows] = np.rint(mixed)
    return flat


def strips(shape: tuple[int, ...], pixels: int = 2**20) -> Iterator[slice]:
    """Rows of a picture, about so many pixels at once: as floats, all would take much memory."""
    rows = max(1, pixels // shape[1])
    return (slice(start, start + rows) for start in range(0, shape[0], rows))
