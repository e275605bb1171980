"""Edges that follow the picture, and the colours in front, against slow and literal ways."""

import cv2
import numpy as np
import pytest

from cartoon.people import matting
from cartoon.people.matting import EPSILON, feather, foreground, guided_filter, linear, refine, tidy


def literal_guided_filter(image, mask, radius, epsilon):
    """He et al. 2013, equations 19 to 21, window by window; the picture is mirrored around."""
    pad = ((2 * radius,) * 2, (2 * radius,) * 2)
    guide = np.pad(image / 255.0, (*pad, (0, 0)), mode="symmetric")
    target = np.pad(mask.astype(np.float64), pad, mode="symmetric")
    side = 2 * radius + 1
    rows, columns = target.shape[0] - side + 1, target.shape[1] - side + 1
    slope, offset = np.zeros((rows, columns, 3)), np.zeros((rows, columns))
    for y in range(rows):
        for x in range(columns):
            colours = guide[y : y + side, x : x + side].reshape(-1, 3)
            levels = target[y : y + side, x : x + side].ravel()
            mean = colours.mean(axis=0)
            covariance = (colours - mean).T @ (colours - mean) / len(colours)
            right = colours.T @ levels / len(colours) - mean * levels.mean()
            slope[y, x] = np.linalg.solve(covariance + epsilon * np.eye(3), right)
            offset[y, x] = levels.mean() - slope[y, x] @ mean
    fine = np.empty(mask.shape)
    for y in range(mask.shape[0]):
        for x in range(mask.shape[1]):
            around = slice(y, y + side), slice(x, x + side)
            fine[y, x] = slope[around].mean(axis=(0, 1)) @ (image[y, x] / 255)
            fine[y, x] += offset[around].mean()
    return fine


def disc(height, width, radius, centre=None):
    """A mask with an antialiased edge, float32 (height, width)."""
    y, x = np.mgrid[:height, :width]
    cy, cx = centre or ((height - 1) / 2, (width - 1) / 2)
    return np.clip(radius + 0.5 - np.hypot(y - cy, x - cx), 0, 1).astype(np.float32)


# === The guided filter ===


@pytest.mark.parametrize("radius", [1, 3])
@pytest.mark.parametrize("epsilon", [1e-4, 1e-2])
def test_guided_filter_is_the_papers(rng, radius, epsilon):
    image = rng.integers(0, 256, (17, 23, 3)).astype(np.uint8)
    mask = rng.random((17, 23), np.float32)
    found = guided_filter(image, mask, radius, epsilon)
    assert found.dtype == np.float32
    np.testing.assert_allclose(
        found, literal_guided_filter(image, mask, radius, epsilon), atol=2e-4
    )


def test_guided_filter_is_exact_for_black_and_white_too(rng):
    """Red, green and blue alike: of the covariance, two of three directions are nearly empty."""
    image = np.repeat(255 * rng.integers(0, 2, (20, 20, 1)), 3, axis=-1).astype(np.uint8)
    mask = image[..., 0] / np.float32(255)
    mask[:, :10] = 0
    expected = literal_guided_filter(image, mask, 3, EPSILON)
    np.testing.assert_allclose(guided_filter(image, mask, 3, EPSILON), expected, atol=2e-4)


def test_large_pictures_are_filtered_about_as_well_as_small_ones(rng, monkeypatch):
    image = cv2.resize(rng.integers(0, 256, (12, 15, 3)).astype(np.uint8), (150, 120))
    mask = disc(120, 150, 35)
    exact = guided_filter(image, mask, 12, 1e-2)
    monkeypatch.setattr(matting, "COARSE", 50)
    assert 0 < np.abs(guided_filter(image, mask, 12, 1e-2) - exact).max() < 0.1


