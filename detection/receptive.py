"""Receptive fields: what part of the picture a position of a feature map sees, and where it lies.

The report's formulas, for one side of a convolution or pooling of kernel k, stride s, padding p:

    output field size   (input - k + 2 p) / s + 1
    input field size    (output - 1) s - 2 p + k       cascaded from the last layer to the first
    coordinate mapping  x = s x' + ((k - 1) / 2 - p)   from the map x' to the layer's input x

Neurons (activations) change neither. With p = floor(k / 2) the last term is 0 for odd kernels,
and is left out for even ones; a whole network then maps by x = S x', S being the product of its
strides. That is the simplified mapping (SPP-net, He et al. 2014, appendix A), right for a network
of odd kernels so padded and off by half a pixel of its input for each even kernel: VGG's four
poolings to conv5_3 add up to 7.5 pixels.

Here the general mapping is computed for a whole graph. Each layer keeps the first and the last
pixel that position 0 sees; position i sees them moved by i S. Going through a layer whose own
dilation is d,

    first += S (-p),   last += S (d (k - 1) - p),   S *= s

which is the cascade of the report, run from the front. Branches that are added or concatenated
see the smallest span that holds all theirs. p is the padding in front: of "same" it depends on the
size of the picture, as TensorFlow puts what is odd behind.

Pixel coordinates are as in the report: the middle of the first pixel is 0. Boxes are continuous:
the first pixel covers 0 to 1, so a centre lies 0.5 further.
"""

from __future__ import annotations

import dataclasses
import difflib
from typing import NamedTuple

import keras
import numpy as np

from atelier.errors import SettingsError

Pair = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class ReceptiveField:
    """What the positions of a layer's output see. All pairs are (y, x)."""

    layer: str
    """Its name; inside a nested model, "model/layer"."""
    kind: str
    """Its class."""
    map_size: Pair
    """Positions of the output: height, width."""
    stride: Pair
    """Pixels of the picture from one position to the next."""
    size: Pair
    """Height and width of the receptive field in pixels, padding that it covers included."""
    first: Pair
    """The first pixel that position (0, 0) sees; negative where that is padding."""
    whole: bool = False
    """Whether each position also sees the whole picture: a global pooling gates this layer."""

    @property
    def offset(self) -> tuple[float, float]:
        """The centre of position (0, 0)'s field, in pixel coordinates."""
        pairs = zip(self.first, self.size, strict=True)
        return tuple(first + (size - 1) / 2 for first, size in pairs)

    def to_picture(self, positions) -> np.ndarray:
        """The general mapping, x = S x' + offset.

        Args:
            positions: (..., 2), y and x in the map.

        Returns:
            float64 (..., 2): the centres of their fields, in pixel coordinates.
        """
        return np.asarray(positions, np.float64) * self.stride + self.offset

    def to_map(self, pixels) -> np.ndarray:
        """The inverse of `to_picture`: (..., 2) pixel coordinates to positions, float64."""
        return (np.asarray(pixels, np.float64) - self.offset) / self.stride

    def box(self, position: Pair) -> np.ndarray:
        """The field of one position: float32 (4,), x1 y1 x2 y2, continuous; may leave the
        picture."""
        y, x = np.asarray(position) * self.stride + self.first
        return np.asarray([x, y, x + self.size[1], y + self.size[0]], np.float32)


# === The report's formulas, for one layer and one side ===


def output_extent(extent: int, kernel: int, stride: int = 1, padding: int = 0) -> int:
    """Positions of the output of a layer whose input has `extent`: (W - K + 2 P) / S + 1."""
    return (extent - kernel + 2 * padding) // stride + 1


def input_extent(extent: int, kernel: int, stride: int = 1, padding: int = 0) -> int:
    """Positions of the input that `extent` positions of the output see: (O - 1) S - 2 P + K.

    A receptive field counts what lies in the padding too, so the cascade takes padding 0.
    """
    return (extent - 1) * stride - 2 * padding + kernel


def input_coordinate(position, kernel: int, stride: int = 1, padding: int = 0):
    """Where in a layer's input the centre of a position's field is: S x' + ((K - 1) / 2 - P)."""
    return stride * position + ((kernel - 1) / 2 - padding)


def simplified_to_picture(position, stride):
    """The mapping of a network whose paddings are floor(k / 2): x = S x'."""
    return np.asarray(position, np.float64) * stride


def simplified_to_map(pixel, stride):
    """The inverse of `simplified_to_picture`: x' = x / S."""
    return np.asarray(pixel, np.float64) / stride


# === Whole networks ===


