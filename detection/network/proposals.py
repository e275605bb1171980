"""Proposals: the boxes that the region proposal network passes on, from its raw outputs.

Source: the report's part 3, the proposal layer (best N, suppression, best M); Ren et al. 2015,
section 3.3; `RegionProposalNetwork.filter_proposals` of torchvision, whose order is kept: best N
of each level by logit, decode, clip, drop the small, suppress within each level, best M of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from detection.network import boxes as box_ops
from detection.network.nms import nms


class Proposals(NamedTuple):
    """Proposals of each picture, highest objectness first.

    Attributes:
        boxes: float32 (N, M, 4), x1 y1 x2 y2 in pixels, within the picture; 0 where not valid.
        scores: float32 (N, M), probability of an object; 0 where not valid.
        valid: bool (N, M).
        anchors: int32 (N, M), the anchor that each was made of, counted through all levels; 0 where
            not valid.
    """

    boxes: tf.Tensor
    scores: tf.Tensor
    valid: tf.Tensor
    anchors: tf.Tensor


def propose(
    logits: Sequence,
    deltas: Sequence,
    anchors: Sequence,
    sizes,
    *,
    pre_nms: int = 2000,
    post_nms: int = 2000,
    nms_threshold: float = 0.7,
    min_size: float = 1e-3,
) -> Proposals:
    """Proposals from the outputs of a region proposal network, one level or several.

    Gradients flow to `deltas` through the boxes. Stop them (`tf.stop_gradient`) for approximate
    joint training, as torchvision does; leave them for non-approximate training.

    Args:
        logits: objectness of each level, float32 (N, A), before the sigmoid.
        deltas: regression of each level, float32 (N, A, 4).
        anchors: of each level, float32 (A, 4).
        sizes: (N, 2), height and width of each picture in pixels, without padding.
        pre_nms: how many of each level enter the suppression. torchvision takes 2000 in training
            and 1000 in use; the paper 6000 in use.
        post_nms: M, how many of all levels leave it. torchvision takes 2000 and 1000; the paper
            2000 and 300.
        nms_threshold: IoU above which the lower of two is dropped.
        min_size: sides in pixels below which a box is dropped; the original code takes 16.
    """
    levels = [
        _propose_level(*level, sizes, pre_nms, post_nms, nms_threshold, min_size)
        for level in zip(logits, deltas, anchors, strict=True)
    ]
    boxes, scores, valid, origins = map(list, zip(*levels, strict=True))
    first = 0
    for level, level_anchors in enumerate(anchors):
        origins[level] += first
        first += tf.shape(level_anchors)[0]
    boxes, scores, valid, origins = (tf.concat(p, axis=1) for p in (boxes, scores, valid, origins))
    ranks = tf.where(valid, scores, -1.0)
    short = tf.maximum(post_nms - tf.shape(ranks)[1], 0)
    # Equal scores stay in the order of levels, as in torchvision's stable sort.
    best = tf.math.top_k(tf.pad(ranks, [[0, 0], [0, short]], constant_values=-1.0), k=post_nms)
    valid = best.values >= 0
    chosen = tf.where(valid, best.indices, 0)
    boxes = tf.where(valid[..., None], tf.gather(boxes, chosen, batch_dims=1), 0.0)
    origins = tf.where(valid, tf.gather(origins, chosen, batch_dims=1), 0)
    return Proposals(boxes, tf.where(valid, best.values, 0.0), valid, origins)


def _propose_level(logits, deltas, anchors, sizes, pre_nms, post_nms, nms_threshold, min_size):
    """One level's boxes (N, P, 4), scores, validity and anchors (N, P) after suppression."""
    # Suppressing level by level is exact, where moving levels apart would round coordinates.
    count = tf.minimum(pre_nms, tf.shape(logits)[1])
    logits, best = tf.math.top_k(logits, k=count)
    boxes = box_ops.decode(tf.gather(deltas, best, batch_dims=1), tf.gather(anchors, best))
    boxes = box_ops.clip(boxes, sizes)
    scores = tf.sigmoid(logits)
    valid = tf.reduce_all(boxes[..., 2:] - boxes[..., :2] >= min_size, axis=-1)
    kept = nms(boxes, scores, valid, nms_threshold, min(pre_nms, post_nms))
    boxes = tf.gather(boxes, kept.indices, batch_dims=1)
    scores = tf.gather(scores, kept.indices, batch_dims=1)
    return boxes, scores, kept.valid, tf.gather(best, kept.indices, batch_dims=1)
