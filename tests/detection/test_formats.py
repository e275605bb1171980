"""Detections in CSV, COCO's JSON and VOC's XML: read back alike, whatever classes are called."""

import csv
import json
import os
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from atelier.errors import OutputError
from detection.annotations import read_dataset
from detection.annotations.write import (
    as_records,
    write_coco,
    write_coco_results,
    write_csv,
    write_voc,
)
from detection.detections import Detections

ODD = ("a \"quoted\" 'name'", "<b>&amp;]]>", "two\nlines", "=1+1", "a,b;c", "猫 чай")
WIDTH, HEIGHT = 60, 40

FOUND = Detections(
    np.float32([(10.126, 5.5, 29.499, 20), (0, 0, WIDTH, HEIGHT)]),
    np.float32([0.98767, 0.5]),
    ("cat", "dog"),
)
NOTHING = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), ())


def named(*labels) -> Detections:
    boxes = [(n, 2 * n, n + 10, 2 * n + 9) for n in range(len(labels))]
    scores = np.linspace(1, 0.5, len(labels))
    return Detections(np.float32(boxes).reshape(-1, 4), np.float32(scores), labels)


def picture(path, size=(WIDTH, HEIGHT)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size).save(path)


def rows_of(path) -> list[list[str]]:
    with open(path, encoding="utf-8", newline="") as lines:
        return list(csv.reader(lines, strict=True))


def test_records_are_rounded():
    assert as_records(FOUND) == [
        {"label": "cat", "score": 0.9877, "box": [10.13, 5.5, 29.5, 20.0]},
        {"label": "dog", "score": 0.5, "box": [0.0, 0.0, 60.0, 40.0]},
    ]
    json.dumps(as_records(FOUND))  # Plain numbers, not NumPy's.


# === CSV ===


def test_csv_by_hand(tmp_path):
    with write_csv(tmp_path / "new" / "all.csv") as add:
        add("x/a.jpg", FOUND)
        add("x/b.jpg", NOTHING)
        add("x/c.jpg", named("owl"))
        assert not (tmp_path / "new" / "all.csv").exists(), "it appears whole"
    assert (tmp_path / "new" / "all.csv").read_bytes().decode().splitlines() == [
        "input,label,score,x1,y1,x2,y2",
        "x/a.jpg,cat,0.9877,10.13,5.5,29.5,20.0",
        "x/a.jpg,dog,0.5,0.0,0.0,60.0,40.0",
        "x/c.jpg,owl,1.0,0.0,0.0,10.0,9.0",
    ]


def test_csv_of_videos_has_frames(tmp_path):
    with write_csv(tmp_path / "all.csv", frames=True) as add:
        add("a.mp4", named("owl"), 7)
        add("a.jpg", named("owl"))
    header, video, still = rows_of(tmp_path / "all.csv")
    assert (header[-1], video[-1], still[-1]) == ("frame", "7", "")


def test_csv_of_odd_names_is_read_back_and_no_formula(tmp_path):
    names = (*ODD, "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1")
    with write_csv(tmp_path / "all.csv") as add:
        add('=cmd|"/c calc"!A1.png', named(*names))
    rows = rows_of(tmp_path / "all.csv")[1:]
    unsafe = ("=", "+", "-", "@", "\t", "\r", "\n")
    for row, name in zip(rows, names, strict=True):
        assert row[0] == '\'=cmd|"/c calc"!A1.png'
        assert row[1] == (f"'{name}" if name.startswith(unsafe) else name)
        assert len(row) == 7


def test_csv_is_utf8_even_where_names_are_not(tmp_path):
    with write_csv(tmp_path / "all.csv") as add:
        add(os.fsdecode(b"caf\xe9.png"), named("\ud800"))
    assert rows_of(tmp_path / "all.csv")[1][:2] == ["caf\\udce9.png", "\\ud800"]


# === COCO ===


def coco(path, pictures, classes) -> dict:
    with write_coco(path, classes) as add:
        for name, size, found in pictures:
            add(name, size, found)
    return json.loads(path.read_text())


