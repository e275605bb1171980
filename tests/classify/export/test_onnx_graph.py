"""The ONNX graph: valid, for any number of pictures, and equal to Keras."""

import collections
import sys

import keras
import numpy as np
import pytest

from atelier.errors import OutputError, SettingsError
from classify.export.onnx_graph import to_onnx
from classify.networks import Network
from classify.report import build_report
from classify.strong import build_strong

onnx = pytest.importorskip("onnx", reason="the extra `export` is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")

MODELS = {
    "gelu": lambda: build_strong((8, 16), 2, "gelu"),
    "silu, with a residual": lambda: build_strong((6, 10, 8), 3, "silu"),
    "relu": lambda: build_strong((8,), 1, "relu"),
    "report": build_report,
}


@pytest.fixture
def random_network(rng):
    """Gives one of `MODELS` with weights that make its answers differ, and a temperature."""

    def build(name: str = "gelu") -> Network:
        keras.utils.set_random_seed(0)
        model = MODELS[name]()
        factors = {1: 1, 2: 1.5, 4: 1.5} if name == "report" else {1: 1, 2: 8, 4: 1}
        weights = [factors[w.ndim] * w for w in model.get_weights()]
        noise = [rng.uniform(0, 0.05, w.shape) if w.ndim == 1 else 0 for w in weights]
        model.set_weights([w + n for w, n in zip(weights, noise, strict=True)])
        return Network(model, {"temperature": 0.7})

    return build


@pytest.fixture
def pictures(rng):
    """Coloured squares, uint8 (5, 32, 32, 3)."""
    return rng.integers(0, 256, (5, 4, 4, 3), np.uint8).repeat(8, axis=1).repeat(8, axis=2)


def expected_of(network: Network, pictures: np.ndarray) -> np.ndarray:
    logits = network.logits(pictures, views=1) / network.temperature
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


@pytest.mark.parametrize("name", MODELS)
def test_probabilities_are_those_of_keras(random_network, pictures, tmp_path, name):
    network = random_network(name)
    to_onnx(network, tmp_path / "x.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "x.onnx", providers=["CPUExecutionProvider"])
    expected = expected_of(network, pictures)
    assert np.ptp(expected, axis=0).max() > 0.05  # Pictures differ.
    images = pictures.transpose(0, 3, 1, 2) / np.float32(255)
    for count in (1, 5):
        (result,) = session.run(["probabilities"], {"image": images[:count]})
        np.testing.assert_allclose(result, expected[:count], atol=1e-5)


def test_graph_has_a_few_plain_operations(random_network, tmp_path):
    to_onnx(random_network(), tmp_path / "x.onnx")
    model = onnx.load(tmp_path / "x.onnx")
    onnx.checker.check_model(model, full_check=True)
    kinds = collections.Counter(node.op_type for node in model.graph.node)
    gelu = collections.Counter({"Div": 5, "Erf": 5, "Add": 5, "Mul": 10})
    pooling = {"MaxPool": 2, "GlobalMaxPool": 1, "Flatten": 1}
    assert kinds == gelu + collections.Counter({"Conv": 5, **pooling, "Gemm": 1, "Softmax": 1})
    for value, sides in (
        (model.graph.input[0], ["batch", 3, 32, 32]),
        (model.graph.output[0], ["batch", 10]),
    ):
        dimensions = value.type.tensor_type.shape.dim
        assert [side.dim_param or side.dim_value for side in dimensions] == sides


def test_existing_file_is_kept(random_network, tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"kept")
    with pytest.raises(OutputError, match="--overwrite"):
        to_onnx(random_network(), tmp_path / "x.onnx", overwrite=False)
    assert (tmp_path / "x.onnx").read_bytes() == b"kept"


def test_missing_package_is_one_line(random_network, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(SettingsError, match=r"onnx is missing: pip install .*\[export\]"):
        to_onnx(random_network(), tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())
