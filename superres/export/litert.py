"""Our network for LiteRT (TensorFlow Lite): phones, single-board computers, browsers.

All kinds take and give float32, in TensorFlow's order of axes: (1, H, W, 1), LR luma / 256, to
(1, scale·H, scale·W, 1), HR luma / 256, not clipped. H and W are free (`resize_tensor_input`)
unless a size is given, as GPU delegates want it.

- `float32` computes what Keras does; a network in fixed point puts out the same bits, as long as
  float32 holds its sums exactly (see `superres.fixed_point.integer`).
- `float16` keeps kernels in 16 bits, and GPU delegates compute in as many. As those cannot hold
  activations of 14 bits, of a network in fixed point it takes the kernels alone, unrounded else.
- `int8` computes the convolutions in 8 bits, a scale for each filter, and one for each activation,
  chosen for the least squared error on pictures; again of the kernels alone. The interpolation
  stays in float: 8 bits lose far more there, as it makes nearly all of the picture, of which the
  convolutions add but a few percent.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Literal

import numpy as np
import tensorflow as tf

from atelier.errors import SettingsError
from atelier.export.runtimes import write_litert
from atelier.media.images import sample
from superres.color import RANGE
from superres.network import topology
from superres.network.layers import interpolation_kernel
from superres.network.model import Formats
from superres.networks import Network
from superres.training import data, degradation

Kind = Literal["float32", "float16", "int8"]

CALIBRATION = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")
"""Pictures that come with scikit-image, by which the scales of int8 are chosen."""


def to_litert(
    network: Network,
    path: str | os.PathLike,
    kind: Kind = "float16",
    *,
    size: tuple[int, int] | None = None,
    calibration: Sequence[np.ndarray] | None = None,
    overwrite: bool = True,
) -> None:
    """Writes the network as a .tflite file, whole or not at all.

    Args:
        network: of floats or in fixed point.
        path: where to.
        kind: of numbers; see above.
        size: height and width of LR pictures; None for any.
        calibration: LR luma, uint8 (h, w), for `int8`; None for scikit-image's pictures.
        overwrite: whether an existing file may be replaced.

    Raises:
        SettingsError: an unknown kind, or the network is not our own.
        OutputError: the file exists, or cannot be written.
    """
    if kind not in ("float32", "float16", "int8"):
        raise SettingsError(f"LiteRT takes float32, float16 or int8, not {kind!r}")
    if size is not None and min(size) < 1:
        raise SettingsError(f"the size must be positive, not {size}")
    if kind == "int8":
        pictures = calibration_pictures(network.scale) if calibration is None else calibration
        operations = _Int8(network, _ranges(network, pictures))
    else:
        operations = _Operations(network, network.formats if kind == "float32" else None)

    def upscale(luma):
        pixels = topology.whole(network.config, operations, luma)
        return {"upscaled": tf.nn.depth_to_space(pixels, network.scale)}

    signature = tf.TensorSpec((1, *(size or (None, None)), 1), tf.float32, name="luma")
    write_litert(upscale, signature, kind, path, overwrite=overwrite)


def calibration_pictures(scale: int) -> list[np.ndarray]:
    """LR luma of scikit-image's pictures, uint8 (h, w)."""
    files = [sample(name) for name in CALIBRATION]
    model = degradation.bicubic_model(scale)
    return [lr for lr, _ in data.pairs(files, scale=scale, degradation=model, shrinks=(1.0,))]


class _Operations:
    """`superres.network.topology.Operations` on TensorFlow's tensors."""

    def __init__(self, network: Network, formats: Formats | None = None):
        self.formats = formats
        self.kernels = topology.kernels(network)
        self.interpolation = interpolation_kernel(network.scale, network.config.interpolation)

    def convolve(self, x, name):
        convolve = _depthwise if topology.is_depthwise(name) else _convolution
        return convolve(x, self.kernels[name], name)

    def interpolate(self, x):
        return _convolution(x, self.interpolation, "interpolation")

    def relu(self, x, name):
        return tf.nn.relu(x, name=f"{name}_relu")

    def add(self, x, y, name):
        return tf.add(x, y, name=name)

    def round(self, x, name):
        if self.formats is None:
            return x
        format = self.formats[name]
        codes = tf.floor(x * 2.0**format.fraction + 0.5)
        return tf.clip_by_value(codes, format.lowest, format.highest) * 2.0**-format.fraction


class _Int8(_Operations):
    """Marks what the converter makes 8 bits: kernels, and activations within their ranges."""

    def __init__(self, network: Network, ranges: dict[str, tuple[float, float]]):
        super().__init__(network)
        self.ranges = ranges

    def convolve(self, x, name):
        if name == "stem":
            x = self.mark(x, "input")
        kernel = self.kernels[name]
        if topology.is_depthwise(name):
            marked = tf.transpose(_mark_kernel(kernel.transpose(0, 1, 3, 2)), (0, 1, 3, 2))
            return _depthwise(x, marked, name)
        return _convolution(x, _mark_kernel(kernel), name)

    def add(self, x, y, name):
        return super().add(x if name == "add_interpolation" else self.mark(x, name), y, name)

    def round(self, x, name):
        return x if name in ("input", "interpolation") else self.mark(x, name)

    def mark(self, x, name):
        return tf.quantization.fake_quant_with_min_max_vars(x, *self.ranges[name], num_bits=8)


class _Observer(_Int8):
    """Notes what `_Int8` would mark, on real pictures."""

    def __init__(self, network: Network):
        super().__init__(network, {})
        self.seen: dict[str, list[np.ndarray]] = {}

    def mark(self, x, name):
        self.seen.setdefault(name, []).append(x.numpy().ravel()[::97])  # A sample is enough.
        return x


def _ranges(network: Network, pictures: Sequence[np.ndarray]) -> dict[str, tuple[float, float]]:
    """The (lowest, highest) of each activation that 8 bits are to stand for."""
    observer = _Observer(network)
    for picture in pictures:
        luma = tf.constant(picture[None, ..., None] / np.float32(RANGE), tf.float32)
        topology.whole(network.config, observer, luma)
    ranges = {name: best_range(np.concatenate(v)) for name, v in observer.seen.items()}
    return {**ranges, "input": (0.0, 255 / RANGE)}  # Each of the 256 lumas exactly.


def best_range(values: np.ndarray) -> tuple[float, float]:
    """The range, zero in it, whose 256 steps have the smallest squared error on `values`.

    A narrower range than that of all values rounds most of them better, and saturates a few.
    """
    lowest, highest = min(0.0, float(values.min())), max(1e-6, float(values.max()))

    def error(part: float) -> float:
        step = part * (highest - lowest) / 255
        zero = np.rint(-part * lowest / step)
        codes = np.clip(np.rint(values / step) + zero, 0, 255)
        return float(np.mean(np.square((codes - zero) * step - values)))

    best = min(np.linspace(1, 0.3, 29), key=error)
    return best * lowest, best * highest


def _mark_kernel(kernel: np.ndarray):
    """Floats that are multiples of a step for each of the last axis' filters, in ±127 steps."""
    widest = np.maximum(np.abs(kernel).max(axis=(0, 1, 2)), 1e-6)
    return tf.quantization.fake_quant_with_min_max_vars_per_channel(
        kernel, -widest, widest, num_bits=8, narrow_range=True
    )


def _convolution(x, kernel, name):
    return tf.nn.conv2d(x, tf.cast(kernel, tf.float32), 1, "SAME", name=name)


def _depthwise(x, kernel, name):
    return tf.nn.depthwise_conv2d(x, kernel, (1, 1, 1, 1), "SAME", name=name)
