"""The runtimes of other forms of our networks, which the extras of the package bring along."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import tensorflow as tf

from atelier.errors import SettingsError, missing_extra
from atelier.files import atomic_path


def exported_path(folder: Path, network: str, format: str) -> Path:
    """Where a network goes in another form.

    Args:
        folder: of the results.
        network: its name, or its run folder.
        format: onnx, or litert- and the kind.
    """
    name = Path(network).resolve().name
    if format == "onnx":
        return folder / f"{name}.onnx"
    return folder / f"{name}-{format.removeprefix('litert-')}.tflite"


def write_litert(
    function: Callable,
    signature: tf.TensorSpec,
    kind: Literal["float32", "float16", "int8"],
    path: str | os.PathLike,
    *,
    overwrite: bool = True,
) -> None:
    """Writes a function of TensorFlow's as a .tflite file, whole or not at all.

    Args:
        function: of one tensor, to a dictionary of tensors.
        signature: of the tensor, with its name.
        kind: float16 keeps weights in 16 bits; int8 makes 8 bits of what the function marks by
            fake quantisation, and if it marks nothing, of the weights of layers.
        path: where to.
        overwrite: whether an existing file may be replaced.

    Raises:
        OutputError: the file exists, or cannot be written.
    """
    module = tf.Module()
    module.call = tf.function(function, input_signature=[signature], autograph=False)
    concrete = module.call.get_concrete_function()
    module.weights = list(concrete.variables)  # Without them, the file has no names of tensors.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of a representative data set, which marks do without.
        converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], module)
        if kind != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if kind == "float16":
            converter.target_spec.supported_types = [tf.float16]
        content = converter.convert()
    with atomic_path(path, overwrite=overwrite) as temporary:
        temporary.write_bytes(content)


def open_litert(path: str | os.PathLike, threads: int = 1):
    """An interpreter of a .tflite file: LiteRT's own, or TensorFlow's where that is missing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow's own is about to move to this package.
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError:
            Interpreter = tf.lite.Interpreter
        return Interpreter(model_path=os.fspath(path), num_threads=threads)


def litert_function(
    path: str | os.PathLike, threads: int = 1
) -> Callable[[np.ndarray], np.ndarray]:
    """A .tflite file of one input and one output as a function of arrays.

    Memory is laid out anew only when the shape changes from one call to the next.
    """
    interpreter = open_litert(path, threads)
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.allocate_tensors()

    def call(array: np.ndarray) -> np.ndarray:
        if tuple(interpreter.get_input_details()[0]["shape"]) != array.shape:
            interpreter.resize_tensor_input(given["index"], array.shape)
            interpreter.allocate_tensors()
        interpreter.set_tensor(given["index"], array)
        interpreter.invoke()
        return interpreter.get_tensor(made["index"])

    return call


def open_onnx(path: str | os.PathLike):
    """A session of ONNX Runtime on the processor.

    Raises:
        SettingsError: ONNX Runtime is not installed.
    """
    try:
        import onnxruntime
    except ImportError:
        raise SettingsError(f"{missing_extra('onnxruntime')}, or pass --no-check") from None
    return onnxruntime.InferenceSession(os.fspath(path), providers=["CPUExecutionProvider"])
