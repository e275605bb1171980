"""Tones as RGB, against OpenCV and by its numbers."""

import cv2
import numpy as np
import pytest

import cartoon.drawing.hsv as module
from cartoon.drawing.hsv import AT_A_TIME, hsv_to_rgb, paint
from cartoon.drawing.k_histogram import look_up_table

EXACT = {
    (0, 0, 200): (200, 200, 200),
    (0, 255, 255): (255, 0, 0),
    (30, 255, 255): (255, 255, 0),
    (60, 255, 128): (0, 128, 0),
    (120, 255, 255): (0, 0, 255),
    (15, 255, 200): (200, 100, 0),
}
LAST_BIT = {
    (1, 90, 85): (85, 56, 55),
    (9, 204, 250): (250, 110, 49),
    (47, 165, 60): (37, 60, 21),
    (67, 102, 75): (44, 75, 52),
    (90, 255, 255): (0, 254, 255),
    (150, 255, 255): (255, 0, 254),
    (160, 119, 135): (135, 72, 113),
}
"""What OpenCV 4.5.1 gives with AVX2: exact, or without fused products, it is one level off."""


def test_colors_are_those_of_2021():
    for hsv, rgb in (EXACT | LAST_BIT).items():
        assert tuple(hsv_to_rgb(np.uint8([hsv]))[0]) == rgb


def test_colors_are_opencvs_but_for_the_last_bit(rng):
    hsv = rng.integers(0, 256, (300, 320, 3)).astype(np.uint8)
    hsv[..., 0] %= 180
    for end, rounding in ((320, np.trunc), (7, np.rint)):
        part = np.ascontiguousarray(hsv[:, :end])
        expected = cv2.cvtColor(part, cv2.COLOR_HSV2RGB).astype(int)
        found = hsv_to_rgb(part.reshape(-1, 3), rounding).reshape(part.shape)
        assert np.abs(found - expected).max() <= 1
        assert (found != expected).mean() < 1e-3


@pytest.mark.parametrize("tones", [(2, 3, 4), (9, 8, 7)])
@pytest.mark.parametrize("width", [1, 31, 32, 75])
def test_each_pixel_becomes_the_nearest_tone(tones, width, rng, monkeypatch):
    """Few tones and many, in strips; rounded down, but for the end of a row."""
    monkeypatch.setattr(module, "STRIP", 500)
    hsv = rng.integers(0, 180, (41, width, 3)).astype(np.uint8)
    centroids = [np.sort(rng.permutation(170)[:count]) + 0.5 for count in tones]
    nearest = [
        look_up_table(own)[plane] for own, plane in zip(centroids, cv2.split(hsv), strict=True)
    ]
    nearest = np.stack(nearest, axis=-1)
    end = width // AT_A_TIME * AT_A_TIME
    found = paint(hsv, centroids)
    for part, rounding in ((slice(end), np.trunc), (slice(end, None), np.rint)):
        expected = hsv_to_rgb(nearest[:, part].reshape(-1, 3), rounding)
        np.testing.assert_array_equal(found[:, part].reshape(-1, 3), expected)
