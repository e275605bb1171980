"""K-histogram: how many clusters the levels of a channel fall into, and where.

After Lin, Li, Zhao and Qiu, "Image based on histogram and K-Means clustering segmentation
algorithm" (IMCEC 2019), in the form of the report's Section 2: one-dimensional k-means on a
histogram, whose groups are split as long as their counts do not look normally distributed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cartoon.drawing.normality import normal_probability

START = 128
"""The first centroid."""


def k_histogram(
    histogram: np.ndarray,
    alpha: float = 1e-3,
    smallest: int = 80,
    start: Sequence[int] = (START,),
) -> np.ndarray:
    """The centroids of a channel's levels.

    Args:
        histogram: int64 (L,), how many pixels have each level from 0 to L - 1.
        alpha: a group is split if D'Agostino's test gives its counts a smaller probability to be
            normally distributed.
        smallest: a group with fewer levels is not split. D'Agostino's test takes 8 at least.
        start: the first centroids, ascending; there will not be fewer.

    Returns:
        (K,), ascending; integers, but for those that halve a group and then hold no level. Of a
        histogram without pixels, the start alone.
    """
    levels = np.flatnonzero(histogram)
    counts = histogram[levels]
    centroids = np.array(start)
    seen = set()
    while True:
        centroids, groups = k_means(centroids, levels, counts)
        if centroids.tobytes() in seen:  # Splits and merges that would go on forever.
            return centroids
        seen.add(centroids.tobytes())
        split = set()
        for i in np.unique(groups):
            split.update(_split(i, centroids, counts[groups == i], len(histogram), alpha, smallest))
        if len(split) == len(centroids):
            return centroids
        centroids = np.array(sorted(split)) if split else centroids


def k_means(
    centroids: np.ndarray, levels: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Moves centroids to the means of what is nearest to them, until they stay.

    As in the report, means are rounded down, a centroid without levels stays where it is, and
    centroids count as staying if their sum does.

    Args:
        centroids: (K,), ascending.
        levels: int (M,), those that there are.
        counts: int (M,), pixels of each.

    Returns:
        The centroids (K,), and for each level the index of its centroid, (M,).
    """
    seen = set()
    while True:
        groups = nearest(levels, centroids)
        pixels = np.bincount(groups, counts, minlength=len(centroids))
        sums = np.bincount(groups, levels * counts, minlength=len(centroids))
        moved = centroids.copy()
        filled = pixels > 0
        moved[filled] = np.trunc(sums[filled] / pixels[filled])
        if np.sum(moved - centroids) == 0 or moved.tobytes() in seen:
            return centroids, groups
        seen.add(moved.tobytes())
        centroids = moved


def nearest(levels: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """The index of the nearest centroid, the lower one of two as near: int (M,)."""
    return np.abs(levels[:, None] - centroids).argmin(axis=1)


def look_up_table(centroids: np.ndarray) -> np.ndarray:
    """What becomes of each level of 8 bits: uint8 (256,), the nearest centroid rounded down."""
    return centroids[nearest(np.arange(256), centroids)].astype(np.uint8)


def _split(i, centroids, counts, levels, alpha, smallest) -> tuple:
    """What takes the place of centroid `i`: itself, or two, half the way to its neighbours."""
    own = centroids[i]
    if len(counts) < smallest:
        return (own,)
    p = normal_probability(counts)
    left = 0 if i == 0 else centroids[i - 1]
    right = levels - 1 if i == len(centroids) - 1 else centroids[i + 1]
    if not p < alpha or right - left < 3:
        return (own,)
    return (own + left) / 2, (own + right) / 2
