"""MediaPipe's weights in `cartoon.people.model`'s network, for a training to start from."""

from __future__ import annotations

import os
from collections.abc import Iterator

import keras
import numpy as np

from atelier.errors import WeightsError
from atelier.export.runtimes import open_litert
from cartoon.people.model import EIGHTH, QUARTER, SIXTEENTH


def load_selfie(model: keras.Model, file: str | os.PathLike) -> None:
    """Fills `model` with the weights of MediaPipe's selfie segmentation (Apache-2.0).

    Args:
        model: of `build_person_segmenter`.
        file: selfie_segmentation.tflite, whose weights are float16.

    Raises:
        WeightsError: it is missing, damaged, or another network.
    """
    if not os.path.isfile(file):
        raise WeightsError(f"{file}: no such file; it should be selfie_segmentation.tflite")
    try:
        arrays = list(_arrays(open_litert(file)))
        layers = [model.get_layer(name) for name in convolutions()]
        for layer, (kernel, bias) in zip(layers, arrays, strict=True):
            layer.set_weights([_in_order(layer, kernel), bias])
    except (ValueError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise WeightsError(f"{file} is not MediaPipe's selfie segmentation ({reason})") from None


def convolutions() -> Iterator[str]:
    """The names of the network's convolutions, in MediaPipe's order."""
    blocks = {"quarter": QUARTER}
    blocks |= {f"eighth{i}": block for i, block in enumerate(EIGHTH)}
    blocks |= {f"sixteenth{i}": block for i, block in enumerate(SIXTEENTH)}
    yield "stem"
    for name, (*_, squeezed) in blocks.items():
        gate = ("gate_squeeze", "gate_excite") if squeezed else ()
        yield from (f"{name}_{part}" for part in ("expand", "depthwise", *gate, "project"))
    yield from ("context", "context_gate")
    for size in ("eighth", "quarter", "half"):
        parts = ("project", "gate_squeeze", "gate_excite", "mix", "depthwise")
        yield from (f"decoder_{size}_{part}" for part in parts)
    yield "person"


def _arrays(interpreter) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Kernel and bias of each convolution, as they are stored, in float32."""
    interpreter.allocate_tensors()
    operations = interpreter._get_ops_details()  # There is no public way to a file's constants.
    stored = {
        int(operation["outputs"][0]): int(operation["inputs"][0])
        for operation in operations
        if operation["op_name"] == "DEQUANTIZE"
    }
    for operation in operations:
        if "CONV" in operation["op_name"].upper():
            kernel, bias = (stored[int(index)] for index in operation["inputs"][1:3])
            yield tuple(interpreter.get_tensor(i).astype(np.float32) for i in (kernel, bias))


def _in_order(layer: keras.layers.Layer, kernel: np.ndarray) -> np.ndarray:
    """A kernel, (out, h, w, in) or depthwise (1, h, w, channels), as Keras has it."""
    if isinstance(layer, keras.layers.Conv2DTranspose):  # (h, w, out, in)
        return kernel.transpose(1, 2, 0, 3)
    return kernel.transpose(1, 2, 3, 0)  # (h, w, in, out); depthwise (h, w, channels, 1)