def test_coefficients_are_enlarged_where_they_belong(rng):
    image = rng.integers(0, 256, (70, 90, 3)).astype(np.uint8)
    coefficients = rng.random((10, 15, 4), np.float32)
    tile = slice(20, 60), slice(30, 90)
    full = cv2.resize(coefficients, (90, 70))
    expected = (full[..., :3] * (image / 255)).sum(axis=-1) + full[..., 3]
    found = linear(coefficients, image, tile)
    # Positions are rounded to 1/32 of a coarse pixel.
    np.testing.assert_allclose(found, expected[tile], atol=0.06)


@pytest.mark.parametrize("coarse", [50, 500])
def test_tiles_do_not_show(photo, monkeypatch, coarse):
    monkeypatch.setattr(matting, "COARSE", coarse)
    mask = cv2.GaussianBlur(disc(96, 96, 30), (0, 0), 4)
    whole = refine(mask, photo)
    monkeypatch.setattr(matting, "TILE", 20)
    # Positions are rounded to 1/32 of a coarse pixel.
    np.testing.assert_allclose(refine(mask, photo), whole, atol=0.02)


# === Refining ===


@pytest.mark.parametrize("size", [300, 1200])
@pytest.mark.parametrize("shift", [-0.004, 0.004])
def test_an_edge_that_is_beside_the_pictures_snaps_to_it(size, shift, rng):
    inside = disc(size, size, 0.3 * size)
    image = np.where(inside[..., None] > 0.5, (200, 120, 90), (60, 90, 140))
    image = np.uint8(image + rng.integers(-3, 4, image.shape))
    mask = disc(size, size, (0.3 + shift) * size)
    fine = refine(mask, image)
    hard = inside > 0.5
    np.testing.assert_array_equal(fine > 0.5, hard)
    before, after = (np.abs(x - hard).mean() for x in (mask, fine))
    assert after < 0.65 * before
    assert fine.dtype == np.float32
    assert fine.min() == 0
    assert fine.max() == 1


def test_far_from_edges_texture_changes_nothing(rng):
    image = rng.integers(0, 256, (200, 200, 3)).astype(np.uint8)
    mask = disc(200, 200, 60)
    fine = refine(mask, image)
    reach = 8
    np.testing.assert_array_equal(fine[disc(200, 200, 60 - reach) == 1], 1)
    np.testing.assert_array_equal(fine[disc(200, 200, 60 + reach) == 0], 0)
    assert ((fine > 0) & (fine < 1)).any(), "but near them"
    half = np.zeros((200, 200), np.float32)
    half[:, 100:] = 1  # The picture's own edges are none.
    fine = refine(half, image)
    np.testing.assert_array_equal(fine[:, 100 + reach :], 1)
    np.testing.assert_array_equal(fine[:, : 100 - reach], 0)


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 1), (2, 700), (40, 30)])
def test_whole_masks_stay_at_any_size(level, shape, rng):
    image = rng.integers(0, 256, (*shape, 3)).astype(np.uint8)
    mask = np.full(shape, level, np.float32)
    np.testing.assert_array_equal(refine(mask, image), mask)
    front = foreground(image, mask)
    assert front.shape == image.shape
    if level:
        np.testing.assert_array_equal(front, image)


def test_what_is_cut_off_by_the_pictures_edge_reaches_it(rng):
    image = np.full((100, 100, 3), 60, np.uint8)
    image[:, 50:] = 200
    mask = np.zeros((100, 100), np.float32)
    mask[:, 51:] = 1
    fine = refine(mask, image)
    np.testing.assert_array_equal(fine > 0.5, image[..., 0] == 200)
    np.testing.assert_array_equal(fine[:, 60:], 1)


def test_feather_fades_edges():
    mask = np.zeros((9, 80), np.float32)
    mask[:, 40:] = 1
    np.testing.assert_array_equal(feather(mask, 0), mask)
    faded = feather(mask, 16)
    row = faded[4]
    assert row[39] + row[40] == pytest.approx(1, abs=1e-5)
    assert (np.diff(row) >= -1e-6).all()
    # From two standard deviations before the edge to two behind it.
    assert row[31] == pytest.approx(0.02, abs=0.01)
    assert row[48] == pytest.approx(0.98, abs=0.01)
    assert ((row > 0.02) & (row < 0.98)).sum() == 16


