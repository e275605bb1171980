"""Uniform fixed point with power-of-two scales, and its straight-through estimator.

A value of `bits` bits of which `fraction` lie behind the binary point is an integer in
[-2^(bits-1), 2^(bits-1) - 1] times 2^-fraction; hardware writes it `ap_fixed<bits, bits-fraction>`.
Rounding is half up, as an adder before a shift does it, and what is out of range saturates.

References: Gupta et al., "Deep Learning with Limited Numerical Precision", 2015, Section 3; Bengio
et al., "Estimating or Propagating Gradients Through Stochastic Neurons", 2013 (the estimator).
"""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
from keras import ops

from atelier.errors import SettingsError


@dataclasses.dataclass(frozen=True)
class FixedPoint:
    """A signed fixed-point format.

    Raises:
        SettingsError: not from 2 to 32 bits, or a fraction beyond ±48.
    """

    bits: int
    """All bits, the sign's included."""
    fraction: int
    """Bits behind the binary point; may exceed `bits`, or be negative."""

    def __post_init__(self):
        if not 2 <= self.bits <= 32 or not -48 <= self.fraction <= 48:
            raise SettingsError(
                f"no fixed-point format: {self.bits} bits, fraction {self.fraction}"
            )

    @property
    def integer(self) -> int:
        """Bits before the binary point, the sign's included, as `ap_fixed` counts them."""
        return self.bits - self.fraction

    @property
    def lowest(self) -> int:
        """The smallest integer code."""
        return -(2 ** (self.bits - 1))

    @property
    def highest(self) -> int:
        """The largest integer code."""
        return 2 ** (self.bits - 1) - 1

    def encode(self, values: np.ndarray) -> np.ndarray:
        """The integer codes, int64, of real values of any shape."""
        scaled = np.floor(np.asarray(values, np.float64) * 2.0**self.fraction + 0.5)
        return np.clip(scaled, self.lowest, self.highest).astype(np.int64)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """The real values, float64, of integer codes."""
        return np.asarray(codes, np.float64) * 2.0**-self.fraction


def quantize(values, format: FixedPoint):
    """Rounds a float tensor to a format; gradients go straight through where it does not saturate.

    Args:
        values: floats of any shape and real range.

    Returns:
        The same shape and dtype.
    """
    scale = 2.0**format.fraction
    inside = ops.clip(values, format.lowest / scale, format.highest / scale)
    # float32 holds codes of up to 24 bits exactly, and a power of two changes no bit of them.
    rounded = ops.floor(inside * scale + 0.5) / scale
    # The order matters: what is added to the rounded value is exactly zero, however compiled.
    return ops.stop_gradient(rounded) + (inside - ops.stop_gradient(inside))


@keras.saving.register_keras_serializable(package="superres")
class Quantize(keras.layers.Layer):
    """Rounds activations to a fixed-point format, with the straight-through estimator.

    Args:
        bits: all bits, from 2 to 24.
        fraction: bits behind the binary point.

    Input and output: float (...), any range and shape.
    """

    def __init__(self, bits: int, fraction: int, **kwargs):
        super().__init__(**kwargs)
        self.format = FixedPoint(bits, fraction)

    def call(self, inputs):
        return quantize(inputs, self.format)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), **dataclasses.asdict(self.format)}
