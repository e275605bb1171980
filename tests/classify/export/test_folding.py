"""The folded network: the same logits, and nothing left of normalisation."""

import keras
import numpy as np
import pytest

from atelier.errors import SettingsError
from classify.export.folding import deployable, fold, walker
from classify.layers import Whitening
from classify.networks import Network
from classify.report import build_report
from classify.strong import build_strong

SHAPES = {
    "depth 2": {"widths": (8, 16), "depth": 2, "activation": "gelu"},
    "depth 1": {"widths": (6,), "depth": 1, "activation": "relu"},
    "depth 3": {"widths": (8, 12, 10), "depth": 3, "activation": "silu"},
    "depth 4, relu": {"widths": (5, 7), "depth": 4, "activation": "relu"},
    "bfloat16": {"widths": (8, 16), "depth": 3, "activation": "gelu", "dtype": "mixed_bfloat16"},
}


@pytest.fixture
def images(rng):
    """float32 (5, 32, 32, 3) in [0, 1]."""
    return rng.random((5, 32, 32, 3), np.float32)


@pytest.fixture
def trained(rng):
    """Gives a model with the statistics and biases of a trained one, as far as those are random."""

    def randomize(model: keras.Model) -> keras.Model:
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                shift, mean, variance = (w.shape for w in layer.get_weights())
                values = rng.normal(0, 0.5, shift), rng.normal(0, 0.5, mean)
                layer.set_weights([*values, rng.uniform(0.01, 1, variance)])
            if isinstance(layer, Whitening):
                layer.adapt(rng.normal(0, 1, (20, 32, 32, 3)))
        return model

    return randomize


@pytest.fixture
def small_network(trained):
    """Gives a network of either kind, whose card has the given temperature."""

    def build(name: str, temperature: float | None = None) -> Network:
        keras.utils.set_random_seed(0)
        if name == "strong":
            model = trained(build_strong((8, 16)))
        else:  # Kernels twice as large: else all classes are about equally probable.
            model = build_report()
            model.set_weights([2 * w if w.ndim > 1 else w + 0.1 for w in model.get_weights()])
        return Network(model, {} if temperature is None else {"temperature": temperature})

    return build


def assert_equal_but_for_rounding(result, expected):
    np.testing.assert_allclose(result, expected, rtol=0, atol=4e-6 * np.abs(expected).max())


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_folded_network_gives_the_same_logits(trained, images, shape):
    model = trained(build_strong(**shape))
    exact = build_strong(**{**shape, "dtype": "float32"})
    exact.set_weights(model.get_weights())
    expected = exact.predict_on_batch(images)
    assert np.ptp(expected, axis=0).max() > 0.1  # Pictures differ.
    assert_equal_but_for_rounding(fold(model).predict_on_batch(images), expected)


def test_what_is_left_are_plain_layers_with_tidy_names(trained):
    folded = fold(trained(build_strong(**SHAPES["bfloat16"])))
    group = ("conv1", "pool", "activation1", "conv2", "activation2", "conv3", "add", "activation3")
    assert [layer.name for layer in folded.layers] == [
        "image",
        "whitening",
        "whitening_activation",
        *(f"group1_{name}" for name in group),
        *(f"group2_{name}" for name in group),
        "pool",
        "head",
    ]
    kinds = {type(layer) for layer in folded.layers[1:]}
    assert kinds == {
        keras.layers.Conv2D,
        keras.layers.Activation,
        keras.layers.MaxPooling2D,
        keras.layers.Add,
        keras.layers.GlobalMaxPooling2D,
        keras.layers.Dense,
    }
    assert {layer.compute_dtype for layer in folded.layers} == {"float32"}
    assert folded.output_shape == (None, 10)


def test_folded_network_is_stored_without_our_own_layers(trained, images, tmp_path):
    folded = fold(trained(build_strong(**SHAPES["depth 2"])))
    folded.save(tmp_path / "x.keras")
    assert "classify" not in folded.to_json()
    again = keras.saving.load_model(tmp_path / "x.keras")
    np.testing.assert_array_equal(again.predict_on_batch(images), folded.predict_on_batch(images))


def test_folding_a_stored_network_leaves_it_as_it_was(trained, images, tmp_path):
    trained(build_strong(**SHAPES["depth 3"])).save(tmp_path / "x.keras")
    model = keras.saving.load_model(tmp_path / "x.keras")
    before = model.predict_on_batch(images)
    assert_equal_but_for_rounding(fold(model).predict_on_batch(images), before)
    np.testing.assert_array_equal(model.predict_on_batch(images), before)


def test_other_networks_are_given_back():
    model = build_report()
    assert fold(model) is model


# === With probabilities ===


@pytest.mark.parametrize("temperature", [None, 0.4, 3.0])
@pytest.mark.parametrize("name", ["strong", "report"])
def test_deployable_gives_the_networks_probabilities(small_network, rng, name, temperature):
    network = small_network(name, temperature)
    pictures = rng.integers(0, 256, (4, 32, 32, 3), np.uint8)
    logits = network.logits(pictures, views=1) / (temperature or 1)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    model = deployable(network)
    result = model.predict_on_batch(pictures / np.float32(255))
    np.testing.assert_allclose(result, expected, atol=1e-5)
    assert expected.max() > 0.15
    assert not any(isinstance(layer, keras.layers.Dropout) for layer in model.layers)


def test_a_stored_report_network_is_deployable(small_network, rng, tmp_path):
    """Keras builds a sequential model anew with each layer that it loads."""
    network = small_network("report")
    network.model.save(tmp_path / "x.keras")
    again = Network(keras.saving.load_model(tmp_path / "x.keras"), network.card)
    images = rng.random((2, 32, 32, 3), np.float32)
    result = deployable(again).predict_on_batch(images)
    np.testing.assert_allclose(result, network.model.predict_on_batch(images), atol=1e-6)


def test_foreign_layers_are_refused():
    model = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.UpSampling2D(name="larger")])
    with pytest.raises(SettingsError, match="UpSampling2D cannot be exported: larger"):
        walker(model)(None, None)
