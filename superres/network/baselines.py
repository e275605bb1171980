"""The networks that the report compares with, as their papers describe them, without biases.

All take LR luma and give HR luma, as `build_network` does, so that one training and one
evaluation serve them all. SRCNN and VDSR see bicubic interpolation of it.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
from keras import layers

from superres.network.layers import Interpolation, PixelShuffle


def srcnn(scale: int = 2) -> keras.Model:
    """SRCNN 9-1-5, 8,032 weights (Dong et al., ECCV 2014, Section 3)."""
    luma, x = _interpolated(scale)
    x = _convolution(64, 9, "relu", "extraction")(x)
    x = _convolution(32, 1, "relu", "mapping")(x)
    return keras.Model(luma, _convolution(1, 5, None, "reconstruction")(x), name="srcnn")


def fsrcnn_s(scale: int = 2) -> keras.Model:
    """FSRCNN-s (d = 32, s = 5, m = 1), 3,937 weights besides its PReLUs (Dong et al., ECCV 2016).

    Not a residual network: the deconvolution gives the picture itself.
    """
    luma = keras.Input((None, None, 1), name="luma")
    x = luma
    for filters, size, name in ((32, 5, "feature"), (5, 1, "shrink"), (5, 3, "map")):
        x = _convolution(filters, size, None, name)(x)
        x = layers.PReLU(shared_axes=(1, 2), name=f"{name}_prelu")(x)
    x = _convolution(32, 1, None, "expand")(x)
    x = layers.PReLU(shared_axes=(1, 2), name="expand_prelu")(x)
    deconvolution = layers.Conv2DTranspose(
        1, 9, strides=scale, padding="same", use_bias=False, name="deconvolution"
    )
    return keras.Model(luma, deconvolution(x), name="fsrcnn_s")


def vdsr(scale: int = 2) -> keras.Model:
    """VDSR, 20 layers, 664,704 weights (Kim et al., CVPR 2016, Section 3)."""
    luma, interpolated = _interpolated(scale)
    x = interpolated
    for number in range(1, 20):
        x = _convolution(64, 3, "relu", f"conv_{number}")(x)
    x = _convolution(1, 3, None, "conv_20")(x)
    return keras.Model(luma, layers.Add(name="residual")([x, interpolated]), name="vdsr")


BASELINES: dict[str, Callable[[int], keras.Model]] = {
    "srcnn": srcnn,
    "fsrcnn-s": fsrcnn_s,
    "vdsr": vdsr,
}


def _interpolated(scale: int):
    luma = keras.Input((None, None, 1), name="luma")
    x = Interpolation(scale, "bicubic", name="interpolation")(luma)
    return luma, PixelShuffle(scale, name="shuffle")(x)


def _convolution(filters: int, size: int, activation: str | None, name: str) -> layers.Conv2D:
    return layers.Conv2D(
        filters,
        size,
        padding="same",
        use_bias=False,
        activation=activation,
        kernel_initializer="he_normal",
        name=name,
    )
