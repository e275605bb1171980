"""The runtimes of other forms of our networks, which the extras of the package bring along."""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections.abc import Iterable

import tensorflow as tf

from atelier.errors import SettingsError


def missing(package: str, extra: str = "export") -> str:
    """What to say of a package that only some need: how it is installed."""
    return f"{package} is missing: pip install 'atelier-vision[{extra}]'"


def require(packages: Iterable[tuple[str, str]]) -> None:
    """Ends a command before its work if something is missing for some of it.

    Args:
        packages: names of packages, each with the extra that brings it.

    Raises:
        SettingsError: one of them is not installed.
    """
    for package, extra in packages:
        if importlib.util.find_spec(package) is None:
            raise SettingsError(missing(package, extra))


def open_litert(path: str | os.PathLike, threads: int = 1):
    """An interpreter of a .tflite file: LiteRT's own, or TensorFlow's where that is missing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow's own is about to move to this package.
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError:
            Interpreter = tf.lite.Interpreter
        return Interpreter(model_path=os.fspath(path), num_threads=threads)


def open_onnx(path: str | os.PathLike):
    """A session of ONNX Runtime on the processor.

    Raises:
        SettingsError: ONNX Runtime is not installed.
    """
    try:
        import onnxruntime
    except ImportError:
        raise SettingsError(f"{missing('onnxruntime')}, or pass --no-check") from None
    return onnxruntime.InferenceSession(os.fspath(path), providers=["CPUExecutionProvider"])
