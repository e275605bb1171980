"""Arrays and tensors as pictures."""

import numpy as np
import pytest

from atelier.errors import ImageError
from atelier.media.images import load_image, load_picture


class Tensor:
    """What tensors of other libraries have in common."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        if isinstance(self.values, Exception):
            raise self.values
        return np.asarray(self.values, dtype)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_floats_from_0_to_1_are_levels(dtype):
    values = np.array([[[0, 0.2, 1], [0.5, -0.05, 1.05]]], dtype)
    assert load_image(values).tolist() == [[[0, 51, 255], [128, 0, 255]]]


def test_integers_of_16_bits_are_levels():
    picture = load_picture(np.array([[0, 2048, 4095]], np.uint16), grey="keep")
    assert picture.image.tolist() == [[0, 128, 255]]
    assert picture.metadata.notes == ("its values end at 4,095: taken for 12 bits in 16",)


def test_tensors_are_arrays(photo):
    np.testing.assert_array_equal(load_image(Tensor(photo)), photo)


def test_a_tensor_of_tensorflow_is_a_picture(photo):
    tf = pytest.importorskip("tensorflow")
    np.testing.assert_array_equal(load_image(tf.constant(photo)), photo)
    floats = tf.constant(photo, tf.float32) / 255
    np.testing.assert_array_equal(load_image(floats), photo)
    halves = load_image(tf.cast(floats, tf.bfloat16))
    np.testing.assert_allclose(halves.astype(int), photo, atol=1)


@pytest.mark.parametrize("values", [np.zeros((2, 2, 3), bool), np.full((2, 2, 3), 200.0)])
def test_other_numbers_are_type_errors_and_image_errors(values):
    for kind in (TypeError, ImageError):
        with pytest.raises(kind, match=r"\[0, 1\]"):
            load_image(values)


def test_a_tensor_without_values_is_a_type_error():
    with pytest.raises(TypeError, match="a Tensor that gives no array"):
        load_image(Tensor(NotImplementedError("symbolic")))
