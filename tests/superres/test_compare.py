"""The side-by-side picture shows where there is something to see."""

import numpy as np
import pytest
from PIL import Image

from superres.compare import WINDOW, busiest_window, comparison


def bicubic(picture: np.ndarray, scale: int = 2) -> np.ndarray:
    image = Image.fromarray(picture)
    size = (image.width * scale, image.height * scale)
    return np.array(image.resize(size, Image.Resampling.BICUBIC))


@pytest.fixture
def large(photo) -> np.ndarray:
    """uint8 (480, 576, 3), higher than the strips that are looked at in turn."""
    return np.tile(photo, (5, 6, 1))


@pytest.mark.parametrize(("top", "left"), [(0, 0), (240, 320), (400, 488)])
def test_the_window_is_where_both_differ_most(large, top, left):
    enlarged = bicubic(large)
    part = enlarged[2 * top : 2 * (top + 80), 2 * left : 2 * (left + 80)]
    part[:] = 255 - part
    assert busiest_window(large, enlarged) == (top, left, 80, 80)


@pytest.mark.parametrize(("scale", "side"), [(2, 80), (3, 56), (4, 40)])
def test_the_window_is_as_large_at_any_scale(photo, scale, side):
    *corner, height, width = busiest_window(photo, bicubic(photo, scale))
    assert (height, width) == (side, side)
    assert abs(side * scale - WINDOW) <= 8
    assert max(corner) <= 96 - side


@pytest.mark.parametrize("shape", [(1, 1), (7, 300), (90, 20)])
def test_what_is_smaller_is_shown_whole(large, shape):
    picture = large[: shape[0], : shape[1]]
    top, left, height, width = busiest_window(picture, bicubic(picture))
    assert (height, width) == (min(80, shape[0]), min(80, shape[1]))
    assert top + height <= shape[0]
    assert left + width <= shape[1]
    assert comparison(picture, bicubic(picture)).ndim == 3


def test_both_are_shown_pixel_by_pixel_with_labels(large):
    enlarged = 255 - bicubic(large)
    sheet = comparison(large, enlarged)
    top, left, *_ = busiest_window(large, enlarged)
    part = bicubic(large)[2 * top : 2 * top + 160, 2 * left : 2 * left + 160]
    squares = part.repeat(4, 0).repeat(4, 1).astype(int)
    assert sheet.shape == (640 + 34 + 12, 2 * 652 + 12, 3)
    assert (sheet[34:674, 12:652] == squares).all()
    assert (sheet[34:674, 664:1304] == 255 - squares).all()
    assert (sheet[:34, 12:652] < 100).any(), "a label"
    assert (sheet[:34, 664:] < 100).any(), "a label"
