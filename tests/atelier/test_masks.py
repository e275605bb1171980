"""Masks as tools write them: what their values mean."""

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from atelier.errors import ImageError
from atelier.media.masks import VOID, labels_of, read_labels

RED, GREEN, WHITE, BLACK = (200, 0, 0), (0, 180, 20), (255, 255, 255), (0, 0, 0)


@pytest.fixture
def drawn():
    """int32 (120, 160): a disc of 1, a rectangle of 2, on 0."""
    labels = np.zeros((120, 160), np.int32)
    labels[20:100, 90:150] = 2
    y, x = np.mgrid[:120, :160]
    labels[np.hypot(y - 55, x - 45) < 35] = 1
    return labels


@pytest.fixture
def read(tmp_path):
    """Saves a picture and reads it as a mask."""

    def saved(image: Image.Image, suffix: str = ".png", **options) -> np.ndarray:
        image.save(tmp_path / f"mask{suffix}", **options)
        return read_labels(tmp_path / f"mask{suffix}").values

    return saved


def palette(labels: np.ndarray, *colours) -> Image.Image:
    image = Image.fromarray(labels.astype(np.uint8), "P")
    image.putpalette(sum(colours, ()))
    return image


@pytest.mark.parametrize("high", [1, 7, 255])
def test_two_values_are_an_object_on_nothing(drawn, read, high):
    found = read(Image.fromarray((high * (drawn > 0)).astype(np.uint8)))
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, drawn > 0)


@pytest.mark.parametrize("high", [1, 65535])
def test_sixteen_bits_of_two_values(drawn, read, high):
    found = read(Image.fromarray((high * (drawn > 0)).astype(np.uint16)))
    np.testing.assert_array_equal(found, drawn > 0)


def test_black_and_white_of_one_bit(drawn, read):
    np.testing.assert_array_equal(read(Image.fromarray(drawn > 0)), drawn > 0)


@pytest.mark.parametrize("values", [(1, 2), (38, 75), (254, 255), (26001, 26002)])
def test_several_values_are_several_objects(drawn, read, values):
    kind = np.uint16 if max(values) > 255 else np.uint8
    np.testing.assert_array_equal(read(Image.fromarray(np.array((0, *values), kind)[drawn])), drawn)


@pytest.mark.parametrize(
    ("values", "instances"),
    [((0, 1, 2), True), ((0, 1, 1), False), ((0, 255, 255), False), ((0, 9, 15), False)],
)
def test_numbers_from_1_are_instances(drawn, values, instances):
    assert labels_of(np.array(values)[drawn]).instances is instances


def test_small_instances_among_large_ones_count(drawn, read):
    drawn[5:7, 5:7] = 3
    np.testing.assert_array_equal(read(Image.fromarray(drawn.astype(np.uint8))), drawn)


def test_hundreds_of_instances(read):
    cells = np.zeros((300, 300), np.uint16)
    for i in range(196):
        y, x = divmod(i, 14)
        cells[21 * y + 2 : 21 * y + 18, 21 * x + 2 : 21 * x + 18] = i + 1
    np.testing.assert_array_equal(read(Image.fromarray(cells)), cells)


@pytest.mark.parametrize("quality", [50, 75, 95])
def test_jpeg_of_black_and_white(drawn, read, quality):
    image = Image.fromarray((255 * (drawn > 0)).astype(np.uint8))
    found = read(image, ".jpg", quality=quality)
    assert set(np.unique(found)) == {0, 1}
    assert (found != (drawn > 0)).mean() < 0.005


def test_jpeg_of_two_grey_objects_keeps_them_apart(drawn, read):
    found = read(Image.fromarray(np.array([0, 100, 200], np.uint8)[drawn]), ".jpg", quality=90)
    assert set(np.unique(found)) == {0, 1, 2}
    assert (found != drawn).mean() < 0.02


def test_smoothed_edges_are_cut_in_the_middle(drawn, read):
    soft = cv2.GaussianBlur((255 * (drawn > 0)).astype(np.uint8), (0, 0), 2)
    found = read(Image.fromarray(soft))
    assert set(np.unique(found)) == {0, 1}
    assert (found != (soft > 127)).mean() < 0.002


def test_a_soft_mask_without_a_plateau_is_cut_in_the_middle(read):
    y, x = np.mgrid[:100, :100]
    soft = np.clip(250 - 5 * np.hypot(y - 50, x - 50), 0, 250).astype(np.uint8)
    found = read(Image.fromarray(soft))
    assert set(np.unique(found)) == {0, 1}
    assert (found != (soft > 125)).mean() < 0.02


def test_colours_are_labels_and_black_is_background(drawn, read):
    image = np.array([BLACK, RED, GREEN], np.uint8)[drawn]
    found = read(Image.fromarray(image))
    assert set(np.unique(found)) == {0, 1, 2}
    for value in (0, 1, 2):
        assert len(np.unique(found[drawn == value])) == 1
    assert (found[drawn == 0] == 0).all()


