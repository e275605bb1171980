"""Boxes around COCO's segmentations: polygons and run-length encoding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from atelier.media.images import MAX_PIXELS
from detection.annotations.fields import real
from detection.annotations.text import FaultError, plain

Box = tuple[float, float, float, float]

POINTS = 2_000_000
"""Numbers that one segmentation may hold."""


def outline_box(segmentation: object, size: tuple[float, float]) -> Box | None:
    """Returns the box around a segmentation, x1 y1 x2 y2 in pixels; None if there is none.

    Args:
        segmentation: COCO's: a list of polygons, each a list x y x y …; one polygon alone or as
            pairs is taken too; or run lengths, `counts` as a list or as COCO's text.
        size: height and width that the picture is said to have.

    Raises:
        FaultError: it cannot be read, or run lengths are of another size.
    """
    if isinstance(segmentation, dict):
        return _runs_box(segmentation, size)
    if not segmentation:
        return None
    if not isinstance(segmentation, list):
        raise FaultError("'segmentation' is neither a list of polygons nor run lengths")
    polygons = segmentation if isinstance(segmentation[0], list) else [segmentation]
    numbers = []
    for polygon in polygons:
        if not isinstance(polygon, list) or len(polygon) % 2:
            raise FaultError("'segmentation' holds a polygon that is no list x y x y …")
        numbers += polygon
        if len(numbers) > POINTS:
            raise FaultError(f"'segmentation' holds more than {POINTS:,} numbers")
    if not numbers:
        return None
    points = np.array([real(value, "segmentation") for value in numbers]).reshape(-1, 2)
    (x1, y1), (x2, y2) = points.min(axis=0), points.max(axis=0)
    return float(x1), float(y1), float(x2), float(y2)


def _runs_box(segmentation: dict, size: tuple[float, float]) -> Box | None:
    shape, counts = segmentation.get("size"), segmentation.get("counts")
    if not isinstance(shape, list) or len(shape) != 2:
        raise FaultError("'segmentation' holds run lengths without a size")
    height, width = (int(real(value, "segmentation")) for value in shape)
    if (height, width) != tuple(size) or not 0 < height * width <= MAX_PIXELS:
        raise FaultError(
            f"'segmentation' is of {width}×{height} pixels, and its picture of "
            f"{size[1]:g}×{size[0]:g}"
        )
    if isinstance(counts, str):
        runs = decode_runs(counts, height * width)
    elif isinstance(counts, list) and len(counts) <= POINTS:
        runs = [int(real(count, "counts")) for count in counts]
    else:
        raise FaultError("'counts' is neither a list nor a text of run lengths")
    if min(runs, default=0) < 0 or sum(runs) != height * width:
        raise FaultError(f"'counts' does not make up {width}×{height} pixels")
    ends = np.cumsum(runs, dtype=np.int64)
    starts, stops = ends[0:-1:2], ends[1::2]
    starts, stops = starts[stops > starts], stops[stops > starts] - 1
    if not len(starts):
        return None
    left, right = starts // height, stops // height  # Column by column.
    split = (right > left).any()
    top = 0 if split else (starts % height).min()
    bottom = height if split else (stops % height).max() + 1
    return float(left.min()), float(top), float(right.max() + 1), float(bottom)


def decode_runs(text: str, pixels: int) -> Sequence[int]:
    """Decodes the text of run lengths as pycocotools 2.0.11 writes it.

    Each number has its lowest five bits first, a sixth that says whether there are more, from the
    character "0" on; from the fourth on, numbers are differences to the last but one.

    Raises:
        FaultError: it is longer than `pixels` allow, cut short, or holds other characters.
    """
    if len(text) > min(POINTS, 7 * (pixels + 1)):
        raise FaultError("'counts' is too long")
    runs, value, shift = [], 0, 0
    for code in (ord(character) - 48 for character in text):
        if not 0 <= code < 64 or shift > 60:
            raise FaultError(f"'counts' is {plain(text, 20)!r}, no text of run lengths")
        value |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        if code & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise FaultError("'counts' is cut short")
    return runs
