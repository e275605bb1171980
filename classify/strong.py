"""The strong network: a whitened first layer, then groups of convolutions, as the CIFAR-10
speed runs have shaped it.

After Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU" (2024), whose network it is at its
default shape, but for the first layer's bias: 1,973,920 numbers in all.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers

from classify.data import CLASSES, SIDE
from classify.layers import Dirac, Whitening

MEAN, VARIANCE = (0.4914, 0.4822, 0.4465), (0.0610, 0.0593, 0.0684)
"""Of CIFAR-10's training pictures, a channel, where white is 1."""


def build_strong(
    widths: Sequence[int] = (64, 256, 256),
    depth: int = 2,
    activation: str = "gelu",
    *,
    dtype: str = "float32",
) -> keras.Model:
    """(N, 32, 32, 3) in [0, 1] to logits (N, 10), float32.

    Args:
        widths: channels of each group; each halves the sides.
        depth: convolutions a group; where there are three or more, those after the first are a
            residual to its output.
        activation: Keras' name of it.
        dtype: Keras' dtype policy, such as "mixed_bfloat16"; batch normalisation computes in
            float32 all the same, and so does what comes after the last group.
    """
    inputs = keras.Input((SIDE, SIDE, 3))
    x = layers.Normalization(mean=MEAN, variance=VARIANCE, dtype="float32")(inputs)
    x = Whitening(dtype=dtype, name="whitening")(x)
    x = layers.Activation(activation, dtype=dtype, name="whitening_activation")(x)
    for number, width in enumerate(widths, start=1):
        x = _group(x, width, depth, activation, dtype, name=f"group{number}")
    x = layers.GlobalMaxPooling2D(dtype="float32", name="pool")(x)
    # Features are divided by their number and weights of variance one, so that the head learns
    # at the speed of the rest ("scaled rates").
    x = layers.Rescaling(1 / widths[-1], dtype="float32", name="scale")(x)
    spread = keras.initializers.RandomUniform(-(3**0.5), 3**0.5)
    head = layers.Dense(
        len(CLASSES), use_bias=False, kernel_initializer=spread, dtype="float32", name="head"
    )
    return keras.Model(inputs, head(x), name="strong")


def _group(x, width: int, depth: int, activation: str, dtype: str, name: str):
    """Convolutions of one width, the first followed by 2×2 max pooling."""
    skip = None
    for number in range(1, depth + 1):
        x = layers.Conv2D(
            width,
            3,
            padding="same",
            use_bias=False,
            kernel_initializer=Dirac(),
            dtype=dtype,
            name=f"{name}_conv{number}",
        )(x)
        if number == 1:
            x = layers.MaxPooling2D(2, dtype=dtype, name=f"{name}_pool")(x)
        # Its statistics follow the last few batches: the weights move fast until the very end.
        x = layers.BatchNormalization(
            momentum=0.6, epsilon=1e-5, scale=False, dtype=dtype, name=f"{name}_norm{number}"
        )(x)
        if number == depth and skip is not None:
            x = layers.Add(dtype=dtype, name=f"{name}_add")([x, skip])
        x = layers.Activation(activation, dtype=dtype, name=f"{name}_activation{number}")(x)
        if number == 1 and depth > 2:
            skip = x
    return x
