"""COCO's and VOC's numbers by hand, and against pycocotools' own way through files."""

import json
import math

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from atelier.errors import DataError
from detection.annotations import Annotated, Dataset
from detection.detections import Detections
from detection.measures.metrics import evaluate, table

BOX, ELSEWHERE = (10, 10, 60, 60), (200, 200, 250, 250)
NUMBERS = (
    *("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"),
    *("ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large"),
)
"""In the order of pycocotools' summary."""


def picture(boxes=(), labels=None, crowd=(), difficult=()) -> Annotated:
    """Boxes of class 0, unless said; `crowd` and `difficult` name their places."""
    count = len(boxes)
    return Annotated(
        name="a.jpg",
        image=b"",
        size=(400, 400),
        boxes=np.asarray(boxes, np.float32).reshape(-1, 4),
        labels=np.asarray(labels if labels is not None else [0] * count, np.int64),
        crowd=np.isin(np.arange(count), crowd),
        difficult=np.isin(np.arange(count), difficult),
    )


def found(boxes=(), scores=None, labels=None) -> Detections:
    """Of cats, unless said, each less probable than the one before."""
    count = len(boxes)
    return Detections(
        boxes=np.asarray(boxes, np.float32).reshape(-1, 4),
        scores=np.asarray(scores if scores is not None else 0.9 - np.arange(count) / 100)
        .astype(np.float32)
        .reshape(-1),
        labels=tuple(labels) if labels is not None else ("cat",) * count,
    )


def measure(*pairs, classes=("cat",)):
    """Of pictures with what is found on each."""
    items, detections = zip(*pairs, strict=True)
    return evaluate(Dataset("pets val", tuple(classes), items), detections)


def test_perfect_detections():
    boxes = [(0, 0, 20, 20), (30, 30, 90, 90), (100, 100, 300, 300)]
    scores = measure(
        (picture(boxes, [0, 1, 0]), found(boxes, labels=("cat", "dog", "cat"))),
        (picture(boxes, [1, 0, 1]), found(boxes, labels=("dog", "cat", "dog"))),
        classes=("cat", "dog"),
    )
    assert [getattr(scores, name) for name in NUMBERS if name != "ar1"] == pytest.approx([1] * 11)
    assert scores.ar1 == pytest.approx(2 / 3)  # Of three objects of a class on two pictures.
    assert (scores.voc2007_ap50, scores.voc2010_ap50) == (1, 1)
    assert (scores.pictures, scores.objects) == (2, 6)
    for each in scores.classes:
        assert (each.objects, each.best_f1) == (3, 1)
        assert each.best_score == pytest.approx(0.88, abs=0.011)


def test_average_precision_by_hand():
    """Four objects; right, wrong, right, right, wrong; one missed.

    Precision is 1, 1/2, 2/3, 3/4, 3/5 at recalls 1/4, 1/4, 1/2, 3/4, 3/4, its envelope 1 up to
    recall 1/4 and 3/4 up to recall 3/4.
    """
    boxes = [(0, 0, 50, 50), (60, 0, 110, 50), (0, 60, 50, 110), (60, 60, 110, 110)]
    wrong = (150, 0, 200, 50)
    # Scores are sorted over all pictures.
    scores = measure(
        (picture(boxes[:2]), found([boxes[0], wrong, wrong], [0.9, 0.8, 0.2])),
        (picture(boxes[2:]), found([boxes[2], boxes[3]], [0.7, 0.6])),
    )
    (cat,) = scores.classes
    assert cat.voc2007_ap50 == pytest.approx((3 * 1 + 5 * 0.75) / 11)
    assert cat.voc2010_ap50 == pytest.approx(0.25 * 1 + 0.5 * 0.75)
    assert (cat.ap50, cat.ap) == pytest.approx(
        ((26 * 1 + 50 * 0.75) / 101, (26 * 1 + 50 * 0.75) / 101)
    )
    assert cat.best_f1 == pytest.approx(2 * 3 / (4 + 4))
    assert cat.best_score == pytest.approx(0.6)
    assert scores.ar100 == pytest.approx(0.75)


