"""The report's network, after Kim, Choi and Kim (IEEE TCSVT 29(8), 2019).

A 3×3 convolution, four depthwise separable ones, one residual connection, pixel shuffle; to which
the interpolated LR luma is added (Fig. 1 of the report). No biases; 2,560 weights at scale 2. The
layer table is not public, so this is a reconstruction: see `superres.config.NetworkConfig`.
"""

from __future__ import annotations

from collections.abc import Mapping

import keras
from keras import layers

from superres.config import NetworkConfig
from superres.fixed_point.rounding import FixedPoint, Quantize
from superres.network.layers import Conv2D, DepthwiseConv2D, Interpolation, PixelShuffle, uniform

Formats = Mapping[str, FixedPoint]
"""Fixed-point formats by name: `stem`, `depthwise_1`, `pointwise_1`… for what these layers put out
(pointwise ones after ReLU), `input` and `interpolation`; `stem/kernel` and so on for weights."""

INPUT_FORMAT = FixedPoint(9, 8)
"""In which 8-bit luma / 256 is exact."""


def build_network(
    config: NetworkConfig,
    formats: Formats | None = None,
    *,
    branched: bool = False,
    name: str = "superres",
) -> keras.Model:
    """The network as a Keras model.

    Args:
        config: its shape.
        formats: rounds weights and activations to these, with straight-through gradients; None
            for a network of floats.
        branched: with re-parameterised convolutions, to be trained; see `collapse`.
        name: of the model.

    Returns:
        (N, H, W, 1), LR luma / 256, to (N, scale·H, scale·W, 1), HR luma / 256, not clipped.
    """

    def rounded(x, name):
        if formats is None:
            return x
        format = formats[name]
        return Quantize(format.bits, format.fraction, name=f"{name}_quantize")(x)

    def kernel_format(name):
        return None if formats is None else formats[f"{name}/kernel"]

    # === Layers ===
    def stem(x):
        branches = "zero_mean" if branched else "none"
        convolution = Conv2D(
            config.widths[0],
            3,
            branches=branches,
            kernel_format=kernel_format("stem"),
            kernel_initializer=uniform(9),
            name="stem",
        )
        return convolution(x)

    def separable(x, number, kernel_size, filters):
        name = f"depthwise_{number}"
        depthwise = DepthwiseConv2D(
            kernel_size,
            kernel_format=kernel_format(name),
            depthwise_initializer=uniform(2 * kernel_size[0] * kernel_size[1]),
            name=name,
        )
        x = rounded(depthwise(x), name)
        name = f"pointwise_{number}"
        last = number == len(config.widths)
        pointwise = Conv2D(
            filters,
            1,
            branches="expand" if branched else "none",
            kernel_format=kernel_format(name),
            # The network starts as the interpolation and little more.
            kernel_initializer=uniform(x.shape[-1] * (20 if last else 1)),
            name=name,
        )
        return pointwise(x)

    # === Functional model ===
    luma = keras.Input((None, None, 1), name="luma")
    x = rounded(luma, "input")
    interpolated = Interpolation(config.scale, config.interpolation, name="interpolation")
    base = rounded(interpolated(x), "interpolation")
    x = rounded(layers.Activation("relu", name="stem_relu")(stem(x)), "stem")
    outputs = [x]
    filters = (*config.widths[1:], config.scale**2)
    for number, (kernel_size, width) in enumerate(zip(config.kernel_sizes, filters, strict=True)):
        number += 1
        x = separable(x, number, kernel_size, width)
        if number in config.residuals:
            x = layers.Add(name=f"residual_{number}")([x, outputs[number - 2]])
        if number < len(filters):
            x = layers.Activation("relu", name=f"pointwise_{number}_relu")(x)
        x = rounded(x, f"pointwise_{number}")
        outputs.append(x)
    x = layers.Add(name="add_interpolation")([x, base])
    return keras.Model(luma, PixelShuffle(config.scale, name="shuffle")(x), name=name)


def collapse(network: keras.Model, config: NetworkConfig, formats: Formats | None = None):
    """The same function of the input without branches: each kernel merged into one.

    Args:
        network: branched or not, of floats or not.
        config: its shape.
        formats: of the result; see `build_network`.

    Returns:
        A network with `config.parameters` weights.
    """
    plain = build_network(config, formats, name=network.name)
    for layer in plain.layers:
        if isinstance(layer, (Conv2D, DepthwiseConv2D)):
            layer.kernel.assign(network.get_layer(layer.name).effective_kernel())
    return plain
