"""A trained network as a fast TensorFlow function of 8-bit luma.

A fixed-point network is computed in units of its last places: the scales of the formats are folded
into the kernels, and the half that rounding adds is a bias. Between two convolutions that leaves a
floor and a clip, which takes half the time of the Keras layers that training needs, and gives the
same bits: sums that float32 holds exactly are the same in any unit (see
`superres.fixed_point.integer`).
"""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from superres.color import RANGE
from superres.network import topology
from superres.network.layers import interpolation_kernel
from superres.networks import Network

Predictor = Callable[[tf.Tensor], tf.Tensor]
"""float32 (N, H, W, 1), whole numbers in [0, 255], to (N, scale·H, scale·W, 1), luma in the same
range, neither rounded nor clipped. Beyond the border it sees zeros."""

_PREDICTORS: weakref.WeakKeyDictionary[keras.Model, Predictor] = weakref.WeakKeyDictionary()


def predictor(network: Network) -> Predictor:
    """The network as a function to call inside a `tf.function`; made once a network.

    The weights of a fixed-point network are read then, and not again.
    """
    if network.model not in _PREDICTORS:
        made = _of_floats(network) if network.formats is None else FixedPointGraph(network)
        _PREDICTORS[network.model] = made
    return _PREDICTORS[network.model]


def _of_floats(network: Network) -> Predictor:
    model = weakref.proxy(network.model)  # Else no model would ever leave the dictionary.
    return lambda luma: model(luma / RANGE, training=False) * RANGE


@dataclasses.dataclass(frozen=True)
class Codes:
    """Fixed-point numbers in units of 2^-fraction."""

    values: tf.Tensor
    """float32 (N, H, W, C); whole numbers once they are rounded."""
    fraction: int
    """Bits behind the binary point."""
    relu: bool = False
    """Whether a ReLU is pending; the next clip applies it."""


class FixedPointGraph:
    """A `Predictor` that does the operations of `superres.network.topology` on codes in float32."""

    def __init__(self, network: Network):
        self.config, self.formats = network.config, network.formats
        self.kernels = topology.kernels(network)
        kernel = interpolation_kernel(self.config.scale, self.config.interpolation)
        self.kernels["interpolation"] = kernel

    def __call__(self, luma: tf.Tensor) -> tf.Tensor:
        result = topology.whole(self.config, self, Codes(luma + 0.5, 8))
        luma = result.values * (RANGE * 2.0**-result.fraction)
        return tf.nn.depth_to_space(luma, self.config.scale)

    # === superres.network.topology.Operations, the half of each rounding added ahead of it ===
    def convolve(self, x: Codes, name: str) -> Codes:
        fraction = self.formats[name].fraction
        kernel = np.float32(self.kernels[name] * 2.0 ** (fraction - x.fraction))
        if topology.is_depthwise(name):
            values = tf.nn.depthwise_conv2d(x.values, kernel, [1, 1, 1, 1], "SAME")
        else:
            values = tf.nn.conv2d(x.values, kernel, 1, "SAME")
        halves = np.full(values.shape[-1], 0.5, np.float32)
        return Codes(tf.nn.bias_add(values, halves), fraction)

    def interpolate(self, x: Codes) -> Codes:
        return self.convolve(x, "interpolation")

    def relu(self, x: Codes, name: str) -> Codes:
        return dataclasses.replace(x, relu=True)  # The clip that follows does it for nothing.

    def add(self, x: Codes, y: Codes, name: str) -> Codes:
        return Codes(x.values + y.values * 2.0 ** (x.fraction - y.fraction), x.fraction)

    def round(self, x: Codes, name: str) -> Codes:
        format = self.formats[name]
        lowest = 0 if x.relu else format.lowest
        values = tf.clip_by_value(tf.floor(x.values), lowest, format.highest)
        return Codes(values, x.fraction)
