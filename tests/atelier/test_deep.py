"""Pictures of more than 8 bits and of floats: by what is stated, else by what is used."""

import numpy as np
import pytest
import tifffile

from atelier.media.formats.deep import Deep, to_levels
from atelier.media.images import load_picture


def scaled(values, bits=16, dtype=np.uint16, **options):
    levels, note = to_levels(Deep(np.array([values], dtype), bits, 1, **options))
    return levels[0].tolist(), note


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
def test_values_that_end_early_are_of_fewer_bits_which_is_said(bits):
    levels, note = scaled([0, 2**bits - 1])
    assert levels == [0, 255]
    assert note == f"its values end at {2**bits - 1:,}: taken for {bits} bits in 16"


def test_values_that_use_their_bits_are_not_worth_a_word():
    assert scaled([0, 257, 65535]) == ([0, 1, 255], "")


def test_stated_bits_count_even_if_they_are_not_used():
    assert scaled([0, 300, 600], bits=12) == ([0, 19, 37], "")


def test_a_stated_white_counts():
    assert scaled([0, 500, 1000, 2000], white=(0, 1000)) == ([0, 128, 255, 255], "")


def test_few_bright_values_leave_a_dark_picture_which_is_said():
    levels, note = scaled([*[2000] * 999, 65535])
    assert levels[0] == 8
    assert "very dark" in note


def test_0_can_be_white():
    assert scaled([0, 65535], inverted=True) == ([255, 0], "")


def test_signed_values_are_spread():
    levels, note = scaled([-1024, 0, 3072], dtype=np.int16)
    assert levels == [0, 64, 255]
    assert "from -1,024 to 3,072" in note


@pytest.mark.parametrize(
    ("values", "expected", "said"),
    [
        ([0, 0.5, 1], [0, 128, 255], ""),
        ([0, 51, 255], [0, 51, 255], "0 to 255"),
        ([0, 2048, 4095], [0, 128, 255], "12 bits"),
        ([0, 514, 1023], [0, 128, 255], "10 bits"),
        ([0, 1e6, 2e6], [0, 128, 255], "from 0 to 2e+06"),
        ([0, 0.001, 0.002], [0, 128, 255], "from 0 to 0.002"),
        ([-1, 0, 1], [0, 128, 255], "from -1 to 1"),
        ([-300, -200, -100], [0, 128, 255], "from -300 to -100"),
        ([0, 0, 0], [0, 0, 0], ""),
        ([-5, -5, -5], [0, 0, 0], "from -5 to -5"),
        ([-3e38, 0, 3e38], [0, 128, 255], "from -3e+38 to 3e+38"),
        ([np.nan, -np.inf, np.inf], [0, 0, 255], ""),
    ],
)
def test_floats_of_any_range_are_neither_black_nor_burnt(values, expected, said):
    levels, note = scaled(values, 32, np.float32)
    assert levels == expected
    assert said in note
    assert bool(said) == bool(note)


def test_equal_values_below_0_are_black():
    assert scaled([-100, -100], dtype=np.int16)[0] == [0, 0]


@pytest.mark.parametrize("value", [1e308, 1e-308])
def test_floats_of_any_size_are_levels(value):
    levels, _ = scaled([-value, 0, value], 64, np.float64)
    assert levels == [0, 128, 255]


def test_opacity_is_not_scaled_as_colours_are():
    values = np.array([[[4095, 0, 2048, 65535], [0, 0, 0, 0]]], np.uint16)
    levels, note = to_levels(Deep(values, 16, 3))
    assert levels.tolist() == [[[255, 0, 128, 255], [0, 0, 0, 0]]]
    assert "12 bits" in note


def png_of_16_bits(tmp_path, values: np.ndarray) -> str:
    import cv2

    order = {2: slice(None), 3: [2, 1, 0], 4: [2, 1, 0, 3]}
    ordered = values if values.ndim == 2 else values[..., order[values.shape[2]]]
    cv2.imwrite(str(tmp_path / "x.png"), ordered)
    return str(tmp_path / "x.png")


@pytest.mark.parametrize("channels", [None, 3, 4])
def test_12_bits_in_a_png_of_16_are_not_black(tmp_path, channels):
    ramp = np.linspace(0, 4095, 64).astype(np.uint16).reshape(4, 16)
    values = ramp if channels is None else np.repeat(ramp[..., None], channels, axis=2)
    if channels == 4:
        values[..., 3] = 65535
    picture = load_picture(png_of_16_bits(tmp_path, values), alpha="keep", grey="keep")
    expected = np.rint(values * (255 / 4095))
    if channels == 4:
        expected[..., 3] = 255
    np.testing.assert_array_equal(picture.image, expected)
    assert picture.metadata.notes == ("its values end at 4,095: taken for 12 bits in 16",)
    assert picture.metadata.stripped().notes == picture.metadata.notes


def test_a_bright_png_of_16_bits_says_nothing(tmp_path):
    values = np.full((2, 2, 3), 50000, np.uint16)
    picture = load_picture(png_of_16_bits(tmp_path, values))
    assert picture.metadata.notes == ()
    assert abs(int(picture.image.max()) - 50000 / 257) <= 1


def test_the_head_of_a_pgm_states_its_range():
    picture = load_picture(b"P5 2 1 4095\n" + np.array([0, 2048], ">u2").tobytes())
    assert picture.image[0, :, 0].tolist() == [0, 128]
    assert picture.metadata.notes == ()


def test_a_tiff_states_its_largest_value(tmp_path):
    values = np.array([[0, 500, 1000]], np.uint16)
    tags = [(281, "H", 1, 1000, True)]
    tifffile.imwrite(tmp_path / "x.tif", values, photometric="minisblack", extratags=tags)
    picture = load_picture(tmp_path / "x.tif", grey="keep")
    assert picture.image.tolist() == [[0, 128, 255]]
    assert picture.metadata.notes == ()
