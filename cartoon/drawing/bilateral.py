"""The report's bilateral filter, exact and the same on every machine.

`cv2.bilateralFilter` of 8 bits is several filters. Where OpenCV uses Intel's IPP, as its x86 wheels
do, a weighted mean is rounded down; elsewhere, as on ARM, to the nearest level. Both sum in
float32, in an order that depends on the processor, so that a mean next to a whole level falls on
either side of it; and one level can make the report's K-histogram choose other tones.

This filter sums whole numbers, whose sum depends on no order, and rounds as OpenCV 4.5.1 with IPP
does. `docs/cartoon.md` tells in how many pixels the drawings differ.

Reference: Tomasi and Manduchi, "Bilateral Filtering for Gray and Color Images", ICCV 1998.
"""

from __future__ import annotations

import decimal
import functools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np

DIAMETER, SIGMA = 5, 50
"""The report's neighbourhood in pixels, and the standard deviation of both Gaussians: in pixels of
distance, and in levels of difference."""

RADIUS = DIAMETER // 2

ONE = 2**41
"""What a weight of 1 is as an integer: 13 weights times 255 stay below 2^53, so that float64 holds
each sum exactly, and no quotient rounds up to a whole number."""

NARROW, LOW = 16, 2 * RADIUS + 1
"""Pictures with fewer columns or rows are rounded to the nearest level throughout by IPP."""

TILE, TILE_COLUMNS = 24_000, 1_024
"""Values that are filtered at a time, and the columns of them: what a core's second cache holds."""

OFFSETS = [
    (down, right)
    for down in range(RADIUS + 1)
    for right in range(-RADIUS, RADIUS + 1)
    if (down, right) > (0, 0) and down**2 + right**2 <= RADIUS**2
]
"""Half of the neighbours in a disc: two pixels have the same weight for each other."""

Round = Callable[..., np.ndarray]
"""`np.floor` or `np.rint`: (values, out=values)."""


def bilateral(image: np.ndarray) -> np.ndarray:
    """Smooths each channel of a picture, but not across edges.

    Each value becomes the mean of those in a disc around it, with weights that fall with distance
    and with difference, rounded down; or to the nearest level where the report's program did so: in
    the two columns at each side, but for two rows at the top and at the bottom, and in all of a
    picture of fewer than `NARROW` columns or `LOW` rows.

    Args:
        image: uint8 (H, W, C), with at most four channels.

    Returns:
        uint8 (H, W, C).
    """
    height, width = image.shape[:2]
    if width < NARROW or height < LOW:
        return _filtered(image, np.rint)
    smooth = _filtered(image, np.floor)
    middle = slice(RADIUS, height - RADIUS)
    left, right = image[:, : 2 * RADIUS], image[:, -2 * RADIUS :]
    smooth[middle, :RADIUS] = _filtered(left, np.rint)[middle, :RADIUS]
    smooth[middle, -RADIUS:] = _filtered(right, np.rint)[middle, -RADIUS:]
    return smooth


@functools.cache
def weights(distance: int) -> np.ndarray:
    """The weights of a neighbour by the difference of its level, float64 (1, 256), whole numbers.

    They are computed in decimal: a floating-point `exp` differs in its last bit between machines.

    Args:
        distance: its squared distance in pixels.
    """
    with decimal.localcontext(prec=60):
        ratio = (decimal.Decimal(-1) / (2 * SIGMA**2)).exp()
        weight, fall = ONE * ratio**distance, ratio
        table = []
        for _ in range(256):
            table.append(float(weight.to_integral_value()))
            weight, fall = weight * fall, fall * ratio**2
    return np.array([table])


def _filtered(image: np.ndarray, rounding: Round) -> np.ndarray:
    """The weighted means of uint8 (H, W, C), rounded: uint8 (H, W, C)."""
    height, width, channels = image.shape
    margin = RADIUS * channels
    padded = cv2.copyMakeBorder(image, *[RADIUS] * 4, cv2.BORDER_REFLECT_101)
    padded = padded.reshape(height + 2 * RADIUS, -1)
    smooth = np.empty((height, width * channels), np.uint8)
    columns = -(-smooth.shape[1] // -(-smooth.shape[1] // TILE_COLUMNS))
    rows = min(height, TILE // columns)
    places = [(y, x) for y in range(0, height, rows) for x in range(0, smooth.shape[1], columns)]

    def work(places: Iterator[tuple[int, int]]) -> None:
        tile = _Tile(rows, columns, channels)
        for y, x in places:
            part = smooth[y : y + rows, x : x + columns]
            tile.filter(
                padded[y : y + len(part) + 2 * RADIUS, x : x + part.shape[1] + 2 * margin],
                part,
                rounding,
            )

    workers = min(len(places), max(1, cv2.getNumThreads()))
    left = iter(places)
    if workers == 1:
        work(left)
    else:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(work, [left] * workers))
    return smooth.reshape(image.shape)


class _Tile:
    """Buffers for a part of a picture with its margins, laid out as one row of values.

    A neighbour then is so many values further on, and each step is one call over contiguous
    memory. At the ends of rows values meet that are no neighbours: in the margins alone.

    Args:
        rows, columns: of the part, columns counting values.
        channels: of the picture.
    """

    def __init__(self, rows: int, columns: int, channels: int):
        self.margin = RADIUS * channels
        shape = rows + 2 * RADIUS, columns + 2 * self.margin
        stride, size = shape[1], shape[0] * shape[1]
        self.levels = np.zeros(shape, np.uint8)
        self.values, self.sums, self.totals, weight = (np.zeros((1, size)) for _ in range(4))
        difference = np.empty((1, size), np.uint8)
        self.steps = []
        for down, right in OFFSETS:
            step = down * stride + right * channels
            first = (RADIUS - down) * stride - (self.margin if down == 0 else 0)
            last = min((rows + RADIUS) * stride, size - step)
            arrays = self.levels.reshape(1, -1), self.values, self.sums, self.totals
            self.steps.append(
                (
                    weights(down**2 + right**2),
                    difference[:, : last - first],
                    weight[:, : last - first],
                    *((own[:, first:last], own[:, first + step : last + step]) for own in arrays),
                )
            )

    def filter(self, padded: np.ndarray, out: np.ndarray, rounding: Round) -> None:
        """Filters uint8 (rows + 4, values + 4 C) into uint8 (rows, values)."""
        self.levels[: padded.shape[0], : padded.shape[1]] = padded
        np.copyto(self.values, self.levels.reshape(1, -1))
        np.multiply(self.values, ONE, out=self.sums)
        self.totals.fill(ONE)
        for table, difference, weight, levels, values, sums, totals in self.steps:
            cv2.absdiff(*levels, dst=difference)
            cv2.LUT(difference, table, dst=weight)
            cv2.accumulateProduct(weight, values[1], sums[0])
            cv2.accumulateProduct(weight, values[0], sums[1])
            cv2.accumulate(weight, totals[0])
            cv2.accumulate(weight, totals[1])
        np.divide(self.sums, self.totals, out=self.sums)
        means = self.sums.reshape(self.levels.shape)[RADIUS:, self.margin :]
        means = means[: out.shape[0], : out.shape[1]]
        np.copyto(out, rounding(means, out=means), casting="unsafe")
