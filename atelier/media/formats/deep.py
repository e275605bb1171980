"""Pixels of more than 8 bits, and of floats, as levels from 0 to 255.

What the file states counts: 12 bits, or its largest value. A container that is larger than what is
in it states nothing: there it is what is used that counts, and a line says so.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from PIL import Image

from atelier.media.pixels import strips

DEPTHS = (8, 10, 12, 14, 16, 20, 24, 32)
"""The bits that cameras, scanners and files have."""

_CONTAINERS = (8, 16, 32, 64)

_UNIT, _BYTE = 2, 2 * 255
"""Floats whose bright end is up to the first are taken for [0, 1], to the second for [0, 255]:
resampling overshoots, and highlights lie above 1."""

_FAINT = 1 / 64
"""Floats whose bright end is below are not taken for [0, 1]."""

_NEGATIVE = 0.05
"""What the dark end may lie below 0, as part of the bright end: resampling undershoots."""

_OVERSHOOT = 1.02

_ENDS = 0.5, 99.5
"""The percentiles that are the dark and the bright end of floats."""

_SOME = 2**16
"""Values by which those are judged."""

_DARK = 16
"""A picture is very dark if its bright end is below this level."""


@dataclasses.dataclass(frozen=True)
class Deep:
    """A picture's values as its file has them."""

    values: np.ndarray
    """Integers or floats, (H, W) or (H, W, C)."""
    bits: int
    """Of an integer, as the file states it."""
    colours: int
    """Channels of colour; one more is opacity, in the whole range of its bits, or in [0, 1]."""
    white: tuple[float, float] | None = None
    """The values of black and white, if the file states them."""
    inverted: bool = False
    """Whether 0 is white."""


def to_levels(deep: Deep) -> tuple[np.ndarray, str]:
    """Scales values to levels.

    Returns:
        uint8 of the same shape; and what a user is told of the range, or nothing.
    """
    values = deep.values
    shade = values if values.ndim == 2 else values[..., : deep.colours]
    black, white, note = _range(deep, shade)
    if white <= black:  # All values are the same, and below 0.
        white = black + max(1, abs(black))
    levels = np.empty(values.shape, np.uint8)
    for rows in strips(values.shape, 2**16):
        part = _scaled(shade[rows], black, white)
        target = levels[rows] if values.ndim == 2 else levels[rows, :, : deep.colours]
        target[...] = 255 - part if deep.inverted else part
        if values.ndim == 3 and values.shape[2] > deep.colours:
            most = 1 if values.dtype.kind == "f" else 2**deep.bits - 1
            levels[rows, :, deep.colours :] = _scaled(values[rows, :, deep.colours :], 0, most)
    if not deep.inverted and not note:
        some = _some(levels if values.ndim == 2 else levels[..., : deep.colours])
        bright = int(np.percentile(some, _ENDS[1], method="higher")) if some.size else 0
        if 0 < bright < _DARK:
            note = f"it is very dark: 99.5 % of its values are below {white * (bright + 1) / 255:g}"
    return levels, note


def to_8_bit(image: Image.Image) -> tuple[Image.Image, str]:
    """Integer and float greys of Pillow as "L", or "LA" where one value stands for transparency.

    Returns:
        The picture, and what a user is told of the range of its values, or nothing.
    """
    values = np.asarray(image)
    bits = 16 if image.mode.startswith("I;16") else 32
    levels, note = to_levels(Deep(values, bits, 1))
    result = Image.fromarray(levels)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        opacity = np.where(values == transparent, 0, 255).astype(np.uint8)
        result = Image.merge("LA", (result, Image.fromarray(opacity)))
    result.info = {key: value for key, value in image.info.items() if key != "transparency"}
    return result, note


def _range(deep: Deep, values: np.ndarray) -> tuple[float, float, str]:
    """The values of black and of white, and a line about them."""
    if deep.white is not None:
        return *deep.white, ""
    if values.dtype.kind == "f":
        return _range_of_floats(values)
    low, high = int(values.min(initial=0)), int(values.max(initial=0))
    signed = values.dtype.kind == "i" and deep.bits in _CONTAINERS
    if signed and -low > _NEGATIVE * max(high, 1):
        return low, high, f"its values, from {low:,} to {high:,}, are spread from black to white"
    stated = deep.bits - signed
    if deep.bits not in _CONTAINERS:
        return 0, 2**stated - 1, ""
    used = next((bits for bits in DEPTHS if high < 2**bits), stated)
    if used >= stated:
        return 0, 2**stated - 1, ""
    return 0, 2**used - 1, f"its values end at {high:,}: taken for {used} bits in {deep.bits}"


def _range_of_floats(values: np.ndarray) -> tuple[float, float, str]:
    some = _some(values)
    if not some.size:
        return 0, 1, ""
    low = float(np.percentile(some, _ENDS[0], method="lower"))
    high = float(np.percentile(some, _ENDS[1], method="higher"))
    if -low > _NEGATIVE * max(high, 0):
        return low, high, _spread(low, high)
    if 0 < high < _FAINT:
        return 0, high, _spread(0, high)
    if high <= _UNIT:
        return 0, 1, ""
    if high <= _BYTE:
        return 0, 255, "its floats are taken for 0 to 255"
    for bits in (10, 12, 14, 16):
        if high <= _OVERSHOOT * (2**bits - 1):
            return 0, 2**bits - 1, f"its floats end at {high:g}: taken for {bits} bits"
    return 0, high, _spread(0, high)


def _spread(low: float, high: float) -> str:
    return f"its floats, from {low:g} to {high:g}, are spread from black to white"


def _some(values: np.ndarray) -> np.ndarray:
    some = values.ravel()[:: max(1, values.size // _SOME)]
    return some[np.isfinite(some)]


def _scaled(values: np.ndarray, black: float, white: float) -> np.ndarray:
    finite = np.nan_to_num(values.astype(np.float64), nan=black, posinf=white, neginf=black)
    # By halves, as the whole span may be more than floats hold.
    return np.rint(
        255 * ((np.clip(finite, black, white) / 2 - black / 2) / (white / 2 - black / 2))
    )
