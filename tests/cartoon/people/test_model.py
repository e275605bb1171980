"""The person segmenter: its shape, its maps' sizes, and that it is Keras through and through."""

import keras
import numpy as np
import pytest

from cartoon.people.model import build_person_segmenter


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return build_person_segmenter()


def test_it_has_mediapipes_number_of_weights(model):
    assert model.count_params() == 106_401


@pytest.mark.parametrize("size", [(32, 32), (64, 96), (48, 80)])
def test_logits_have_the_pictures_size(model, rng, size):
    logits = model(rng.random((2, *size, 3), np.float32))
    assert logits.shape == (2, *size, 1)
    assert "float32" in str(logits.dtype)
    assert np.isfinite(np.asarray(logits)).all()


def test_the_maps_are_halved_four_times(model):
    sizes = {"stem": 2, "quarter_project": 4, "eighth1_project": 8, "sixteenth4_project": 16}
    network = keras.Model(model.input, [model.get_layer(name).output for name in sizes])
    for output, factor in zip(network(np.zeros((1, 64, 96, 3))), sizes.values(), strict=True):
        assert output.shape[1:3] == (64 // factor, 96 // factor)


def test_the_round_trip_is_exact(model, rng, tmp_path):
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    picture = rng.random((1, 64, 64, 3), np.float32)
    np.testing.assert_array_equal(model(picture), again(picture))


def test_all_weights_are_trained(model, rng):
    """Every variable has a gradient: no part is left out of the graph."""
    import tensorflow as tf

    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(model(rng.random((1, 64, 64, 3), np.float32))))
    gradients = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
    assert all(gradient is not None for gradient in gradients)


def test_bfloat16_computes_inside_and_returns_float32(rng):
    model = build_person_segmenter("mixed_bfloat16")
    logits = model(rng.random((1, 32, 32, 3), np.float32))
    assert "float32" in str(logits.dtype)
    assert model.get_layer("stem").compute_dtype == "bfloat16"
