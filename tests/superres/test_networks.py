"""Trained networks on disk: what comes back, and what is refused in a line."""

import dataclasses
import json
import shutil

import keras
import numpy as np
import pytest

from atelier.errors import WeightsError
from atelier.nets.weights import save_embedded
from superres import networks
from superres.config import NetworkConfig
from superres.fixed_point.calibration import calibrate
from superres.fixed_point.rounding import FixedPoint
from superres.network.baselines import srcnn
from superres.network.model import build_network, collapse
from superres.networks import Network, apply, compiled, load_network, load_stored
from superres.resample import bicubic


def refusal(function, *arguments) -> str:
    with pytest.raises(WeightsError) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def copy(run, tmp_path):
    """A finished run's folder, to be damaged."""
    return shutil.copytree(run, tmp_path / "copy")


@pytest.fixture
def weights(monkeypatch, tmp_path):
    """An empty folder of embedded networks."""
    monkeypatch.setattr(networks, "WEIGHTS", tmp_path)
    load_network.cache_clear()
    yield tmp_path
    load_network.cache_clear()


# === Run folders ===


def test_finished_run_comes_back(run, tiny, luma):
    network = Network.load(run)
    assert network.scale == 2
    assert network.config == tiny.network_config
    assert network.formats is None
    assert network.bits == (32, 32)
    assert network.model.count_params() == network.card["parameters"]
    twin = keras.saving.load_model(run / "model.keras")
    np.testing.assert_array_equal(network.model(luma), twin(luma))


def test_unfinished_run_is_one_line(copy, tmp_path):
    (copy / "card.json").unlink()
    for folder in (copy, tmp_path / "nowhere"):
        assert refusal(Network.load, folder) == f"{folder} holds no finished run: no card.json"


@pytest.mark.parametrize(
    "card", ["", "{", "{}", "[]", "null", '{"shape": {}, "formats": 3}', '{"shape": {"side": 2}}']
)
def test_damaged_card_is_one_line(copy, card):
    (copy / "card.json").write_text(card)
    line = refusal(Network.load, copy)
    assert line.startswith(f"{copy} is damaged (")
    assert line.endswith("); train it anew")


@pytest.mark.parametrize("kept", [0, 0.5, 0.98])
def test_damaged_network_is_one_line(copy, kept):
    whole = (copy / "model.keras").read_bytes()
    (copy / "model.keras").write_bytes(whole[: int(len(whole) * kept)])
    assert refusal(Network.load, copy).startswith(f"{copy} is damaged (")
    (copy / "model.keras").unlink()
    assert refusal(Network.load, copy).startswith(f"{copy} is damaged (")


# === Embedded networks ===


CARD = {"network": "ours", "shape": dataclasses.asdict(NetworkConfig())}


@pytest.fixture
def fixed(network, luma) -> Network:
    """The default network in fixed point of 10 and 14 bits."""
    formats = calibrate(network, luma, weight_bits=10, activation_bits=14)
    model = collapse(network, NetworkConfig(), formats)
    for layer in model.layers:
        if hasattr(layer, "effective_kernel"):
            layer.kernel.assign(layer.effective_kernel())
    written = {name: dataclasses.asdict(form) for name, form in formats.items()}
    return Network(model, {**CARD, "formats": written})


def test_fixed_point_network_is_embedded_without_loss(weights, fixed, luma):
    """Ten bits fit the eleven of a float16."""
    save_embedded(fixed.model, "clean-x2", fixed.card, weights)
    network = load_network("clean")
    assert network.formats == fixed.formats
    assert network.bits == (10, 14)
    np.testing.assert_array_equal(network.model(luma), fixed.model(luma))
    assert load_network("clean") is network


def test_bits_are_those_of_the_coarsest_network_too(fixed):
    formats = {**fixed.card["formats"], "stem/kernel": {"bits": 3, "fraction": 1}}
    formats = {
        name: {**form, "bits": 3 if name.endswith("/kernel") else 9 if name == "input" else 4}
        for name, form in formats.items()
    }
    assert Network(fixed.model, {**CARD, "formats": formats}).bits == (3, 4)


