"""LiteRT files: equal to Keras in float32, near it in float16 and int8, of built-in operations."""

import keras
import numpy as np
import pytest

from atelier.errors import OutputError, SettingsError
from atelier.export.runtimes import open_litert
from classify.export.command import HELD_OUT, keras_probabilities, run_file
from classify.export.litert import best_range, patches, to_litert
from classify.networks import Network
from classify.report import build_report
from classify.strong import build_strong

MODELS = {
    "gelu": lambda: build_strong((8, 16), 2, "gelu"),
    "silu, with a residual": lambda: build_strong((6, 10, 8), 3, "silu"),
    "relu": lambda: build_strong((8, 8), 3, "relu"),
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
    """Coloured squares, uint8 (60, 32, 32, 3)."""
    return rng.integers(0, 256, (60, 4, 4, 3), np.uint8).repeat(8, axis=1).repeat(8, axis=2)


def operations(path) -> list[tuple[str, str]]:
    """(operation, dtype of what it puts out) of all nodes in the file."""
    interpreter = open_litert(path)
    interpreter.allocate_tensors()
    types = {tensor["index"]: tensor["dtype"] for tensor in interpreter.get_tensor_details()}
    return [
        (node["op_name"], np.dtype(types[node["outputs"][0]]).name)
        for node in interpreter._get_ops_details()
        if node["op_name"] != "DELEGATE"
    ]


# === What they compute ===


@pytest.mark.parametrize("name", MODELS)
def test_float32_is_what_keras_computes(random_network, pictures, tmp_path, name):
    network = random_network(name)
    to_litert(network, tmp_path / "x.tflite", "float32")
    expected = keras_probabilities(network, pictures)
    assert np.ptp(expected, axis=0).max() > 0.05  # Pictures differ.
    for count in (1, 60):
        result = run_file(tmp_path / "x.tflite", pictures[:count])["probabilities"]
        np.testing.assert_allclose(result, expected[:count], atol=1e-5)


def test_float16_is_near_and_smaller(random_network, pictures, tmp_path):
    network = random_network()
    for kind in ("float32", "float16"):
        to_litert(network, tmp_path / f"{kind}.tflite", kind)
    sizes = [(tmp_path / f"{kind}.tflite").stat().st_size for kind in ("float32", "float16")]
    assert sizes[0] - sizes[1] > 1.5 * network.model.count_params()  # Nearly two bytes each.
    error = run_file(tmp_path / "float16.tflite", pictures)["probabilities"] - keras_probabilities(
        network, pictures
    )
    assert 0 < np.abs(error).max() < 0.01


@pytest.mark.parametrize("name", MODELS)
def test_int8_is_near(random_network, pictures, tmp_path, name):
    network = random_network(name)
    to_litert(network, tmp_path / "x.tflite", "int8", calibration=pictures[:30])
    expected = keras_probabilities(network, pictures[30:])
    error = run_file(tmp_path / "x.tflite", pictures[30:])["probabilities"] - expected
    assert 0 < np.std(error) < 0.15 * np.std(expected - expected.mean(axis=0))


def test_int8_is_near_by_pictures_at_hand(random_network, tmp_path):
    network = random_network()
    to_litert(network, tmp_path / "x.tflite", "int8")
    unseen = patches(HELD_OUT)
    expected = keras_probabilities(network, unseen)
    error = run_file(tmp_path / "x.tflite", unseen)["probabilities"] - expected
    assert 0 < np.std(error) < 0.15 * np.std(expected - expected.mean(axis=0))


# === Of what they are made ===

HEAD = ["DEQUANTIZE", "FULLY_CONNECTED", "SOFTMAX"]
"""What int8 leaves in float."""


@pytest.mark.parametrize("kind", ["float32", "float16"])
def test_operations_of_floats_are_few_and_built_in(random_network, tmp_path, kind):
    to_litert(random_network(), tmp_path / "x.tflite", kind)
    found = [name for name, dtype in operations(tmp_path / "x.tflite") if name != "DEQUANTIZE"]
    group = ["CONV_2D", "MAX_POOL_2D", "GELU", "CONV_2D", "GELU"]
    head = ["REDUCE_MAX", "FULLY_CONNECTED", "SOFTMAX"]
    assert found == ["CONV_2D", "GELU", *group, *group, *head]


CONVOLUTION = {
    "gelu": ["CONV_2D", "GELU"],
    "silu, with a residual": ["CONV_2D", "LOGISTIC", "MUL"],
    "relu": ["CONV_2D"],  # ReLU is done by a range that begins at zero.
}
POOLED = {
    "gelu": ["CONV_2D", "MAX_POOL_2D", "GELU"],
    "silu, with a residual": ["CONV_2D", "MAX_POOL_2D", "LOGISTIC", "MUL"],
    "relu": ["CONV_2D", "MAX_POOL_2D"],
}


@pytest.mark.parametrize(
    ("name", "groups", "residual"),
    [
        ("gelu", 2, []),
        ("silu, with a residual", 3, ["CONV_2D", "ADD", "LOGISTIC", "MUL"]),
        ("relu", 2, ["CONV_2D", "ADD"]),
    ],
)
def test_int8_computes_all_but_the_last_layer_in_8_bits(
    random_network, pictures, tmp_path, name, groups, residual
):
    to_litert(random_network(name), tmp_path / "x.tflite", "int8", calibration=pictures[:5])
    group = [*POOLED[name], *CONVOLUTION[name], *residual]
    expected = ["QUANTIZE", *CONVOLUTION[name], *group * groups, "REDUCE_MAX"]
    assert operations(tmp_path / "x.tflite") == [
        *((operation, "int8") for operation in expected),
        *((operation, "float32") for operation in HEAD),
    ]


def test_int8_of_the_report_has_its_hidden_dense_layers_in_8_bits(
    report_network, pictures, tmp_path
):
    to_litert(report_network, tmp_path / "x.tflite", "int8", calibration=pictures[:5])
    block = ["CONV_2D", "CONV_2D", "MAX_POOL_2D"]
    expected = ["QUANTIZE", *block * 3, "RESHAPE", "FULLY_CONNECTED", "FULLY_CONNECTED"]
    assert operations(tmp_path / "x.tflite") == [
        *((operation, "int8") for operation in expected),
        *((operation, "float32") for operation in HEAD),
    ]
    assert (tmp_path / "x.tflite").stat().st_size < 1.02 * 2_915_114


def test_int8_has_a_scale_for_each_filter_and_takes_8_bits_exactly(
    random_network, pictures, tmp_path
):
    to_litert(random_network(), tmp_path / "x.tflite", "int8", calibration=pictures[:5])
    interpreter = open_litert(tmp_path / "x.tflite")
    interpreter.allocate_tensors()
    tensors = {tensor["index"]: tensor for tensor in interpreter.get_tensor_details()}
    nodes = {node["op_name"]: node for node in reversed(interpreter._get_ops_details())}
    kernel = tensors[nodes["CONV_2D"]["inputs"][1]]  # Of the first one, the whitening.
    assert kernel["dtype"] == np.int8
    assert len(kernel["quantization_parameters"]["scales"]) == 24
    scale, zero = tensors[nodes["QUANTIZE"]["outputs"][0]]["quantization"]
    assert (scale, zero) == (pytest.approx(1 / 255), -128)


def test_names_and_shapes_of_input_and_output(random_network, pictures, tmp_path):
    for kind in ("float16", "int8"):
        to_litert(random_network(), tmp_path / "x.tflite", kind, calibration=pictures[:5])
        interpreter = open_litert(tmp_path / "x.tflite")
        signature = {"inputs": ["image"], "outputs": ["probabilities"]}
        assert interpreter.get_signature_list() == {"serving_default": signature}
        (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
        assert given["shape"].tolist() == [1, 32, 32, 3]
        assert given["shape_signature"].tolist() == [-1, 32, 32, 3]
        assert made["shape_signature"].tolist() == [-1, 10]
        assert given["dtype"] == made["dtype"] == np.float32


# === Pictures at hand ===


def test_patches_are_whole_pictures_and_their_parts():
    result = patches(["astronaut.png", "camera.png"])
    assert (result.shape, result.dtype) == ((42, 32, 32, 3), np.uint8)
    quarters = np.float32(result[1:5]).reshape(2, 2, 16, 2, 16, 2, 3).mean(axis=(3, 5))
    whole = quarters.transpose(0, 2, 1, 3, 4).reshape(32, 32, 3)
    assert np.abs(whole - result[0]).mean() < 8


# === Ranges ===


def test_range_of_even_values_holds_them_all():
    lowest, highest = best_range(np.linspace(-1, 3, 1000))
    assert lowest <= -0.9
    assert highest >= 2.9


def test_range_gives_up_an_outlier():
    values = np.append(np.random.default_rng(0).normal(0, 1, 400_000), 12)
    lowest, highest = best_range(values)
    assert 4 < highest < 10
    assert -5 < lowest < -3


def test_range_of_what_an_activation_makes_zero_is_left_out():
    values = np.random.default_rng(0).normal(0, 4, 50_000)
    assert best_range(values)[0] < -10
    assert best_range(values, "relu")[0] == 0
    for use in ("gelu", "silu"):
        assert -8 < best_range(values, use)[0] < -1
        assert best_range(values, use)[1] > 10


@pytest.mark.parametrize("value", [0.0, 2.0, -2.0])
def test_range_of_one_value_has_zero_in_it(value):
    lowest, highest = best_range(np.full(10, value))
    assert lowest <= 0 < highest
    assert lowest <= value * 0.999 <= highest or value == 0


# === Mistakes ===


def test_unknown_kind(random_network, tmp_path):
    with pytest.raises(SettingsError, match="float32, float16 or int8, not 'int4'"):
        to_litert(random_network(), tmp_path / "x.tflite", "int4")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "pictures",
    [
        np.zeros((2, 32, 32, 3), np.float32),
        np.zeros((2, 28, 28, 3), np.uint8),
        np.zeros((0, 32, 32, 3), np.uint8),
        np.zeros((32, 32, 3), np.uint8),
    ],
)
def test_calibration_pictures_of_another_kind(random_network, tmp_path, pictures):
    with pytest.raises(SettingsError, match=r"must be uint8 \(N, 32, 32, 3\), not"):
        to_litert(random_network(), tmp_path / "x.tflite", "int8", calibration=pictures)
    assert not list(tmp_path.iterdir())


def test_existing_file_is_kept(random_network, tmp_path):
    (tmp_path / "x.tflite").write_bytes(b"kept")
    with pytest.raises(OutputError, match="--overwrite"):
        to_litert(random_network(), tmp_path / "x.tflite", "float32", overwrite=False)
    assert (tmp_path / "x.tflite").read_bytes() == b"kept"
