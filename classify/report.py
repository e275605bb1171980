"""The report's network: its Fig. 14, layer for layer."""

from __future__ import annotations

import collections

import keras
from keras import layers

from classify.data import CLASSES, SIDE


def build_report() -> keras.Sequential:
    """Three times two 3×3 convolutions and a max pooling, then three dense layers, with dropout.

    2,915,114 parameters. (N, 32, 32, 3) in [0, 1] to probabilities (N, 10).
    """
    max_norm = {"kernel_constraint": keras.constraints.MaxNorm(3)}
    convolution = {"kernel_size": (3, 3), "activation": "relu", "padding": "same"}
    blocks = [
        layer
        for filters in (32, 64, 128)
        for layer in (
            layers.Conv2D(filters, **convolution),
            layers.Dropout(0.2),
            layers.Conv2D(filters, **convolution),
            layers.MaxPooling2D(),
        )
    ]
    stack = [
        *blocks,
        layers.Flatten(),
        layers.Dropout(0.2),
        layers.Dense(1024, activation="relu", **max_norm),
        layers.Dropout(0.2),
        layers.Dense(512, activation="relu", **max_norm),
        layers.Dropout(0.2),
        layers.Dense(len(CLASSES), activation="softmax"),
    ]
    # The names of Fig. 16, which Keras gives to the first network of a process alone.
    named = collections.Counter()
    for layer in stack:
        kind = _NAMES[type(layer)]
        layer.name = f"{kind}_{named[kind]}" if named[kind] else kind
        named[kind] += 1
    return keras.Sequential([keras.Input((SIDE, SIDE, 3)), *stack], name="report")


_NAMES = {
    layers.Conv2D: "conv2d",
    layers.Dropout: "dropout",
    layers.MaxPooling2D: "max_pooling2d",
    layers.Flatten: "flatten",
    layers.Dense: "dense",
}
