"""Boxes: areas, overlaps, clipping, and the regression targets between two sets of them.

Boxes are float32 (…, 4) as x1 y1 x2 y2 in pixels of the picture, x to the right and y down, with
x2 and y2 exclusive: a box is x2 - x1 wide. The original code's boxes hold their last pixel and are
one pixel wider; torchvision's are these. Written with `keras.ops`, so they run on any backend.
"""

from __future__ import annotations

import math

from keras import ops

# exp(dw) is at most 62.5: a diverging regression must not overflow.
MAX_LOG_SCALE = math.log(1000 / 16)

# Width below which a box counts as this wide in `encode`: targets of padding stay finite.
_SMALLEST_SIDE = 1e-6


def area(boxes):
    """Area of boxes (…, 4) in square pixels, (…,); a box turned inside out has area 0."""
    sides = ops.maximum(boxes[..., 2:] - boxes[..., :2], 0.0)
    return sides[..., 0] * sides[..., 1]


def iou(boxes, others):
    """Intersection over union of every pair of boxes, float32 in [0, 1].

    Pairs in which both boxes are degenerate (no width or height) give 0, where torchvision's
    `box_iou` gives NaN.

    Args:
        boxes: (…, N, 4).
        others: (…, M, 4), with leading axes that broadcast against those of `boxes`.

    Returns:
        (…, N, M).
    """
    intersection = _intersection(boxes, others)
    union = ops.expand_dims(area(boxes), -1) + ops.expand_dims(area(others), -2) - intersection
    return ops.where(union > 0, intersection / ops.where(union > 0, union, 1.0), 0.0)


def coverage(boxes, others):
    """The share of each of `others` that lies within each of `boxes`, float32 in [0, 1].

    The IoU of COCO's evaluation with regions of crowds. Degenerate `others` give 0.

    Args:
        boxes: (…, N, 4).
        others: (…, M, 4), with leading axes that broadcast against those of `boxes`.

    Returns:
        (…, N, M).
    """
    whole = ops.expand_dims(area(others), -2)
    share = _intersection(boxes, others) / ops.where(whole > 0, whole, 1.0)
    return ops.where(whole > 0, share, 0.0)


def _intersection(boxes, others):
    """The area that each pair of boxes has in common, (…, N, M)."""
    boxes = ops.expand_dims(boxes, -2)
    others = ops.expand_dims(others, -3)
    low = ops.maximum(boxes[..., :2], others[..., :2])
    high = ops.minimum(boxes[..., 2:], others[..., 2:])
    sides = ops.maximum(high - low, 0.0)
    return sides[..., 0] * sides[..., 1]


def clip(boxes, sizes):
    """Boxes cut off at the borders of their pictures.

    Args:
        boxes: (N, …, 4), or (…, 4) with one size for all.
        sizes: (N, 2) or (2,), height and width of each picture in pixels.
    """
    sizes = ops.cast(sizes, boxes.dtype)
    limits = ops.concatenate([sizes[..., ::-1], sizes[..., ::-1]], axis=-1)
    if len(limits.shape) > 1:
        between = (1,) * (len(boxes.shape) - len(limits.shape))
        limits = ops.reshape(limits, (-1, *between, 4))
    return ops.minimum(ops.maximum(boxes, 0.0), limits)


def encode(boxes, anchors, weights=(1.0, 1.0, 1.0, 1.0)):
    """Regression targets tx, ty, tw, th that move anchors onto boxes.

    tx = (x - x_a) / w_a, tw = log(w / w_a) and so on, of centres and sides, each times its weight.
    The RPN weighs with 1; torchvision's box head with (10, 10, 5, 5), which are one over the
    standard deviations of Fast R-CNN. Sides of 0, as in padding, give large finite targets.

    Source: Ren et al. 2015, eq. 2; `BoxCoder.encode` of torchvision.

    Args:
        boxes: (…, 4), the boxes aimed at.
        anchors: (…, 4), anchors or proposals, one a box.

    Returns:
        (…, 4).
    """
    centers, sides = _centers_and_sides(boxes)
    anchor_centers, anchor_sides = _centers_and_sides(anchors)
    sides = ops.maximum(sides, _SMALLEST_SIDE)
    anchor_sides = ops.maximum(anchor_sides, _SMALLEST_SIDE)
    shifts = (centers - anchor_centers) / anchor_sides
    scales = ops.log(sides / anchor_sides)
    deltas = ops.concatenate([shifts, scales], axis=-1)
    return deltas * ops.convert_to_tensor(weights, deltas.dtype)


def decode(deltas, anchors, weights=(1.0, 1.0, 1.0, 1.0)):
    """Boxes that regressed deltas make of anchors: the inverse of `encode`.

    tw and th are cut off at log(1000 / 16), as torchvision's `BoxCoder.decode` does.

    Args:
        deltas: (…, 4).
        anchors: (…, 4), broadcast against `deltas`.

    Returns:
        (…, 4), not clipped to the picture.
    """
    centers, sides = _centers_and_sides(anchors)
    deltas = deltas / ops.convert_to_tensor(weights, deltas.dtype)
    centers = deltas[..., :2] * sides + centers
    halves = 0.5 * ops.exp(ops.minimum(deltas[..., 2:], MAX_LOG_SCALE)) * sides
    return ops.concatenate([centers - halves, centers + halves], axis=-1)


def _centers_and_sides(boxes):
    sides = boxes[..., 2:] - boxes[..., :2]
    return boxes[..., :2] + 0.5 * sides, sides
