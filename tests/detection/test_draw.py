"""Drawn detections: colours, lines, plates that stay inside and apart, by pixel."""

import itertools

import numpy as np
import pytest

from atelier.media.images import resize
from detection import draw as module
from detection.detections import Detections
from detection.draw import PALETTE, colors_of, crops, draw, pixel_boxes

FIRST = PALETTE[0]


def detections(boxes, labels=None, scores=None) -> Detections:
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    scores = np.linspace(0.99, 0.5, len(boxes)) if scores is None else scores
    labels = tuple(labels or ["thing"] * len(boxes))
    return Detections(boxes, np.asarray(scores, np.float32), labels)


def plates(found, size) -> list:
    return module._plates(found, pixel_boxes(found.boxes, size), size)


def is_color(image, color) -> np.ndarray:
    return (image == np.uint8(color)).all(axis=-1)


@pytest.fixture
def grey():
    return np.full((240, 320, 3), 120, np.uint8)


# === Boxes ===


def test_lines_are_on_the_box_and_nothing_else_changes(grey):
    found = detections([(50, 60, 250, 200)])
    drawn = draw(grey, found, classes=["thing"])
    assert drawn.shape == grey.shape
    assert drawn.dtype == np.uint8
    line = is_color(drawn, FIRST)
    # The line is 3 pixels wide: 2, and one for each 400 of a side of 277.
    assert line[60:63, 50:250].all()
    assert line[197:200, 50:250].all()
    assert line[60:200, 50:53].all()
    assert line[60:200, 247:250].all()
    changed = (drawn != grey).any(axis=-1)
    (plate,) = plates(found, grey.shape)
    x1, y1, x2, y2 = plate.box
    changed[y1:y2, x1:x2] = False
    assert not changed[:60].any()
    assert not changed[200:].any()
    assert not changed[:, :50].any()
    assert not changed[:, 250:].any()
    np.testing.assert_array_equal(drawn[63, 53:247], np.full((194, 3), 60), "a shade inside")
    assert not changed[64:196, 54:246].any()


def test_the_picture_that_is_given_stays(grey):
    before = grey.copy()
    drawn = draw(grey, detections([]))
    np.testing.assert_array_equal(drawn, before)
    drawn[:] = 0
    draw(grey, detections([(5, 5, 90, 90)]))[:] = 0
    np.testing.assert_array_equal(grey, before)


def test_small_boxes_are_drawn_over_large_ones(grey):
    boxes = [(100, 100, 112, 112), (20, 105, 300, 230)]
    for order in ((0, 1), (1, 0)):
        found = detections([boxes[i] for i in order], [("small", "large")[i] for i in order])
        drawn = draw(grey, found, classes=["small", "large"])
        assert is_color(drawn[100:112, 100:112], FIRST)[0].all()
        assert is_color(drawn[100:112, 100:112], FIRST)[:, 0].all()


