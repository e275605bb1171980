"""Contact sheets."""

import weakref

import numpy as np
import pytest

from atelier.errors import OutputError
from atelier.media.images import load_image
from atelier.media.sheets import contact_sheet

COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255)]


def flat(colour, shape=(40, 40)) -> np.ndarray:
    return np.full((*shape, 3), colour, np.uint8)


def places(sheet: np.ndarray, colour) -> tuple[int, int, int, int]:
    """Where a colour is: top, left, bottom, right."""
    y, x = np.nonzero((sheet == colour).all(axis=-1))
    return y.min(), x.min(), y.max() + 1, x.max() + 1


def sheet_of(path, images, labels=None, **options) -> np.ndarray:
    labels = labels or ["x"] * len(images)
    contact_sheet(images, labels, path / "sheet.png", side=40, **options)
    return load_image(path / "sheet.png")


@pytest.mark.parametrize(("pictures", "labels"), [(0, 0), (0, 1), (2, 1)])
def test_no_pictures_make_no_sheet(tmp_path, pictures, labels):
    with pytest.raises(ValueError, match=f"{pictures} pictures and {labels} labels make no sheet"):
        contact_sheet([flat(COLOURS[0])] * pictures, ["x"] * labels, tmp_path / "sheet.png")
    assert not (tmp_path / "sheet.png").exists()


def test_pictures_are_taken_one_after_another(tmp_path):
    alive = []

    def pictures():
        for colour in COLOURS:
            image = flat(colour)
            alive.append(weakref.ref(image))
            assert sum(ref() is not None for ref in alive) <= 2
            yield image
            del image

    contact_sheet(pictures(), ["x"] * 5, tmp_path / "sheet.png", side=20)


def test_pictures_stand_in_rows_in_their_order(tmp_path):
    sheet = sheet_of(tmp_path, [flat(c) for c in COLOURS])
    corners = [places(sheet, c)[:2] for c in COLOURS]
    tops, lefts = sorted({y for y, _ in corners}), sorted({x for _, x in corners})
    assert corners == [(tops[i // 3], lefts[i % 3]) for i in range(5)]  # 5 of a 3×2 grid.
    assert sheet.shape[1] == 3 * (40 + 12) + 12


def test_columns_can_be_chosen_and_are_no_more_than_pictures(tmp_path):
    for columns, expected in ((1, 1), (2, 2), (9, 3)):
        sheet = sheet_of(tmp_path, [flat(c) for c in COLOURS[:3]], columns=columns)
        assert sheet.shape[1] == expected * (40 + 12) + 12


def test_one_picture_is_shown_whole(tmp_path):
    sheet = sheet_of(tmp_path, [flat(COLOURS[0])])
    assert places(sheet, COLOURS[0]) == (12, 12, 52, 52)


def test_aspect_is_kept_and_pictures_do_not_overlap(tmp_path):
    wide, tall, dot = (
        flat(COLOURS[0], (10, 80)),
        flat(COLOURS[1], (80, 20)),
        flat(COLOURS[2], (1, 1)),
    )
    sheet = sheet_of(tmp_path, [wide, tall, dot], columns=3)
    sizes = []
    for colour in COLOURS[:3]:
        top, left, bottom, right = places(sheet, colour)
        assert (sheet[top:bottom, left:right] == colour).all()
        sizes.append((bottom - top, right - left))
    assert sizes == [(5, 40), (40, 10), (40, 40)]


def test_labels_are_written_below_their_pictures_and_wrapped(tmp_path):
    blank = sheet_of(tmp_path, [flat(COLOURS[0])], [""])
    short = sheet_of(tmp_path, [flat(COLOURS[0])], ["ab"])
    long = sheet_of(tmp_path, [flat(COLOURS[0])], ["ab cde fgh ijk"])
    assert (blank[52:] == 255).all()
    assert (short[52:] != 255).any()
    assert short.shape[0] == blank.shape[0] + 19
    assert long.shape[0] == blank.shape[0] + 19 * 4  # Five letters a line.


def test_new_lines_of_labels_are_kept(tmp_path):
    one = sheet_of(tmp_path, [flat(COLOURS[0])], ["ab"])
    two = sheet_of(tmp_path, [flat(COLOURS[0])], ["ab\ncd"])
    assert two.shape[0] == one.shape[0] + 19
    # The first line is the same; the second stands below it.
    below = 52 + 4 + 19
    np.testing.assert_array_equal(two[:below], one[:below])
    assert (two[below:] != 255).any()
    both = sheet_of(tmp_path, [flat(COLOURS[0])], ["ab\ncde fghi"])
    assert both.shape[0] == one.shape[0] + 2 * 19, "the second line is wrapped on its own"
    assert sheet_of(tmp_path, [flat(COLOURS[0])], ["ab cd"]).shape == one.shape


def test_each_row_is_as_high_as_its_own_highest_picture(tmp_path):
    """Two rows: wide pictures, and a wide beside a square; all stand on their row's line."""
    wide = (10, 40)
    shapes = [wide, wide, wide, (40, 40)]
    images = [flat(c, shape) for c, shape in zip(COLOURS, shapes, strict=False)]
    sheet = sheet_of(tmp_path, images, columns=2)
    margin, caption = 12, 19 + 6
    assert sheet.shape[0] == margin + (10 + caption + margin) + (40 + caption + margin)
    first, second, third, fourth = (places(sheet, c) for c in COLOURS[:4])
    assert (first[0], first[2]) == (second[0], second[2]) == (12, 22)
    top = 22 + caption + margin
    assert (fourth[0], fourth[2]) == (top, top + 40)
    assert (third[0], third[2]) == (top + 30, top + 40)


def test_caption_of_a_high_row_does_not_run_into_the_next(tmp_path):
    images = [flat(COLOURS[0], (40, 10)), flat(COLOURS[1], (10, 40))]
    sheet = sheet_of(tmp_path, images, ["a\nb\nc", "x"], columns=1)
    upper, lower = (places(sheet, c) for c in COLOURS[:2])
    assert lower[0] == upper[2] + 3 * 19 + 6 + 12
    assert (sheet[upper[2] : lower[0]] != 255).any()


def test_grey_pictures_are_shown(tmp_path):
    sheet = sheet_of(tmp_path, [np.full((8, 8), 77, np.uint8)])
    assert (sheet == 77).all(axis=-1).sum() == 40 * 40


def test_labels_must_match_pictures(tmp_path):
    with pytest.raises(ValueError):
        sheet_of(tmp_path, [flat(c) for c in COLOURS[:2]], ["one"])


def test_a_place_that_cannot_be_written_is_an_output_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        sheet_of(tmp_path / "file", [flat(COLOURS[0])])
