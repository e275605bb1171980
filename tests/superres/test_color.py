"""Luma of 8-bit pictures."""

import numpy as np
import pytest
from skimage.color import rgb2ycbcr

from superres.color import RANGE, luma

RGB = [[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255], [100, 100, 100]]
LUMA = [16, 235, 81.481, 144.553, 40.966, 16 + 219 * 100 / 255]


def test_luma_by_hand():
    found = luma(np.uint8([RGB]))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [LUMA], atol=1e-4)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_luma_is_that_of_matlab(photo, dtype):
    np.testing.assert_allclose(luma(photo.astype(dtype)), rgb2ycbcr(photo)[..., 0], atol=1e-4)


def test_a_grey_picture_is_its_own_luma():
    grey = np.uint8([[0, 7, 255]])
    found = luma(grey)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, grey)


def test_8_bit_luma_is_exact_for_the_network():
    values = np.arange(256)
    assert ((values / np.float32(RANGE)) * RANGE == values).all()
