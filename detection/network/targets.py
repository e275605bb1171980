"""What each stage is taught: labels and boxes of sampled anchors, and of sampled proposals.

Ground truth is padded to a fixed number of boxes, with labels: a class from 1 on; 0 for padding; -1
for a region to be ignored (a crowd, an object marked difficult, one cut off by the crop).
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from detection.network import boxes as box_ops
from detection.network.anchors import crosses_border
from detection.network.matcher import IGNORED, NEGATIVE, match
from detection.network.sampler import Identities, Samples, gather, sample

COVERED = 0.5
"""An anchor with this share in a region to be ignored is no example of the background."""


class Targets(NamedTuple):
    """What the S samples of each picture are to become.

    Attributes:
        samples: which anchors or proposals they are.
        labels: int32 (N, S), 0 background; of anchors, 1 for an object; of proposals, a class.
        boxes: float32 (N, S, 4), regression targets; anything where the label is 0.
    """

    samples: Samples
    labels: tf.Tensor
    boxes: tf.Tensor


def rpn_targets(
    anchors, boxes, labels, sizes, seed, *, count: int = 256, border_anchors: bool = True, place=0
) -> Targets:
    """Sampled anchors: positive from an IoU of 0.7 or as a box's best, negative below 0.3.

    Args:
        anchors: (A, 4).
        boxes, labels: (N, G, 4) and int (N, G), see above.
        sizes: (N, 2), height and width of each picture without padding.
        seed: int (2,).
        count: samples a picture, at most half of them positive.
        border_anchors: whether anchors across the border are taken.
        place: see `detection.network.sampler.sample`.
    """
    if border_anchors:
        # Those that lie in the padding altogether would be too easy.
        valid = tf.reduce_all(anchors[:, :2] < tf.reverse(sizes, [1])[:, None], axis=-1)
    else:
        valid = ~crosses_border(anchors, sizes)
    matches = match(box_ops.iou(boxes, anchors[None]), labels > 0, valid)
    chosen = _forget_ignored(matches.labels, anchors[None], boxes, labels)
    samples = sample(chosen, seed, count, place=place)
    matched = tf.gather(boxes, gather(matches.indices, samples), batch_dims=1)
    targets = box_ops.encode(matched, tf.gather(anchors, samples.indices))
    return Targets(samples, gather(chosen, samples), targets)


def head_targets(
    proposals,
    valid,
    boxes,
    labels,
    seed,
    *,
    count: int = 512,
    weights=(10.0, 10.0, 5.0, 5.0),
    place=0,
    identities: Identities | None = None,
) -> Targets:
    """Sampled proposals: of a box's class from an IoU of 0.5, background below it.

    Args:
        proposals: (N, P, 4); the ground truth among them, as in torchvision, starts the training.
        valid: bool (N, P).
        boxes, labels: (N, G, 4) and int (N, G), see above.
        seed: int (2,).
        count: samples a picture, at most a quarter of them positive.
        weights: of the regression targets.
        place, identities: see `detection.network.sampler.sample`.
    """
    overlaps = box_ops.iou(boxes, proposals)
    matches = match(overlaps, labels > 0, valid, high=0.5, low=0.5, keep_best=False)
    classes = tf.gather(labels, matches.indices, batch_dims=1)
    chosen = tf.where(matches.labels > 0, classes, matches.labels)
    chosen = _forget_ignored(chosen, proposals, boxes, labels)
    samples = sample(chosen, seed, count, 0.25, place=place, identities=identities)
    matched = tf.gather(boxes, gather(matches.indices, samples), batch_dims=1)
    targets = box_ops.encode(matched, gather(proposals, samples), weights)
    return Targets(samples, gather(chosen, samples), targets)


def _forget_ignored(chosen, candidates, boxes, labels):
    """Negatives that lie in regions to be ignored become ignored."""
    regions = tf.where((labels < 0)[..., None], boxes, 0.0)
    covered = tf.reduce_any(box_ops.coverage(regions, candidates) >= COVERED, axis=1)
    return tf.where((chosen == NEGATIVE) & covered, IGNORED, chosen)
