"""The two stages' parts of a training step: what each samples, and its losses.

Source: Ren et al. 2015, sections 3.1.2 and 3.2; `RegionProposalNetwork.compute_loss` and
`RoIHeads.select_training_samples` of torchvision. In a step on several devices, losses are this
device's parts of those of the whole batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from atelier.training import strategy
from detection.network import losses
from detection.network.architectures import Architecture
from detection.network.proposals import Proposals
from detection.network.sampler import Identities, gather
from detection.network.targets import Targets, head_targets, rpn_targets


class Batch(NamedTuple):
    """What a step is taught of its N pictures.

    Attributes:
        sizes: float32 (N, 2), heights and widths without padding.
        boxes: float32 (N, G, 4), x1 y1 x2 y2 in pixels; see `detection.network.targets`.
        labels: int32 (N, G), likewise.
        pictures: how many there are on all devices.
        place: of the first of these among them.
    """

    sizes: tf.Tensor
    boxes: tf.Tensor
    labels: tf.Tensor
    pictures: tf.Tensor
    place: tf.Tensor


def rpn_losses(
    architecture: Architecture, batch: Batch, raw: Sequence[Sequence], seed
) -> dict[str, tf.Tensor]:
    """Losses of the first stage, "objectness" and "rpn_box", on sampled anchors.

    Args:
        architecture: its fields `rpn_…` and `border_anchors`.
        batch: what is taught.
        raw: logits, deltas and anchors, as from `FasterRCNN.propose_raw`.
        seed: int (2,).
    """
    logits, deltas = (tf.concat(levels, axis=1) for levels in raw[:2])
    anchors = tf.concat(raw[2], axis=0)
    targets = rpn_targets(
        anchors, batch.boxes, batch.labels, batch.sizes, seed,
        count=architecture.rpn_samples, border_anchors=architecture.border_anchors,
        place=batch.place,
    )  # fmt: skip
    objectness, box = losses.rpn_losses(
        gather(logits, targets.samples),
        gather(deltas, targets.samples),
        targets.labels,
        targets.boxes,
        targets.samples.valid,
        beta=architecture.rpn_beta,
        **_normalizers(architecture, batch, targets.samples.valid, tf.shape(anchors)[0]),
    )
    return {"objectness": objectness, "rpn_box": box}


def _normalizers(architecture: Architecture, batch: Batch, valid, anchors) -> dict:
    """Divisors of the first stage's losses, for the batch of all devices."""
    if architecture.rpn_loss == "torchvision":
        samples = strategy.total(losses.sample_count(valid))
        return {"cls_normalizer": samples, "reg_normalizer": samples}
    pictures = tf.cast(batch.pictures, tf.float32)
    return {
        "cls_normalizer": pictures * architecture.rpn_samples,
        "reg_normalizer": pictures * tf.cast(anchors, tf.float32),
        "weight": 10.0,
    }


def head_samples(
    architecture: Architecture, batch: Batch, proposals: Proposals, anchors, seed
) -> tuple[Targets, tf.Tensor]:
    """Boxes (N, S, 4) that the second stage is trained on, and what they are to become.

    Args:
        architecture: its fields `head_samples` and `box_weights`.
        batch: what is taught; its true boxes are among those to sample from.
        proposals: the others.
        anchors: how many anchors there are, of which some became proposals.
        seed: int (2,).
    """
    candidates = tf.concat([proposals.boxes, batch.boxes], axis=1)
    valid = tf.concat([proposals.valid, batch.labels > 0], axis=1)
    # The numbers of true boxes follow those of the anchors.
    total = anchors + tf.shape(batch.boxes)[1]
    truth = tf.broadcast_to(tf.range(anchors, total), tf.shape(batch.labels))
    targets = head_targets(
        candidates, valid, batch.boxes, batch.labels, seed,
        count=architecture.head_samples, weights=architecture.box_weights, place=batch.place,
        identities=Identities(tf.concat([proposals.anchors, truth], axis=1), total),
    )  # fmt: skip
    return targets, gather(candidates, targets.samples)


def head_losses(
    architecture: Architecture, targets: Targets, logits, deltas
) -> dict[str, tf.Tensor]:
    """Losses of the second stage, "class" and "box".

    Args:
        architecture: its field `head_beta`.
        targets: as from `head_samples`.
        logits, deltas: (N, S, K) and (N, S, K, 4), as from `FasterRCNN.classify`.
    """
    of_class, of_box = losses.head_losses(
        logits,
        deltas,
        targets.labels,
        targets.boxes,
        targets.samples.valid,
        normalizer=strategy.total(losses.sample_count(targets.samples.valid)),
        beta=architecture.head_beta,
    )
    return {"class": of_class, "box": of_box}