def test_lines_grow_with_the_picture_and_shrink_with_the_box():
    widths = []
    for side in (200, 1000, 3400):
        image = np.zeros((side, side, 3), np.uint8)
        drawn = draw(image, detections([(side // 4, side // 4, side * 0.9, side * 0.9)]))
        row = (drawn[side // 2, : side // 2] != 0).any(axis=-1)
        widths.append(int(row.sum()))
    assert widths == [2, 4, 10]
    tiny = draw(np.zeros((3400, 3400, 3), np.uint8), detections([(1000, 1000, 1010, 1010)]))
    assert not tiny[1001:1009, 1001:1009].any(), "what is in the box is seen"


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (7, 9), (16, 4000)])
def test_any_size(size):
    image = np.zeros((*size, 3), np.uint8)
    height, width = size
    boxes = [(0, 0, width, height), (width / 2, height / 2, width, height), (0, 0, 0.2, 0.2)]
    drawn = draw(image, detections(boxes))
    assert drawn.shape == image.shape
    assert drawn.any()


def test_pixel_boxes_by_hand():
    boxes = np.float32([(1.4, 2.6, 5.5, 7.4), (9.7, 0, 9.9, 0.2), (-3, -1, 30, 40)])
    np.testing.assert_array_equal(
        pixel_boxes(boxes, (8, 10)), [(1, 3, 6, 7), (9, 0, 10, 1), (0, 0, 10, 8)]
    )
    np.testing.assert_array_equal(
        pixel_boxes(boxes, (8, 10), whole=True), [(1, 2, 6, 8), (9, 0, 10, 1), (0, 0, 10, 8)]
    )


def test_crops_hold_all_pixels_that_a_box_touches():
    image = np.arange(8 * 10 * 3, dtype=np.uint8).reshape(8, 10, 3)
    first, second = crops(image, detections([(1.4, 2.6, 5.5, 7.4), (9.7, 0, 9.9, 0.2)]))
    np.testing.assert_array_equal(first, image[2:8, 1:6])
    np.testing.assert_array_equal(second, image[:1, 9:])
    assert crops(image, detections([])) == []


# === Colours ===


def test_colors_are_those_of_the_places_among_the_classes():
    classes = [f"class {number}" for number in range(12)]
    found = colors_of(["class 3", "class 11", "class 1", "class 3"], classes)
    assert found == {"class 3": PALETTE[3], "class 11": PALETTE[1], "class 1": PALETTE[1]}


def test_colors_by_name_are_stable_and_differ_on_a_picture():
    names = ["person", "dog", "RBC", "WBC", "Platelets", "кот", "\udcff", "=1", "", "x"]
    found = colors_of(names)
    assert sorted(found.values()) == sorted(PALETTE), "ten names, ten colours"
    assert colors_of(names[::-1]) == found
    # By CRC-32, which is the same in each process.
    assert colors_of(["person"]) == {"person": PALETTE[886886774 % 10]}
    assert len(colors_of([*names, "more", "than", "ten"])) == 13


def test_colors_are_told_apart():
    for one, other in itertools.combinations(PALETTE, 2):
        assert np.abs(np.subtract(one, other)).sum() > 60


@pytest.mark.parametrize("color", PALETTE)
def test_letters_are_legible_on_each_color(grey, color, monkeypatch):
    monkeypatch.setattr(module, "PALETTE", (color,))
    found = detections([(50, 60, 250, 200)])
    (plate,) = plates(found, grey.shape)
    x1, y1, x2, y2 = plate.box
    part = draw(grey, found)[y1:y2, x1:x2].reshape(-1, 3)
    ink = max(part.tolist(), key=lambda level: module._contrast(tuple(level), color))
    assert module._contrast(tuple(ink), color) > 4.5, "WCAG 2.1, AA"
    assert 0.08 < (part != color).any(axis=-1).mean() < 0.5


def test_contrasts_of_wcag():
    assert module._contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert module._contrast((119, 119, 119), (255, 255, 255)) == pytest.approx(4.48, abs=0.01)


# === Plates ===


def test_a_plate_says_class_and_score_above_its_box():
    (plate,) = plates(detections([(50, 60, 250, 200)], ["cat"], [0.876]), (240, 320))
    assert plate.text == "cat 88%"
    assert (plate.box[0], plate.box[3]) == (50, 60)


@pytest.mark.parametrize("size", [(200, 200), (480, 640), (3000, 4000)])
def test_letters_grow_with_the_picture(size):
    height, width = size
    box = (width * 0.3, height * 0.3, width * 0.9, height * 0.9)
    (plate,) = plates(detections([box]), size)
    letters = plate.box[3] - plate.box[1]
    assert letters == {200: 15, 480: 19, 3000: 70}[height]


@pytest.mark.parametrize(
    "box",
    [
        *((0, 0, 40, 30), (280, 0, 320, 30), (0, 210, 40, 240), (280, 210, 320, 240)),
        *((0, 0, 320, 240), (150, 0, 170, 240), (0, 110, 320, 130), (319, 239, 320, 240)),
    ],
)
def test_plates_stay_inside_and_touch_their_box(box):
    (plate,) = plates(detections([box]), (240, 320))
    x1, y1, x2, y2 = plate.box
    assert 0 <= x1 < x2 <= 320
    assert 0 <= y1 < y2 <= 240
    assert x1 <= box[2]
    assert x2 >= box[0]
    assert y1 <= box[3]
    assert y2 >= box[1]


def test_plates_make_way_for_each_other():
    """Five nearly the same boxes."""
    boxes = [(100 + n, 100 + n, 240 - n, 200 - n) for n in range(5)]
    found = plates(detections(boxes), (480, 640))
    assert [plate.text for plate in found] == [f"thing {s}%" for s in (99, 87, 75, 62, 50)]
    for one, other in itertools.combinations([plate.box for plate in found], 2):
        apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
        assert apart, (one, other)


def test_a_plate_prefers_not_to_hide_a_small_object():
    """Another object stands just where the plate would be."""
    found = detections([(100, 100, 200, 200), (110, 82, 130, 98)], ["large", "small"])
    large = plates(found, (240, 320))[0].box
    common = module._intersections(np.array([large]), np.array([(110, 82, 130, 98)]))
    assert common.tolist() == [[0]]


def grid(columns, rows, side, pitch):
    return [
        (x * pitch + 4, y * pitch + 4, x * pitch + 4 + side, y * pitch + 4 + side)
        for y in range(rows)
        for x in range(columns)
    ]


def test_many_small_objects_have_smaller_plates_without_scores():
    few = plates(detections(grid(3, 2, 30, 150)), (480, 640))
    many = plates(detections(grid(10, 8, 18, 60)), (480, 640))
    assert len(many) == 80
    assert {plate.text for plate in many} == {"thing"}
    height = {plate.box[3] - plate.box[1] for plate in many}.pop()
    assert height < few[0].box[3] - few[0].box[1]


def test_a_crowd_has_a_legend_instead():
    """Where each plate would be as large as an object."""
    boxes = grid(26, 20, 20, 24)
    labels = ["bee" if number % 4 else "ant" for number in range(len(boxes))]
    found = detections(boxes, labels)
    texts = [(plate.label, plate.text) for plate in plates(found, (480, 640))]
    assert texts == [("bee", "390 bee"), ("ant", "130 ant")]
    first, second = (plate.box for plate in plates(found, (480, 640)))
    assert (first[3], first[0], first[2]) == (second[1], second[0], second[2])
    draw(np.zeros((480, 640, 3), np.uint8), found)


def test_long_and_odd_names_are_one_line():
    names = ["n" * 500, "two\nlines", "\x1b[31mred", "猫", ""]
    boxes = [(20, 60 + 180 * n, 120, 160 + 180 * n) for n in range(len(names))]
    found = detections(boxes, names)
    texts = [plate.text for plate in plates(found, (1000, 1000))]
    assert texts[0].startswith("n" * 31 + "… ")
    assert texts[1].startswith("two?lines ")
    assert texts[2].startswith("?[31mred ")
    draw(np.zeros((1000, 1000, 3), np.uint8), found)


def test_a_photo_is_still_seen(photo):
    image = resize(photo, (400, 400))
    found = detections([(30, 10, 370, 390), (140, 20, 250, 160)], ["person", "face"])
    assert (draw(image, found) != image).any(axis=-1).mean() < 0.1
