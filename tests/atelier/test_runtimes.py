"""Runtimes of exported networks: opened where they are, told of where they are not."""

import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from atelier.errors import SettingsError
from atelier.export.runtimes import (
    exported_path,
    litert_function,
    open_litert,
    open_onnx,
    write_litert,
)


@pytest.fixture
def doubling(tmp_path):
    """A .tflite file that doubles three numbers."""
    signature = [tf.TensorSpec((3,), tf.float32)]
    module = tf.Module()
    module.double = tf.function(lambda x: 2 * x, input_signature=signature)
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [module.double.get_concrete_function()], module
    )
    path = tmp_path / "double.tflite"
    path.write_bytes(converter.convert())
    return path


def doubled(path, **options):
    interpreter = open_litert(path, **options)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.float32([1, 2, 3]))
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).tolist()


def test_litert_file_runs(doubling):
    assert doubled(doubling) == doubled(str(doubling), threads=2) == [2, 4, 6]


def test_tensorflows_own_interpreter_stands_in(doubling, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    assert doubled(doubling) == [2, 4, 6]


def test_litert_file_is_a_function_of_any_size_that_it_allows(tmp_path):
    write_litert(
        lambda x: {"y": 2 * x},
        tf.TensorSpec((None, 3), tf.float32, name="x"),
        "float32",
        tmp_path / "x.tflite",
    )
    double = litert_function(tmp_path / "x.tflite", threads=2)
    for rows in (2, 2, 5, 1):
        x = np.arange(3 * rows, dtype=np.float32).reshape(rows, 3)
        np.testing.assert_array_equal(double(x), 2 * x)


def test_onnx_file_runs(tmp_path):
    onnx = pytest.importorskip("onnx", reason="the extra `export` is not installed")
    pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [3]) for name in "xy")
    graph = onnx.helper.make_graph([onnx.helper.make_node("Add", ["x", "x"], ["y"])], "g", [x], [y])
    opset = onnx.helper.make_opsetid("", 17)
    onnx.save(
        onnx.helper.make_model(graph, ir_version=8, opset_imports=[opset]), tmp_path / "x.onnx"
    )
    (result,) = open_onnx(tmp_path / "x.onnx").run(None, {"x": np.float32([1, 2, 3])})
    assert result.tolist() == [2, 4, 6]


def test_onnx_runtime_that_is_missing_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(SettingsError, match=r"onnxruntime is missing.*\[export\].*--no-check"):
        open_onnx(tmp_path / "x.onnx")


def test_litert_file_of_a_keras_model_names_its_tensors(tmp_path):
    """Its weights are variables, which the function alone does not hold."""
    layer = keras.layers.Dense(2)
    layer.build((None, 3))
    signature = tf.TensorSpec((1, 3), tf.float32, name="x")
    write_litert(lambda x: {"y": layer(x)}, signature, "float32", tmp_path / "x.tflite")
    run = open_litert(tmp_path / "x.tflite").get_signature_runner()
    x = np.float32([[1, 2, 3]])
    np.testing.assert_allclose(run(x=x)["y"], layer(x), rtol=1e-5)


@pytest.mark.parametrize(
    ("network", "format", "name"),
    [
        ("strong", "onnx", "strong.onnx"),
        ("strong", "litert-int8", "strong-int8.tflite"),
        ("runs/mine.v2", "litert-float16", "mine.v2-float16.tflite"),
        ("runs/mine/", "onnx", "mine.onnx"),
    ],
)
def test_exported_files_are_named_after_their_network(tmp_path, network, format, name):
    assert exported_path(tmp_path, network, format) == tmp_path / name
