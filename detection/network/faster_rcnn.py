"""Faster R-CNN: the network, how it finds objects, and its training step.

Source: the report; Ren et al. 2015; torchvision's `GeneralizedRCNN`. TensorFlow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal, NamedTuple

import keras
import tensorflow as tf

from atelier.training import strategy
from detection.network import boxes as box_ops
from detection.network.anchors import base_anchors, original_base_anchors, pyramid_anchors
from detection.network.architectures import Architecture
from detection.network.backbones import build_backbone
from detection.network.heads import box_head, rpn_head
from detection.network.nms import nms
from detection.network.proposals import Proposals, propose
from detection.network.roi import roi_align_levels, roi_pool
from detection.network.stages import Batch, head_losses, head_samples, rpn_losses

Scheme = Literal["approximate", "non-approximate", "alternating"]
Stage = Literal["joint", "rpn", "head", "rpn-only", "head-only"]

PROPOSING = ("backbone", "rpn")
"""The parts that propose boxes."""

PARTS = (*PROPOSING, "box_head")
"""The parts with weights."""

LOSSES = ("objectness", "rpn_box", "class", "box")

SMALLEST = 1e-2
"""Sides in pixels below which a detection is dropped, as in torchvision."""


class Found(NamedTuple):
    """What is found on a batch of pictures, highest score first.

    Attributes:
        boxes: float32 (N, D, 4), x1 y1 x2 y2 in pixels of the network's pictures.
        scores: float32 (N, D), probabilities.
        labels: int32 (N, D), classes from 1 on; 0 where not valid.
        valid: bool (N, D).
    """

    boxes: tf.Tensor
    scores: tf.Tensor
    labels: tf.Tensor
    valid: tf.Tensor


@keras.saving.register_keras_serializable("atelier")
class FasterRCNN(keras.Model):
    """A Faster R-CNN.

    Called with a dictionary of `images`, float32 (N, H, W, 3), normalised and padded by
    `detection.network.transform`, and `sizes`, float32 (N, 2), their heights and widths without
    padding, it gives `Found`. Trained with the same and with `boxes`, float32 (N, G, 4), and
    `labels`, int32 (N, G), see `detection.network.targets`.

    Args:
        architecture: what it is built of.
        classes: their names, without a background.
        cut_gradient: whether gradients stop at the coordinates of proposals (approximate joint
            training) or flow through them to the region proposal network (non-approximate).
            `roi_pool` passes none on, so the latter needs RoIAlign.

    Attributes:
        stage: which parts are trained, and by which losses (`set_stage`).
        proposer: another network, on whose proposals the box head is trained at stage "head"; None:
            its own.

    Example:
        >>> model = FasterRCNN(ARCHITECTURES["lite"], ["cat", "dog"])
        >>> found = model({"images": tf.zeros((1, 448, 448, 3)), "sizes": [[448.0, 448.0]]})
        >>> found.boxes.shape
        TensorShape([1, 100, 4])
    """

    def __init__(
        self,
        architecture: Architecture,
        classes: Sequence[str],
        cut_gradient: bool = True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not cut_gradient and architecture.pooling == "max":
            raise ValueError("non-approximate joint training needs RoIAlign, not RoI pooling")
        # === Layers ===
        ratios = len(architecture.anchor_ratios)
        anchors = {ratios * len(scales) for scales in architecture.anchor_scales}
        if len(anchors) > 1:
            raise ValueError("each level has as many anchors a position as any other")
        self.backbone = build_backbone(architecture.backbone)
        channels = self.backbone.outputs[0].shape[-1]
        self.rpn = rpn_head(
            channels, anchors.pop(), architecture.rpn_convs, architecture.rpn_channels
        )
        self.box_head = box_head(architecture, channels, 1 + len(classes))
        self.random = keras.random.SeedGenerator()  # Seeded by `keras.utils.set_random_seed`.
        self.trackers = {name: keras.metrics.Mean(name) for name in ("loss", *LOSSES)}
        self.stage: Stage = "joint"
        self.proposer: FasterRCNN | None = None

        # === Config ===
        self.architecture = architecture
        self.classes = tuple(classes)
        self.cut_gradient = cut_gradient
        self.built = True

    def get_config(self):
        return {
            "name": self.name,
            "architecture": dataclasses.asdict(self.architecture),
            "classes": list(self.classes),
            "cut_gradient": self.cut_gradient,
        }

    @classmethod
    def from_config(cls, config):
        architecture = {
            name: _tuples(value) for name, value in dict(config["architecture"]).items()
        }
        return cls(**{**config, "architecture": Architecture(**architecture)})

    # === Finding objects ===

    def call(self, inputs, training=False) -> Found:
        images, sizes = inputs["images"], tf.cast(inputs["sizes"], tf.float32)
        maps = self.backbone(images, training=training)
        logits, deltas, anchors = self.propose_raw(images, maps, training)
        proposals = self.proposals(logits, deltas, anchors, sizes, training)
        class_logits, box_deltas = self.classify(images, maps, proposals.boxes, training)
        return self.postprocess(class_logits, box_deltas, proposals, sizes)

    @tf.function(
        input_signature=[
            {
                "images": tf.TensorSpec((None, None, None, 3), tf.float32),
                "sizes": tf.TensorSpec((None, 2), tf.float32),
            }
        ]
    )
    def find(self, inputs) -> Found:
        """The call as one graph for pictures of any size: never traced again."""
        return self(inputs)

    def propose_raw(self, images, maps, training=False):
        """The region proposal network on all levels: logits (N, A), deltas (N, A, 4), anchors
        (A, 4), each a list with one a level."""
        batch = tf.shape(images)[0]
        logits, deltas = [], []
        for level in maps:
            level_logits, level_deltas = self.rpn(level, training=training)
            logits.append(tf.reshape(level_logits, (batch, -1)))
            deltas.append(tf.reshape(level_deltas, (batch, -1, 4)))
        sizes = [tf.shape(level)[1:3] for level in maps]
        strides = self.strides(tf.shape(images)[1:3], sizes)
        return logits, deltas, pyramid_anchors(self.base_anchors(), sizes, strides)

    def base_anchors(self) -> list:
        """The anchors of one position of each level, (k, 4) pixels."""
        shape, ratios = self.architecture, self.architecture.anchor_ratios
        if shape.original_anchors:
            pairs = zip(shape.anchor_scales, shape.strides, strict=True)
            return [original_base_anchors(scales, ratios, stride) for scales, stride in pairs]
        return [base_anchors(scales, ratios) for scales in shape.anchor_scales]

    def strides(self, picture, sizes) -> list[tuple]:
        """Pixels between positions of each level, down and across."""
        if self.architecture.strides is not None:
            return [(stride, stride) for stride in self.architecture.strides]
        strides = [picture // size for size in sizes]
        return [(stride[0], stride[1]) for stride in strides]

    def proposals(self, logits, deltas, anchors, sizes, training=False) -> Proposals:
        """The best of what the region proposal network proposes."""
        shape, place = self.architecture, 0 if training else 1
        return propose(
            logits,
            deltas,
            anchors,
            sizes,
            pre_nms=shape.pre_nms[place],
            post_nms=shape.post_nms[place],
            nms_threshold=shape.proposal_nms,
            min_size=shape.proposal_min_size,
        )

    @property
    def pooled_strides(self) -> tuple[int, ...]:
        """Pixels a position of the levels that boxes are pooled from; torchvision's are 4, 8, …"""
        levels = self.architecture.pooled_levels
        strides = self.architecture.strides or [4 * 2**level for level in range(levels)]
        return tuple(strides[:levels])

    def pool(self, images, maps, boxes):
        """The maps' part under each box, (N, R, S, S, C)."""
        shape = self.architecture
        maps = maps[: shape.pooled_levels]
        if shape.pooling == "max":
            scale = 1 / self.pooled_strides[0]
            return roi_pool(maps[0], boxes, scale, shape.pooled_size, clipped=True)
        return roi_align_levels(
            maps, boxes, self.pooled_strides, shape.pooled_size, shape.sampling_ratio
        )

    def classify(self, images, maps, boxes, training=False):
        """The box head on boxes (N, R, 4): logits (N, R, K) and deltas (N, R, K, 4)."""
        pooled = self.pool(images, maps, boxes)
        batch, count = tf.shape(boxes)[0], tf.shape(boxes)[1]
        flat = tf.reshape(pooled, (-1, *pooled.shape[2:]))
        logits, deltas = self.box_head(flat, training=training)
        classes = logits.shape[-1]
        return (
            tf.reshape(logits, (batch, count, classes)),
            tf.reshape(deltas, (batch, count, classes, 4)),
        )

    def postprocess(self, logits, deltas, proposals: Proposals, sizes) -> Found:
        """The most certain boxes, suppressed within their classes; torchvision's
        `RoIHeads.postprocess_detections`."""
        shape, classes = self.architecture, len(self.classes)
        scores = tf.nn.softmax(logits)[..., 1:]
        boxes = box_ops.decode(deltas[..., 1:, :], proposals.boxes[..., None, :], shape.box_weights)
        boxes = box_ops.clip(boxes, sizes)
        labels = tf.broadcast_to(tf.range(1, classes + 1), tf.shape(scores))
        valid = tf.broadcast_to(proposals.valid[..., None], tf.shape(scores))

        batch = tf.shape(logits)[0]
        boxes = tf.reshape(boxes, (batch, -1, 4))
        scores, labels, valid = (tf.reshape(part, (batch, -1)) for part in (scores, labels, valid))
        sides = boxes[..., 2:] - boxes[..., :2]
        valid &= (scores > shape.score_threshold) & tf.reduce_all(sides >= SMALLEST, axis=-1)
        kept = nms(boxes, scores, valid, shape.nms_threshold, shape.detections, labels)
        return Found(
            tf.where(kept.valid[..., None], tf.gather(boxes, kept.indices, batch_dims=1), 0.0),
            tf.where(kept.valid, tf.gather(scores, kept.indices, batch_dims=1), 0.0),
            tf.where(kept.valid, tf.gather(labels, kept.indices, batch_dims=1), 0),
            kept.valid,
        )

    # === Training ===

    @property
    def metrics(self):
        return list(self.trackers.values())

    def set_stage(self, stage: Stage) -> None:
        """Chooses what is trained from now on.

        "joint" trains all by all four losses. The four steps of alternating training (the report's
        last list; Ren et al. 2015, section 3.2) are "rpn" (with the backbone), "head" (with the
        backbone, on the proposals of `proposer`), "rpn-only" and "head-only", in which the shared
        layers stay as they are.
        """
        self.stage = stage
        self.train_function = self.test_function = None  # They are to be traced anew.

    def take(self, other: FasterRCNN, parts: Sequence[str] = PARTS) -> None:
        """Copies the weights of parts of a network of the same shape."""
        for part in parts:
            getattr(self, part).set_weights(getattr(other, part).get_weights())

    @property
    def unpooled_layers(self) -> list[keras.Layer]:
        """The backbone's layers for levels that no box is pooled from.

        They serve the region proposal network alone, and are trained as parts of it.
        """
        pooled = self.backbone.outputs[: self.architecture.pooled_levels]
        shared = set(map(id, keras.Model(self.backbone.input, pooled).layers))
        return [layer for layer in self.backbone.layers if id(layer) not in shared]

    def stage_variables(self) -> list[keras.Variable]:
        """Returns the variables that the current stage changes."""
        backbone, rpn, head = (
            part.trainable_variables for part in (self.backbone, self.rpn, self.box_head)
        )
        unpooled = [v for layer in self.unpooled_layers for v in layer.trainable_variables]
        shared = [v for v in backbone if not any(v is own for own in unpooled)]
        return {
            "joint": [*backbone, *rpn, *head],
            "rpn": [*backbone, *rpn],
            "head": [*shared, *head],
            "rpn-only": [*unpooled, *rpn],
            "head-only": head,
        }[self.stage]

    def compute_losses(self, data, training=True) -> dict[str, tf.Tensor]:
        """The losses of a batch, those of the current stage; one pass through the backbone.

        In a training step on several devices they are this device's parts of them.
        """
        images, sizes = data["images"], tf.cast(data["sizes"], tf.float32)
        labels = tf.cast(data["labels"], tf.int32)
        batch = Batch(sizes, data["boxes"], labels, *strategy.placed(tf.shape(images)[0]))
        seeds = [tf.cast(self.random.next(), tf.int32) for _ in range(2)] if training else _SEEDS
        maps = self.backbone(images, training=training)
        raw = self.propose_raw(images, maps, training)

        found = {}
        if self.stage in ("joint", "rpn", "rpn-only"):
            found |= rpn_losses(self.architecture, batch, raw, seeds[0])
        if self.stage in ("joint", "head", "head-only"):
            if self.stage == "head" and self.proposer is not None:
                raw = self.proposer.propose_raw(images, self.proposer.backbone(images))
            proposals = self.proposals(*raw, sizes, training)
            if self.cut_gradient or self.stage != "joint":
                proposals = Proposals(*map(tf.stop_gradient, proposals))
            anchors = sum(tf.shape(level)[0] for level in raw[2])
            targets, boxes = head_samples(self.architecture, batch, proposals, anchors, seeds[1])
            outputs = self.classify(images, maps, boxes, training)
            found |= head_losses(self.architecture, targets, *outputs)
        return found

    def train_step(self, data):
        data = keras.utils.unpack_x_y_sample_weight(data)[0]
        variables = self.stage_variables()
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([variable.value for variable in variables])
            found = self.compute_losses(data)
            total = tf.add_n(list(found.values()))
        gradients = tape.gradient(total, [variable.value for variable in variables])
        self.optimizer.apply(strategy.total(gradients), variables)
        return self._track(found, total)

    def test_step(self, data):
        data = keras.utils.unpack_x_y_sample_weight(data)[0]
        found = self.compute_losses(data, training=False)
        return self._track(found, tf.add_n(list(found.values())))

    def _track(self, found, total) -> dict[str, tf.Tensor]:
        for name, loss in {"loss": total, **found}.items():
            # A mean over the devices, of which each has a part.
            self.trackers[name].update_state(loss * strategy.device_count())
        return {name: self.trackers[name].result() for name in ("loss", *found)}


# Of the samples that a validation loss is computed on: always the same.
_SEEDS = ((0, 1), (0, 2))


def _tuples(value):
    """Lists as tuples, all the way down: what JSON made of an architecture."""
    return tuple(map(_tuples, value)) if isinstance(value, (list, tuple)) else value