# === Colours ===


@pytest.mark.parametrize("size", [200, 1100])
def test_the_colours_in_front_are_found_again(size):
    """Of a slow slope of colours before another."""
    y, x = np.mgrid[:size, :size] / size
    front = np.stack([200 - 60 * x, 80 + 60 * y, 60 + 20 * x], axis=-1)
    back = np.stack([40 + 40 * y, 120 - 50 * x, 200 - 30 * y], axis=-1)
    mask = cv2.GaussianBlur(disc(size, size, 0.3 * size), (0, 0), size / 100)
    opacity = mask[..., None]
    image = np.uint8(np.rint(opacity * front + (1 - opacity) * back))
    found = foreground(image, mask)
    assert found.dtype == np.uint8
    half = (mask > 0.3) & (mask < 1)
    assert half.sum() > size
    errors = np.abs(found - front)[half]
    assert errors.mean() < 4
    assert errors.max() < 30
    assert errors.mean() < np.abs(image - front)[half].mean() / 3
    np.testing.assert_array_equal(found[mask == 1], image[mask == 1])


def literal_foreground(image, mask):
    """Forte 2021, algorithm 1, twice, at full size."""
    picture, opacity = image.astype(np.float64), mask[..., None].astype(np.float64)
    front, back = picture, picture
    for part in (0.1, 0.007):
        side = (2 * max(1, round(part * max(mask.shape) / 2)) + 1,) * 2
        share = cv2.blur(opacity, side)[..., None]
        front = cv2.blur(front * opacity, side) / (share + 1e-5)
        back = cv2.blur(back * (1 - opacity), side) / (1 - share + 1e-5)
        front = front + opacity * (picture - opacity * front - (1 - opacity) * back)
        front = np.clip(front, 0, 255)
    return front


def test_small_pictures_have_the_papers_colours(photo):
    mask = cv2.GaussianBlur(disc(96, 96, 30), (0, 0), 4)
    seen = mask > 0.01
    expected = literal_foreground(photo, mask)[seen]
    np.testing.assert_allclose(foreground(photo, mask)[seen], expected, atol=1.6)


def test_pictures_stay_as_they_are(photo):
    mask, before = disc(96, 96, 30), photo.copy()
    given = mask.copy()
    foreground(photo, refine(mask, photo))
    np.testing.assert_array_equal(photo, before)
    np.testing.assert_array_equal(mask, given)


def test_colours_of_a_part_of_an_array(photo):
    """Red, green and blue of four channels are not in one piece in memory."""
    mask = cv2.GaussianBlur(disc(96, 96, 30), (0, 0), 3)
    both = np.dstack([photo, photo[..., 0]])
    np.testing.assert_array_equal(foreground(both[..., :3], mask), foreground(photo, mask))


def test_tidy_takes_haze_specks_and_pinholes_away():
    mask = np.full((200, 300), 0.2, np.float32)
    mask[50:150, 50:200] = 0.8
    mask[100:103, 100:103] = 0.3  # A pinhole,
    mask[60:90, 150:180] = 0.1  # a hole that is one,
    mask[10:13, 250:253] = 0.9  # and a speck.
    expected = np.zeros_like(mask)
    expected[50:150, 50:200] = 1
    expected[60:90, 150:180] = 0
    np.testing.assert_array_equal(tidy(mask.copy()), expected)


def test_tidy_keeps_soft_edges():
    ramp = np.tile(np.linspace(0, 1, 101, dtype=np.float32), (80, 1))
    np.testing.assert_allclose(tidy(ramp.copy()), np.clip(2 * ramp - 0.5, 0, 1), atol=1e-6)
