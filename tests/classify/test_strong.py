"""The strong network: its shapes, its residual, and how it starts."""

import keras
import numpy as np
import pytest

from atelier.errors import SettingsError
from classify.config import NetworkConfig
from classify.layers import Dirac, Whitening
from classify.networks import build
from classify.strong import MEAN, VARIANCE, build_strong


@pytest.fixture
def images(rng) -> np.ndarray:
    return rng.random((3, 32, 32, 3), np.float32)


def test_default_shape_is_that_of_the_speed_run():
    model = build_strong()
    whitening = 2 * 2 * 3 * 24
    kernels = [24 * 64, 64 * 64, 64 * 256, 256 * 256, 256 * 256, 256 * 256]
    normalisation = 3 * 2 * (64 + 256 + 256)  # Shift, mean and variance of each.
    assert whitening + 9 * sum(kernels) + normalisation + 256 * 10 == 1_973_920
    assert model.count_params() == 1_973_920
    sides = [layer.output.shape[1] for layer in model.layers if "pool" in layer.name]
    assert sides[:3] == [15, 7, 3]
    assert model.get_layer("whitening").output.shape == (None, 31, 31, 24)
    assert model.output_shape == (None, 10)


@pytest.mark.parametrize(
    ("widths", "depth"), [((4,), 1), ((4, 6), 2), ((4, 6), 3), ((4, 5, 6, 7), 1), ((4,), 5)]
)
def test_every_shape_gives_logits_and_comes_back_from_a_file(widths, depth, images, reload):
    model = build_strong(widths, depth, "silu")
    found = model.predict_on_batch(images)
    assert (found.shape, found.dtype) == ((3, 10), np.float32)
    convolutions = [layer for layer in model.layers if type(layer) is keras.layers.Conv2D]
    assert [layer.filters for layer in convolutions] == [w for w in widths for _ in range(depth)]
    assert all(isinstance(layer.kernel_initializer, Dirac) for layer in convolutions)
    assert not any(layer.use_bias for layer in convolutions)
    loaded = reload(model)
    np.testing.assert_array_equal(loaded.predict_on_batch(images), found)
    for one, other in zip(loaded.layers, model.layers, strict=True):
        assert one.get_config() == other.get_config()


def test_pictures_are_brought_to_mean_0_and_variance_1():
    """Of CIFAR-10's channels, whose standard deviations are about a quarter."""
    model = build_strong((4,))
    white = np.ones((1, 2, 2, 3), np.float32)
    found = np.asarray(model.layers[1](white * np.float32(MEAN)))
    np.testing.assert_allclose(found, 0, atol=1e-6)
    np.testing.assert_allclose(np.sqrt(VARIANCE), (0.247, 0.2435, 0.2616), atol=1e-3)
    beyond = np.asarray(model.layers[1](white * np.float32(MEAN + np.sqrt(VARIANCE))))
    np.testing.assert_allclose(beyond, 1, atol=1e-5)
    assert isinstance(model.layers[2], Whitening)


@pytest.mark.parametrize("depth", [3, 4])
def test_convolutions_after_the_first_are_a_residual(depth, images):
    """Where they give zero, the group gives what its first convolution gives, activated twice."""
    model = build_strong((4,), depth, "relu")
    for number in range(2, depth + 1):
        kernel = model.get_layer(f"group1_conv{number}").kernel
        kernel.assign(np.zeros(kernel.shape))
    first, last = (model.get_layer(f"group1_activation{n}").output for n in (1, depth))
    first, last = keras.Model(model.inputs, [first, last]).predict_on_batch(images)
    assert first.max() > 0.1
    np.testing.assert_array_equal(last, first)
    assert not any("add" in layer.name for layer in build_strong((4,), 2).layers)


def test_head_learns_at_the_speed_of_the_rest(images):
    """Weights of variance one, on features divided by their number."""
    keras.utils.set_random_seed(0)
    model = build_strong((4, 300))
    head = np.asarray(model.get_layer("head").kernel)
    assert head.shape == (300, 10)
    assert not model.get_layer("head").use_bias
    assert np.abs(head).max() <= np.float32(3**0.5)
    assert head.var() == pytest.approx(1, abs=0.05)
    outputs = [model.get_layer(name).output for name in ("pool", "scale")]
    pooled, scaled = keras.Model(model.inputs, outputs).predict_on_batch(images)
    np.testing.assert_allclose(scaled, pooled / 300, rtol=1e-6)


def test_bfloat16_is_of_the_convolutions_alone(images):
    model = build_strong((4, 6), dtype="mixed_bfloat16")
    for layer in model.layers:
        fast = layer.name.startswith(("whitening", "group"))
        assert layer.compute_dtype == ("bfloat16" if fast else "float32"), layer.name
        assert layer.variable_dtype == "float32"
    exact = build_strong((4, 6))
    exact.set_weights(model.get_weights())
    found, expected = model.predict_on_batch(images), exact.predict_on_batch(images)
    assert found.dtype == np.float32
    assert (found != expected).any()
    np.testing.assert_allclose(found, expected, atol=0.05 * np.abs(expected).max())


# === Its settings ===


def test_shape_of_the_settings_is_built():
    model = build(NetworkConfig("strong", (5, 6), 3, "relu"), "mixed_bfloat16")
    assert [model.get_layer(f"group{n}_conv3").filters for n in (1, 2)] == [5, 6]
    assert model.get_layer("group1_activation1").activation is keras.activations.relu
    assert model.get_layer("group1_conv1").compute_dtype == "bfloat16"
    assert build(NetworkConfig(widths=(4,))).count_params() == 2_915_114


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"widths": ()}, "--widths takes one to four"),
        ({"widths": (8,) * 5}, "--widths takes one to four"),
        ({"widths": (8, 0)}, "positive"),
        ({"widths": (-8,)}, "positive"),
        ({"depth": 0}, "--depth is from 1 to 8, not 0"),
        ({"depth": 9}, "--depth is from 1 to 8, not 9"),
    ],
)
def test_senseless_shape_is_refused_in_one_line(settings, words):
    with pytest.raises(SettingsError, match=words):
        NetworkConfig("strong", **settings)