def test_iou_thresholds():
    """An IoU of 0.7 is found at 0.5, 0.55 … 0.7, five of the ten thresholds."""
    scores = measure((picture([(0, 0, 100, 100)]), found([(0, 0, 100, 70)])))
    assert (scores.ap50, scores.ap75) == pytest.approx((1, 0))
    assert (scores.ap, scores.ar100) == pytest.approx((0.5, 0.5))


def test_duplicates_are_false():
    scores = measure((picture([BOX, ELSEWHERE]), found([BOX, BOX, ELSEWHERE])))
    (cat,) = scores.classes
    assert cat.voc2010_ap50 == pytest.approx(0.5 + 0.5 * 2 / 3)
    assert cat.voc2007_ap50 == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)
    assert cat.ap50 == pytest.approx((51 * 1 + 50 * 2 / 3) / 101)
    assert cat.best_f1 == pytest.approx(2 * 2 / (2 + 3))


def test_voc_does_not_let_a_second_detection_go_to_another_object():
    """Both overlap the first box most; COCO gives the second the other box, VOC does not."""
    boxes = [(0, 0, 100, 100), (0, 0, 100, 150)]
    scores = measure((picture(boxes), found([(0, 0, 100, 100), (0, 0, 100, 110)])))
    assert scores.ap50 == pytest.approx(1)
    assert scores.voc2010_ap50 == pytest.approx(0.5)


@pytest.mark.parametrize("detected", [[BOX], [BOX, ELSEWHERE]])
def test_difficult_objects_neither_count_nor_punish(detected):
    scores = measure(
        (picture([BOX, ELSEWHERE], difficult=[1]), found(detected)),
        (picture([ELSEWHERE], difficult=[0]), found()),
    )
    assert scores.objects == 1
    assert (scores.ap, scores.ar100) == pytest.approx((1, 1))
    assert scores.voc2007_ap50 == scores.voc2010_ap50 == scores.classes[0].best_f1 == 1


def test_a_second_detection_on_a_difficult_object_is_false_by_cocos_rule_alone():
    scores = measure((picture([BOX, ELSEWHERE], difficult=[1]), found([ELSEWHERE, ELSEWHERE, BOX])))
    assert scores.ap == pytest.approx(0.5)
    assert scores.voc2010_ap50 == 1


def test_a_difficult_object_must_be_overlapped_not_contain():
    inside = (200, 200, 220, 220)
    scores = measure((picture([BOX, ELSEWHERE], difficult=[1]), found([inside, BOX])))
    assert (scores.ap, scores.voc2010_ap50) == pytest.approx((0.5, 0.5))


def test_crowds_take_any_number_of_detections_inside():
    crowd = (100, 100, 300, 300)
    inside = [(110, 110, 130, 130), (140, 140, 160, 160), (140, 140, 160, 160)]
    scores = measure((picture([BOX, crowd], crowd=[1]), found([*inside, BOX])))
    assert scores.objects == 1
    assert (scores.ap, scores.ap50) == pytest.approx((1, 1))
    assert scores.voc2007_ap50 == scores.voc2010_ap50 == 1
    of_another = measure(
        (picture([BOX, crowd], [0, 1], crowd=[1]), found([*inside, BOX])), classes=("cat", "dog")
    )
    assert (of_another.ap50, of_another.voc2010_ap50) == pytest.approx((1 / 4, 1 / 4))


def test_false_alarms_on_a_picture_without_objects():
    pair = (picture([BOX]), found([BOX], [0.5]))
    assert measure(pair, (picture(), found())).ap == pytest.approx(1)
    scores = measure(pair, (picture(), found([BOX], [0.9])))
    assert (scores.ap, scores.voc2007_ap50, scores.voc2010_ap50) == pytest.approx((0.5, 0.5, 0.5))
    scores = measure(pair, (picture(), found([BOX], [0.1])))
    assert (scores.ap, scores.voc2010_ap50) == pytest.approx((1, 1))


def test_nothing_found():
    scores = measure((picture([BOX]), found()))
    assert scores.ap == scores.ar100 == scores.voc2007_ap50 == scores.voc2010_ap50 == 0
    assert scores.classes[0].best_f1 == 0
    assert math.isnan(scores.classes[0].best_score)


