"""A detector for LiteRT (TensorFlow Lite): phones, single-board computers, browsers.

One picture in, `image`, float32 (1, H, W, 3) RGB in [0, 255]; objects out, highest score first:
`boxes`, float32 (1, D, 4), x1 y1 x2 y2 in its pixels, `scores`, float32 (1, D), `labels`,
int32 (1, D), classes from 1 on, and `count`, int32 (1,), how many of the D rows hold one; the rest
are 0. Both suppressions are inside, and all operations are LiteRT's own: RoIAlign, which it has
not, is made of gathers.

- `float32` computes what Keras does.
- `float16` keeps the weights in 16 bits.
- `int8` keeps the weights of convolutions and dense layers in 8 bits, a scale for each filter, and
  computes those layers in 8 bits by the range of what comes in (dynamic range quantisation).
"""

from __future__ import annotations

import math
import os
from typing import Literal

import numpy as np
import tensorflow as tf

from atelier.errors import SettingsError
from atelier.export.runtimes import write_litert
from detection.export.fixed import Fixed, Size
from detection.network import boxes as box_ops
from detection.network.faster_rcnn import SMALLEST, FasterRCNN
from detection.network.nms import float_threshold
from detection.network.roi import bilinear, samples_along

Kind = Literal["float32", "float16", "int8"]


def to_litert(
    model: FasterRCNN,
    path: str | os.PathLike,
    kind: Kind = "float16",
    *,
    size: Size,
    threshold: float | None = None,
    overwrite: bool = True,
) -> None:
    """Writes a detector as a .tflite file, whole or not at all.

    Args:
        model: with RoIAlign.
        path: where to.
        kind: of numbers; see above.
        size: height and width of its pictures, multiples of the architecture's.
        threshold: scores up to it are left out; None for the architecture's own.
        overwrite: whether an existing file may be replaced.

    Raises:
        SettingsError: an unknown kind, a size that is no such multiple, RoI pooling.
        OutputError: the file exists, or cannot be written.
    """
    if kind not in ("float32", "float16", "int8"):
        raise SettingsError(f"LiteRT takes float32, float16 or int8, not {kind!r}")
    fixed = Fixed.of(model, size, threshold)
    signature = tf.TensorSpec((1, *fixed.size, 3), tf.float32, name="image")
    write_litert(lambda image: find(fixed, image), signature, kind, path, overwrite=overwrite)


def find(fixed: Fixed, image) -> dict[str, tf.Tensor]:
    """`FasterRCNN.call` on one picture of fixed size, in LiteRT's operations; see above."""
    model, shape = fixed.model, fixed.model.architecture
    scale, shift = fixed.colors
    maps = model.backbone((image[..., ::-1] if fixed.bgr else image) * scale + shift)
    proposals, valid = _proposals(fixed, maps)
    pooled = roi_align_levels(
        maps[: shape.pooled_levels],
        proposals,
        fixed.model.pooled_strides,
        shape.pooled_size,
        shape.sampling_ratio,
    )
    logits, deltas = model.box_head(pooled)
    classes = logits.shape[-1]
    deltas = tf.reshape(deltas, (-1, classes, 4))[:, 1:]
    boxes = box_ops.decode(deltas, proposals[:, None], shape.box_weights)
    boxes = box_ops.clip(boxes, fixed.size)
    scores = tf.nn.softmax(logits)[:, 1:]
    labels = tf.broadcast_to(tf.range(1, classes), scores.shape)
    sides = tf.reduce_min(boxes[..., 2:] - boxes[..., :2], axis=-1)
    valid = valid[:, None] & (scores > fixed.threshold) & (sides >= SMALLEST)

    scores = tf.reshape(tf.where(valid, scores, _NONE), (-1,))
    scores, order = tf.math.top_k(scores, k=scores.shape[0])
    boxes = tf.gather(tf.reshape(boxes, (-1, 4)), order)
    labels = tf.gather(tf.reshape(labels, (-1,)), order)
    # Classes are moved apart, so that they do not suppress each other.
    moved = boxes + (tf.cast(labels - 1, tf.float32) * (max(fixed.size) + 1.0))[:, None]
    indices, count = _nms(moved, scores, shape.nms_threshold, shape.detections)
    kept = tf.range(shape.detections) < count
    return {
        "boxes": tf.where(kept[:, None], tf.gather(boxes, indices), 0.0)[None],
        "scores": tf.where(kept, tf.gather(scores, indices), 0.0)[None],
        "labels": tf.where(kept, tf.gather(labels, indices), 0)[None],
        "count": tf.reshape(count, (1,)),
    }


