"""Precision and recall, the confusion matrix by hand, and what is drawn of them."""

import math

import numpy as np
import pytest
from matplotlib import pyplot

from atelier.errors import DataError
from detection.annotations import Annotated, Dataset
from detection.detections import Detections
from detection.measures.curves import (
    MOST_CLASSES,
    Curve,
    confusion,
    draw_confusion,
    draw_curves,
    precision_recall,
)

CLASSES = ("cat", "dog")
BOX, ELSEWHERE, NEAR = (10, 10, 60, 60), (200, 200, 250, 250), (10, 10, 60, 50)
PANEL, DARKEST = (220, 233, 243), (8, 48, 107)  # Under a curve; of a matrix' part of 1.


def picture(boxes=(), labels=(), crowd=(), difficult=()) -> Annotated:
    """`crowd` and `difficult` name places of boxes."""
    places = np.arange(len(boxes))
    return Annotated(
        name="a.jpg",
        image=b"",
        size=(400, 400),
        boxes=np.asarray(boxes, np.float32).reshape(-1, 4),
        labels=np.asarray(labels, np.int64),
        crowd=np.isin(places, crowd),
        difficult=np.isin(places, difficult),
    )


def found(*triples) -> Detections:
    """Of boxes, scores and labels."""
    boxes, scores, labels = zip(*triples, strict=True) if triples else ((), (), ())
    return Detections(
        boxes=np.asarray(boxes, np.float32).reshape(-1, 4),
        scores=np.asarray(scores, np.float32),
        labels=labels,
    )


def matrix_of(item: Annotated, *triples, **options) -> list[list[int]]:
    return confusion(Dataset("pets", CLASSES, (item,)), [found(*triples)], **options).tolist()


def curve(objects: int, hits: str, scores=None) -> Curve:
    """Of a line such as "+-+"."""
    scores = np.linspace(0.9, 0.1, len(hits)) if scores is None else np.array(scores)
    return Curve("cat", objects, scores, np.array([hit == "+" for hit in hits], bool))


def share(image: np.ndarray, colour: tuple[int, int, int]) -> float:
    """The part of a picture that has nearly one colour."""
    return float((np.abs(image.astype(int) - colour) < 6).all(axis=-1).mean())


# === Curves ===


def test_precision_and_recall_by_hand():
    given = curve(4, "+-++-")
    np.testing.assert_allclose(given.precision, [1, 1 / 2, 2 / 3, 3 / 4, 3 / 5])
    np.testing.assert_allclose(given.recall, [1 / 4, 1 / 4, 1 / 2, 3 / 4, 3 / 4])
    np.testing.assert_allclose(given.envelope, [1, 3 / 4, 3 / 4, 3 / 4, 3 / 5])


def test_curves_are_sorted_over_all_pictures():
    pictures = (picture([BOX], [0]), picture([BOX, ELSEWHERE], [0, 1]))
    cat, dog = precision_recall(
        Dataset("pets", CLASSES, pictures),
        [
            found((BOX, 0.5, "cat"), (BOX, 0.25, "dog")),
            found((ELSEWHERE, 0.75, "cat"), (BOX, 0.125, "cat")),
        ],
    )
    assert cat.label == "cat"
    assert cat.objects == 2
    assert cat.scores.tolist() == [0.75, 0.5, 0.125]
    assert cat.hits.tolist() == [False, True, True]
    assert dog.objects == 1
    assert dog.hits.tolist() == [False]


def test_the_iou_can_be_chosen():
    """That of NEAR and BOX is 0.8."""
    dataset = Dataset("pets", CLASSES, (picture([BOX], [0]),))
    for iou, hit in ((0.8, True), (0.81, False)):
        (cat, _) = precision_recall(dataset, [found((NEAR, 0.5, "cat"))], iou)
        assert cat.hits.tolist() == [hit]


def test_eleven_points_reach_recalls_exactly():
    """Recall 3/10 is as much as 0.3, which floats of 3 × 0.1 deny."""
    for reached in range(11):
        assert curve(10, "+" * reached).voc2007_ap == pytest.approx(
            (reached + 1) / 11 if reached else 0
        )