def test_coco_by_hand(tmp_path):
    pictures = [("deep/a.jpg", (HEIGHT, WIDTH, 3), FOUND), ("b.jpg", (9, 8), NOTHING)]
    content = coco(tmp_path / "found.json", pictures, ("dog", "owl", "cat"))
    assert content == {
        "info": {},
        "images": [
            {"id": 1, "file_name": "deep/a.jpg", "width": WIDTH, "height": HEIGHT},
            {"id": 2, "file_name": "b.jpg", "width": 8, "height": 9},
        ],
        "categories": [
            {"id": 1, "name": "dog"},
            {"id": 2, "name": "owl"},
            {"id": 3, "name": "cat"},
        ],
        "annotations": [
            {
                **{"id": 1, "image_id": 1, "category_id": 3, "score": 0.9877, "iscrowd": 0},
                **{"bbox": [10.13, 5.5, 19.37, 14.5], "area": 280.87, "segmentation": []},
            },
            {
                **{"id": 2, "image_id": 1, "category_id": 1, "score": 0.5, "iscrowd": 0},
                **{"bbox": [0.0, 0.0, 60.0, 40.0], "area": 2400.0, "segmentation": []},
            },
        ],
    }


def test_pycocotools_shows_what_is_written(tmp_path, capsys):
    """It needs `info`, and of each annotation `segmentation`."""
    coco(tmp_path / "found.json", [("a.jpg", (HEIGHT, WIDTH), FOUND)], ("cat", "dog"))
    read = COCO(tmp_path / "found.json")
    read.info()
    read.showAnns(read.loadAnns(read.getAnnIds()))
    assert len(read.anns) == 2


def test_coco_is_read_back(tmp_path):
    names = tuple(name for name in ODD if "\n" not in name)
    shots = (("deep/a.jpg", FOUND), ("b.jpg", NOTHING), ("猫.png", named(*names)))
    for name, _ in shots:
        picture(tmp_path / "shots" / name)
    classes = ("dog", "cat", *names)
    coco(tmp_path / "found.json", [(n, (HEIGHT, WIDTH), f) for n, f in shots], classes)
    dataset = read_dataset(tmp_path / "found.json", images=tmp_path / "shots", strict=True)
    assert dataset.classes == classes
    for item, (name, found) in zip(dataset.items, shots, strict=True):
        assert item.name == name
        assert tuple(classes[label] for label in item.labels) == found.labels
        np.testing.assert_allclose(item.boxes, found.boxes, atol=0.011)


@pytest.mark.parametrize("pictures", [(), [("a", (1, 1), NOTHING)], [("a", (99, 99), FOUND)] * 3])
def test_coco_is_json_for_any_number(tmp_path, pictures):
    content = coco(tmp_path / "x.json", pictures, ("cat", "dog") if pictures else ())
    assert len(content["images"]) == len(pictures)
    count = sum(len(found) for _, _, found in pictures)
    assert [record["id"] for record in content["annotations"]] == list(range(1, count + 1))
    places = [record["image_id"] for record in content["annotations"]]
    assert places == sorted(places)


def test_coco_results_by_hand(tmp_path):
    path = tmp_path / "results.json"
    results = ((key, found) for key, found in ((42, FOUND), ("x", NOTHING), (7, named("cat"))))
    write_coco_results(path, results, {"cat": 17, "dog": 18})
    assert json.loads(path.read_text()) == [
        {"image_id": 42, "category_id": 17, "bbox": [10.13, 5.5, 19.37, 14.5], "score": 0.9877},
        {"image_id": 42, "category_id": 18, "bbox": [0.0, 0.0, 60.0, 40.0], "score": 0.5},
        {"image_id": 7, "category_id": 17, "bbox": [0.0, 0.0, 10.0, 9.0], "score": 1.0},
    ]
    write_coco_results(path, [], {})
    assert json.loads(path.read_text()) == []


# === VOC ===


def read_back(tmp_path, found, size=(HEIGHT, WIDTH), name="a.jpg"):
    picture(tmp_path / "shots" / name, size[::-1])
    write_voc(tmp_path / "xml" / "a.xml", name, size, found)
    return read_dataset(tmp_path / "xml", images=tmp_path / "shots", strict=True)


def test_voc_by_hand(tmp_path):
    write_voc(tmp_path / "a.xml", "a.jpg", (HEIGHT, WIDTH, 3), FOUND)
    root = ET.parse(tmp_path / "a.xml").getroot()
    assert [root.findtext(path) for path in ("filename", "size/width", "size/height")] == [
        *("a.jpg", "60", "40")
    ]
    cat, dog = root.findall("object")
    sides = ("xmin", "ymin", "xmax", "ymax")
    # 10.13 and 5.5 round to 10 and, to even, 6.
    assert [cat.findtext(f"bndbox/{side}") for side in sides] == ["10", "6", "30", "20"]
    assert [dog.findtext(f"bndbox/{side}") for side in sides] == ["0", "0", "60", "40"]
    fields = ("name", "pose", "truncated", "difficult", "score")
    assert [cat.findtext(name) for name in fields] == ["cat", "Unspecified", "0", "0", "0.9877"]
    assert [dog.findtext(name) for name in fields] == ["dog", "Unspecified", "1", "0", "0.5"]


