"""The report's accuracy, by hand."""

import math

import numpy as np
import pytest

from cartoon.metrics import Accuracy, accuracy, mean, mean_squared_error


def test_mean_squared_error_is_divided_by_pixels_alone():
    one = np.zeros((2, 3, 3), np.uint8)
    other = one.copy()
    other[0, 0] = (3, 4, 0)
    other[1, 2] = (0, 0, 255)
    assert mean_squared_error(one, other) == pytest.approx((9 + 16 + 255**2) / 6)


def test_the_same_picture_is_perfect(photo):
    found = accuracy(photo, photo)
    assert found == Accuracy(mse=0.0, log_mse=-math.inf, ssim=1.0)


def test_pictures_are_compared_at_640_by_480(photo):
    bright = np.minimum(photo, 245) + np.uint8(10)
    found = accuracy(np.minimum(photo, 245), bright)
    assert found.mse == pytest.approx(300, rel=0.01)
    assert found.log_mse == pytest.approx(math.log(300), abs=0.01)
    assert 0.8 < found.ssim < 1


def test_mean_takes_the_logarithm_of_the_mean():
    found = mean([Accuracy(100.0, math.log(100), 0.5), Accuracy(300.0, math.log(300), 0.7)])
    assert found == Accuracy(200.0, math.log(200.0), pytest.approx(0.6))
