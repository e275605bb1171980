"""A calmer cartoon than the report's: few tones in smooth areas, even outlines at any size.

K-histogram chooses the tones, as in the report, but of lightness alone (CIE L*), which leaves skin
in one piece; of a picture whose texture is gone; and with soft steps from one to the next
(Winnemöller, Olsen and Gooch, "Real-Time Video Abstraction", 2006, Section 3.3). Outlines are
smooth curves along the edges, drawn with a pen as wide as the picture asks for.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from atelier.media.images import fit_size, resize
from cartoon.config import CartoonConfig
from cartoon.drawing.k_histogram import k_histogram
from cartoon.drawing.report import histogram

WORKING = 1000
"""Longer side in pixels at which areas are smoothed and edges found, however large the picture;
small ones are enlarged for it, as in a face of some 50 pixels edges are otherwise no curves."""

ENLARGED = 4
"""By how much, at most."""

STEP = 4.0
"""Half the width of the soft step between two tones, in levels of lightness."""

SMALLEST = 32
"""Levels of lightness that a group must have to be split, at most."""

FEWEST = 6
"""Tones that a picture has at least, if it has as many levels."""

VIVID = 1.15
"""By how much colours are stronger than the picture's."""


def draw_fine(
    image: np.ndarray,
    config: CartoonConfig,
    *,
    tones: np.ndarray | Callable[[np.ndarray], np.ndarray] | None = None,
    mask: np.ndarray | None = None,
) -> np.ndarray:
    """Draws a cartoon in the colours of the picture.

    Args:
        image: uint8 (H, W, 3), RGB.
        config: alpha, smallest, smoothing and outline.
        tones: of lightness to be used, (K,), ascending, or a function that gives them for a
            histogram; without, `find_tones`.
        mask: float32 (H, W) in [0, 1], of a cut-out: tones are counted inside it alone, its own
            outline is drawn, and none beyond it.

    Returns:
        uint8 (H, W, 3).
    """
    height, width = image.shape[:2]
    size = fit_size(image.shape, min(WORKING, ENLARGED * max(height, width)))
    small = smooth(resize(image, size), config.smoothing)
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB)
    inside = None if mask is None else resize_mask(mask, size)
    counts = histogram(lab if inside is None or not inside.any() else lab[inside][:, None], 0)
    if tones is None:
        tones = find_tones(counts, config)
    elif callable(tones):
        tones = tones(counts)
    vivid = np.clip(np.rint(128 + VIVID * (np.arange(256) - 128)), 0, 255).astype(np.uint8)
    table = np.stack([soft_table(tones, STEP), vivid, vivid], axis=-1)[None]
    how = cv2.INTER_AREA if size[0] > height else cv2.INTER_CUBIC
    full = cv2.resize(lab, (width, height), interpolation=how)
    flat = cv2.cvtColor(cv2.LUT(full, table), cv2.COLOR_LAB2RGB)
    if not config.outline:
        return flat
    if inside is None:
        return ink(flat, outlines(small), config.outline)
    pen = config.outline * np.hypot(*size) / 500
    curves = [*outlines(small, _eroded(inside, 2 + 2 * pen)), *silhouette(inside, pen)]
    return ink(flat, curves, config.outline)


def find_tones(counts: np.ndarray, config: CartoonConfig) -> np.ndarray:
    """The tones of a histogram of lightness, int64 (256,): (K,), ascending.

    There are `FEWEST` at least, as counts may look normally distributed as a whole: those of a
    face alone do, and one tone makes no face. K-histogram starts from as many quantiles.
    """
    share = np.cumsum(counts) / max(1, counts.sum())
    quantiles = np.searchsorted(share, (np.arange(FEWEST) + 0.5) / FEWEST)
    return k_histogram(counts, config.alpha, min(config.smallest, SMALLEST), np.unique(quantiles))


def smooth(image: np.ndarray, strength: float) -> np.ndarray:
    """A picture without texture, whose edges stay (Gastal and Oliveira, 2011): uint8 (H, W, 3)."""
    if strength == 0:
        return image
    reach = 0.02 * max(image.shape[:2]) * strength
    flags = cv2.RECURS_FILTER
    image = cv2.edgePreservingFilter(image, flags=flags, sigma_s=reach, sigma_r=0.35)
    return cv2.medianBlur(image, 3)


