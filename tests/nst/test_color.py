"""Colours kept: by hand and by statistics."""

import numpy as np
import pytest

from nst import color


def test_luminance_by_hand():
    image = np.uint8([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0]]])
    grey = color.luminance(image)
    assert grey.dtype == np.uint8
    assert grey[0].tolist() == [[v] * 3 for v in (76, 150, 29, 255, 0)]


def test_matched_luminance_has_the_contents_mean_and_spread(rng):
    style = np.repeat(rng.integers(100, 156, (40, 30, 1), np.uint8), 3, axis=2)
    content = np.repeat(rng.normal(90, 20, (20, 50, 1)).clip(0, 255).astype(np.uint8), 3, axis=2)
    matched = color.match_luminance(style, content)
    assert matched.shape == style.shape
    assert matched.mean() == pytest.approx(content.mean(), abs=0.5)
    assert matched.std() == pytest.approx(content.std(), abs=0.5)


def test_matched_luminance_of_a_flat_style_is_flat():
    flat = np.full((4, 4, 3), 9, np.uint8)
    matched = color.match_luminance(flat, np.full((4, 4, 3), 200, np.uint8))
    assert (matched == 200).all()


def test_colors_are_the_contents_and_brightness_the_pictures(rng, ycc):
    # Mild colours, so that nothing is clipped.
    image, content = rng.integers(100, 156, (2, 20, 20, 3)).astype(np.uint8)
    result = color.with_colors_of(image, content)
    np.testing.assert_allclose(ycc(result)[..., 0], ycc(image)[..., 0], atol=1)
    np.testing.assert_allclose(ycc(result)[..., 1:], ycc(content)[..., 1:], atol=1)


def test_colors_of_itself_change_nothing(photo):
    assert np.abs(np.int16(color.with_colors_of(photo, photo)) - photo).max() <= 1


def test_matched_colors_have_the_contents_mean_and_covariance(rng):
    mix = rng.normal(0, 8, (3, 3))
    style = (rng.normal(size=(50, 40, 3)) @ mix + 120).clip(0, 255).astype(np.uint8)
    content = (rng.normal(size=(30, 60, 3)) @ mix.T + [100, 130, 150]).clip(0, 255)
    content = content.astype(np.uint8)
    matched = color.match_colors(style, content)
    assert matched.shape == style.shape
    flat, wanted = matched.reshape(-1, 3), content.reshape(-1, 3)
    np.testing.assert_allclose(flat.mean(0), wanted.mean(0), atol=1)
    covariance = np.cov(wanted.T)
    np.testing.assert_allclose(np.cov(flat.T), covariance, atol=0.05 * np.abs(covariance).max())


def test_matching_a_picture_with_itself_changes_nothing(photo):
    assert np.abs(np.int16(color.match_colors(photo, photo)) - photo).max() <= 1


@pytest.mark.parametrize("shape", [(1, 1, 3), (20, 20, 3)])
def test_flat_style_gets_the_contents_mean(shape, photo):
    matched = color.match_colors(np.full(shape, 50, np.uint8), photo)
    np.testing.assert_allclose(matched.mean((0, 1)), photo.mean((0, 1)), atol=1)


def test_grey_content_gives_a_grey_style(painting):
    ramp = np.repeat(np.uint8(np.arange(0, 250, 2))[:, None, None], 3, axis=2).repeat(9, 1)
    matched = np.float64(color.match_colors(painting, ramp))
    assert (matched.max(2) - matched.min(2)).mean() < 8
    assert matched.std() > 30