def test_voc_is_read_back(tmp_path):
    found = named(*ODD)
    dataset = read_back(tmp_path, found, name="猫 & <b>.jpg")
    (item,) = dataset.items
    assert item.name == "猫 & <b>.jpg"
    assert tuple(dataset.classes[label] for label in item.labels) == found.labels
    np.testing.assert_array_equal(item.boxes, found.boxes)
    assert not item.difficult.any()


def test_voc_boxes_are_right_to_a_pixel(tmp_path, rng):
    corners = rng.uniform(0, (WIDTH, HEIGHT), (200, 2, 2))
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1).astype(np.float32)
    found = Detections(boxes, np.ones(200, np.float32), ("x",) * 200)
    (item,) = read_back(tmp_path, found).items
    errors = np.abs(item.boxes - boxes)
    assert errors.max() <= 1
    wide = (boxes[:, 2:] - boxes[:, :2]).min(axis=1) >= 1
    assert errors[wide].max() <= 0.51


@pytest.mark.parametrize("box", [(3.2, 4.1, 3.4, 4.2), (59.9, 39.9, 60, 40), (0, 0, 0.01, 40)])
def test_voc_boxes_of_less_than_a_pixel_are_no_slips(tmp_path, box):
    found = Detections(np.float32([box]), np.float32([1]), ("x",))
    (item,) = read_back(tmp_path, found).items
    assert np.abs(item.boxes - found.boxes).max() <= 1


def test_voc_names_that_xml_cannot_hold(tmp_path):
    dataset = read_back(tmp_path, named("a\x00b\x07\ud800\uffff", "c\rd"))
    assert dataset.classes == ("a?b???", "c?d")


def test_voc_of_nothing(tmp_path):
    write_voc(tmp_path / "a.xml", "a.jpg", (1, 1), NOTHING)
    assert ET.parse(tmp_path / "a.xml").getroot().findall("object") == []


# === Whole or not at all ===

WRITERS = (lambda path, **k: write_csv(path, **k), lambda path, **k: write_coco(path, ["cat"], **k))


@pytest.mark.parametrize("write", WRITERS, ids=["csv", "coco"])
def test_an_error_leaves_the_earlier_file(tmp_path, write):
    path = tmp_path / "x"
    path.write_text("kept")
    with pytest.raises(ZeroDivisionError), write(path):
        raise ZeroDivisionError
    with pytest.raises(OutputError, match="pass --overwrite"), write(path, overwrite=False):
        pytest.fail("refused before the work")
    assert path.read_text() == "kept"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", ["csv", "coco"])
def test_ctrl_c_keeps_what_is_done(tmp_path, kind):
    path, found = tmp_path / "x", named("cat")

    def work():
        if kind == "csv":
            with write_csv(path) as add:
                add("a.jpg", found)
                raise KeyboardInterrupt
        with write_coco(path, ["cat"]) as add:
            add("a.jpg", (9, 9), found)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert list(tmp_path.iterdir()) == [path]
    if kind == "csv":
        assert [row[0] for row in rows_of(path)] == ["input", "a.jpg"]
    else:
        content = json.loads(path.read_text())
        assert [len(content[key]) for key in ("images", "annotations", "categories")] == [1, 1, 1]


@pytest.mark.parametrize("write", WRITERS, ids=["csv", "coco"])
def test_a_full_disk_is_one_line(tmp_path, write):
    with (
        pytest.raises(OutputError, match=r"cannot write .*/x: No space left"),
        write(tmp_path / "x"),
    ):
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_voc_does_not_overwrite_unasked(tmp_path):
    write_voc(tmp_path / "a.xml", "a.jpg", (9, 9), NOTHING)
    with pytest.raises(OutputError, match="exists"):
        write_voc(tmp_path / "a.xml", "a.jpg", (9, 9), FOUND, overwrite=False)
    write_voc(tmp_path / "a.xml", "a.jpg", (HEIGHT, WIDTH), FOUND)
    assert b"cat" in (tmp_path / "a.xml").read_bytes()
