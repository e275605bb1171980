"""LiteRT files: equal to Keras in float32, near it in float16 and int8."""

import numpy as np
import pytest

from atelier.errors import OutputError, SettingsError
from atelier.export.runtimes import open_litert
from superres.config import NetworkConfig
from superres.export.command import run_file
from superres.export.litert import best_range, calibration_pictures, to_litert
from superres.fixed_point.integer import IntegerNetwork
from superres.metrics import psnr
from superres.networks import Network
from superres.training.data import luma_8_bit

SMALL = NetworkConfig(
    widths=(4, 6, 4),
    kernels=("3x3", "1x5", "5x1"),
    residuals=(2,),
    scale=3,
    interpolation="nearest",
)


@pytest.fixture
def floats(network) -> Network:
    """The default network, of floats."""
    return Network(network, {"network": "ours", "shape": vars(NetworkConfig())})


@pytest.fixture(scope="module")
def plane(photo):
    """The photo's luma, uint8 (96, 96)."""
    return luma_8_bit(photo)


def keras_result(network, luma):
    """In [0, 255], as `run_file` gives it."""
    return network.model(luma[None, ..., None] / np.float32(256)).numpy()[0, ..., 0] * 256


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


@pytest.mark.parametrize("config", [NetworkConfig(), SMALL])
def test_fixed_point_in_float32_is_equal_in_every_bit(fixed_point_network, plane, tmp_path, config):
    network = fixed_point_network(config, (8, 10))  # Whose sums float32 holds.
    to_litert(network, tmp_path / "x.tflite", "float32")
    integers = IntegerNetwork.of(network)
    for luma in (plane[:40, :31], plane[:1, :1]):
        result = run_file(tmp_path / "x.tflite", luma)
        np.testing.assert_array_equal(result, integers(luma).real * 256)


def test_floats_are_what_keras_computes(floats, plane, tmp_path):
    to_litert(floats, tmp_path / "x.tflite", "float32")
    result = run_file(tmp_path / "x.tflite", plane)
    np.testing.assert_allclose(result, keras_result(floats, plane), atol=1e-3)


def test_float16_is_near_and_smaller(floats, plane, tmp_path):
    for kind in ("float32", "float16"):
        to_litert(floats, tmp_path / f"{kind}.tflite", kind)
    sizes = [(tmp_path / f"{kind}.tflite").stat().st_size for kind in ("float32", "float16")]
    assert sizes[0] - sizes[1] > 3000  # 2,560 weights, two bytes less each.
    result, expected = run_file(tmp_path / "float16.tflite", plane), keras_result(floats, plane)
    assert 0 < np.abs(result - expected).max() < 0.5


def test_int8_computes_convolutions_in_8_bits_and_the_interpolation_in_floats(
    floats, plane, tmp_path
):
    to_litert(floats, tmp_path / "x.tflite", "int8", calibration=[plane[:64, :64]])
    found = operations(tmp_path / "x.tflite")
    convolutions = [dtype for name, dtype in found if "CONV" in name]
    assert sorted(convolutions) == ["float32"] + ["int8"] * 9
    assert sorted(dtype for name, dtype in found if name == "ADD") == ["float32", "int8"]
    assert ("DEPTH_TO_SPACE", "float32") in found
    result, expected = run_file(tmp_path / "x.tflite", plane), keras_result(floats, plane)
    detail = np.std(expected - keras_result(_without_detail(floats), plane))
    assert np.std(result - expected) < 0.1 * detail
    assert psnr(result, np.rint(np.clip(expected, 0, 255)), 2) > 48


def _without_detail(network):
    """The network with a last convolution of zeros: its interpolation."""
    model = type(network.model).from_config(network.model.get_config())
    model.set_weights([*network.model.get_weights()[:-1], 0 * network.model.get_weights()[-1]])
    return Network(model, network.card)


def test_size_is_free_unless_given(floats, plane, tmp_path):
    to_litert(floats, tmp_path / "free.tflite")
    for shape in ((20, 31), (9, 8)):
        assert run_file(tmp_path / "free.tflite", plane[: shape[0], : shape[1]]).shape == (
            2 * shape[0],
            2 * shape[1],
        )
    to_litert(floats, tmp_path / "fixed.tflite", size=(20, 31))
    (given,) = open_litert(tmp_path / "fixed.tflite").get_input_details()
    assert given["shape_signature"].tolist() == [1, 20, 31, 1]


def test_names_of_input_and_output(fixed_point_network, tmp_path):
    to_litert(fixed_point_network(SMALL), tmp_path / "x.tflite")
    signatures = open_litert(tmp_path / "x.tflite").get_signature_list()
    assert signatures == {"serving_default": {"inputs": ["luma"], "outputs": ["upscaled"]}}


def test_calibration_pictures_are_small_versions():
    pictures = calibration_pictures(4)
    assert len(pictures) >= 3
    assert pictures[0].shape == (128, 128)
    assert all(picture.dtype == np.uint8 for picture in pictures)


# === Ranges ===


def test_range_of_even_values_holds_them_all():
    lowest, highest = best_range(np.linspace(-1, 3, 1000))
    assert lowest <= -0.99
    assert highest >= 2.99


def test_range_gives_up_an_outlier():
    values = np.append(np.random.default_rng(0).normal(0, 1, 100_000), 12)
    lowest, highest = best_range(values)
    assert 5 < highest < 11
    assert lowest / highest == pytest.approx(values.min() / 12)


@pytest.mark.parametrize("value", [0.0, 2.0, -2.0])
def test_range_of_one_value_has_zero_in_it(value):
    lowest, highest = best_range(np.full(10, value))
    assert lowest <= 0 < highest
    assert lowest <= value * 0.999 <= highest or value == 0


# === Mistakes ===


def test_unknown_kind_and_size(floats, tmp_path):
    with pytest.raises(SettingsError, match="float32, float16 or int8, not 'int4'"):
        to_litert(floats, tmp_path / "x.tflite", "int4")
    with pytest.raises(SettingsError, match="size must be positive"):
        to_litert(floats, tmp_path / "x.tflite", size=(0, 5))
    assert not list(tmp_path.iterdir())


def test_existing_file_is_kept(fixed_point_network, tmp_path):
    (tmp_path / "x.tflite").write_bytes(b"kept")
    with pytest.raises(OutputError, match="--overwrite"):
        to_litert(fixed_point_network(SMALL), tmp_path / "x.tflite", overwrite=False)
    assert (tmp_path / "x.tflite").read_bytes() == b"kept"