def test_jpeg_of_colours_keeps_them_apart(drawn, read):
    image = Image.fromarray(np.array([BLACK, RED, GREEN], np.uint8)[drawn])
    found = read(image, ".jpg", quality=90, subsampling=0)
    assert set(np.unique(found)) == {0, 1, 2}


def test_without_black_the_borders_colour_is_background(drawn, read):
    image = np.array([WHITE, RED, GREEN], np.uint8)[drawn]
    found = read(Image.fromarray(image))
    np.testing.assert_array_equal(found == 0, drawn == 0)
    assert set(np.unique(found)) == {0, 1, 2}


def test_a_palettes_numbers_count_whatever_its_colours(drawn, read):
    np.testing.assert_array_equal(read(palette(drawn, RED, GREEN, WHITE)), drawn)
    np.testing.assert_array_equal(read(palette(drawn, BLACK, GREEN, RED)), drawn)


def test_black_that_is_not_first_in_a_palette_is_background(drawn, read):
    found = read(palette(1 - (drawn > 0), RED, BLACK))
    np.testing.assert_array_equal(found, drawn > 0)


def test_a_palette_of_greys_is_grey(drawn, read):
    found = read(palette(1 - (drawn > 0), WHITE, BLACK))
    np.testing.assert_array_equal(found, drawn > 0)


def test_vocs_border_is_void(drawn, read):
    edge = cv2.dilate((drawn > 0).astype(np.uint8), np.ones((5, 5))) - (drawn > 0)
    values = np.where(edge > 0, 255, np.array([0, 15, 9])[drawn])
    colours = np.zeros((256, 3), int)
    colours[[9, 15, 255]] = (128, 0, 0), (192, 128, 128), (224, 224, 192)
    expected = np.where(edge > 0, VOID, np.array([0, 2, 1])[drawn])
    np.testing.assert_array_equal(read(palette(values, *map(tuple, colours.tolist()))), expected)
    found = read(Image.fromarray(colours[values].astype(np.uint8)))
    np.testing.assert_array_equal(found == VOID, edge > 0)
    np.testing.assert_array_equal(found > 0, expected > 0)


def test_the_middle_of_a_trimap_is_void(drawn, read):
    found = read(Image.fromarray(np.array([0, 128, 255], np.uint8)[drawn]))
    np.testing.assert_array_equal(found, np.array([0, VOID, 1])[drawn])


def test_transparency_is_the_mask_where_nothing_else_differs(drawn, read):
    image = np.zeros((*drawn.shape, 4), np.uint8)
    image[..., 3] = 255 * (drawn > 0)
    np.testing.assert_array_equal(read(Image.fromarray(image)), drawn > 0)
    image[..., :3] = np.array([BLACK, RED, RED])[drawn]
    image[..., 3] = 255
    np.testing.assert_array_equal(read(Image.fromarray(image)), drawn > 0)


def test_numbers_without_0_have_the_borders_as_background(drawn):
    found = labels_of(np.array([2, 1, 3])[drawn]).values
    np.testing.assert_array_equal(found, np.array([0, 1, 2])[drawn])


def test_nothing_and_all():
    assert not labels_of(np.zeros((9, 9), np.uint8)).values.any()
    assert not labels_of(np.zeros((9, 9, 3), np.uint8)).values.any()


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_turned_mask_is_read_upright(drawn, tmp_path, turn):
    exif = Image.Exif()
    exif[0x0112] = turn
    image = Image.fromarray((255 * (drawn > 0)).astype(np.uint8))
    image.save(tmp_path / "m.png", exif=exif)
    with Image.open(tmp_path / "m.png") as saved:
        expected = np.asarray(ImageOps.exif_transpose(saved)) > 0
    np.testing.assert_array_equal(read_labels(tmp_path / "m.png").values, expected)


def test_a_photo_is_no_hang(read):
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3), np.uint8)
    assert read(Image.fromarray(noise)).shape == (400, 400)


def test_what_cannot_be_read_is_one_line(tmp_path, monkeypatch):
    with pytest.raises(ImageError, match=r"none\.png: no such file$"):
        read_labels(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ImageError, match="not a picture in a format that can be read"):
        read_labels(tmp_path / "text.png")
    noise = np.random.default_rng(0).integers(0, 256, (9, 9), np.uint8)
    Image.fromarray(noise).save(tmp_path / "m.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "m.png").read_bytes()[:80])
    with pytest.raises(ImageError, match="the mask cannot be read"):
        read_labels(tmp_path / "cut.png")
    monkeypatch.setattr("atelier.media.masks.MAX_PIXELS", 80)
    with pytest.raises(ImageError, match=r"m\.png: 9×9, more than 80 pixels"):
        read_labels(tmp_path / "m.png")