def test_best_threshold_takes_all_of_a_score():
    assert curve(2, "++--").best == pytest.approx((1, 0.9 - 0.8 / 3))
    # Of three at 0.5, the first alone cannot be had.
    assert curve(1, "+---", [0.5, 0.5, 0.5, 0.1]).best == (2 * 1 / (1 + 3), 0.5)
    assert curve(1, "--", [0.5, 0.25]).best[0] == 0


def test_curve_without_objects_or_detections():
    without = curve(0, "--")
    assert all(map(math.isnan, (without.voc2007_ap, without.voc2010_ap, *without.best)))
    assert np.isnan(without.recall).all()
    empty = curve(3, "")
    assert (empty.voc2007_ap, empty.voc2010_ap, empty.best[0]) == (0, 0, 0)
    assert math.isnan(empty.best[1])


# === Confusion ===


def test_confusion_by_hand():
    """A cat found twice, a cat taken for a dog, a dog missed, a false alarm."""
    other, missed, nowhere = (100, 0, 150, 50), (0, 300, 50, 350), (300, 300, 350, 350)
    got = matrix_of(
        picture([BOX, other, missed], [0, 0, 1]),
        (BOX, 0.9, "cat"),
        (NEAR, 0.8, "cat"),
        (other, 0.7, "dog"),
        (nowhere, 0.6, "dog"),
        (missed, 0.4, "dog"),
    )
    assert got == [[1, 1, 0], [0, 0, 1], [1, 1, 0]]


def test_confusion_by_score():
    item = picture([BOX], [0])
    at = {score: matrix_of(item, (BOX, 0.9, "cat"), score=score) for score in (0.9, 0.91)}
    assert at[0.9] == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert at[0.91] == [[0, 0, 1], [0, 0, 0], [0, 0, 0]]


def test_the_right_class_comes_first():
    """The dog is no mistake for the cat that is found, though more probable and nearer."""
    got = matrix_of(picture([BOX], [0]), (BOX, 0.9, "dog"), (NEAR, 0.6, "cat"))
    assert got == [[1, 0, 0], [0, 0, 0], [0, 1, 0]]


def test_a_cat_found_twice_is_no_dog():
    """The second detection overlaps a dog too, which nobody found."""
    got = matrix_of(picture([BOX, (10, 10, 60, 55)], [0, 1]), (BOX, 0.9, "cat"), (BOX, 0.8, "cat"))
    assert got == [[1, 0, 0], [0, 0, 1], [1, 0, 0]]


def test_one_object_is_one_mistake():
    got = matrix_of(picture([BOX], [0]), (BOX, 0.9, "dog"), (ELSEWHERE, 0.8, "dog"))
    assert got == [[0, 1, 0], [0, 0, 0], [0, 1, 0]]
    got = matrix_of(picture([BOX, NEAR], [0, 0]), (BOX, 0.9, "dog"), (BOX, 0.8, "dog"))
    assert got == [[0, 2, 0], [0, 0, 0], [0, 0, 0]]


def test_difficult_and_crowds_are_no_part_of_it():
    item = picture([BOX, ELSEWHERE], [0, 0], difficult=[0], crowd=[1])
    inside = (210, 210, 220, 220)
    assert np.sum(matrix_of(item, (BOX, 0.9, "cat"), (inside, 0.8, "cat"))) == 0
    got = matrix_of(item, (BOX, 0.9, "dog"), (inside, 0.8, "dog"))
    assert got == [[0, 0, 0], [0, 0, 0], [0, 2, 0]]


def test_nothing_and_nothing_found():
    assert np.sum(matrix_of(picture())) == 0
    assert matrix_of(picture(), (BOX, 0.9, "dog"), (BOX, 0.8, "zebra"))[2] == [0, 1, 0]
    assert matrix_of(picture([BOX], [1]))[1] == [0, 0, 1]
    with pytest.raises(DataError, match="not a finite number"):
        matrix_of(picture(), (BOX, math.nan, "dog"))


