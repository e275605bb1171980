"""A classifier for LiteRT (TensorFlow Lite): phones, single-board computers, browsers.

All kinds take `image`, float32 (N, 32, 32, 3) in [0, 1], and give `probabilities`, float32 (N, 10):
softmax over the temperature of one view. A network with a threshold also gives `energy`, float32
(N,): a picture whose energy is below the threshold is none of the ten. N is free
(`resize_tensor_input`), and 1 where nothing is said. All operations are LiteRT's own; exact GELU
becomes its `GELU`.

- `float32` computes what Keras does.
- `float16` keeps the weights in 16 bits, and GPU delegates compute in as many.
- `int8` computes convolutions, pooling, activations and hidden dense layers in 8 bits: a scale for
  each filter, or for each hidden dense layer, and one for each activation, chosen on pictures.
  Pictures of 8 bits lose nothing as they enter. The last layer, a thousandth of the work, and
  softmax stay in float, for smooth probabilities.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from typing import Literal

import keras
import numpy as np
import tensorflow as tf
from scipy.special import erf, expit

from atelier.errors import SettingsError
from atelier.export.runtimes import write_litert
from atelier.media.images import load_image, sample
from classify.data import SIDE, to_float
from classify.export.folding import deployable, walker
from classify.networks import Network
from classify.predict import prepare

Kind = Literal["float32", "float16", "int8"]

CALIBRATION = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")
"""Pictures that come with scikit-image, by which the scales of int8 are chosen."""

_VALUES = 50_000
"""Of each activation, about so many values are looked at."""

_BATCH = 50


def to_litert(
    network: Network,
    path: str | os.PathLike,
    kind: Kind = "float16",
    *,
    calibration: np.ndarray | None = None,
    overwrite: bool = True,
) -> None:
    """Writes the network as a .tflite file, whole or not at all.

    Args:
        network: the strong one, of any shape, or the report's.
        path: where to.
        kind: of numbers; see above.
        calibration: uint8 (N, 32, 32, 3), for `int8`: a few hundred pictures like those that the
            network is for. None takes `patches` of scikit-image's, which will do.
        overwrite: whether an existing file may be replaced.

    Raises:
        SettingsError: an unknown kind, or calibration pictures of another shape.
        OutputError: the file exists, or cannot be written.
    """
    if kind not in ("float32", "float16", "int8"):
        raise SettingsError(f"LiteRT takes float32, float16 or int8, not {kind!r}")
    model, operations = deployable(network), _Operations()
    if kind == "int8":
        pictures = patches(CALIBRATION) if calibration is None else np.asarray(calibration)
        operations = _Int8(model, _ranges(model, pictures))

    facts = network.facts(1)
    walk = walker(model, facts["temperature"] if "threshold" in facts else None)

    def classify(image):
        return walk(operations, operations.enter(image))

    signature = tf.TensorSpec((None, SIDE, SIDE, 3), tf.float32, name="image")
    write_litert(classify, signature, kind, path, overwrite=overwrite)


def patches(names: Sequence[str]) -> np.ndarray:
    """Pictures that come with scikit-image, whole, in quarters and in sixteenths, squeezed.

    Returns:
        uint8 (21 · pictures, 32, 32, 3).
    """
    squeezed = []
    for name in names:
        picture = load_image(sample(name))
        for parts in (1, 2, 4):
            height, width = (side // parts for side in picture.shape[:2])
            for y, x in np.ndindex(parts, parts):
                window = picture[y * height :, x * width :][:height, :width]
                squeezed.append(prepare(window))
    return np.stack(squeezed)


# === Operations ===


class _Operations:
    """`classify.export.folding.Operations` on TensorFlow's tensors."""

    def enter(self, image):
        return image

    def convolve(self, x, kernel, bias, padding, name):
        return tf.nn.conv2d(x, kernel, 1, padding.upper(), name=name) + bias

    def max_pool(self, x, name):
        return tf.nn.max_pool2d(x, 2, 2, "VALID", name=name)

    def global_max_pool(self, x, name):
        return tf.reduce_max(x, axis=(1, 2), name=name)

    def activate(self, x, kind, name):
        if kind == "gelu":  # In these very steps the converter knows LiteRT's GELU.
            return tf.nn.gelu(x, approximate=False, name=name)
        return {"relu": tf.nn.relu, "silu": tf.nn.silu}[kind](x)

    def add(self, x, y, name):
        return tf.add(x, y, name=name)

    def flatten(self, x, shape, name):
        return tf.reshape(x, (-1, int(np.prod(shape))), name=name)

    def dense(self, x, kernel, bias, name):
        return tf.matmul(x, kernel, name=name) + bias

    def softmax(self, x, name):
        return tf.nn.softmax(x, name=name)

    def energy(self, x, temperature, name):
        peak = tf.reduce_max(x, axis=1)
        rest = tf.math.log(tf.reduce_sum(tf.exp(x - peak[:, None]), axis=1))
        return tf.multiply(peak + rest, np.float32(temperature), name=name)


