"""Trained networks: views by their definition, what comes back, what is refused in a line."""

import dataclasses
import json
import shutil

import keras
import numpy as np
import pytest

from atelier.errors import SettingsError, WeightsError
from atelier.nets.weights import save_embedded
from classify.networks import (
    VIEWS,
    Network,
    build,
    check_card,
    compiled,
    config_of,
    load_network,
)
from classify.strong import build_strong


def refusal(function, *arguments) -> str:
    with pytest.raises(WeightsError) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def run_copy(run, tmp_path):
    """A finished run's folder, to be damaged."""
    return shutil.copytree(run, tmp_path / "copy")


def moved(images, y: int, x: int) -> np.ndarray:
    """Pictures whose content goes on as its mirror image where it has been moved away."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    return padded[:, 1 + y : 33 + y, 1 + x : 33 + x]


# === Logits ===


def test_views_by_their_definition(network, rng):
    images = rng.integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)

    def one(x):
        return network.model.predict_on_batch(x.astype(np.float32) / np.float32(255))

    def two(x):
        return (one(x) + one(x[:, :, ::-1])) / 2

    six = two(images) / 2 + (two(moved(images, -1, -1)) + two(moved(images, 1, 1))) / 4
    expected = {1: one(images), 2: two(images), 6: six}
    for views, logits in expected.items():
        found = network.logits(images, views)
        assert (found.shape, found.dtype) == ((5, 10), np.float32)
        np.testing.assert_allclose(found, logits, atol=1e-5)
    assert np.abs(expected[1] - expected[2]).max() > 1e-3
    assert np.abs(expected[2] - expected[6]).max() > 1e-3


def test_card_says_how_many_views(network, drawn):
    images = drawn.test.images[:3]
    assert network.card["views"] == 6
    np.testing.assert_array_equal(network.logits(images), network.logits(images, 6))
    other = dataclasses.replace(network, card={**network.card, "views": 2})
    np.testing.assert_array_equal(other.logits(images), network.logits(images, 2))
    bare = dataclasses.replace(network, card={"network": "strong"})
    np.testing.assert_array_equal(bare.logits(images), network.logits(images, 1))


def test_more_pictures_than_a_batch(network, drawn, monkeypatch):
    expected = network.logits(drawn.test.images[:11], 1)
    monkeypatch.setattr("classify.networks.BATCH", 4)
    found = network.logits(drawn.test.images[:11], 1)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_logits_of_the_reports_network_are_log_probabilities(report_network, drawn):
    images = drawn.test.images[:4]
    expected = report_network.model.predict_on_batch(images / np.float32(255))
    found = report_network.logits(images)
    np.testing.assert_allclose(np.exp(found), expected, rtol=1e-4, atol=1e-7)


def test_certainty_of_the_reports_network_is_no_infinity(report_network, drawn):
    head = report_network.model.layers[-1].kernel
    head.assign(1e4 * head)
    images = drawn.test.images[:4]
    found = report_network.logits(images)
    assert np.isfinite(found).all()
    assert (report_network.model.predict_on_batch(images / np.float32(255)) == 0).any()


def test_network_is_folded_once_and_left_as_it_is(network, drawn):
    images = drawn.test.images[:9] / np.float32(255)
    before = network.model.predict_on_batch(images)
    found = compiled(network.model)(images)
    np.testing.assert_allclose(found, before, atol=1e-4)
    np.testing.assert_array_equal(network.model.predict_on_batch(images), before)
    assert compiled(network.model) is compiled(network.model)


def test_a_card_without_calibration_rejects_nothing():
    network = Network(build_strong((4,)), {"network": "strong"})
    assert (network.name, network.temperature, network.threshold) == ("strong", 1, None)
    known = Network(network.model, {"network": "x", "temperature": 0.5, "threshold": 7.0})
    assert (known.name, known.temperature, known.threshold) == ("x", 0.5, 7)
    assert [known.temperature_of(views) for views in VIEWS] == [0.5] * 3


def test_calibration_is_that_of_the_number_of_views():
    by_views = {"1": 0.5, "2": 0.6, "6": 0.7}
    card = {"network": "x", "views": 6, "temperature": by_views, "threshold": by_views}
    network = Network(build_strong((4,)), card)
    for ask in (network.temperature_of, network.threshold_of):
        assert [ask(views) for views in (1, 2, 6, None)] == [0.5, 0.6, 0.7, 0.7]
    assert (network.temperature, network.threshold) == (0.7, 0.7)
    assert network.facts(1)["threshold"] == network.facts(1)["temperature"] == 0.5


@pytest.mark.parametrize("name", ["temperature", "threshold"])
@pytest.mark.parametrize("values", [{"1": 1.0, "6": 1.0}, {"1": np.nan, "2": 1.0, "6": 1.0}])
def test_a_card_must_be_calibrated_for_all_views(tiny, name, values):
    shape = dataclasses.asdict(tiny.network_config)
    card = {"network": "strong", "shape": shape, "views": 6, "temperature": 1.0}
    check_card(card)
    with pytest.raises((KeyError, ValueError)):
        check_card({**card, name: values})


# === Run folders ===


def test_finished_run_comes_back(run, tiny, drawn):
    network = Network.load(run)
    assert network.card == json.loads((run / "card.json").read_text())
    assert config_of(network.card) == tiny.network_config
    assert network.model.count_params() == network.card["parameters"]
    twin = keras.saving.load_model(run / "model.keras", compile=False)
    images = drawn.test.images[:5] / np.float32(255)
    np.testing.assert_array_equal(
        network.model.predict_on_batch(images), twin.predict_on_batch(images)
    )


def test_unfinished_run_is_one_line(run_copy, tmp_path):
    (run_copy / "card.json").unlink()
    for folder in (run_copy, tmp_path / "nowhere"):
        assert refusal(Network.load, folder) == f"{folder} holds no finished run: no card.json"


@pytest.mark.parametrize(
    "card",
    ["", "{", "{}", "[]", "null", '{"shape": 3}', '{"shape": {"side": 2}}'],
)
def test_damaged_card_is_one_line(run_copy, card):
    (run_copy / "card.json").write_text(card)
    line = refusal(Network.load, run_copy)
    assert line.startswith(f"{run_copy} is damaged (")
    assert line.endswith("); train it anew")


@pytest.mark.parametrize("kept", [0, 0.5, 0.98])
def test_damaged_network_is_one_line(run_copy, kept):
    whole = (run_copy / "model.keras").read_bytes()
    (run_copy / "model.keras").write_bytes(whole[: int(len(whole) * kept)])
    assert refusal(Network.load, run_copy).startswith(f"{run_copy} is damaged (")
    (run_copy / "model.keras").unlink()
    assert refusal(Network.load, run_copy).startswith(f"{run_copy} is damaged (")


# === Embedded networks ===


def test_embedded_network_is_loaded_by_its_name_and_once(weights, network, drawn):
    save_embedded(network.model, "small", network.card, weights)
    found = load_network("small")
    assert found.card == network.card
    images = drawn.test.images
    np.testing.assert_allclose(found.logits(images), network.logits(images), atol=0.02)
    for weight, twin in zip(found.model.weights, network.model.weights, strict=True):
        np.testing.assert_array_equal(weight, np.float16(twin))
    assert load_network("small") is found


def test_strong_is_what_is_taken_by_default(embedded):
    assert load_network() is not None
    assert load_network().card == embedded.card


def test_reports_network_can_be_embedded(weights, report_network, drawn):
    save_embedded(report_network.model, "report", report_network.card, weights)
    images = drawn.test.images[:3]
    found = load_network("report").logits(images)
    np.testing.assert_allclose(found, report_network.logits(images), atol=0.1)


def test_missing_network_is_one_line_that_says_what_there_is(weights, network):
    assert refusal(load_network, "x") == "no embedded network 'x'; there is none"
    for name in ("b", "a"):
        save_embedded(network.model, name, network.card, weights)
    assert refusal(load_network, "x") == "no embedded network 'x'; there is a, b"


def test_damaged_embedded_network_is_one_line(weights, network):
    file = save_embedded(network.model, "small", network.card, weights)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert refusal(load_network, "small").startswith(f"{file} is damaged (")


@pytest.mark.parametrize("card", ["", "{", "{}", "[]", '{"shape": {"side": 2}}'])
def test_damaged_card_of_an_embedded_network_is_one_line(weights, network, card):
    save_embedded(network.model, "small", network.card, weights)
    (weights / "small.json").write_text(card)
    line = refusal(load_network, "small")
    assert line == "the card of small is damaged; install the package anew"


def test_card_without_weights_says_how_to_train_them(weights, network):
    save_embedded(network.model, "small", network.card, weights).unlink()
    line = refusal(load_network, "small")
    assert "small" in line
    assert network.card["command"] in line


def test_weights_of_another_network_are_one_line(weights, network):
    file = save_embedded(build_strong((4,)), "small", network.card, weights)
    assert refusal(load_network, "small").startswith(f"{file} holds the weights of another")


def test_shape_of_a_card_is_checked_as_settings_are():
    with pytest.raises(SettingsError, match="--depth"):
        config_of({"shape": {"network": "strong", "depth": 0}})
    config = config_of({"shape": {"network": "strong", "widths": [5, 6], "depth": 1}})
    assert config.widths == (5, 6)
    assert [layer.filters for layer in build(config).layers if "_conv" in layer.name] == [5, 6]
