"""Layers of the network that Keras does not have: interpolation, pixel shuffle, convolutions whose
kernels are re-parameterised or in fixed point."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

import keras
import numpy as np
from keras import layers, ops

from superres.fixed_point.rounding import FixedPoint, quantize

Method = Literal["nearest", "bicubic"]

INTERPOLATION_FRACTION = 14
"""Bits behind the binary point of the weights of an interpolation."""


def uniform(fan_in: int) -> keras.initializers.Initializer:
    """The uniform initialisation of the network: He's, at half its width.

    Without biases, wider weights start the features far larger than the detail that they must
    give, and training is the slower for it.
    """
    limit = (1.5 / fan_in) ** 0.5
    return keras.initializers.RandomUniform(-limit, limit)


def interpolation_kernel(scale: int, method: Method) -> np.ndarray:
    """The weights by which each of the scale² pixels inside an LR pixel is interpolated.

    Bicubic is Keys' kernel with a = -0.5, as in MATLAB's imresize. The weights are multiples of
    2^-14 that add up to 1: at scale 2 they are just so, at others they are rounded, so that 8-bit
    luma is interpolated without error in float32 and in integers alike.

    Returns:
        float64 (5, 5, 1, scale²), for the LR pixels at offsets -2…2.
    """
    if method == "nearest":
        taps = np.tile(np.eye(5)[2], (scale, 1))
    else:
        centers = (np.arange(scale) + 0.5) / scale - 0.5
        distance = np.abs(centers[:, None] - np.arange(-2, 3))
        near = 1.5 * distance**3 - 2.5 * distance**2 + 1
        far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
        taps = np.where(distance <= 1, near, np.where(distance < 2, far, 0))
    kernel = np.einsum("ik,jl->klij", taps, taps).reshape(5, 5, 1, scale**2)
    kernel = np.rint(kernel * 2.0**INTERPOLATION_FRACTION)
    kernel[2, 2] += 2.0**INTERPOLATION_FRACTION - kernel.sum(axis=(0, 1))
    return kernel / 2.0**INTERPOLATION_FRACTION


@keras.saving.register_keras_serializable(package="superres")
class Interpolation(layers.Layer):
    """Fixed interpolation, its pixels in the order of channels that `PixelShuffle` takes.

    Args:
        scale: pixels a side that each pixel becomes.
        method: "nearest" or "bicubic".

    (N, H, W, 1) to (N, H, W, scale²). In training the border is continued as its mirror image, as
    the interpolation of a whole picture continues it: the border of a crop is no dark frame that
    the network must learn to undo. H and W are 2 at least then. Otherwise zeros lie beyond the
    border, as in all exported forms, whose callers pass a halo (`NetworkConfig.halo`).
    """

    def __init__(self, scale: int, method: Method, **kwargs):
        super().__init__(**kwargs)
        self.scale, self.method = scale, method
        self._kernel = np.float32(interpolation_kernel(scale, method))

    def call(self, inputs, training=False):
        if self.method == "nearest":
            return ops.repeat(inputs, self.scale**2, axis=-1)
        kernel = ops.cast(self._kernel, inputs.dtype)
        padding = "same"
        if training:
            inputs = ops.pad(inputs, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="symmetric")
            padding = "valid"
        return ops.conv(inputs, kernel, padding=padding, data_format="channels_last")

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.scale**2)

    def get_config(self):
        return {**super().get_config(), "scale": self.scale, "method": self.method}


@keras.saving.register_keras_serializable(package="superres")
class PixelShuffle(layers.Layer):
    """Sub-pixel rearrangement (Shi et al., CVPR 2016, eq. 4).

    Args:
        scale: pixels a side that each pixel becomes.

    (N, H, W, scale²) to (N, scale·H, scale·W, 1); the channels are the pixels row by row.
    """

    def __init__(self, scale: int, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale

    def call(self, inputs):
        s = self.scale
        _, height, width, _ = ops.shape(inputs)
        pixels = ops.reshape(inputs, (-1, height, width, s, s))
        pixels = ops.transpose(pixels, (0, 1, 3, 2, 4))
        return ops.reshape(pixels, (-1, height * s, width * s, 1))

    def compute_output_shape(self, input_shape):
        sides = [None if side is None else side * self.scale for side in input_shape[1:3]]
        return (input_shape[0], *sides, 1)

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}


@keras.saving.register_keras_serializable(package="superres")
class Conv2D(layers.Conv2D):
    """A convolution without bias, "same" padding, whose kernel may be re-parameterised in training
    and rounded to fixed point.

    A re-parameterised layer trains more variables than it needs; `effective_kernel` merges them
    into the one kernel that a plain layer of the same size then convolves with.

    Args:
        filters, kernel_size: as in `keras.layers.Conv2D`.
        branches: "none"; "zero_mean", kernels less their mean over the window, so that flat areas
            give nothing and brightness cannot drown the gradient of detail; or "expand", a second
            1×1 branch through twice the channels, added to the first (1×1 kernels only; SESR's
            collapsible linear blocks, Bhardwaj et al., MLSys 2022, Section 3).
        kernel_format: fixed-point format of the effective kernel; None for floats.

    (N, H, W, C) to (N, H, W, filters).
    """

    def __init__(
        self,
        filters,
        kernel_size,
        branches: Literal["none", "zero_mean", "expand"] = "none",
        kernel_format: FixedPoint | Mapping | None = None,
        **kwargs,
    ):
        kwargs = {"padding": "same", "use_bias": False, **kwargs}
        super().__init__(filters, kernel_size, **kwargs)
        if branches == "expand" and self.kernel_size != (1, 1):
            raise ValueError(f"only 1×1 kernels expand, not {self.kernel_size}")
        self.branches = branches
        self.kernel_format = _as_format(kernel_format)

    def build(self, input_shape):
        super().build(input_shape)
        if self.branches == "expand":
            channels = input_shape[-1]
            middle = 2 * max(channels, self.filters)
            self.expansion = self.add_weight(
                shape=(channels, middle), initializer=uniform(2 * channels), name="expansion"
            )
            self.squeeze = self.add_weight(
                shape=(middle, self.filters), initializer=uniform(2 * middle), name="squeeze"
            )

    def effective_kernel(self):
        """The kernel that the layer convolves with, (kh, kw, C, filters)."""
        kernel = self.kernel
        if self.branches == "zero_mean":
            kernel = kernel - ops.mean(kernel, axis=(0, 1), keepdims=True)
        elif self.branches == "expand":
            kernel = kernel + ops.matmul(self.expansion, self.squeeze)
        return kernel if self.kernel_format is None else quantize(kernel, self.kernel_format)

    def convolution_op(self, inputs, kernel):
        return super().convolution_op(inputs, self.effective_kernel())

    # Keras' convolutions write their kernel alone to files.
    def save_own_variables(self, store):
        layers.Layer.save_own_variables(self, store)

    def load_own_variables(self, store):
        layers.Layer.load_own_variables(self, store)

    def get_config(self):
        return {
            **super().get_config(),
            "branches": self.branches,
            "kernel_format": self.kernel_format and dataclasses.asdict(self.kernel_format),
        }


@keras.saving.register_keras_serializable(package="superres")
class DepthwiseConv2D(layers.DepthwiseConv2D):
    """A depthwise convolution without bias, "same" padding, whose kernel may be in fixed point.

    Args:
        kernel_size: as in `keras.layers.DepthwiseConv2D`.
        kernel_format: fixed-point format of the effective kernel; None for floats.

    (N, H, W, C) to the same shape.
    """

    def __init__(self, kernel_size, kernel_format: FixedPoint | Mapping | None = None, **kwargs):
        kwargs = {"padding": "same", "use_bias": False, **kwargs}
        super().__init__(kernel_size, **kwargs)
        self.kernel_format = _as_format(kernel_format)

    def effective_kernel(self):
        """The kernel that the layer convolves with, (kh, kw, C, 1)."""
        format = self.kernel_format
        return self.kernel if format is None else quantize(self.kernel, format)

    def call(self, inputs):
        return ops.depthwise_conv(inputs, self.effective_kernel(), padding="same")

    def get_config(self):
        format = self.kernel_format
        return {**super().get_config(), "kernel_format": format and dataclasses.asdict(format)}


def _as_format(value: FixedPoint | Mapping | None) -> FixedPoint | None:
    return FixedPoint(**value) if isinstance(value, Mapping) else value