def _proposals(fixed: Fixed, maps):
    """Boxes (M, 4), and whether each is one, (M,)."""
    shape, levels = fixed.model.architecture, []
    pre_nms, post_nms = shape.pre_nms[1], shape.post_nms[1]
    for features, anchors in zip(maps, fixed.anchors, strict=True):
        logits, deltas = fixed.model.rpn(features)
        best = tf.math.top_k(tf.reshape(logits, (-1,)), k=min(pre_nms, len(anchors)))
        deltas = tf.gather(tf.reshape(deltas, (-1, 4)), best.indices)
        boxes = box_ops.decode(deltas, tf.gather(anchors, best.indices))
        boxes = box_ops.clip(boxes, fixed.size)
        sides = tf.reduce_min(boxes[:, 2:] - boxes[:, :2], axis=-1)
        scores = tf.where(sides >= shape.proposal_min_size, tf.sigmoid(best.values), _NONE)
        limit = min(pre_nms, post_nms, len(anchors))
        indices, count = _nms(boxes, scores, shape.proposal_nms, limit)
        scores = tf.where(tf.range(limit) < count, tf.gather(scores, indices), _NONE)
        levels.append((tf.gather(boxes, indices), scores))
    boxes, scores = (tf.concat(parts, axis=0) for parts in zip(*levels, strict=True))
    short = max(0, post_nms - scores.shape[0])
    best = tf.math.top_k(tf.pad(scores, [[0, short]], constant_values=_NONE), k=post_nms)
    valid = best.values > _NONE
    boxes = tf.gather(boxes, tf.where(valid, best.indices, 0))
    return tf.where(valid[:, None], boxes, 0.0), valid


_NONE = -1.0
"""The score of what is no box."""


def _nms(boxes, scores, threshold: float, limit: int):
    """Indices (limit,) of the boxes (B, 4) that stay, and how many do, by falling scores (B,)."""
    count = scores.shape[0]
    kept = tf.raw_ops.NonMaxSuppressionV4(
        boxes=boxes,
        # Ranks, as of equal scores TensorFlow takes the first and LiteRT any.
        scores=tf.where(scores > _NONE, np.arange(count, 0, -1, np.float32), _NONE),
        max_output_size=limit,
        # LiteRT suppresses from this IoU on, TensorFlow above it.
        iou_threshold=np.nextafter(np.float32(float_threshold(threshold)), np.float32(1)),
        score_threshold=_NONE,
        pad_to_max_output_size=True,
    )
    return tf.ensure_shape(kept.selected_indices, (limit,)), kept.valid_outputs


def roi_align_levels(maps, boxes, strides, output_size: int, sampling_ratio: int):
    """`roi.roi_align_levels` of one picture, of static shapes, by gathers from one table.

    Args:
        maps: float32 (1, H, W, C) of each level, finest first.
        boxes: float32 (R, 4), x1 y1 x2 y2 in pixels of the picture.
        strides: pixels a position of each level, powers of two.
        output_size, sampling_ratio: see `roi.roi_align`.

    Returns:
        float32 (R, output_size, output_size, C).
    """
    table = tf.concat([tf.reshape(level, (-1, level.shape[-1])) for level in maps], axis=0)
    heights, widths = (np.array([level.shape[axis] for level in maps]) for axis in (1, 2))
    starts = np.cumsum([0, *heights * widths])[:-1].astype(np.int32)
    finest = int(math.log2(strides[0]))
    levels = tf.floor(4 + tf.math.log(tf.sqrt(box_ops.area(boxes)) / 224.0) / math.log(2) + 1e-6)
    levels = tf.clip_by_value(levels, finest, finest + len(maps) - 1)
    levels = tf.cast(levels, tf.int32) - finest

    boxes = boxes / tf.gather(np.float32(strides), levels)[:, None]
    sides = tf.maximum(boxes[:, 2:] - boxes[:, :2], 1.0)
    samples = output_size * sampling_ratio

    def along(axis, lengths):
        lengths = tf.gather(np.float32(lengths), levels)[:, None]
        return samples_along(boxes[:, axis], sides[:, axis], samples, lengths)

    width = tf.gather(np.int32(widths), levels)[:, None, None]
    start = tf.gather(starts, levels)[:, None, None]
    sampled = bilinear(table, start, width, along(1, heights), along(0, widths))
    return tf.nn.avg_pool2d(sampled, sampling_ratio, sampling_ratio, "VALID")