def soft_table(centroids: np.ndarray, step: float) -> np.ndarray:
    """What becomes of each level: the nearest centroid, with a soft step half-way to the next.

    Args:
        centroids: (K,), ascending.
        step: half the width of the step, in levels.

    Returns:
        uint8 (256,), ascending.
    """
    levels = np.arange(256, dtype=np.float64)
    middles = (centroids[1:] + centroids[:-1]) / 2
    rises = np.diff(centroids)
    table = centroids[0] + sum(
        rise * (1 + np.tanh((levels - middle) / step)) / 2
        for middle, rise in zip(middles, rises, strict=True)
    )
    return np.rint(np.broadcast_to(table, levels.shape)).astype(np.uint8)


def outlines(image: np.ndarray, inside: np.ndarray | None = None) -> list[np.ndarray]:
    """Smooth curves along a picture's edges, as parts of its width and height.

    Args:
        image: uint8 (H, W, 3), without texture.
        inside: bool (H, W): where alone edges count.

    Returns:
        float64 (N, 2) each, x and y in [0, 1].
    """
    height, width = image.shape[:2]
    edges = cv2.Canny(image, 80, 180, L2gradient=True)
    if inside is not None:
        edges[~inside] = 0
    contours, _ = cv2.findContours(edges, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    shortest = 0.08 * max(height, width)  # There and back: half of it, then.
    curves = []
    for contour in contours:
        if len(contour) < shortest:
            continue
        points = contour[:, 0].astype(np.float64) + 0.5
        curves.append(_smoothed(points, 2.0) / (width, height))
    return curves


def resize_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask in another (height, width), as bool."""
    how = cv2.INTER_AREA if size[0] < mask.shape[0] else cv2.INTER_LINEAR
    return cv2.resize(mask, size[::-1], interpolation=how) > 0.5


def silhouette(inside: np.ndarray, pen: float) -> list[np.ndarray]:
    """Smooth curves along the border of a mask, as `outlines` gives them.

    They run half a pen inside it, and outside the picture where the mask is cut off by its edge.

    Args:
        inside: bool (H, W).
        pen: its width, in pixels.
    """
    height, width = inside.shape
    margin = 8 + int(2 * pen)
    padded = np.pad(_eroded(inside, pen / 2).astype(np.uint8), margin, mode="edge")
    contours, _ = cv2.findContours(padded, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    shortest = 0.04 * max(height, width)
    return [
        _smoothed(contour[:, 0] + 0.5 - margin, 2.0) / (width, height)
        for contour in contours
        if len(contour) >= shortest
    ]


def _eroded(inside: np.ndarray, width: float) -> np.ndarray:
    """A mask without its rim; the picture's own edges are none."""
    side = 2 * round(width) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return cv2.erode(inside.astype(np.uint8), kernel, borderValue=1) > 0


def _smoothed(points: np.ndarray, sigma: float) -> np.ndarray:
    """A closed curve (N, 2) blurred along itself."""
    reach = int(3 * sigma)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    padded = np.pad(points, ((reach, reach), (0, 0)), mode="wrap")
    columns = [np.convolve(column, kernel / kernel.sum(), "valid") for column in padded.T]
    return np.stack(columns, axis=1)


def ink(image: np.ndarray, curves: list[np.ndarray], weight: float) -> np.ndarray:
    """Draws curves in near-black over a picture.

    Args:
        image: uint8 (H, W, 3).
        curves: of `outlines`.
        weight: of the pen, 1 being a 500th of the picture's diagonal.
    """
    height, width = image.shape[:2]
    pen = weight * np.hypot(height, width) / 500
    # A pen is a whole number of pixels wide: on a larger sheet it comes as near as is needed.
    factor = int(np.clip(np.ceil(4 / pen), 1, 4))
    sheet = np.zeros((height * factor, width * factor), np.uint8)
    size = (width * factor, height * factor)
    lines = [np.rint(curve * size * 16).astype(np.int32)[:, None] for curve in curves]
    cv2.polylines(sheet, lines, True, 255, max(1, round(pen * factor)), cv2.LINE_AA, shift=4)
    if factor > 1:
        sheet = cv2.resize(sheet, (width, height), interpolation=cv2.INTER_AREA)
    opacity = sheet[..., None] / np.float32(255)
    return np.rint(image * (1 - opacity) + 24 * opacity).astype(np.uint8)