class _Int8(_Operations):
    """Marks what the converter makes 8 bits: kernels, and activations within their ranges."""

    def __init__(self, model: keras.Model, ranges: dict[str, tuple[float, float]]):
        dense = [layer.name for layer in model.layers if isinstance(layer, keras.layers.Dense)]
        self.head = dense[-1]
        self.ranges = ranges

    def enter(self, image):
        return tf.quantization.fake_quant_with_min_max_vars(image, 0.0, 1.0, num_bits=8)

    def convolve(self, x, kernel, bias, padding, name):
        widest = np.maximum(np.abs(kernel).max(axis=(0, 1, 2)), 1e-6)
        marked = tf.quantization.fake_quant_with_min_max_vars_per_channel(
            kernel, -widest, widest, num_bits=8, narrow_range=True
        )
        return super().convolve(x, marked, bias, padding, name)

    def dense(self, x, kernel, bias, name):
        if name != self.head:
            widest = max(float(np.abs(kernel).max()), 1e-6)
            kernel = tf.quantization.fake_quant_with_min_max_vars(
                kernel, -widest, widest, num_bits=8, narrow_range=True
            )
        return super().dense(x, kernel, bias, name)

    def add(self, x, y, name):
        # y, the skip, is an activation's output, which is marked.
        return super().add(self.mark(x, f"{name}/x"), y, name)

    def activate(self, x, kind, name):
        x = self.mark(x, f"{name}/x", kind)
        # Of ReLU the range begins at zero, and what is below it becomes zero: ReLU is done.
        return x if kind == "relu" else self.mark(super().activate(x, kind, name), name)

    def mark(self, x, name, use="linear"):
        return tf.quantization.fake_quant_with_min_max_vars(x, *self.ranges[name], num_bits=8)


class _Observer(_Int8):
    """Notes what `_Int8` would mark, on real pictures, and what it is used for."""

    def __init__(self, model: keras.Model, pictures: int):
        super().__init__(model, {})
        self.pictures, self.rng = pictures, np.random.default_rng(0)
        self.seen: dict[str, list[np.ndarray]] = {}
        self.uses: dict[str, str] = {}

    def enter(self, image):
        return image

    def mark(self, x, name, use="linear"):
        values = x.numpy().ravel()
        chosen = self.rng.integers(0, values.size, 1 + _VALUES * len(x) // self.pictures)
        self.seen.setdefault(name, []).append(values[chosen])
        self.uses[name] = use
        return tf.nn.relu(x) if use == "relu" else x


# === Ranges ===


def _ranges(model: keras.Model, pictures: np.ndarray) -> dict[str, tuple[float, float]]:
    """The (lowest, highest) of each activation that 8 bits are to stand for."""
    if pictures.dtype != np.uint8 or pictures.shape[1:] != (SIDE, SIDE, 3) or not len(pictures):
        raise SettingsError(
            f"calibration pictures must be uint8 (N, {SIDE}, {SIDE}, 3), not {pictures.dtype} "
            f"{pictures.shape}"
        )
    observer, walk = _Observer(model, len(pictures)), walker(model)
    for start in range(0, len(pictures), _BATCH):
        walk(observer, tf.constant(to_float(pictures[start : start + _BATCH])))
    return {
        name: best_range(np.concatenate(values), observer.uses[name])
        for name, values in observer.seen.items()
    }


_USES = {
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "silu": lambda x: x * expit(x),
    "gelu": lambda x: x * (1 + erf(x / 2**0.5)) / 2,
}


def best_range(values: np.ndarray, use: str = "linear") -> tuple[float, float]:
    """The range, zero in it, whose 256 steps have the smallest squared error on `values`.

    A narrower range than that of all values rounds most of them better, and saturates a few.

    Args:
        values: of an activation.
        use: what becomes of them: relu, silu, gelu, or linear for nothing. The error is that of
            the outcome: of what GELU makes zero, little need be known.

    Returns:
        The lowest and the highest number.
    """
    function = _USES[use]
    expected = function(values)
    first = 0.0 if use == "relu" else min(0.0, float(values.min()))
    last = max(1e-6, float(values.max()))

    def error(lowest: float, highest: float) -> float:
        step = (highest - lowest) / 255
        zero = np.rint(-lowest / step)
        codes = np.clip(np.rint(values / step) + zero, 0, 255)
        return float(np.mean(np.square(function((codes - zero) * step) - expected)))

    parts = np.geomspace(1, 0.1, 24).tolist()
    lowest, highest = first, last
    for _ in range(2):  # Each end depends on the other.
        highest = min((part * last for part in parts), key=functools.partial(error, lowest))
        lowest = min((part * first for part in parts), key=lambda end, to=highest: error(end, to))
    return lowest, highest
