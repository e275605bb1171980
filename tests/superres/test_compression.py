"""Compressed pictures are told from clean ones."""

import io

import numpy as np
import pytest
from PIL import Image

from atelier.media.images import load_image, resize, sample
from superres.compression import VISIBLE_GRID, Header, grid_strength, jpeg_quality, read_header

PHOTOS = ("astronaut.png", "coffee.png", "chelsea.png", "camera.png", "coins.png", "moon.png")


def halved(name: str) -> np.ndarray:
    """A picture without the grid that it may have come with."""
    picture = load_image(sample(name))
    return resize(picture, (picture.shape[0] // 2, picture.shape[1] // 2))


def encoded(picture: np.ndarray, kind: str = "JPEG", **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("quality", [20, 40, 50, 75, 90, 95, 98])
def test_quality_is_read_from_the_table(photo, quality):
    with Image.open(io.BytesIO(encoded(photo, quality=quality))) as image:
        assert abs(jpeg_quality(image) - quality) <= 1


def test_extreme_qualities_are_near(photo):
    tables = {q: Image.open(io.BytesIO(encoded(photo, quality=q))) for q in (1, 100)}
    assert jpeg_quality(tables[1]) < 15
    assert jpeg_quality(tables[100]) >= 99


def test_other_tables_than_the_standards_have_a_quality(photo):
    with Image.open(io.BytesIO(encoded(photo, qtables=[[2] * 64, [2] * 64]))) as image:
        assert jpeg_quality(image) == 98
    assert jpeg_quality(Image.fromarray(photo)) is None


@pytest.mark.parametrize(
    ("kind", "options", "lossy"),
    [
        ("JPEG", {"quality": 75}, "JPEG of quality 75"),
        ("JPEG", {"quality": 90, "subsampling": 0}, "JPEG of quality 90"),
        ("JPEG", {"quality": 95}, None),
        ("PNG", {}, None),
        ("WEBP", {"quality": 80}, "lossy WebP"),
        ("WEBP", {"lossless": True}, None),
        ("BMP", {}, None),
    ],
)
def test_files_say_how_they_were_compressed(photo, tmp_path, kind, options, lossy):
    data = encoded(photo[:60], kind, **options)
    path = tmp_path / "picture"
    path.write_bytes(data)
    expected = Header(96, 60, lossy)
    with Image.open(path) as image:
        assert [read_header(source) for source in (data, path, str(path), image)] == [expected] * 4


def test_what_is_no_file_says_its_size_alone(photo):
    assert read_header(photo[:60]) == Header(96, 60, None)
    assert read_header(Image.fromarray(photo[:60])) == Header(96, 60, None)


@pytest.mark.parametrize("source", [b"", b"text", "gone.png", np.zeros(3, np.uint8)])
def test_no_picture_is_left_to_others(source):
    assert read_header(source) is None


@pytest.mark.parametrize("name", PHOTOS)
def test_clean_pictures_show_no_grid(name):
    picture = halved(name)
    assert 0.9 < grid_strength(picture) < VISIBLE_GRID - 0.05
    assert grid_strength(np.dstack([picture, picture[..., 0]])) == grid_strength(picture)


@pytest.mark.parametrize("name", PHOTOS)
def test_what_went_through_jpeg_shows_it_even_when_it_is_cropped(name):
    picture = load_image(encoded(halved(name), quality=70))
    assert grid_strength(picture) > VISIBLE_GRID
    assert grid_strength(picture[3:, 5:, 0]) > VISIBLE_GRID


def test_flat_and_small_pictures_show_nothing(photo):
    assert grid_strength(np.full((80, 90, 3), 77, np.uint8)) == 1
    assert grid_strength(load_image(encoded(photo[:40], quality=10))) == 0


def test_only_the_middle_of_large_pictures_is_judged():
    picture = np.tile(halved("astronaut.png"), (5, 5, 1))
    picture[:100] = 0
    assert grid_strength(picture) == grid_strength(picture[128:-128, 128:-128])
