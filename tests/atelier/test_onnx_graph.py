"""ONNX graphs written node by node: checked, whole, and what they say they are."""

import sys

import numpy as np
import pytest

from atelier.errors import OutputError, SettingsError
from atelier.export.onnx_graph import OnnxGraph
from atelier.export.runtimes import open_onnx


def add_three(path, **options) -> None:
    graph = OnnxGraph()
    graph.node("Add", ["x", graph.constant(3, "three")], "y")
    tensors = {"input": {"x": ("batch", 2)}, "output": {"y": ("batch", 2)}}
    graph.write(path, name="sum", description="Adds 3.", **tensors, **options)


@pytest.mark.parametrize("rows", [1, 4])
def test_graph_computes_for_any_length_that_is_a_word(tmp_path, rows):
    pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")
    add_three(tmp_path / "x.onnx")
    x = np.arange(2 * rows, dtype=np.float32).reshape(rows, 2)
    (y,) = open_onnx(tmp_path / "x.onnx").run(None, {"x": x})
    np.testing.assert_array_equal(y, x + 3)


def test_existing_file_and_senseless_graph_leave_nothing_half_written(tmp_path):
    onnx = pytest.importorskip("onnx", reason="the extra `export` is not installed")
    (tmp_path / "x.onnx").write_bytes(b"old")
    with pytest.raises(OutputError, match="exists"):
        add_three(tmp_path / "x.onnx", overwrite=False)
    graph = OnnxGraph()
    graph.node("Relu", ["nothing"], "y")
    with pytest.raises((onnx.checker.ValidationError, onnx.shape_inference.InferenceError)):
        graph.write(
            tmp_path / "x.onnx", name="g", description="", input={"x": (1,)}, output={"y": (1,)}
        )
    assert [file.name for file in tmp_path.iterdir()] == ["x.onnx"]
    assert (tmp_path / "x.onnx").read_bytes() == b"old"


def test_missing_package_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(SettingsError, match=r"onnx is missing.*\[export\]"):
        OnnxGraph()


def test_tensors_of_whole_numbers(tmp_path):
    pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")
    graph = OnnxGraph()
    graph.node("Gather", ["x", graph.constant([1, 0], "order", np.int64)], "y")
    shapes = {"input": {"x": (2,)}, "output": {"y": (2,)}}
    dtypes = {"x": np.int32, "y": np.int32}
    graph.write(tmp_path / "x.onnx", name="g", description="", **shapes, dtypes=dtypes)
    (y,) = open_onnx(tmp_path / "x.onnx").run(None, {"x": np.int32([5, 7])})
    assert (y.dtype, y.tolist()) == (np.int32, [7, 5])