def test_confusion_agrees_with_the_curves(rng):
    items, detections = [], []
    for _ in range(20):
        corners = rng.uniform(0, 100, (8, 2))
        boxes = np.concatenate([corners, corners + rng.uniform(20, 80, (8, 2))], axis=1)
        labels = rng.integers(0, 2, 8)
        flags = {"difficult": np.flatnonzero(rng.random(8) < 0.2), "crowd": [0]}
        items.append(picture(boxes, labels, **flags))
        near = np.tile(boxes, (2, 1)) + rng.normal(0, 8, (16, 4))
        names = [CLASSES[i] for i in rng.integers(0, 2, 16)]
        detections.append(found(*zip(near, rng.random(16), names, strict=True)))
    dataset = Dataset("pets", CLASSES, tuple(items))
    for score in (0.0, 0.3, 0.8):
        matrix = confusion(dataset, detections, score)
        assert matrix[0, 1] > 0
        for place, each in enumerate(precision_recall(dataset, detections)):
            hits = each.hits[each.scores >= score]
            assert matrix[place, place] == hits.sum()
            assert matrix[:, place].sum() == len(hits)
            assert matrix[place].sum() == each.objects


# === Drawings ===


def test_the_area_under_a_curve_is_drawn():
    full, half = draw_curves([curve(4, "++++")]), draw_curves([curve(4, "++")])
    assert full.dtype == np.uint8
    assert full.shape == half.shape == (490, 490, 3)
    assert share(full, PANEL) > 0.6
    assert share(half, PANEL) == pytest.approx(share(full, PANEL) / 2, rel=0.05)
    assert share(draw_curves([curve(4, "")]), PANEL) == 0


def test_classes_without_objects_have_no_panel():
    shown = [curve(4, "++++"), curve(0, "--")]
    np.testing.assert_array_equal(draw_curves(shown), draw_curves(shown[:1]))
    assert (draw_curves([curve(0, "")]) < 128).any()  # It says so.


def test_perfect_matrix_is_dark_on_its_diagonal():
    image = draw_confusion(np.diag([5, 3, 0]), CLASSES)
    assert image.dtype == np.uint8
    assert image.shape[2] == 3
    dark = share(image, DARKEST)
    assert dark > 0.05
    swapped = draw_confusion(np.diag([5, 3, 0])[[1, 0, 2]], CLASSES)
    assert share(swapped, DARKEST) == pytest.approx(dark, rel=0.05)
    assert not np.array_equal(image, swapped)
    assert share(draw_confusion(np.int64([[4, 0, 1], [0, 3, 2], [2, 2, 0]]), CLASSES), DARKEST) < (
        dark / 10
    )


def test_classes_without_entries_are_left_out_of_the_matrix():
    matrix = np.zeros((4, 4), np.int64)
    matrix[0, 0] = matrix[2, 2] = 3
    got = draw_confusion(matrix, ("cat", "cow", "dog"))
    np.testing.assert_array_equal(got, draw_confusion(np.diag([3, 3, 0]), CLASSES))
    assert draw_confusion(np.zeros((3, 3), np.int64), CLASSES).size  # The background alone.


def test_many_classes_and_anybodys_names():
    names = ["$x", "猫", "a\nb", "long " * 30, *map(str, range(MOST_CLASSES + 20))]
    counts = np.arange(1, len(names) + 1)
    matrix = np.diag([*counts, 0]) + np.eye(len(names) + 1, k=-1, dtype=int)
    assert max(draw_confusion(matrix, names).shape) < 2500
    few = names[:5]
    assert max(draw_confusion(matrix[:6, :6] * 123_456_789, few).shape) < 1200
    curves = [Curve(name, 2, np.array([0.5]), np.array([True])) for name in few]
    assert max(draw_curves(curves).shape) < 1200


def test_drawings_are_not_kept():
    """pyplot would keep its figures for ever."""
    draw_curves([curve(4, "+-")])
    draw_confusion(np.diag([5, 3, 0]), CLASSES)
    assert pyplot.get_fignums() == []
