"""Non-maximum suppression: of boxes that overlap much, only the one of highest score stays.

TensorFlow's operator is greedy as torchvision's is, keeps the first of equal scores, and computes
the same float32 IoU; what differs is the comparison with the threshold (see `float_threshold`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf


class Kept(NamedTuple):
    """The boxes that stay.

    Attributes:
        indices: int32 (N, max_output), highest score first, 0 where not valid.
        valid: bool (N, max_output).
    """

    indices: tf.Tensor
    valid: tf.Tensor


def float_threshold(threshold: float) -> float:
    """The largest float32 that is not above the threshold.

    torchvision compares the float32 IoU with the threshold in float64, TensorFlow in float32. An
    IoU of 3/10 is 0.30000001 in float32, which torchvision suppresses at 0.3; the nearest float32
    would keep it.
    """
    nearest = np.float32(threshold)
    above = float(nearest) > threshold
    return float(np.nextafter(nearest, np.float32(-np.inf))) if above else float(nearest)


def nms(boxes, scores, valid, iou_threshold: float, max_output: int, groups=None) -> Kept:
    """Greedy non-maximum suppression of each picture, equal to torchvision's to the index.

    A box stays unless its IoU with one that stays and has a higher score is above the threshold.
    Degenerate boxes overlap nothing, and stay.

    Args:
        boxes: float32 (N, B, 4), x1 y1 x2 y2.
        scores: float32 (N, B), finite where valid.
        valid: bool (N, B), false for padding, which neither stays nor suppresses.
        iou_threshold: in [0, 1].
        max_output: how many boxes stay at most: the first ones, highest score first.
        groups: int (N, B), classes or levels: boxes of different groups do not suppress each
            other (`separate_groups`).
    """
    if groups is not None:
        boxes = separate_groups(boxes, groups, valid)
    threshold = float_threshold(iou_threshold)
    scores = tf.where(valid, scores, -np.inf)

    def of_picture(inputs):
        # The operator's y1 x1 y2 x2 are our x1 y1 x2 y2: overlaps do not change.
        kept = tf.raw_ops.NonMaxSuppressionV4(
            boxes=inputs[0],
            scores=inputs[1],
            max_output_size=max_output,
            iou_threshold=threshold,
            score_threshold=np.finfo(np.float32).min,
            pad_to_max_output_size=True,
        )
        return kept.selected_indices, kept.valid_outputs

    spec = (tf.TensorSpec((max_output,), tf.int32), tf.TensorSpec((), tf.int32))
    indices, counts = tf.map_fn(of_picture, (boxes, scores), fn_output_signature=spec)
    keeps = tf.range(max_output) < counts[:, None]
    return Kept(tf.where(keeps, indices, 0), keeps)


def separate_groups(boxes, groups, valid) -> tf.Tensor:
    """Boxes moved so that those of different groups do not overlap, (N, B, 4).

    Each group moves by its number times one more than the picture's largest coordinate, as in
    torchvision's `batched_nms`, down to the rounding: with many groups some thousandths of a
    pixel are lost. Negative coordinates are not expected: boxes are clipped first.

    Args:
        boxes: float32 (N, B, 4).
        groups: int (N, B), from 0.
        valid: bool (N, B), false for padding, which does not count.
    """
    largest = tf.reduce_max(tf.where(valid[..., None], boxes, 0.0), axis=(1, 2))
    return boxes + (tf.cast(groups, boxes.dtype) * (largest + 1)[:, None])[..., None]