def receptive_fields(model: keras.Model, size: Pair | None = None) -> dict[str, ReceptiveField]:
    """The fields of all layers whose positions lie in the picture, in the order of computation.

    Args:
        model: functional or sequential, with one picture (H, W, C) as input. A layer that is
            called several times is listed as it is called last.
        size: height and width of the picture; left out, those of the model's input, if fixed.

    Returns:
        By layer name. Layers behind a flattening or a global pooling, and behind one of a kind
        that is not known here, are left out.

    Raises:
        SettingsError: not such a model, or a size that is missing.
    """
    states = _states(model, size)
    return {name: s for name, s in states.items() if isinstance(s, ReceptiveField)}


def receptive_field(model: keras.Model, layer: str, size: Pair | None = None) -> ReceptiveField:
    """The field of one layer; see `receptive_fields`.

    Raises:
        SettingsError: also if there is no such layer, or it has no field; the text says why.
    """
    states = _states(model, size)
    if layer not in states:
        near = difflib.get_close_matches(layer, states, n=3) or list(states)[-3:]
        raise SettingsError(f"no layer {layer!r} in {model.name}; did you mean {', '.join(near)}?")
    if not isinstance(states[layer], ReceptiveField):
        raise SettingsError(f"layer {layer!r} has no receptive field: {states[layer]}")
    return states[layer]


class _Axis(NamedTuple):
    """One side of a map."""

    extent: int
    """Positions."""
    stride: int
    first: int
    last: int


@dataclasses.dataclass(frozen=True)
class _Map:
    """A tensor whose positions lie in the picture."""

    axes: tuple[_Axis, _Axis]
    whole: bool = False


class _Whole:
    """A tensor of which each number may depend on the whole picture."""

    def __str__(self) -> str:
        return "it sees the whole picture, behind a global pooling or a flattening"


class _Unknown(str):
    """A tensor of which nothing can be said; the text is why."""


def _states(model, size) -> dict[str, ReceptiveField | _Whole | _Unknown]:
    shapes = [tuple(tensor.shape) for tensor in getattr(model, "inputs", None) or ()]
    if len(shapes) != 1 or len(shapes[0]) != 4:
        raise SettingsError(
            f"{model.name}: receptive fields need a built functional or sequential model with one "
            f"picture as input, not {len(shapes)} inputs {shapes}"
        )
    channels_first = keras.config.image_data_format() == "channels_first"
    sides = shapes[0][2:] if channels_first else shapes[0][1:3]
    if size is None and None in sides:
        raise SettingsError(f"{model.name} takes pictures of any size: say of which")
    if size is not None and any(own not in (None, n) for own, n in zip(sides, size, strict=True)):
        raise SettingsError(f"{model.name} takes pictures of {sides[0]}×{sides[1]}, not {size}")
    states = {}
    height, width = size or sides
    _walk(model, _Map((_Axis(int(height), 1, 0, 0), _Axis(int(width), 1, 0, 0))), states, "")
    return states


def _walk(model, start, states, prefix):
    """Goes through a model's graph, notes the state behind each layer, and gives the last."""

    def enter(layer):
        def follow(*args, **kwargs):
            inputs = [
                value
                for value in keras.tree.flatten((args, kwargs))
                if isinstance(value, (_Map, _Whole, _Unknown))
            ]
            name = prefix + layer.name
            if isinstance(layer, keras.Model) and len(inputs) == 1:
                state = _walk(layer, inputs[0], states, f"{name}/")
            else:
                state = _behind(layer, inputs)
            states[name] = _described(name, type(layer).__name__, state)
            return state

        return follow

    if isinstance(model, keras.Sequential):
        for layer in model.layers:
            start = enter(layer)(start)
        return start
    if not hasattr(model, "_run_through_graph"):
        return _Unknown(f"{model.name} is a {type(model).__name__}, whose graph cannot be seen")
    # Keras' own walk of its graph; the public way, clone_model, makes all weights anew.
    return model._run_through_graph(start, enter)


def _described(name, kind, state):
    if isinstance(state, _Map):
        y, x = state.axes
        return ReceptiveField(
            layer=name,
            kind=kind,
            map_size=(y.extent, x.extent),
            stride=(y.stride, x.stride),
            size=(y.last - y.first + 1, x.last - x.first + 1),
            first=(y.first, x.first),
            whole=state.whole,
        )
    if isinstance(state, (_Whole, _Unknown)):
        return state
    return _Unknown("it has several outputs")


# === One layer ===