def test_classes_without_objects_are_no_part_of_means():
    item = picture([BOX, ELSEWHERE], [0, 2], difficult=[1])
    scores = measure(
        (item, found([BOX, BOX], labels=("cat", "dog"))), classes=("cat", "dog", "cow")
    )
    assert (scores.ap, scores.voc2007_ap50, scores.voc2010_ap50) == pytest.approx((1, 1, 1))
    for each in scores.classes[1:]:
        assert each.objects == 0
        numbers = (each.ap, each.ap50, each.ap75, each.voc2007_ap50, each.voc2010_ap50)
        assert all(map(math.isnan, (*numbers, each.best_f1, each.best_score)))


def test_no_object_at_all():
    scores = measure((picture(), found([BOX])), (picture(), found()))
    assert all(math.isnan(getattr(scores, name)) for name in (*NUMBERS, "voc2007_ap50"))
    assert "nan" not in table(scores)


def test_labels_of_other_classes_are_left_out_and_told():
    detected = found([BOX, BOX, ELSEWHERE, BOX], labels=("zebra", "dog", "zebra", "cat"))
    scores = measure((picture([BOX]), detected))
    assert (scores.ap, scores.voc2010_ap50) == pytest.approx((1, 1))
    assert scores.foreign == {"zebra": 2, "dog": 1}
    assert table(scores).splitlines()[-1] == "left out, of other classes: 3 (zebra, dog)"


def test_ranges_of_areas():
    small, medium, large = (0, 0, 10, 10), (50, 50, 100, 100), (150, 150, 250, 250)
    scores = measure((picture([small, medium, large]), found([small, large])))
    assert (scores.ap_small, scores.ap_medium, scores.ap_large) == pytest.approx((1, 0, 1))
    assert (scores.ar_small, scores.ar_medium, scores.ar_large) == pytest.approx((1, 0, 1))
    without = measure((picture([medium]), found([medium])))
    assert math.isnan(without.ap_small)
    assert math.isnan(without.ar_large)
    assert without.ap_medium == pytest.approx(1)


def test_prints_nothing(capfd):
    measure((picture([BOX]), found([BOX])))
    assert capfd.readouterr() == ("", "")


def test_boxes_without_area_are_false():
    degenerate = [(30, 30, 30, 30), (10, 10, 60, 10), (60, 60, 10, 10)]
    scores = measure((picture([BOX]), found([*degenerate, BOX])))
    assert (scores.ap, scores.voc2010_ap50) == pytest.approx((1 / 4, 1 / 4))


def test_coco_looks_at_a_hundred_detections_a_class_and_voc_at_all():
    scores = measure((picture([BOX]), found([ELSEWHERE] * 999 + [BOX], np.linspace(1, 0.1, 1000))))
    assert scores.ap == scores.ar100 == 0
    assert (scores.voc2007_ap50, scores.voc2010_ap50) == pytest.approx((1 / 1000, 1 / 1000))
    within = measure((picture([BOX]), found([ELSEWHERE] * 99 + [BOX])))
    assert within.ap == pytest.approx(1 / 100)
    assert (within.ar1, within.ar10, within.ar100) == pytest.approx((0, 0, 1))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_an_error(bad):
    for detected in (found([BOX], [bad]), found([(0, 0, bad, 5)])):
        with pytest.raises(DataError, match=r"pets val: a box or score found on a\.jpg is not a"):
            measure((picture([BOX]), detected))


def test_another_number_of_pictures_is_an_error():
    dataset = Dataset("pets val", ("cat",), (picture([BOX]),))
    with pytest.raises(DataError, match="pets val: 1 pictures, but detections of 2"):
        evaluate(dataset, [found(), found()])
    with pytest.raises(DataError, match="no picture"):
        evaluate(Dataset("pets val", ("cat",), ()), [])


def test_dictionary_is_json_without_nan():
    scores = measure((picture([BOX]), found([BOX], [0.5])), classes=("cat", "dog"))
    numbers = json.loads(json.dumps(scores.as_dict(), allow_nan=False))
    assert numbers["voc2007_ap50"] == 1
    assert numbers["ap_small"] is None
    assert numbers["classes"][1] == {
        "label": "dog",
        "objects": 0,
        **dict.fromkeys(("ap", "ap50", "ap75", "voc2007_ap50", "voc2010_ap50")),
        "best_f1": None,
        "best_score": None,
    }


