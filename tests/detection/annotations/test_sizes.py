"""Sizes of pictures: EXIF's turns, stated sizes that differ, and which reading a whole set has."""

import io

import numpy as np
import pytest
from PIL import Image

from detection.annotations.places import picture_frame
from detection.annotations.sizes import Fitted, Frame, fit, settle, upright
from detection.annotations.text import FaultError

STORED = (40, 60)


@pytest.mark.parametrize("turn", range(1, 9))
def test_boxes_turn_with_their_pictures(turn):
    """A light rectangle is drawn as stored, and found on the picture as `load_image` shows it."""
    from atelier.media.images import load_image

    pixels = np.zeros((*STORED, 3), np.uint8)
    pixels[5:12, 20:50] = 255
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = turn
    Image.fromarray(pixels).save(file, "PNG", exif=exif)
    frame = picture_frame(file.getvalue())
    assert frame == Frame(STORED, turn)
    shown = load_image(file.getvalue())[..., 0] > 0
    assert shown.shape == frame.shown
    rows, columns = np.flatnonzero(shown.any(1)), np.flatnonzero(shown.any(0))
    expected = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    assert upright((20, 5, 50, 12), frame) == expected


@pytest.mark.parametrize(
    ("stated", "factors", "exchanged"),
    [
        ((40, 60), (1, 1), False),
        ((60, 40), (1, 1), True),
        ((80, 120), (0.5, 0.5), False),
        ((120, 80), (0.5, 0.5), True),
        ((41, 60), (1, 40 / 41), False),
        ((13, 20), (3, 40 / 13), False),
        ((400, 601), (60 / 601, 0.1), False),
    ],
)
def test_a_stated_size_of_the_same_shape_is_fitted(stated, factors, exchanged):
    fitted = fit(STORED, stated)
    assert fitted.exchanged == exchanged
    np.testing.assert_allclose(fitted.factors, factors)


def test_the_size_of_another_picture_is_a_fault():
    for stated in ((40, 50), (45, 60), (30, 30), (50, 40)):
        with pytest.raises(FaultError, match="the picture is 60×40, but the annotations say"):
            fit(STORED, stated)
    assert fit(STORED, STORED) == Fitted()


def test_the_boxes_of_the_whole_set_say_how_a_turn_is_meant():
    frame = Frame(STORED, 6)  # Shown, it is 40 wide and 60 high.
    wide, high, both = (20, 5, 50, 12), (5, 20, 12, 50), (5, 5, 30, 30)
    assert settle([(frame, [both]), (frame, [wide])]) == "stored"
    assert settle([(frame, [both]), (frame, [high])]) == "shown"
    assert settle([(frame, [both])]) == "shown"
    assert settle([(frame, [wide]), (frame, [high])]) == "shown", "neither: what today's tools do"
    assert settle([]) == "shown"
