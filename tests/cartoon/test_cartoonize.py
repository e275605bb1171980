"""Cartoons: the report's pixel for pixel, and the finer ones."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import skimage
from PIL import Image

from atelier.errors import ImageError, SettingsError
from atelier.images import READABLE, load_image, resize, sample
from benchmarks import plain_cartoon
from cartoon import PRESETS, CartoonConfig, cartoonize
from cartoon.fine import ink, outlines, smooth, soft_table
from cartoon.report import histogram

SAMPLES = sorted(
    file.name
    for file in (Path(skimage.__file__).parent / "data").iterdir()
    # One of them is a format of its own, which Pillow does not read.
    if file.suffix.lower() in READABLE and file.name != "multipage_rgb.tif"
)


@pytest.mark.filterwarnings("ignore")  # Of SciPy, in the report's steps, where counts are alike.
@pytest.mark.parametrize("name", SAMPLES)
def test_report_is_pixel_for_pixel_the_reports(name):
    picture = load_image(sample(name))
    np.testing.assert_array_equal(
        cartoonize(picture, "report").image, plain_cartoon.cartoonize(picture)
    )


@pytest.mark.filterwarnings("ignore")
def test_settings_of_the_report_are_used(photo):
    config = CartoonConfig(method="report", canny=(20, 60))
    found = cartoonize(photo, config=config).image
    black = (found == 0).all(axis=-1).sum()
    assert black > (cartoonize(photo, "report").image == 0).all(axis=-1).sum()
    more = dataclasses.replace(config, smallest=20, alpha=0.5)
    tones = [
        len(np.unique(image.reshape(-1, 3), axis=0))
        for image in (found, cartoonize(photo, config=more).image)
    ]
    assert tones[1] > tones[0]


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 40, 3), (40, 1, 3), (7, 5, 3), (33, 64)])
def test_any_size_is_drawn(preset, shape, rng):
    picture = rng.integers(0, 256, shape).astype(np.uint8)
    found = cartoonize(picture, preset).image
    assert found.shape == (*shape[:2], 3)
    assert found.dtype == np.uint8


@pytest.mark.parametrize("preset", PRESETS)
def test_alpha_is_kept(preset, photo):
    alpha = np.arange(96, dtype=np.uint8).repeat(96).reshape(96, 96, 1)
    found = cartoonize(np.concatenate([photo, alpha], axis=-1), preset).image
    np.testing.assert_array_equal(found[..., 3:], alpha)
    np.testing.assert_array_equal(found[..., :3], cartoonize(photo, preset).image)


def test_the_same_picture_gives_the_same_cartoon(photo, tmp_path):
    Image.fromarray(photo).save(tmp_path / "a.png")
    one, other = cartoonize(photo), cartoonize(tmp_path / "a.png")
    np.testing.assert_array_equal(one.image, other.image)
    assert one.seconds > 0


def test_fine_has_fewer_tones_than_the_picture_and_more_than_none():
    picture = load_image(sample("astronaut.png"))
    config = CartoonConfig(outline=0)
    drawn = cartoonize(picture, config=config).image
    steps = [np.abs(np.diff(image.astype(int), axis=1)).sum(axis=-1) for image in (picture, drawn)]
    flat = [(step <= 3).mean() for step in steps]
    assert flat[1] > flat[0] + 0.15
    assert np.abs(drawn.astype(int) - picture).mean() < 16


def test_outlines_are_dark_and_as_wide_as_the_picture_asks():
    """A dark square: at twice the size its outline is twice as wide."""
    square = np.full((200, 200, 3), 220, np.uint8)
    square[60:140, 60:140] = 90
    widths = []
    for scale in (2, 4):
        picture = resize(square, (200 * scale, 200 * scale))
        drawn = cartoonize(picture, config=CartoonConfig(outline=5)).image
        row = drawn[100 * scale, : 100 * scale].max(axis=-1)
        widths.append((row < 60).sum())
    # Curves go there and back along an edge, up to a pixel apart.
    for scale, width in zip((2, 4), widths, strict=True):
        pen = 5 * scale * 200 * 2**0.5 / 500
        assert pen - 1 <= width <= pen + 3


def test_no_outline_and_no_smoothing_can_be_asked_for(photo):
    found = cartoonize(photo, config=CartoonConfig(smoothing=0, outline=0)).image
    assert found.min() <= photo.min() + 40
    np.testing.assert_array_equal(smooth(photo, 0), photo)


def test_small_edges_are_not_outlined():
    specks = np.full((200, 200, 3), 220, np.uint8)
    specks[50:53, 50:53] = 0
    assert outlines(specks) == []
    specks[100:160, 100:160] = 0
    curves = outlines(specks)
    assert curves
    for curve in curves:
        assert curve.shape[1] == 2
        assert (curve > 0.45).all()
        assert (curve < 0.85).all()


def test_soft_table_rises_from_tone_to_tone():
    table = soft_table(np.array([50, 150, 200]), 4.0).astype(int)
    assert (np.diff(table) >= 0).all()
    np.testing.assert_array_equal(table[[0, 60, 100, 150, 175, 255]], [50, 50, 100, 150, 175, 200])
    assert (soft_table(np.array([77]), 4.0) == 77).all()


def test_ink_without_curves_changes_nothing(photo):
    np.testing.assert_array_equal(ink(photo, [], 1.0), photo)


def test_histogram_counts_in_parts(photo, monkeypatch):
    whole = histogram(photo, 1)
    np.testing.assert_array_equal(whole, np.bincount(photo[..., 1].ravel(), minlength=256))
    monkeypatch.setattr("cartoon.report.MOST_COUNTED", 96 * 10)
    np.testing.assert_array_equal(histogram(photo, 1), whole)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"alpha": -0.1}, "--alpha"),
        ({"alpha": float("nan")}, "--alpha"),
        ({"smallest": 7}, "--smallest"),
        ({"canny": (200, 100)}, "--canny"),
        ({"smoothing": -1}, "--smoothing"),
        ({"outline": 11}, "--outline"),
    ],
)
def test_senseless_setting_is_refused(settings, words):
    with pytest.raises(SettingsError, match=words):
        CartoonConfig(**settings)


def test_unknown_preset_and_bad_picture_are_refused(tmp_path):
    with pytest.raises(SettingsError, match="no preset 'oil'"):
        cartoonize(np.zeros((4, 4, 3), np.uint8), "oil")
    (tmp_path / "a.jpg").write_text("text")
    with pytest.raises(ImageError, match=r"a\.jpg"):
        cartoonize(tmp_path / "a.jpg")
