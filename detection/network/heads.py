"""The two heads of Faster R-CNN: of the region proposal network, and of the boxes it proposes."""

from __future__ import annotations

import keras
from keras import layers

from detection.network.architectures import Architecture


def rpn_head(channels: int, anchors: int, convs: int, width: int) -> keras.Model:
    """The region proposal network on one level: a 3×3 convolution, then two of 1×1.

    Weights start from a normal distribution of σ 0.01 (the report's "训练RPN", rule 3).

    Args:
        channels: of the feature map.
        anchors: k, anchors a position.
        convs: 3×3 convolutions, each with ReLU; one in the paper.
        width: their filters, 512 for VGG16.

    Returns:
        a model from (N, H, W, channels) to logits (N, H, W, k) and deltas (N, H, W, 4 k).
    """
    normal = keras.initializers.RandomNormal(stddev=0.01)
    inputs = x = keras.Input((None, None, channels))
    for index in range(1, convs + 1):
        conv = layers.Conv2D(
            width, 3, padding="same", activation="relu", name=f"rpn_conv{index}",
            kernel_initializer=normal.clone(),
        )  # fmt: skip
        x = conv(x)
    logits = layers.Conv2D(anchors, 1, name="rpn_objectness", kernel_initializer=normal.clone())(x)
    deltas = layers.Conv2D(4 * anchors, 1, name="rpn_deltas", kernel_initializer=normal.clone())(x)
    return keras.Model(inputs, [logits, deltas], name="rpn")


def box_head(architecture: Architecture, channels: int, classes: int) -> keras.Model:
    """What a pooled box is, and how it is to be moved.

    Args:
        architecture: its fields `head_…` and `pooled_size`.
        channels: of the feature map.
        classes: K, the background among them.

    Returns:
        a model from (B, pooled_size, pooled_size, channels) to logits (B, K) and deltas (B, 4 K).
    """
    size = architecture.pooled_size
    inputs = x = keras.Input((size, size, channels))
    norm = architecture.head_norm
    for index, (filters, stride) in enumerate(architecture.head_convs, start=1):
        conv = layers.Conv2D(
            filters, 3, stride, padding="same" if stride == 1 else "valid", use_bias=not norm,
            kernel_initializer="he_normal", name=f"head_conv{index}",
        )  # fmt: skip
        x = conv(x)
        if norm:
            x = layers.BatchNormalization(epsilon=1e-5, name=f"head_norm{index}")(x)
        x = layers.ReLU(name=f"relu{index}")(x)
    x = layers.Flatten(name="flatten")(x)
    for index, units in enumerate(architecture.head_dense, start=1):
        x = layers.Dense(units, "relu", kernel_initializer="he_normal", name=f"head_dense{index}")(
            x
        )
        if architecture.head_dropout:
            x = layers.Dropout(architecture.head_dropout, name=f"dropout{index}")(x)
    first, second = (keras.initializers.RandomNormal(stddev=sigma) for sigma in (0.01, 0.001))
    logits = layers.Dense(classes, name="head_classes", kernel_initializer=first)(x)
    deltas = layers.Dense(4 * classes, name="head_deltas", kernel_initializer=second)(x)
    return keras.Model(inputs, [logits, deltas], name="box_head")
