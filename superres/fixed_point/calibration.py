"""The search for integer and fraction bits: for each tensor the binary point that loses least.

The report fixes the total bits (10 for weights, 14 for activations) and searches where the point
lies (Section 3). Too few integer bits saturate large values, too few fraction bits round small
ones; of all positions, the one with the smallest squared error on real data is taken.
"""

from __future__ import annotations

import keras
import numpy as np

from superres.fixed_point.rounding import FixedPoint
from superres.network.layers import Conv2D, DepthwiseConv2D
from superres.network.model import INPUT_FORMAT, Formats


def best_format(values: np.ndarray, bits: int) -> FixedPoint:
    """The format of `bits` bits with the smallest squared error on `values`, of any shape.

    Of two that are as good, the one with the larger range is taken.
    """
    values = np.asarray(values, np.float64).ravel()
    largest = float(np.max(np.abs(values), initial=0.0))
    if largest == 0:
        return FixedPoint(bits, bits - 1)
    # With this fraction nothing saturates; more than a few bits beyond it nearly all does.
    safe = bits - 1 - int(np.floor(np.log2(largest)) + 1)
    fractions = (max(-48, min(fraction, 48)) for fraction in range(safe - 1, safe + 4))
    candidates = [FixedPoint(bits, fraction) for fraction in fractions]
    return min(candidates, key=lambda format: squared_error(values, format))


def squared_error(values: np.ndarray, format: FixedPoint) -> float:
    """The mean squared error of rounding float64 `values` to a format."""
    return float(np.mean(np.square(format.decode(format.encode(values)) - values)))


def calibrate(
    network: keras.Model, luma: np.ndarray, *, weight_bits: int, activation_bits: int
) -> Formats:
    """Formats for all weights and activations of a network of floats.

    Args:
        network: of floats, not branched.
        luma: float32 (N, H, W, 1), LR luma / 256, to measure activations on.
        weight_bits, activation_bits: in total.

    Returns:
        Formats by name, as `superres.network.model.build_network` takes them.
    """
    formats = {
        "input": INPUT_FORMAT,
        # Bicubic overshoots the range of luma, by up to a quarter: no sample need show it.
        "interpolation": FixedPoint(activation_bits, activation_bits - 2),
    }
    names = {}
    for layer in network.layers:
        if isinstance(layer, (Conv2D, DepthwiseConv2D)):
            kernel = keras.ops.convert_to_numpy(layer.effective_kernel())
            formats[f"{layer.name}/kernel"] = best_format(kernel, weight_bits)
            names[layer.name] = layer
    for layer in network.layers:
        # What a convolution puts out is rounded once, after the residual and the ReLU.
        owner = layer.name.removesuffix("_relu").replace("residual_", "pointwise_")
        if owner in names:
            names[owner] = layer
    probe = keras.Model(network.input, [layer.output for layer in names.values()])
    for name, values in zip(names, probe(luma, training=False), strict=True):
        formats[name] = best_format(keras.ops.convert_to_numpy(values), activation_bits)
    return formats
