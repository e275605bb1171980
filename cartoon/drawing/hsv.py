"""A few tones of hue, saturation and value as RGB, the same on every machine.

`cv2.cvtColor` turns HSV into RGB in float32. It drops what is beyond the whole level, but rounds to
the nearest level in the pixels that are left over at the end of a row; how many these are depends
on the processor, as does the last bit of a product, which may decide on a level. Here colors are
computed as by OpenCV 4.5.1 on x86 processors with AVX2 (`docs/cartoon.md`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np

from cartoon.drawing.k_histogram import nearest

HUES = 180
"""Levels of hue in 8 bits: two degrees each."""

STRIP = 2**16
"""Pixels that are painted at a time."""

ORDER = np.array([[0, 3, 1], [2, 0, 1], [1, 0, 3], [1, 2, 0], [3, 1, 0], [0, 1, 2]])
"""Which of `hsv_to_rgb`'s four levels red, green and blue are, for each sixth of the hues' circle:
0 the highest, 1 the lowest, 2 falling, 3 rising."""

AT_A_TIME = 32
"""Pixels that OpenCV converts at a time with AVX2; it rounds the rest at the end of a row."""

Round = Callable[[np.ndarray], np.ndarray]
"""`np.trunc` or `np.rint`."""


def hsv_to_rgb(hsv: np.ndarray, rounding: Round = np.trunc) -> np.ndarray:
    """Converts colors.

    Args:
        hsv: uint8 (N, 3), hue in two degrees, saturation and value from 0 to 255.
        rounding: what makes whole levels.

    Returns:
        uint8 (N, 3).

    Reference: Smith, "Color Gamut Transform Pairs", SIGGRAPH 1978.
    """
    hue, saturation, value = hsv.T.astype(np.float32)
    saturation, value = saturation * np.float32(1 / 255), value * np.float32(1 / 255)
    hue = hue * np.float32(6 / HUES)
    sixth = np.trunc(hue)
    part, one = hue - sixth, np.float32(1)
    levels = np.stack(
        [
            value,
            value * (one - saturation),
            value * _one_minus_product(saturation, part),
            value * _one_minus_product(saturation, one - part),
        ],
        axis=-1,
    )
    order = ORDER[sixth.astype(int) % 6]
    return rounding(np.take_along_axis(levels, order, -1) * np.float32(255)).astype(np.uint8)


def _one_minus_product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns 1 - a·b in float32, rounded once, as one instruction for both gives it."""
    return (1 - a.astype(np.float64) * b).astype(np.float32)


def paint(hsv: np.ndarray, centroids: Sequence[np.ndarray]) -> np.ndarray:
    """Gives each pixel the nearest tone of each channel, and converts to RGB.

    Args:
        hsv: uint8 (H, W, 3), as `cv2.COLOR_RGB2HSV` gives it.
        centroids: of hue, saturation and value, (K,) each, ascending.

    Returns:
        uint8 (H, W, 3).
    """
    end = hsv.shape[1] - hsv.shape[1] % AT_A_TIME
    painted = np.empty(hsv.shape, np.uint8)
    _paint(hsv[:, :end], centroids, np.trunc, painted[:, :end])
    _paint(hsv[:, end:], centroids, np.rint, painted[:, end:])
    return painted


def _paint(
    hsv: np.ndarray, centroids: Sequence[np.ndarray], rounding: Round, out: np.ndarray
) -> None:
    if not hsv.size:
        return
    tones = np.meshgrid(*(own.astype(np.uint8) for own in centroids), indexing="ij")
    colors = hsv_to_rgb(np.stack(tones, axis=-1).reshape(-1, 3), rounding)
    # A color's number is the sum of three, one a channel.
    dtype = np.uint8 if len(colors) <= 256 else np.int32
    steps = len(centroids[1]) * len(centroids[2]), len(centroids[2]), 1
    tables = [
        (step * nearest(np.arange(256), own)).astype(dtype)[None]
        for step, own in zip(steps, centroids, strict=True)
    ]
    packed = np.zeros((max(256, len(colors)), 4), np.uint8)
    packed[: len(colors), :3] = colors
    packed = packed.view(np.int32).reshape(1, -1)

    def work(top: int) -> None:
        planes = zip(cv2.split(hsv[top : top + rows]), tables, strict=True)
        first, second, third = (cv2.LUT(plane, table) for plane, table in planes)
        numbers = cv2.add(cv2.add(first, second), third)
        own = cv2.LUT(numbers, packed) if dtype == np.uint8 else packed[0][numbers]
        rgba = own.view(np.uint8).reshape(*own.shape, 4)
        out[top : top + rows] = cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB)

    rows = max(1, STRIP // hsv.shape[1])
    tops = range(0, len(hsv), rows)
    with ThreadPoolExecutor(max(1, min(len(tops), cv2.getNumThreads()))) as pool:
        list(pool.map(work, tops))
