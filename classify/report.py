"""The report's network: its Fig. 14, layer for layer."""

from __future__ import annotations

import keras
from keras import layers

from classify.data import CLASSES, SIDE


def build_report() -> keras.Sequential:
    """Three times two 3×3 convolutions and a max pooling, then three dense layers, with dropout.

    2,915,114 parameters. (N, 32, 32, 3) in [0, 1] to probabilities (N, 10).
    """
    max_norm = {"kernel_constraint": keras.constraints.MaxNorm(3)}
    convolution = {"kernel_size": (3, 3), "activation": "relu", "padding": "same"}
    # Names of weights are fixed, as embedded ones are found by them.
    blocks = [
        layer
        for block, filters in enumerate((32, 64, 128), start=1)
        for layer in (
            layers.Conv2D(filters, **convolution, name=f"block{block}_conv1"),
            layers.Dropout(0.2),
            layers.Conv2D(filters, **convolution, name=f"block{block}_conv2"),
            layers.MaxPooling2D(),
        )
    ]
    return keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            *blocks,
            layers.Flatten(),
            layers.Dropout(0.2),
            layers.Dense(1024, activation="relu", **max_norm, name="hidden1"),
            layers.Dropout(0.2),
            layers.Dense(512, activation="relu", **max_norm, name="hidden2"),
            layers.Dropout(0.2),
            layers.Dense(len(CLASSES), activation="softmax", name="head"),
        ],
        name="report",
    )
