"""Backdrops: what names stand for, what covers, and "over" by hand."""

import numpy as np
import pytest
from PIL import Image

from atelier.errors import ImageError, SettingsError
from atelier.media.images import load_image, save_image
from cartoon.drawing.backdrop import WHITE, color_backdrop, compose, cover, find_backdrop, lay_on


@pytest.mark.parametrize(
    ("name", "colour"),
    [
        ("white", (255, 255, 255)),
        ("#ffcc00", (255, 204, 0)),
        ("#FC0", (255, 204, 0)),
        ("#ffcc0080", (255, 204, 0, 128)),
        ("#ffcc00ff", (255, 204, 0)),
        ("rgb(1, 2, 3)", (1, 2, 3)),
        ("transparent", (255, 255, 255, 0)),
    ],
)
def test_colours_by_name(name, colour, photo):
    found = find_backdrop(name)(photo)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, colour)


def test_the_photo_itself(photo):
    assert find_backdrop("photo")(photo) is photo


@pytest.mark.parametrize("name", ["landscape.png", "landscape.JPG", "landscape"])
def test_a_picture_covers_the_photo(tmp_path, painting, photo, name):
    """Also one without a suffix."""
    save_image(tmp_path / "landscape.png", painting)
    (tmp_path / "landscape.png").rename(tmp_path / name)
    backdrop = find_backdrop(str(tmp_path / name))
    for size in ((30, 60), (96, 96), (30, 60)):
        found = backdrop(np.zeros((*size, 3), np.uint8))
        np.testing.assert_array_equal(found, cover(painting, size))


@pytest.mark.parametrize("name", ["nonsense", "", "#12345", "\0", "x" * 5000, "no/such/folder"])
def test_other_names_are_refused(name):
    with pytest.raises(SettingsError, match="transparent, photo, a colour such as white"):
        find_backdrop(name)


def test_a_colour_is_no_file(tmp_path, painting, photo, monkeypatch):
    assert color_backdrop("#ff000080")(photo).tolist() == [255, 0, 0, 128]
    save_image(tmp_path / "backdrop.png", painting)
    monkeypatch.chdir(tmp_path)
    for name in ("photo", "transparent", "backdrop.png"):
        with pytest.raises(SettingsError, match=f"no colour '{name}'"):
            color_backdrop(name)


def test_files_that_are_no_pictures_are_refused(tmp_path):
    with pytest.raises(ImageError, match=r"none\.png: no such file"):
        find_backdrop(str(tmp_path / "none.png"))
    (tmp_path / "a.jpg").write_text("text")
    with pytest.raises(ImageError, match=r"a\.jpg: not a picture"):
        find_backdrop(str(tmp_path / "a.jpg"))


# === Covering ===


def numbered(height, width):
    y, x = np.mgrid[:height, :width]
    return np.stack([y, x, 0 * x], axis=-1).astype(np.uint8)


@pytest.mark.parametrize(
    ("size", "middle"),
    [
        ((40, 40), (slice(0, 40), slice(30, 70))),
        ((10, 100), (slice(15, 25), slice(0, 100))),
        ((40, 100), (slice(0, 40), slice(0, 100))),
    ],
)
def test_cover_takes_the_middle(size, middle):
    picture = numbered(40, 100)
    np.testing.assert_array_equal(cover(picture, size), picture[middle])


def test_cover_resizes_what_it_takes():
    found = cover(numbered(40, 100), (80, 80)).astype(float)
    assert found.shape == (80, 80, 3)
    assert found[40, 40, 0] == pytest.approx(20, abs=1)
    assert found[40, 0, 1] == pytest.approx(30, abs=1)
    assert found[40, 79, 1] == pytest.approx(69, abs=1)


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (900, 1), (3, 7)])
@pytest.mark.parametrize("shape", [(1, 1), (2, 50), (50, 2)])
def test_cover_at_any_size(size, shape):
    picture = np.full((*shape, 4), (10, 20, 30, 40), np.uint8)
    found = cover(picture, size)
    assert found.shape == (*size, 4)
    assert np.abs(found.astype(int) - (10, 20, 30, 40)).max() <= 3  # Of premultiplied levels.


# === Over ===


def one(*levels):
    return np.uint8([[levels]])


@pytest.mark.parametrize(
    ("front", "mask", "behind", "expected"),
    [
        ((200, 100, 0), 0.25, (0, 100, 200), (50, 100, 150)),
        ((200, 100, 0), 0, (1, 2, 3), (1, 2, 3)),
        ((200, 100, 0), 1, (1, 2, 3), (200, 100, 0)),
        # On nothing, colours stay, and the mask is the alpha.
        ((200, 100, 0), 0.4, (255, 255, 255, 0), (200, 100, 0, 102)),
        ((200, 100, 0), 0, (255, 255, 255, 0), (255, 255, 255, 0)),
        # Half over a fifth: alpha 0.5 + 0.5 · 0.2 = 0.6, of which the front's is 5/6.
        ((240, 60, 0), 0.5, (0, 120, 60, 51), (200, 70, 10, 153)),
        ((240, 60, 0), 1, (0, 120, 60, 51), (240, 60, 0, 255)),
        ((240, 60, 0), 0, (0, 120, 60, 51), (0, 120, 60, 51)),
    ],
)
def test_over_by_hand(front, mask, behind, expected):
    mask = np.float32([[mask]])
    for given in (np.uint8(behind), one(*behind)):
        found = lay_on(one(*front), mask, given)
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, one(*expected))


def test_over_is_pillows(rng):
    """Within its rounding."""
    front, behind = (rng.integers(0, 256, (20, 20, n)).astype(np.uint8) for n in (3, 4))
    alpha = rng.integers(0, 256, (20, 20)).astype(np.uint8)
    above = Image.fromarray(np.dstack([front, alpha]))
    expected = np.asarray(Image.alpha_composite(Image.fromarray(behind), above)).astype(int)
    found = lay_on(front, alpha / np.float32(255), behind)
    seen = expected[..., 3] > 20
    assert np.abs(found - expected)[seen].max() <= 2


def test_on_the_photo_itself_its_alpha_stays():
    photo = np.uint8([[(100, 100, 100, 255), (100, 100, 100, 128), (7, 7, 7, 0)]])
    front = np.full((1, 3, 3), 200, np.uint8)
    mask = np.float32([[0.5, 128 / 255, 0]])
    found = compose(front, mask, photo, find_backdrop("photo"))
    np.testing.assert_array_equal(found[0, :, 3], [255, 128, 0])
    np.testing.assert_array_equal(found[0, :, 0], [150, 200, 7])
    on_white = compose(front, mask, photo, lambda _: WHITE)
    np.testing.assert_array_equal(on_white, lay_on(front, mask, WHITE))
    assert load_image(found).shape == (1, 3, 3)
