"""ResNets as torchvision builds them, and torchvision's arrays in Keras' layers.

Source: He et al., "Deep Residual Learning for Image Recognition", 2015, with the stride in the 3×3
convolution; torchvision's `resnet.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import keras
import numpy as np
from keras import layers

from atelier.errors import WeightsError

EXPANSION = 4
"""How many times more channels a bottleneck gives than its 3×3 convolution has."""

BATCH_NORM = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}
"""Keras' names of a batch normalisation's variables, by torchvision's."""

COUNTER = ".num_batches_tracked"
"""What the names of a batch normalisation's counters end with; only training needs them."""


class Blocks:
    """The recurring parts of a functional model, all of one dtype policy.

    Args:
        dtype: a policy such as "mixed_bfloat16"; None: Keras' own.
        epsilon: of the normalisation.
        frozen: whether the normalisation keeps its statistics, gain and bias in training.
    """

    def __init__(self, dtype=None, *, epsilon: float = 1e-5, frozen: bool = False):
        self.dtype = keras.dtype_policies.get(dtype)
        self.epsilon, self.frozen = epsilon, frozen

    def conv(self, x, name: str, filters: int, size: int, *, stride: int = 1, dilation: int = 1):
        """A convolution without bias, padded alike on all sides: Keras' "same" is not, if stride
        is 2 and the size is even."""
        if stride > 1 and size > 1:
            x = layers.ZeroPadding2D(size // 2, name=f"{name}_pad", dtype=self.dtype)(x)
        return layers.Conv2D(
            filters,
            size,
            strides=stride,
            dilation_rate=dilation,
            padding="valid" if stride > 1 else "same",
            use_bias=False,
            name=name,
            dtype=self.dtype,
        )(x)

    def norm(self, x, name: str):
        return layers.BatchNormalization(
            momentum=0.9,
            epsilon=self.epsilon,
            name=name,
            dtype=self.dtype,
            trainable=not self.frozen,
        )(x)

    def norm_relu(self, x, name: str):
        return layers.ReLU(name=f"{name}_relu", dtype=self.dtype)(self.norm(x, name))

    def bottleneck(self, x, name: str, filters: int, *, stride: int, dilation: int, project: bool):
        """1×1, 3×3 and 1×1 convolutions beside a shortcut, which is projected where it must be."""
        shortcut = x
        if project:
            shortcut = self.conv(x, f"{name}_downsample_0", EXPANSION * filters, 1, stride=stride)
            shortcut = self.norm(shortcut, f"{name}_downsample_1")
        x = self.norm_relu(self.conv(x, f"{name}_conv1", filters, 1), f"{name}_bn1")
        x = self.conv(x, f"{name}_conv2", filters, 3, stride=stride, dilation=dilation)
        x = self.norm_relu(x, f"{name}_bn2")
        x = self.norm(self.conv(x, f"{name}_conv3", EXPANSION * filters, 1), f"{name}_bn3")
        x = layers.Add(name=f"{name}_add", dtype=self.dtype)([x, shortcut])
        return layers.ReLU(name=f"{name}_relu", dtype=self.dtype)(x)


def resnet(
    x, build: Blocks, name: str, *, width: int = 64, depths: Sequence[int], dilated: int = 0
) -> list:
    """A ResNet of bottlenecks without its classifier, as part of a functional model.

    Args:
        x: (N, H, W, 3), normalised by ImageNet's mean colour.
        build: how its parts are built.
        name: what the names of its layers begin with; the rest is torchvision's, "_" for ".".
        width: channels of the first convolution; the stages' are 4, 8, 16 and 32 times as many.
        depths: bottlenecks in each of the four stages.
        dilated: in how many of the last stages the stride is replaced by dilation.

    Returns:
        the outputs of the four stages, (N, ⌈H / stride⌉, ⌈W / stride⌉, channels), of strides 4, 8,
        16 and 32; less where dilated.
    """
    if len(depths) != 4:
        raise ValueError(f"ResNet has four stages, not {len(depths)}")
    x = build.conv(x, f"{name}_conv1", width, 7, stride=2)
    x = build.norm_relu(x, f"{name}_bn1")
    x = layers.ZeroPadding2D(1, name=f"{name}_pad", dtype=build.dtype)(x)  # Of ReLU: 0 is least.
    x = layers.MaxPooling2D(3, 2, name=f"{name}_maxpool", dtype=build.dtype)(x)
    stages, dilation = [], 1
    for stage, depth in enumerate(depths, start=1):
        before, stride = dilation, 1 if stage == 1 else 2
        if stage > len(depths) - dilated:
            dilation, stride = stride * dilation, 1  # Dilated from the second block on.
        for block in range(depth):
            x = build.bottleneck(
                x,
                f"{name}_layer{stage}_{block}",
                width * 2 ** (stage - 1),
                stride=stride if block == 0 else 1,
                dilation=before if block == 0 else dilation,
                project=block == 0,
            )
        stages.append(x)
    return stages


# === Weights ===


class Slot(NamedTuple):
    """Where an array of torchvision's belongs.

    Attributes:
        variable: what it fills.
        shape: the array's, in PyTorch's order.
        convert: makes of the array one of the variable's shape.
    """

    variable: keras.Variable
    shape: tuple[int, ...]
    convert: Callable[[np.ndarray], np.ndarray]


def layer_slots(layer: keras.Layer, module: str) -> Iterator[tuple[str, Slot]]:
    """The slots of a convolution, dense layer or batch normalisation by torchvision's names.

    Args:
        layer: one of another kind has none.
        module: its name in torchvision, such as `backbone.layer1.0.conv1`.
    """
    if isinstance(layer, layers.BatchNormalization):
        for name, ours in BATCH_NORM.items():
            variable = getattr(layer, ours)
            yield f"{module}.{name}", Slot(variable, tuple(variable.shape), np.asarray)
    elif isinstance(layer, (layers.Conv2D, layers.Dense)):
        *window, channels, filters = layer.kernel.shape
        axes = (2, 3, 1, 0) if window else (1, 0)
        yield (
            f"{module}.weight",
            Slot(layer.kernel, (filters, channels, *window), lambda array: array.transpose(axes)),
        )
        if layer.use_bias:
            yield f"{module}.bias", Slot(layer.bias, (filters,), np.asarray)


def fill(slots: Mapping[str, Slot], state: Mapping[str, np.ndarray]) -> None:
    """Fills all slots, or none, with the arrays of a state.

    Args:
        slots: by torchvision's names.
        state: float arrays by the same names, and counters of batches, which are passed over.

    Raises:
        WeightsError: a name is missing or not the network's, or an array is not of the shape or
            kind that it should be; the first of them is named.
    """
    given = {name: array for name, array in state.items() if not name.endswith(COUNTER)}
    for names, verb in ((slots.keys() - given.keys(), "lacks"), (given.keys() - slots, "has")):
        if names:
            others = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise WeightsError(f"not this network's weights: the state {verb} {min(names)}{others}")
    for name, slot in slots.items():
        if given[name].shape != slot.shape or given[name].dtype.kind != "f":
            raise WeightsError(
                f"not this network's weights: {name} is {given[name].dtype} {given[name].shape}, "
                f"not float {slot.shape}"
            )
    for name, slot in slots.items():
        slot.variable.assign(slot.convert(given[name]))
