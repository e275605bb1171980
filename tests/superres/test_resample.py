"""Bicubic resampling of planes."""

import numpy as np
import pytest

from superres.resample import bicubic

DOUBLING = [-0.0234375, -0.0703125, 0.2265625, 0.8671875]
"""Keys' kernel, a = -0.5, at distances 1.75, 1.25, 0.75 and 0.25, by hand."""


def test_doubling_spreads_a_pixel_by_keys_kernel():
    plane = np.zeros((1, 9))
    plane[0, 4] = 1
    row = bicubic(plane, (1, 18))[0]
    np.testing.assert_allclose(row[5:13], DOUBLING + DOUBLING[::-1], atol=1e-6)
    assert not row[:5].any()
    assert not row[13:].any()


def test_halving_is_antialiased():
    plane = np.zeros((16, 1))
    plane[8] = 1
    column = bicubic(plane, (8, 1))[:, 0]
    # Twice as wide a kernel: distances 1.75, 0.75, 0.25 and 1.25 of its own units, at half weight.
    expected = np.array([DOUBLING[0], DOUBLING[2], DOUBLING[3], DOUBLING[1]]) / 2
    np.testing.assert_allclose(column[2:6], expected, atol=1e-6)


def test_rows_come_first_in_a_size():
    found = bicubic(np.zeros((4, 6), np.uint8), (8, 3))
    assert found.shape == (8, 3)
    assert found.dtype == np.float32


@pytest.mark.parametrize("size", [(20, 26), (5, 7), (10, 13), (30, 5)])
def test_a_flat_plane_stays_flat(size):
    np.testing.assert_allclose(bicubic(np.full((10, 13), 77.5), size), 77.5, atol=1e-4)


def test_a_ramp_stays_a_ramp_inside():
    ramp = np.tile(np.arange(12.0), (3, 1))
    found = bicubic(ramp, (3, 24))[1, 4:-4]
    np.testing.assert_allclose(found, (np.arange(24) + 0.5)[4:-4] / 2 - 0.5, atol=1e-5)


def test_overshoot_is_kept():
    edge = np.repeat([0.0, 255.0], 6)[None]
    found = bicubic(edge, (1, 24))
    assert found.min() < -5
    assert found.max() > 260


def test_one_pixel_and_turned_planes_are_planes():
    np.testing.assert_allclose(bicubic(np.full((1, 1), 9), (2, 3)), 9, atol=1e-5)
    plane = np.random.default_rng(0).normal(size=(5, 8))
    np.testing.assert_allclose(bicubic(plane.T, (16, 10)), bicubic(plane, (10, 16)).T, atol=1e-5)
