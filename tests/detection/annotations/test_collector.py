"""What all readers do with boxes and pictures: mend and say it once, or leave out and name it."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from atelier.errors import DataError
from detection.annotations import Note, join
from detection.annotations.collector import Collector, Found, checked_box, from_voc
from detection.annotations.sizes import Frame

FRAME = Frame((40, 60))


def collect(*pictures, strict=False, exif=None):
    """A data set of pictures (frame, boxes, stated size)."""
    collector = Collector("set", ("cat",), strict, exif)
    for number, (frame, boxes, stated) in enumerate(pictures):
        founds = [Found(f"object {place}", "cat", box) for place, box in enumerate(boxes, 1)]
        with collector.guard(f"{number}.xml"):
            collector.add(f"{number}.xml", f"{number}.jpg", Path("x.jpg"), frame, founds, stated)
    return collector.dataset()


def said(dataset) -> list[str]:
    assert dataset.faults == ()
    return [str(note) for note in dataset.notes]


def test_boxes_beyond_the_edge_are_clipped_and_said_once():
    found = collect(
        (FRAME, [(-4, 5, 30, 20), (10, 5, 62, 41)], None), (FRAME, [(0, 0, 60, 40)], None),
        (FRAME, [(0, 0, 60.01, 40)], None), strict=True,
    )  # fmt: skip
    np.testing.assert_array_equal(found.items[0].boxes, [[0, 5, 30, 20], [10, 5, 60, 40]])
    np.testing.assert_array_equal(found.items[2].boxes, [[0, 0, 60, 40]])
    assert said(found) == [
        "set: 2 boxes reached beyond the picture by up to 4 px: clipped (the first 0.xml: object 1)"
    ]


def test_corners_are_put_in_order_and_it_is_said():
    found = collect((FRAME, [(30, 20, 10, 5)], None), strict=True)
    np.testing.assert_array_equal(found.items[0].boxes, [[10, 5, 30, 20]])
    assert said(found) == [
        "set: 1 box had corners in the wrong order: put in order (0.xml: object 1)"
    ]


@pytest.mark.parametrize(
    ("lost", "reason"),
    [
        ((5, 5, 5, 9), "object 2: the box 5 5 5 9 has no area"),
        ((5, 5, 5.0001, 9), "object 2: the box 5 5 5.0001 9 has no area"),
        ((70, 5, 80, 9), "object 2: nothing of the box 70 5 80 9 is in the picture of 60×40"),
        ((5, 5, float("nan"), 9), "object 2: coordinates 5 5 nan 9 are no numbers"),
    ],
)
def test_an_object_with_a_box_that_cannot_be_had_leaves_its_picture_out(lost, reason):
    whole = (FRAME, [(1, 2, 3, 4)], None)
    found = collect((FRAME, [(1, 2, 3, 4), lost], None), whole)
    assert [item.name for item in found.items] == ["1.jpg"]
    assert [str(fault) for fault in found.faults] == [f"0.xml: {reason}; its picture is left out"]
    with pytest.raises(DataError, match=r"^set: 0.xml: object 2: "):
        collect((FRAME, [(1, 2, 3, 4), lost], None), whole, strict=True)


def test_a_size_wrong_by_a_factor_or_a_pixel_scales_the_boxes():
    found = collect(
        (FRAME, [(20, 10, 60, 40)], (80, 120)), (FRAME, [(0, 0, 61, 40)], (40, 61)), strict=True
    )
    np.testing.assert_allclose(found.items[0].boxes, [[10, 5, 30, 20]])
    np.testing.assert_allclose(found.items[1].boxes, [[0, 0, 60, 40]])
    assert said(found) == [
        "set: 2 pictures of another size than the annotations say, by a pixel or a common factor: "
        "boxes scaled (the first 0.xml)"
    ]


def test_boxes_that_fit_the_picture_and_not_the_stated_size_are_not_scaled():
    found = collect((FRAME, [(10, 5, 50, 30)], (20, 30)), strict=True)
    np.testing.assert_array_equal(found.items[0].boxes, [[10, 5, 50, 30]])
    assert "taken as they are (0.xml)" in said(found)[0]


def test_exchanged_sides_cost_no_picture_where_the_boxes_fit():
    found = collect((FRAME, [(10, 5, 50, 30)], (60, 40)), strict=True)
    np.testing.assert_array_equal(found.items[0].boxes, [[10, 5, 50, 30]])
    assert "width and height exchanged in the annotations" in said(found)[0]


@pytest.mark.parametrize("stated", [(40, 60), (60, 40), None])
def test_turned_pictures_are_read_as_the_whole_set_says(stated):
    """Whether the sides are stated as stored, as shown, or not at all settles nothing."""
    turned, boxes = Frame((40, 60), 6), [(20, 5, 50, 12)]  # Only inside the picture as stored.
    upright = (FRAME, [(0, 0, 60, 40)], None)
    found = collect((turned, boxes, stated), upright, (turned, [(0, 0, 8, 9)], stated), strict=True)
    assert [item.size for item in found.items] == [(60, 40), (40, 60), (60, 40)]
    np.testing.assert_array_equal(found.items[0].boxes, [[28, 20, 35, 50]])
    np.testing.assert_array_equal(found.items[2].boxes, [[31, 0, 40, 8]])
    assert said(found) == [
        "set: the boxes on 2 pictures turned by EXIF are taken to be of the pictures as stored "
        "(found out from all of them; --exif shown overrules)"
    ]
    (item,) = collect((turned, [(0, 0, 8, 9)], stated), strict=True).items
    np.testing.assert_array_equal(item.boxes, [[0, 0, 8, 9]])


def test_the_reading_of_turned_pictures_can_be_said():
    turned = Frame((40, 60), 6)
    for exif, box in (("shown", [0, 0, 8, 9]), ("stored", [31, 0, 40, 8])):
        found = collect((turned, [(0, 0, 8, 9)], None), exif=exif)
        np.testing.assert_array_equal(found.items[0].boxes, [box])
        assert f"as {exif} (as --exif says)" in said(found)[0]


def test_a_turned_picture_with_a_scaled_size_is_scaled_then_turned():
    (item,) = collect((Frame((40, 60), 6), [(40, 10, 100, 24)], (80, 120))).items
    np.testing.assert_allclose(item.boxes, [[28, 20, 35, 50]])


def test_what_is_said_alike_of_joined_sets_is_said_once():
    one, other = (
        dataclasses.replace(collect((FRAME, [(0, 0, 62, 4)], None)), name=n) for n in "ab"
    )
    other = dataclasses.replace(other, notes=(Note("b", one.notes[0].text), Note("b", "more")))
    other = dataclasses.replace(other, items=())
    assert [str(note) for note in join([one, other]).notes] == [
        f"set, b: {one.notes[0].text}", "b: more",
    ]  # fmt: skip


def test_a_box_is_clipped_in_order():
    assert checked_box((62, 30, -1, 5), (40, 60)) == ((0, 5, 60, 30), 2)


def test_pascals_corners_count_from_1_and_others_from_0():
    assert from_voc((11, 6, 30, 20)) == from_voc((11, 6, 30, 20), 1) == (10, 5, 30, 20)
    assert from_voc((11, 6, 30, 20), 0) == (11, 6, 30, 20)
    assert sorted(from_voc((30, 20, 11, 6), 1)) == [5, 10, 20, 30]