# fmt: off
_POINTWISE = (
    "Activation", "ReLU", "LeakyReLU", "PReLU", "ELU", "Softmax", "Relu", "Relu6", "Sigmoid",
    "Silu", "Gelu", "Tanh", "HardSigmoid", "HardSilu", "BatchNormalization", "LayerNormalization",
    "UnitNormalization", "Normalization", "Rescaling", "Dense", "Identity", "InputLayer",
    "Dropout", "SpatialDropout2D", "AlphaDropout", "GaussianDropout", "GaussianNoise",
    "ActivityRegularization", "LayerScale", "StochasticDepth",
)
_MERGING = (
    "Add", "Subtract", "Multiply", "Divide", "TrueDivide", "Average", "Maximum", "Minimum",
    "Concatenate",
)
# fmt: on
_GLOBAL = ("GlobalAveragePooling2D", "GlobalMaxPooling2D", "Flatten")
_CONVOLUTIONS = ("Conv2D", "DepthwiseConv2D", "SeparableConv2D")
_POOLINGS = ("MaxPooling2D", "AveragePooling2D")
_PADDINGS = ("ZeroPadding2D", "Cropping2D")
"""Of Keras' layers, and of its operations, as they stand in a graph (`x + y` is an `Add`)."""


def _behind(layer, inputs):
    """The state behind one layer, of which the states before it are given."""
    unknown = [state for state in inputs if isinstance(state, _Unknown)]
    if unknown:
        return unknown[0]
    maps = [state for state in inputs if isinstance(state, _Map)]
    if not maps:
        return _Whole()
    kind = _kind(layer)
    if kind in _MERGING:
        return _merge(layer, maps, len(maps) < len(inputs))
    if len(inputs) > 1:
        return _Unknown(f"{layer.name} is a {type(layer).__name__} of {len(inputs)} tensors")
    (state,) = maps
    if kind in _GLOBAL:
        return _Whole()
    if kind in _POINTWISE:
        return state if _along_channels(layer) else _Whole()
    if kind in _CONVOLUTIONS + _POOLINGS:
        kernels = layer.kernel_size if kind in _CONVOLUTIONS else layer.pool_size
        dilations = layer.dilation_rate if kind in _CONVOLUTIONS else (1, 1)
        windows = zip(state.axes, kernels, _pair(layer.strides), _pair(dilations), strict=True)
        axes = tuple(_slide(*window, layer.padding) for window in windows)
    elif kind in _PADDINGS:
        sign, amounts = (1, layer.padding) if kind == "ZeroPadding2D" else (-1, layer.cropping)
        axes = tuple(
            _shift(axis, sign * before, sign * after)
            for axis, (before, after) in zip(state.axes, amounts, strict=True)
        )
    else:
        return _Unknown(f"{layer.name} is a {type(layer).__name__}, whose geometry is not known")
    if min(axis.extent for axis in axes) < 1:
        return _Unknown(f"the picture is too small, nothing is left of it behind {layer.name}")
    return _Map(axes, state.whole)


def _kind(layer) -> str:
    """The name of the Keras class that says what the layer does; "" if it is none of Keras'."""
    own = getattr(type(layer), "call", None)
    for base in type(layer).__mro__:
        if base.__module__.startswith("keras.") and getattr(base, "call", None) is own:
            return base.__name__
    return ""


def _slide(axis: _Axis, kernel: int, stride: int, dilation: int, padding: str) -> _Axis:
    reach = dilation * (kernel - 1)
    before = after = 0
    if padding == "same":
        covered = (-(-axis.extent // stride) - 1) * stride + reach + 1
        before = max(covered - axis.extent, 0) // 2
        after = max(covered - axis.extent, 0) - before
    return _Axis(
        extent=(axis.extent + before + after - reach - 1) // stride + 1,
        stride=axis.stride * stride,
        first=axis.first - axis.stride * before,
        last=axis.last + axis.stride * (reach - before),
    )


def _shift(axis: _Axis, before: int, after: int) -> _Axis:
    """Of padding; of cropping, if negative."""
    moved = axis.stride * before
    return _Axis(axis.extent + before + after, axis.stride, axis.first - moved, axis.last - moved)


def _merge(layer, maps, gated):
    """The smallest span that holds those of all branches."""
    if type(layer).__name__ == "Concatenate" and layer.axis not in (-1, 3):
        return _Unknown(f"{layer.name} puts maps beside each other, not their channels")
    axes = []
    for sides in zip(*(state.axes for state in maps), strict=True):
        strides, extents = {side.stride for side in sides}, {side.extent for side in sides}
        if len(strides) > 1 or len(extents) > 1:
            return _Unknown(
                f"{layer.name} joins branches of strides {sorted(strides)} "
                f"and {sorted(extents)} positions"
            )
        first, last = min(side.first for side in sides), max(side.last for side in sides)
        axes.append(sides[0]._replace(first=first, last=last))
    return _Map(tuple(axes), gated or any(state.whole for state in maps))


def _along_channels(layer) -> bool:
    """Whether a layer with an `axis` works on channels alone."""
    axis = getattr(layer, "axis", -1)
    return set(axis if isinstance(axis, (tuple, list)) else [axis]) <= {-1, 3, None}


def _pair(value) -> Pair:
    return (value, value) if isinstance(value, int) else tuple(value)