def test_baseline_is_embedded(weights, luma):
    save_embedded(srcnn(), "srcnn-x2", {"network": "srcnn", "shape": CARD["shape"]}, weights)
    network = load_stored("srcnn-x2")
    assert network.model.count_params() == 8032
    assert network.formats is None
    assert network.model(luma).shape == (2, 80, 112, 1)


def test_missing_network_is_one_line_that_says_what_there_is(weights, fixed):
    assert refusal(load_network, "clean", 3) == "no embedded network 'clean-x3'; there is none"
    save_embedded(fixed.model, "clean-x2", fixed.card, weights)
    assert refusal(load_stored, "x") == "no embedded network 'x'; there is clean-x2"


def test_damaged_embedded_network_is_one_line(weights, fixed):
    file = save_embedded(fixed.model, "clean-x2", fixed.card, weights)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert refusal(load_stored, "clean-x2").startswith(f"{file} is damaged (")
    file.unlink()
    assert refusal(load_stored, "clean-x2") == f"{file} is missing; install the package anew"
    (weights / "clean-x2.json").write_text("{")
    assert "the card of clean-x2 is damaged" in refusal(load_stored, "clean-x2")


def test_weights_of_another_network_are_one_line(weights, fixed):
    small = build_network(NetworkConfig(widths=(8,), kernels=("3x3",), residuals=()))
    file = save_embedded(small, "clean-x2", fixed.card, weights)
    assert refusal(load_stored, "clean-x2").startswith(f"{file} holds the weights of another")


# === On pictures ===


def test_network_is_applied_in_the_range_of_8_bits(network, luma):
    plane = luma[0, ..., 0] * 256
    found = apply(network, plane)
    assert found.shape == (80, 112)
    assert found.dtype == np.float32
    inside = slice(2 * 7, -2 * 7)
    direct = np.asarray(network(luma[:1]))[0, ..., 0] * 256
    np.testing.assert_allclose(found[inside, inside], direct[inside, inside], atol=1e-2)


def test_no_border_shows(network):
    """Where a picture goes on as its mirror image, or stays flat, there is no border."""
    flat = apply(network, np.full((9, 12), 90)).reshape(9, 2, 12, 2)
    np.testing.assert_allclose(np.ptp(flat, axis=(0, 2)), 0, atol=1e-3)
    rng = np.random.default_rng(0)
    part = rng.integers(0, 256, (20, 24), dtype=np.uint8)
    whole = np.pad(part, 20, mode="symmetric")
    expected = apply(network, whole)[40:-40, 40:-40]
    np.testing.assert_allclose(apply(network, part), expected, atol=1e-2)


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (3, 2)])
def test_smallest_pictures_are_enlarged(network, shape):
    found = apply(network, np.full(shape, 200, np.uint8))
    assert found.shape == tuple(2 * side for side in shape)
    assert np.isfinite(found).all()


def test_untrained_detail_of_zero_is_bicubic(network, photo):
    last = network.get_layer("pointwise_4").kernel
    last.assign(np.zeros(last.shape))
    grey = photo[:30, :44, 0]
    found = apply(network, grey)[4:-4, 4:-4]
    np.testing.assert_allclose(found, bicubic(grey, (60, 88))[4:-4, 4:-4], atol=1e-2)


def test_sizes_are_not_traced_anew(network):
    for shape in ((5, 6), (7, 20), (30, 3)):
        apply(network, np.zeros(shape, np.uint8))
    assert compiled(network).experimental_get_tracing_count() == 1


def test_new_weights_count_at_once(network):
    """Validation between epochs sees what was trained."""
    plane = np.random.default_rng(0).integers(0, 256, (9, 9))
    before = apply(network, plane)
    last = network.get_layer("pointwise_4").kernel
    last.assign(2 * last)
    assert np.abs(apply(network, plane) - before).max() > 0.1


def test_formats_of_a_card_are_formats():
    assert networks.formats_of({"formats": {"stem": {"bits": 14, "fraction": 11}}}) == {
        "stem": FixedPoint(14, 11)
    }
    assert networks.formats_of({}) is None
    assert networks.formats_of({"formats": None}) is None


def test_shape_of_a_card_is_the_networks():
    config = NetworkConfig(scale=3, kernels=("1x5", "3x3", "3x3", "1x5"), residuals=(2, 3))
    written = json.loads(json.dumps({"shape": dataclasses.asdict(config)}))
    assert networks.config_of(written) == config
