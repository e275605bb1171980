"""The report's cartoon: its Section 2, pixel for pixel."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from cartoon.config import CartoonConfig
from cartoon.drawing.bilateral import bilateral
from cartoon.drawing.hsv import HUES, paint
from cartoon.drawing.k_histogram import k_histogram

LEVELS = (HUES, 256, 256)
"""Of hue, saturation and value, as OpenCV has them in 8 bits."""

MOST_COUNTED = 2**24
"""Pixels that `cv2.calcHist` counts exactly: it counts in float32."""


Centroids = Sequence[np.ndarray]
"""Of hue, saturation and value: (K,) each, ascending."""


def draw_report(
    image: np.ndarray,
    config: CartoonConfig,
    centroids: Centroids | Callable[[list[np.ndarray]], Centroids] | None = None,
) -> np.ndarray:
    """Bilateral filter, few levels of hue, saturation and value, and one-pixel outlines.

    Args:
        image: uint8 (H, W, 3), RGB. (The report's own run gave BGR to a program written for RGB,
            which turns hues before they are clustered.)
        config: alpha, smallest and canny.
        centroids: to be used, or a function that gives them for the three histograms; without,
            `find_centroids`.

    Returns:
        uint8 (H, W, 3).
    """
    smooth = bilateral(image)
    edges = cv2.Canny(smooth, *config.canny)
    hsv = cv2.cvtColor(smooth, cv2.COLOR_RGB2HSV)
    counts = [histogram(hsv, channel, levels) for channel, levels in enumerate(LEVELS)]
    if centroids is None:
        centroids = find_centroids(counts, config)
    elif callable(centroids):
        centroids = centroids(counts)
    flat = paint(hsv, centroids)
    contours, _ = cv2.findContours(edges, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(flat, contours, -1, 0, thickness=1)


def find_centroids(counts: Sequence[np.ndarray], config: CartoonConfig) -> list[np.ndarray]:
    """The centroids of each channel's histogram, (K,) each, ascending."""
    return [k_histogram(own, config.alpha, config.smallest) for own in counts]


def histogram(image: np.ndarray, channel: int, levels: int = 256) -> np.ndarray:
    """How many pixels of uint8 (H, W, C) have each level of a channel: int64 (levels,)."""
    rows = max(1, MOST_COUNTED // image.shape[1])
    parts = [image[top : top + rows] for top in range(0, len(image), rows)]
    counted = [cv2.calcHist([part], [channel], None, [levels], [0, levels]) for part in parts]
    return np.sum([counts.ravel().astype(np.int64) for counts in counted], axis=0)
