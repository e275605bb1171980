"""Fixed point: literal codes, and gradients that go straight through."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from atelier.errors import SettingsError
from superres.fixed_point.rounding import FixedPoint, Quantize, quantize

VALUES = [0.124, 0.125, 0.375, -0.124, -0.125, -0.126, -0.375, 1.7, 1.75, 1.9, 99, -2, -2.2, -1e9]
CODES = [0, 1, 2, 0, 0, -1, -1, 7, 7, 7, 7, -8, -8, -8]
"""Of 4 bits, 2 behind the point: steps of 0.25 from -2 to 1.75, halves rounded up."""


def gradient(values, form) -> list[float]:
    values = tf.constant(values, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(values)
        total = tf.reduce_sum(quantize(values, form))
    return tape.gradient(total, values).numpy().tolist()


def test_a_format_by_hand():
    form = FixedPoint(4, 2)
    assert (form.lowest, form.highest, form.integer) == (-8, 7, 2)
    codes = form.encode(VALUES)
    assert codes.dtype == np.int64
    assert codes.tolist() == CODES
    decoded = form.decode(codes)
    assert decoded.dtype == np.float64
    assert decoded.tolist() == [code / 4 for code in CODES]


def test_the_point_may_lie_outside_the_bits():
    # Steps of 4 from -32 to 28.
    tens = FixedPoint(4, -2)
    assert tens.encode([10, -10, 14, 1.9, 2, 100]).tolist() == [3, -2, 4, 0, 1, 7]
    assert tens.decode(3) == 12
    assert tens.integer == 6
    # Steps of 1/64 from -1/8 to 7/64.
    small = FixedPoint(4, 6)
    assert small.encode([1 / 64, 1 / 128, -1 / 128, 1]).tolist() == [1, 1, 0, 7]
    assert small.integer == -2


def test_the_two_formats_of_the_report():
    assert (FixedPoint(10, 9).lowest, FixedPoint(10, 9).highest) == (-512, 511)
    assert FixedPoint(14, 13).encode([0.5, 1.0]).tolist() == [4096, 8191]


@pytest.mark.parametrize(("bits", "fraction"), [(1, 0), (33, 0), (0, 0), (8, 49), (8, -49)])
def test_what_is_no_format_is_refused(bits, fraction):
    with pytest.raises(SettingsError, match="no fixed-point format"):
        FixedPoint(bits, fraction)


@pytest.mark.parametrize(("bits", "fraction"), [(2, 0), (4, 2), (10, 9), (14, 11), (9, -3), (6, 9)])
def test_tensors_are_rounded_as_codes_are(rng, bits, fraction):
    form = FixedPoint(bits, fraction)
    codes = np.concatenate([rng.normal(0, form.highest, 5000), np.arange(-20, 20) / 2])
    values = np.float32(codes * 2.0**-fraction)
    found = np.asarray(quantize(values, form))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, form.decode(form.encode(values)))
    np.testing.assert_array_equal(quantize(found, form), found)


def test_gradients_go_straight_through_where_nothing_saturates():
    form = FixedPoint(4, 2)
    assert gradient([0.1, 0.124, 0.125, -1.9, 1.7, 0], form) == [1] * 6
    assert gradient([1.8, 100, -2.1, -1e6], form) == [0] * 4


def test_gradients_are_scaled_by_what_follows():
    values = tf.constant([0.3, 5.0])
    with tf.GradientTape() as tape:
        tape.watch(values)
        loss = tf.reduce_sum(tf.square(quantize(values, FixedPoint(4, 2))))
    # 0.3 is 0.25 in this format: the gradient is that of 0.25².
    np.testing.assert_allclose(tape.gradient(loss, values), [0.5, 0])


# === The layer ===


def test_layer_rounds():
    layer = Quantize(4, 2)
    assert np.asarray(layer(np.float32([VALUES]))).tolist() == [[code / 4 for code in CODES]]
    assert layer.compute_output_shape((None, 3, 5, 7)) == (None, 3, 5, 7)
    assert layer.format == FixedPoint(4, 2)


def test_layer_refuses_what_is_no_format():
    with pytest.raises(SettingsError):
        Quantize(1, 0)


def test_layer_comes_back_from_a_file(reload, rng):
    image = keras.Input((None, None, 3))
    model = keras.Model(image, Quantize(6, 3, name="rounded")(image))
    loaded = reload(model)
    assert loaded.get_layer("rounded").format == FixedPoint(6, 3)
    x = np.float32(rng.normal(0, 3, (2, 4, 5, 3)))
    np.testing.assert_array_equal(loaded(x), model(x))
    np.testing.assert_array_equal(loaded(x), FixedPoint(6, 3).decode(FixedPoint(6, 3).encode(x)))
