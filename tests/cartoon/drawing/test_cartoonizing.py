"""Cartoons: the report's pixel for pixel, and the finer ones."""

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import skimage
from PIL import Image

from atelier.errors import ImageError, SettingsError
from atelier.media.images import READABLE, load_image, resize, sample
from benchmarks import plain_cartoon
from cartoon import PRESETS, CartoonConfig, cartoonize
from cartoon.drawing.fine import (
    draw_fine,
    ink,
    outlines,
    resize_mask,
    silhouette,
    smooth,
    soft_table,
)
from cartoon.drawing.hsv import AT_A_TIME, hsv_to_rgb
from cartoon.drawing.report import histogram

SAMPLES = sorted(
    file.name
    for file in (Path(skimage.__file__).parent / "data").iterdir()
    # One of them is a format of its own, which Pillow does not read.
    if file.suffix.lower() in READABLE and file.name != "multipage_rgb.tif"
)

OF_2021 = json.loads(Path(__file__).with_name("report_2021.json").read_text())


@pytest.mark.parametrize("name", SAMPLES)
def test_report_is_pixel_for_pixel_the_reports(name):
    picture = load_image(sample(name))
    expected = plain_cartoon.cartoonize(picture, plain_cartoon.exact_filter, exact_rgb)
    np.testing.assert_array_equal(cartoonize(picture, "report").image, expected)


def exact_rgb(hsv: np.ndarray) -> np.ndarray:
    """Pixel by pixel what `cartoon.drawing.hsv.paint` does tone by tone."""
    end = hsv.shape[1] // AT_A_TIME * AT_A_TIME
    parts = (hsv[:, :end], np.trunc), (hsv[:, end:], np.rint)
    converted = [hsv_to_rgb(part.reshape(-1, 3), how).reshape(part.shape) for part, how in parts]
    return np.concatenate(converted, axis=1)


@pytest.mark.parametrize("name", OF_2021)
def test_report_is_what_its_program_drew_in_2021(name):
    """By hashes that `python -m benchmarks.report_2021 --out` wrote, from that program."""
    picture = load_image(sample(name))
    drawing = cartoonize(picture, "report").image
    found = {"picture": digest(picture), "drawing": digest(drawing)}
    assert found == OF_2021[name]


def digest(image: np.ndarray) -> str:
    return hashlib.sha256(image.tobytes()).hexdigest()


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
        assert pen - 1 <= width <= pen + 4


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


# === Cut-outs ===


def test_tones_are_counted_inside_the_mask_alone(photo):
    mask = np.zeros((96, 96), np.float32)
    mask[20:70, 30:60] = 1
    config, seen = CartoonConfig(smoothing=0, outline=0), []

    def tones(counts):
        seen.append(counts)
        return np.array([60, 200])

    draw_fine(photo, config, tones=tones, mask=mask)
    draw_fine(photo, config, tones=tones)
    draw_fine(photo, config, tones=tones, mask=np.zeros_like(mask))
    share = seen[0].sum() / seen[1].sum()
    assert share == pytest.approx(50 * 30 / 96**2, rel=1e-3)
    np.testing.assert_array_equal(seen[2], seen[1])
    other = photo.copy()
    other[90:] = 0
    draw_fine(other, config, tones=tones, mask=mask)
    np.testing.assert_array_equal(seen[3], seen[0])


def test_a_cut_out_has_its_own_outline_and_none_beyond():
    """A picture of one colour, but for a square outside the mask."""
    picture = np.full((400, 400, 3), 200, np.uint8)
    picture[20:90, 20:90] = 40
    mask = np.zeros((400, 400), np.float32)
    mask[120:320, 150:300] = 1
    config = CartoonConfig(outline=5)
    dark = draw_fine(picture, config, mask=mask).max(axis=-1) < 60
    pen = 5 * 400 * 2**0.5 / 500
    across = np.flatnonzero(dark[220])
    left, right = across[across < 225], across[across > 225]
    for line, inner, outer in ((left, 150 + pen, 150), (right, 300 - pen, 300)):
        assert pen - 2 <= len(line) <= pen + 4
        low, high = sorted((inner, outer))
        assert low - 2 <= line.min() < line.max() <= high + 2
    dark[20:90, 20:90] = False  # The square itself.
    assert not dark[:115].any()
    assert draw_fine(picture, config).max(axis=-1)[14:19, 50].min() < 60, (
        "without a mask it has one"
    )


def test_no_outline_where_a_mask_is_cut_off_by_the_pictures_edge():
    inside = np.zeros((200, 300), bool)
    inside[100:, 80:220] = True
    pen = 6.0
    (curve,) = silhouette(inside, pen)
    x, y = curve.T * ((300,), (200,))
    assert np.ptp(x) == pytest.approx(140 - pen, abs=2)
    assert y.min() == pytest.approx(100 + pen / 2, abs=1.5)
    assert y.max() > 200 + pen
    # Neither has one a mask of all of it.
    blank = np.full((200, 300, 3), 200, np.uint8)
    whole = draw_fine(blank, CartoonConfig(outline=5), mask=np.ones((200, 300), np.float32))
    assert whole.min() > 100


def test_holes_are_outlined_and_specks_are_not():
    inside = np.zeros((300, 300), bool)
    inside[50:250, 50:250] = True
    inside[120:180, 120:180] = False
    inside[10:12, 10:12] = True
    curves = sorted((np.ptp(curve[:, 0]) * 300 for curve in silhouette(inside, 4.0)), reverse=True)
    assert curves == pytest.approx([200 - 4, 60 + 4], abs=3)
    assert silhouette(np.zeros((30, 30), bool), 4.0) == []


def test_masks_shrink_by_halves():
    mask = np.float32([[1, 1, 0, 0], [1, 0.2, 0, 1], [0, 0, 1, 1], [0, 0, 1, 1]])
    np.testing.assert_array_equal(resize_mask(mask, (2, 2)), [[True, False], [False, True]])
    assert resize_mask(mask, (2, 2)).dtype == bool
    np.testing.assert_array_equal(resize_mask(mask, (4, 4)), mask > 0.5)


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (7, 5)])
def test_cut_outs_of_any_size(shape, rng):
    picture = rng.integers(0, 256, (*shape, 3)).astype(np.uint8)
    for mask in (np.ones(shape), np.zeros(shape), rng.random(shape)):
        found = draw_fine(picture, CartoonConfig(), mask=mask.astype(np.float32))
        assert found.shape == picture.shape


# === Parts ===


def test_histogram_counts_in_parts(photo, monkeypatch):
    whole = histogram(photo, 1)
    np.testing.assert_array_equal(whole, np.bincount(photo[..., 1].ravel(), minlength=256))
    monkeypatch.setattr("cartoon.drawing.report.MOST_COUNTED", 96 * 10)
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
