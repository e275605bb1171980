"""Identities at the start, and a first layer whose outputs are uncorrelated."""

import keras
import numpy as np
import pytest

from atelier.media.images import load_image, resize, sample
from classify.layers import Dirac, Whitening

PHOTOS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png")


@pytest.fixture(scope="module")
def natural() -> np.ndarray:
    """Photos of scikit-image, centred, float32 (5, 64, 64, 3)."""
    photos = [resize(load_image(sample(name)), (64, 64)) for name in PHOTOS]
    photos = np.stack(photos).astype(np.float32) / 255
    return (photos - photos.mean((0, 1, 2))) / photos.std((0, 1, 2))


def covariance(layer, images) -> np.ndarray:
    outputs = np.asarray(layer(images), np.float64)
    rows = outputs.reshape(-1, outputs.shape[-1])
    return rows.T @ rows / len(rows)


# === Dirac ===


@pytest.mark.parametrize(("inputs", "outputs"), [(4, 7), (5, 5), (7, 4)])
def test_first_filters_hand_each_channel_on(rng, inputs, outputs):
    layer = keras.layers.Conv2D(outputs, 3, padding="same", kernel_initializer=Dirac())
    x = rng.normal(size=(2, 6, 5, inputs)).astype(np.float32)
    kept = min(inputs, outputs)
    np.testing.assert_array_equal(np.asarray(layer(x))[..., :kept], x[..., :kept])


def test_further_filters_are_uniform_noise():
    keras.utils.set_random_seed(0)
    kernel = np.asarray(Dirac()((3, 3, 16, 400)))[..., 16:]
    limit = 1 / 12  # √(3 · 3 · 16) inputs.
    assert np.abs(kernel).max() <= limit
    # Of a uniform distribution: mean 0, variance limit² / 3.
    assert kernel.mean() == pytest.approx(0, abs=1e-3)
    assert kernel.var() == pytest.approx(limit**2 / 3, rel=0.02)


def test_kernel_by_hand():
    kernel = np.asarray(Dirac()((3, 1, 2, 2)))
    assert kernel[:, 0].tolist() == [[[0, 0], [0, 0]], [[1, 0], [0, 1]], [[0, 0], [0, 0]]]


def test_noise_follows_the_seed():
    def draw(seed=None, global_seed=0):
        keras.utils.set_random_seed(global_seed)
        return np.asarray(Dirac(seed)((3, 3, 2, 6)))

    np.testing.assert_array_equal(draw(), draw())
    assert (draw() != draw(global_seed=1)).any()
    np.testing.assert_array_equal(draw(seed=3), draw(seed=3, global_seed=1))


def test_initializer_is_stored_with_a_layer():
    layer = keras.layers.Conv2D(6, 3, kernel_initializer=Dirac(seed=4))
    again = keras.layers.Conv2D.from_config(layer.get_config())
    assert isinstance(again.kernel_initializer, Dirac)
    assert again.kernel_initializer.get_config() == {"seed": 4}


# === Whitening ===


@pytest.mark.parametrize("side", [2, 3])
def test_outputs_are_uncorrelated_and_of_variance_one(natural, side):
    layer = Whitening(side)
    assert layer(natural).shape == (5, 65 - side, 65 - side, 6 * side**2)
    layer.adapt(natural, epsilon=1e-9)
    half = 3 * side**2
    found = covariance(layer, natural)[:half, :half]
    np.testing.assert_allclose(found, np.eye(half), atol=0.02)


def test_variance_below_epsilon_is_taken_for_noise(natural):
    """λ / (λ + ε) is left of a component's variance λ."""
    layer = Whitening()
    layer(natural)
    windows = np.lib.stride_tricks.sliding_window_view(natural, (2, 2), axis=(1, 2))
    patches = windows.reshape(-1, 12).astype(np.float64)
    values = np.linalg.eigvalsh(patches.T @ patches / len(patches))
    for epsilon in (5e-4, 0.1):
        layer.adapt(natural, epsilon)
        found = covariance(layer, natural)[:12, :12]
        np.testing.assert_allclose(found, np.diag(values / (values + epsilon)), atol=2e-3)
    layer.adapt(natural)
    expected = np.diag(values / (values + 5e-4))
    np.testing.assert_allclose(covariance(layer, natural)[:12, :12], expected, atol=2e-3)


def test_other_half_are_the_negatives(natural):
    layer = Whitening()
    layer(natural)
    layer.adapt(natural)
    outputs = np.asarray(layer(natural))
    # Not to the bit: some processors sum the last channels in another order.
    np.testing.assert_allclose(outputs[..., 12:], -outputs[..., :12], atol=1e-5)
    assert np.abs(outputs).max() > 1


def test_flat_pictures_give_finite_filters():
    layer = Whitening()
    layer(np.zeros((1, 4, 4, 3), np.float32))
    layer.adapt(np.zeros((2, 4, 4, 3), np.float32))
    assert np.isfinite(layer.get_weights()[0]).all()


def test_it_is_never_trained_and_comes_back_from_a_file(natural, reload):
    image = keras.Input((8, 8, 3))
    layer = Whitening(name="whitening")
    x = keras.layers.GlobalMaxPooling2D()(layer(image))
    model = keras.Model(image, keras.layers.Dense(1)(x))
    layer.adapt(natural)
    before = layer.get_weights()[0].copy()
    assert layer.trainable_weights == []
    assert not layer.use_bias
    model.compile(keras.optimizers.SGD(0.1), "mse")
    head = model.layers[-1].get_weights()[0]
    model.train_on_batch(natural[:, :8, :8], np.ones((5, 1), np.float32))
    np.testing.assert_array_equal(layer.get_weights()[0], before)
    assert (model.layers[-1].get_weights()[0] != head).any()
    loaded = reload(model)
    again = loaded.get_layer("whitening")
    assert type(again) is Whitening
    assert again.get_config() == layer.get_config()
    assert again.side == 2
    assert again.trainable_weights == []
    x = natural[:, :8, :8]
    np.testing.assert_array_equal(loaded.predict_on_batch(x), model.predict_on_batch(x))