def test_table():
    scores = measure(
        (picture([BOX, ELSEWHERE]), found([BOX, BOX, ELSEWHERE], [0.75, 0.5, 0.25])),
        classes=("cat", "guinea pig\n"),
    )
    assert table(scores).splitlines() == [
        "class        objects     AP   AP50   AP75  VOC07  VOC10  best F1  at score",
        "cat                2  0.835  0.835  0.835  0.848  0.833    0.800     0.250",
        "guinea pig?        0      -      -      -      -      -        -         -",
        "mean               2  0.835  0.835  0.835  0.848  0.833    0.800",
        "",
        "AP: small -  medium 0.835  large -",
        "AR: small -  medium 1.000  large -",
        "AR by detections a picture: 1 0.500  10 1.000  100 1.000",
    ]


def test_equal_to_pycocotools_through_files(tmp_path, rng):
    """Twelve pictures with crowds, near misses, false alarms and another class without objects."""
    classes = ("cat", "dog", "cow", "none")
    items, detections = [], []
    for _ in range(12):
        corners = rng.uniform(0, 200, (6, 2))
        boxes = np.concatenate([corners, corners + rng.uniform(5, 180, (6, 2))], 1)
        labels = rng.integers(0, 3, 6)
        boxes = boxes.astype(np.float32)
        items.append(picture(boxes, labels, crowd=np.flatnonzero(rng.random(6) < 0.2)))
        near = np.tile(boxes, (3, 1)) + rng.normal(0, 8, (18, 4))
        guesses = np.where(rng.random(18) < 0.8, np.tile(labels, 3), rng.integers(0, 4, 18))
        detections.append(found(near, rng.random(18), [classes[i] for i in guesses]))

    def bbox(box):
        x1, y1, x2, y2 = map(float, box)
        return [x1, y1, max(x2 - x1, 0), max(y2 - y1, 0)]

    truth = {
        "info": {},
        "images": [{"id": 100 + i, "width": 400, "height": 400} for i in range(12)],
        "categories": [{"id": 1 + i, "name": name} for i, name in enumerate(classes)],
        "annotations": [],
    }
    results = []
    for i, (item, detected) in enumerate(zip(items, detections, strict=True)):
        for box, label, crowd in zip(item.boxes, item.labels, item.crowd, strict=True):
            x, y, width, height = bbox(box)
            annotation = {
                "id": len(truth["annotations"]) + 1,
                "image_id": 100 + i,
                "category_id": int(label) + 1,
                "bbox": [x, y, width, height],
                "area": width * height,
                "iscrowd": int(crowd),
            }
            truth["annotations"].append(annotation)
        for box, score, label in zip(detected.boxes, detected.scores, detected.labels, strict=True):
            result = {"image_id": 100 + i, "category_id": classes.index(label) + 1}
            results.append(result | {"bbox": bbox(box), "score": float(score)})
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    (tmp_path / "results.json").write_text(json.dumps(results))
    coco = COCO(tmp_path / "truth.json")
    expected = COCOeval(coco, coco.loadRes(str(tmp_path / "results.json")), "bbox")
    expected.evaluate()
    expected.accumulate()
    expected.summarize()

    scores = evaluate(Dataset("pets val", classes, tuple(items)), detections)
    assert 0.1 < scores.ap < scores.ap50 < 0.9
    assert len({getattr(scores, name) for name in NUMBERS}) == len(NUMBERS)
    got = [getattr(scores, name) for name in NUMBERS]
    np.testing.assert_allclose(got, expected.stats, rtol=1e-12)
    precision = expected.eval["precision"][..., 0, -1]
    for place, each in enumerate(scores.classes[:3]):
        assert each.ap == pytest.approx(precision[:, :, place].mean(), rel=1e-12)
        assert each.ap50 == pytest.approx(precision[0, :, place].mean(), rel=1e-12)
        assert each.ap75 == pytest.approx(precision[5, :, place].mean(), rel=1e-12)
    assert math.isnan(scores.classes[3].ap)
