"""The ONNX graph: valid, free in its size, and equal to Keras."""

import collections
import sys

import numpy as np
import pytest

from atelier.errors import OutputError, SettingsError
from superres.config import NetworkConfig
from superres.export.onnx_graph import to_onnx
from superres.fixed_point.integer import IntegerNetwork
from superres.networks import Network
from superres.training.data import luma_8_bit

onnx = pytest.importorskip("onnx", reason="the extra `export` is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")

CONFIGS = {
    "report": NetworkConfig(),
    "nearest, scale 3": NetworkConfig(
        widths=(4, 6, 4),
        kernels=("3x3", "1x5", "5x1"),
        residuals=(2,),
        scale=3,
        interpolation="nearest",
    ),
    "one channel": NetworkConfig(widths=(1, 2), kernels=("5x3", "1x1"), residuals=(), scale=4),
}


def run(path, luma):
    """float32 (N, 1, H, W) through ONNX Runtime."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (result,) = session.run(["upscaled"], {"luma": luma})
    return result


@pytest.mark.parametrize("name", CONFIGS)
def test_fixed_point_is_equal_in_every_bit(fixed_point_network, photo, tmp_path, name):
    network = fixed_point_network(CONFIGS[name], (8, 10))  # Whose sums float32 holds.
    to_onnx(network, tmp_path / "x.onnx")
    integers = IntegerNetwork.of(network)
    for luma in (luma_8_bit(photo)[:40, :31], np.full((1, 2), 255, np.uint8)):
        result = run(tmp_path / "x.onnx", np.float32(luma / 256)[None, None])
        np.testing.assert_array_equal(result[0, 0], integers(luma).real)


def test_floats_are_what_keras_computes(network, luma, tmp_path):
    stored = Network(network, {"network": "ours", "shape": vars(NetworkConfig())})
    to_onnx(stored, tmp_path / "x.onnx")
    result = run(tmp_path / "x.onnx", luma.transpose(0, 3, 1, 2))
    expected = network(luma).numpy().transpose(0, 3, 1, 2)
    assert result.shape == (2, 1, 80, 112)
    np.testing.assert_allclose(result, expected, atol=2e-6)


def test_graph_has_a_few_plain_operations(fixed_point_network, tmp_path):
    network = fixed_point_network(CONFIGS["report"])
    to_onnx(Network(network.model, {**network.card, "formats": None}), tmp_path / "x.onnx")
    model = onnx.load(tmp_path / "x.onnx")
    onnx.checker.check_model(model, full_check=True)
    kinds = collections.Counter(node.op_type for node in model.graph.node)
    assert kinds == {"Conv": 10, "Relu": 4, "Add": 2, "DepthToSpace": 1}
    assert (tmp_path / "x.onnx").stat().st_size < 16_000
    for value, sides in (
        (model.graph.input[0], ["batch", 1, "height", "width"]),
        (model.graph.output[0], ["batch", 1, "2*height", "2*width"]),
    ):
        dimensions = value.type.tensor_type.shape.dim
        assert [side.dim_param or side.dim_value for side in dimensions] == sides


def test_existing_file_is_kept(fixed_point_network, tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"kept")
    with pytest.raises(OutputError, match="--overwrite"):
        to_onnx(fixed_point_network(CONFIGS["one channel"]), tmp_path / "x.onnx", overwrite=False)
    assert (tmp_path / "x.onnx").read_bytes() == b"kept"


def test_missing_package_is_one_line(fixed_point_network, tmp_path, monkeypatch):
    network = fixed_point_network(CONFIGS["one channel"])
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(SettingsError, match=r"onnx is missing: pip install .*\[export\]"):
        to_onnx(network, tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())
