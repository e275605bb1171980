"""The network's topology for the forms that are not Keras: integers, ONNX, LiteRT, HLS.

`superres.network.model.build_network` says the same in Keras' layers, by the same names; the tests
hold each form against it.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

import keras
import numpy as np

from atelier.errors import SettingsError
from superres.config import NetworkConfig
from superres.networks import Network

Tensor = TypeVar("Tensor")


class Operations(Protocol[Tensor]):
    """What a form must be able to do with its kind of tensors, all of them LR-sized."""

    def convolve(self, x: Tensor, name: str) -> Tensor:
        """The convolution of that name, zeros beyond the border; depthwise where it says so."""

    def interpolate(self, x: Tensor) -> Tensor:
        """The interpolated luma, as `superres.network.layers.Interpolation` gives it."""

    def relu(self, x: Tensor, name: str) -> Tensor:
        """ReLU after the convolution of that name."""

    def add(self, x: Tensor, y: Tensor, name: str) -> Tensor:
        """The sum; `name` is that of the Keras layer."""

    def round(self, x: Tensor, name: str) -> Tensor:
        """Rounded to the format of that name; nothing to do in a network of floats."""


def whole(config: NetworkConfig, operations: Operations[Tensor], luma: Tensor) -> Tensor:
    """All but the pixel shuffle: (…, H, W, 1) to (…, H, W, scale²)."""
    x = operations.round(luma, "input")
    base = operations.round(operations.interpolate(x), "interpolation")
    return operations.add(core(config, operations, x), base, "add_interpolation")


def core(config: NetworkConfig, operations: Operations[Tensor], x: Tensor) -> Tensor:
    """The convolutions alone, whose output is added to the interpolation; x is rounded luma."""
    x = operations.relu(operations.convolve(x, "stem"), "stem")
    x = operations.round(x, "stem")
    outputs = [x]
    last = len(config.widths)
    for number in range(1, last + 1):
        name = f"depthwise_{number}"
        x = operations.round(operations.convolve(x, name), name)
        name = f"pointwise_{number}"
        x = operations.convolve(x, name)
        if number in config.residuals:
            x = operations.add(x, outputs[number - 2], f"residual_{number}")
        if number < last:
            x = operations.relu(x, name)
        # Rounded once, after residual and ReLU: until here the sum is exact.
        x = operations.round(x, name)
        outputs.append(x)
    return x


def convolutions(config: NetworkConfig) -> tuple[str, ...]:
    """The names of the convolutions, first to last."""
    numbers = range(1, len(config.widths) + 1)
    return ("stem", *(f"{kind}_{n}" for n in numbers for kind in ("depthwise", "pointwise")))


def input_of(name: str, config: NetworkConfig) -> str:
    """The name of the format that a convolution's input has: that of the one before it."""
    names = ("input", *convolutions(config))
    return names[names.index(name) - 1]


def joined_to(name: str, config: NetworkConfig) -> str | None:
    """The name of the convolution whose output is added to this one's sum, if any."""
    kind, _, number = name.partition("_")
    if kind != "pointwise" or int(number) not in config.residuals:
        return None
    return "stem" if number == "2" else f"pointwise_{int(number) - 2}"


def is_depthwise(name: str) -> bool:
    """Whether the convolution of that name has one filter a channel."""
    return name.startswith("depthwise")


def kernels(network: Network) -> dict[str, np.ndarray]:
    """The kernels that the network convolves with, by name: floats in Keras' order of axes.

    Raises:
        SettingsError: it is one of the networks of the report's comparison.
    """
    kind = network.card.get("network", "ours")
    if kind != "ours":
        raise SettingsError(f"only our own network can be exported, not {kind}")
    return {
        name: keras.ops.convert_to_numpy(network.model.get_layer(name).effective_kernel())
        for name in convolutions(network.config)
    }
