"""COCO's annotations as many programs write them: read alike, faults by name, bounds."""

import itertools
import json
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_masks

from atelier.errors import DataError
from detection.annotations import (
    FaultError,
    coco,
    fields,
    keep_classes,
    outlines,
    read_dataset,
)
from detection.annotations.coco import read_coco
from detection.annotations.outlines import outline_box

WIDTH, HEIGHT = 60, 40


def draw(path, size=(WIDTH, HEIGHT), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 120, 30)).save(path, **options)


def fault(folder, **options) -> str:
    """The one fault of reading a folder; strictly read, the same is the error's text."""
    found = read_dataset(folder, **options)
    (line,) = map(str, found.faults)
    with pytest.raises(DataError) as error:
        read_dataset(folder, strict=True, **options)
    assert str(error.value) == f"{found.name}: {line}"
    assert "\n" not in line
    return line


def notes(folder, **options) -> list[str]:
    """What reading a folder says, without a fault."""
    found = read_dataset(folder, strict=True, **options)
    return [note.text for note in found.notes]


def content(**changes) -> dict:
    """Two pictures with an object each, and categories out of order with a gap."""
    return {
        "images": [
            {"id": 7, "file_name": "a.jpg", "width": WIDTH, "height": HEIGHT},
            {"id": 3, "file_name": "b.jpg", "width": WIDTH, "height": HEIGHT},
        ],
        "annotations": [
            {"id": 1, "image_id": 3, "category_id": 90, "bbox": [1, 2, 3.5, 4], "iscrowd": 1},
            {"id": 2, "image_id": 7, "category_id": 2, "bbox": [0, 0, 10, 20]},
        ],
        "categories": [{"id": 90, "name": "cup"}, {"id": 2, "name": "car"}],
        **changes,
    }


@pytest.fixture
def coco_folder(tmp_path):
    root = tmp_path / "coco"
    for name in ("a.jpg", "b.jpg"):
        draw(root / "val" / name)
    (root / "annotations").mkdir()
    write(root, content())
    return root


def write(root, value):
    text = value if isinstance(value, str) else json.dumps(value)
    (root / "annotations" / "instances_val.json").write_text(text)


def test_coco_by_hand(coco_folder):
    for source, split in (
        (coco_folder, None),
        (coco_folder, "val"),
        (coco_folder / "annotations" / "instances_val.json", None),
    ):
        found = read_dataset(source, split)
        assert (found.name, found.classes, found.faults) == ("coco val", ("car", "cup"), ())
        a, b = found.items
        assert (a.name, b.name) == ("a.jpg", "b.jpg")
        np.testing.assert_array_equal(a.boxes, [[0, 0, 10, 20]])
        np.testing.assert_array_equal(b.boxes, [[1, 2, 4.5, 6]])
        assert (a.labels.tolist(), b.labels.tolist()) == ([0], [1])
        assert (a.crowd.tolist(), b.crowd.tolist()) == ([False], [True])
        assert b.difficult.tolist() == [False]


def test_coco_beside_its_pictures(coco_folder):
    (coco_folder / "annotations" / "instances_val.json").rename(coco_folder / "val" / "all.json")
    assert len(read_dataset(coco_folder / "val" / "all.json")) == 2


def with_object(**changes) -> dict:
    record = {"id": 9, "image_id": 7, "category_id": 2, "bbox": [1, 1, 5, 5], **changes}
    return content(annotations=[*content()["annotations"], record])


def with_picture(**changes) -> dict:
    record = {"id": 8, "file_name": "a.jpg", "width": WIDTH, "height": HEIGHT, **changes}
    return content(images=[*content()["images"], record])


def one_picture(**changes) -> dict:
    first, second = content()["images"]
    return content(images=[first | changes, second])


OBJECT = "instances_val.json: picture a.jpg, object 9"
COCO_FAULTS = {
    "no area": (with_object(bbox=[1, 1, 0, 5]), f"{OBJECT} (car): the box 1 1 1 6 has no area"),
    "outside": (with_object(bbox=[60, 1, 9, 5]), f"{OBJECT} (car): nothing of the box 60 1 69 6"),
    "nan": (with_object(bbox=[1, float("nan"), 5, 5]), f"{OBJECT} (car): 'bbox' holds nan"),
    "infinite": (with_object(bbox=[1, 1, float("inf"), 5]), "'bbox' holds inf"),
    "text": (with_object(bbox=[1, "two", 5, 5]), "'bbox' holds two, which is no number"),
    "comma": (with_object(bbox=[1, "2,5", 5, 5]), "'bbox' holds 2,5, which is no number"),
    "truth": (with_object(bbox=[True, 1, 5, 5]), "'bbox' holds True, which is no number"),
    "three": (with_object(bbox=[1, 1, 5]), "'bbox' is no list of four numbers"),
    "none": (with_object(bbox=None), "'bbox' is no list of four numbers"),
    "category": (with_object(category_id=5), f"{OBJECT}: unknown category 5"),
    "category list": (with_object(category_id=[2]), f"{OBJECT}: 'category_id' is [2], of a wrong"),
    "crowd": (with_object(iscrowd="yes"), f"{OBJECT} (car): 'iscrowd' is yes, neither 0 nor 1"),
    "stray": (with_object(image_id=1), "annotation number 3: no picture has the id 1"),
    "unhashable": (with_object(image_id={}), "annotation number 3: 'image_id' is {}, of a wrong"),
    "string": (content(annotations=["x"]), "annotation number 1: not an object"),
    "picture missing": (with_picture(file_name="z.jpg"), "picture z.jpg: the picture is missing"),
    "size": (one_picture(width=9), "the picture is 60×40, but the annotations say 9×40"),
    "picture twice": (with_picture(), "picture a.jpg: named twice; the objects of both are put"),
    "id twice": (
        with_picture(id=3),
        "picture a.jpg: one of two of the id 3, both left out",
    ),
    "picture unnamed": (with_picture(file_name=[]), "image number 3: 'file_name' is [], of a wr"),
    "no outline": (with_object(bbox=[], segmentation="x"), "'segmentation' is neither a list of"),
    "no id": (with_picture(id=None), "image number 3: 'id' is None, of a wrong type"),
    "traversal": (with_picture(file_name="../../x.jpg"), "'../../x.jpg' leads out of the folder"),
    "absolute": (
        with_picture(file_name="/elsewhere/a.png"),
        "'/elsewhere/a.png' leads out of the folder",
    ),
    "nul": (with_picture(file_name="a\0.jpg"), "leads out of the folder"),
    "surrogate": (with_picture(file_name="\ud800.jpg"), "cannot be followed"),
}


@pytest.mark.parametrize("name", COCO_FAULTS)
def test_a_fault_of_coco_is_named_and_the_rest_is_read(coco_folder, name):
    value, reason = COCO_FAULTS[name]
    write(coco_folder, value)
    assert reason in fault(coco_folder)
    left = "a.jpg" if name == "id twice" else "b.jpg"
    assert left in [item.name for item in read_dataset(coco_folder).items]


def test_a_link_out_of_cocos_folder_is_refused(coco_folder):
    (coco_folder / "val" / "z.jpg").symlink_to("/elsewhere/a.png")
    write(coco_folder, with_picture(file_name="z.jpg"))
    assert "z.jpg' is a link that leads out of the folder" in fault(coco_folder)
    (coco_folder / "annotations" / "instances_val.json").unlink()
    (coco_folder / "annotations" / "instances_val.json").symlink_to("/elsewhere/a.png")
    with pytest.raises(DataError, match="is a link that leads out of the folder"):
        read_dataset(coco_folder)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "malformed JSON"),
        ('{"images": [', "malformed JSON"),
        ("[[[", "malformed JSON"),
        ([], "not COCO's form: an object"),
        ({"images": []}, "not COCO's form: 'annotations' is no list"),
        (content(images={}), "'images' is no list"),
        (content(categories=[3]), "not an object"),
        (content(categories=[{"id": 1}]), "'name' is missing"),
        (content(categories=[{"id": 1.5, "name": "x"}]), "'id' is 1.5, of a wrong type"),
        (content(categories=[{"id": 1, "name": "x\ny"}]), "no category's name"),
        (content(categories=[{"id": 1, "name": " "}]), "'name' is  , of a wrong type"),
        (content(categories=[{"id": 1, "name": n} for n in "xy"]), "two categories have the id 1"),
        (content(images=[]), "no annotated picture"),
    ],
)
def test_what_is_not_cocos_form_is_one_line(coco_folder, value, reason):
    write(coco_folder, value)
    with pytest.raises(DataError, match=reason) as error:
        read_dataset(coco_folder)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600


def test_an_integer_beyond_floats_is_no_number(coco_folder, monkeypatch):
    write(coco_folder, with_object())
    monkeypatch.setattr(fields.math, "isfinite", Mock(side_effect=OverflowError))
    with pytest.raises(DataError, match="which is no number"):
        read_dataset(coco_folder)


def test_json_on_which_python_gives_up_is_malformed(coco_folder, monkeypatch):
    monkeypatch.setattr(json, "loads", Mock(side_effect=RecursionError))
    with pytest.raises(DataError, match="malformed JSON"):
        read_dataset(coco_folder)


def test_a_large_json_is_bounded(coco_folder, monkeypatch):
    monkeypatch.setattr(coco, "JSON_BYTES", 100)
    with pytest.raises(DataError, match=r"instances_val.json: larger than 100 bytes"):
        read_coco(coco_folder)


def test_cocos_split_must_be_said_if_there_are_several(coco_folder):
    (coco_folder / "annotations" / "instances_train.json").write_text("{}")
    assert read_dataset(coco_folder, "val").name == "coco val"
    with pytest.raises(DataError, match=r"say of which split; there are: train \(annot.*, val \("):
        read_dataset(coco_folder)
    with pytest.raises(DataError, match="no split 'x'"):
        read_dataset(coco_folder, "x")


# === As programs write it ===


def put(folder, images=("a.jpg",), *, name="instances.json", **changes):
    """Writes a COCO file with an object on the first picture."""
    value = {
        "images": [
            {"id": number, "file_name": image, "width": WIDTH, "height": HEIGHT}
            if isinstance(image, str)
            else image
            for number, image in enumerate(images, 1)
        ],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 5, 20, 15]}],
        "categories": [{"id": 1, "name": "cup"}],
        **changes,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(value))


BOX = [[10, 5, 30, 20]]


@pytest.mark.parametrize(
    "numbers", [["10", "5.0", "2e1", "1.50E+01"], [10.0, 5, 20.000000000000001, 1.5e1]]
)
@pytest.mark.parametrize("ids", [(1, 1), ("1", 1), (1.0, "1"), ("1.0", 1), ("x-1", "x-1")])
def test_numbers_and_ids_are_read_however_they_are_written(tmp_path, numbers, ids):
    draw(tmp_path / "a.jpg")
    image = {"id": ids[0], "file_name": "a.jpg", "width": f"{WIDTH}.0", "height": str(HEIGHT)}
    record = {"id": "7", "image_id": ids[1], "category_id": ids[1], "bbox": numbers}
    categories = [{"id": ids[0], "name": "cup"}]
    put(tmp_path, [image], annotations=[record], categories=categories)
    found = read_dataset(tmp_path, strict=True)
    np.testing.assert_array_equal(found.items[0].boxes, BOX)
    assert (found.classes, found.notes) == (("cup",), ())


def annotated(**changes) -> list[dict]:
    record = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 5, 20, 15]} | changes
    return [{key: value for key, value in record.items() if value != "missing"}]


@pytest.mark.parametrize("value", [0, "0", "false", False, None, 0.0, "0.0", "missing"])
def test_what_is_no_crowd_is_an_object(tmp_path, value):
    draw(tmp_path / "a.jpg")
    put(tmp_path, annotations=annotated(iscrowd=value))
    (item,) = read_dataset(tmp_path, strict=True).items
    assert item.crowd.tolist() == [False]


@pytest.mark.parametrize("value", [1, "1", "True", True, 1.0])
def test_crowds_and_what_is_to_be_ignored(tmp_path, value):
    draw(tmp_path / "a.jpg")
    put(tmp_path, annotations=annotated(iscrowd=value))
    for key in ("ignore", "difficult"):
        put(tmp_path, name=f"{key}.json", annotations=annotated(**{key: value}))
        (item,) = read_dataset(tmp_path / f"{key}.json", strict=True).items
        assert (item.crowd.tolist(), item.difficult.tolist()) == ([False], [True])
    (item,) = read_dataset(tmp_path / "instances.json", strict=True).items
    assert (item.crowd.tolist(), item.difficult.tolist()) == ([True], [False])


@pytest.mark.parametrize(
    "size",
    [
        {},
        {"width": 0, "height": 0},
        {"width": None, "height": ""},
        {"width": "wide", "height": 40},
        {"width": -60, "height": 40},
    ],
)
def test_without_a_size_the_pictures_own_is_taken(tmp_path, size):
    draw(tmp_path / "a.jpg")
    put(tmp_path, [{"id": 1, "file_name": "a.jpg", **size}])
    assert "1 picture without a stated size: the picture's own is taken" in notes(tmp_path)[0]
    assert read_dataset(tmp_path).items[0].size == (HEIGHT, WIDTH)


def test_a_record_without_annotations_is_a_picture_of_nothing(tmp_path):
    for name in ("a.jpg", "b.jpg"):
        draw(tmp_path / name)
    put(tmp_path, ["a.jpg", "b.jpg"])
    found = read_dataset(tmp_path, strict=True)
    assert [len(item.boxes) for item in found.items] == [1, 0]


def test_pictures_without_a_record_are_counted(tmp_path):
    for name in ("a.jpg", "b.jpg", "c.jpg", ".d.jpg"):
        draw(tmp_path / "images" / name)
    (tmp_path / "images" / "notes.txt").write_text("nothing")
    put(tmp_path)
    assert notes(tmp_path) == ["2 pictures without a record: passed over (images/b.jpg)"]


# === Outlines ===

POLYGON = [10, 5, 30, 5, 30, "20.0", 10, 20]
MASK = np.zeros((HEIGHT, WIDTH), np.uint8)
MASK[5:20, 10:30] = 1
MASK[8:15, 15:25] = 0
RUNS = coco_masks.encode(np.asfortranarray(MASK))["counts"].decode()
COUNTS = [len(list(run)) for _, run in itertools.groupby(MASK.T.ravel())]
SIZE = [HEIGHT, WIDTH]


@pytest.mark.parametrize("box", ["missing", None, [], [0, 0, 0, 0], [1, 2, "x", 3]])
@pytest.mark.parametrize(
    "segmentation",
    [
        [POLYGON],
        [[10, 5, 15, 5, 12, 20], [20, 12, 30, 12, 30, 20]],
        POLYGON,
        [[10, 5], [30, 5], [30, 20]],
        {"size": SIZE, "counts": RUNS},
        {"size": [str(HEIGHT), float(WIDTH)], "counts": COUNTS},
    ],
    ids=["polygon", "two", "flat", "points", "text", "counts"],
)
def test_without_a_box_it_is_that_around_the_outline(tmp_path, box, segmentation):
    draw(tmp_path / "a.jpg")
    put(tmp_path, annotations=annotated(bbox=box, segmentation=segmentation))
    (item,) = read_dataset(tmp_path, strict=True).items
    np.testing.assert_array_equal(item.boxes, BOX)
    (note,) = notes(tmp_path)
    assert note.startswith("1 object without a box: the box around the outline is taken")


def test_a_box_goes_before_the_outline(tmp_path):
    draw(tmp_path / "a.jpg")
    put(tmp_path, annotations=annotated(segmentation=[[0, 0, 9, 9, 0, 9]]))
    assert notes(tmp_path) == []
    np.testing.assert_array_equal(read_dataset(tmp_path).items[0].boxes, BOX)


def test_boxes_around_run_lengths_are_those_of_pycocotools():
    rng = np.random.default_rng(0)
    for _ in range(200):
        mask = (rng.random(rng.integers(1, 12, 2)) < rng.choice([0.05, 0.5])).astype(np.uint8)
        mask[0, 0] |= not mask.any()
        runs = coco_masks.encode(np.asfortranarray(mask))
        x, y, width, height = coco_masks.toBbox(runs)
        outline = {"size": list(mask.shape), "counts": runs["counts"].decode()}
        assert outline_box(outline, mask.shape) == (x, y, x + width, y + height)
    assert outline_box({"size": [2, 3], "counts": [6]}, (2, 3)) is None


@pytest.mark.parametrize(
    ("outline", "reason"),
    [
        ({"size": [2, 3], "counts": [5]}, "'counts' does not make up 3×2 pixels"),
        ({"size": [2, 3], "counts": [7, -1]}, "'counts' does not make up 3×2 pixels"),
        ({"size": [2, 3], "counts": RUNS}, "'counts' is"),
        ({"size": [2, 3], "counts": "0d"}, "'counts' is cut short"),
        ({"size": [2, 3], "counts": "né"}, "no text of run lengths"),
        ({"size": [2, 3], "counts": 6}, "neither a list nor a text"),
        ({"size": [2, 4], "counts": [8]}, "of 4×2 pixels, and its picture of 3×2"),
        ({"counts": [6]}, "run lengths without a size"),
        ([[1, 2, 3]], "a polygon that is no list x y x y"),
        ([[1, "two", 3, 4]], "'segmentation' holds two, which is no number"),
        ([[1, 2], "x"], "a polygon that is no list x y x y"),
    ],
)
def test_outlines_that_cannot_be_read_are_faults(outline, reason):
    with pytest.raises(FaultError, match=reason):
        outline_box(outline, (2, 3))


def test_numbers_of_an_outline_are_bounded(monkeypatch):
    monkeypatch.setattr(outlines, "POINTS", 6)
    assert outline_box([[0, 0, 2, 0, 2, 2]], (2, 3)) == (0, 0, 2, 2)
    with pytest.raises(FaultError, match="more than 6 numbers"):
        outline_box([[0, 0, 2, 0, 2, 2, 0, 2]], (2, 3))


# === Categories ===


def test_categories_that_nothing_is_annotated_with_are_left_out_unless_asked_for(tmp_path):
    draw(tmp_path / "a.jpg")
    names = ["objects", "cup", "spoon"]
    categories = [{"id": number, "name": name} for number, name in enumerate(names)]
    put(tmp_path, categories=categories)
    found = read_dataset(tmp_path)
    assert (found.classes, found.unused) == (("cup",), ("objects", "spoon"))
    assert notes(tmp_path) == [
        "2 categories that nothing is annotated with: left out, unless --classes names them "
        "(objects, spoon)"
    ]
    asked = keep_classes(found, ("spoon", "cup"))
    assert (asked.classes, asked.unused) == (("spoon", "cup"), ("objects",))
    assert asked.items[0].labels.tolist() == [1]
    assert read_coco(tmp_path, classes=("spoon", "cup")).classes == ("spoon", "cup")


def test_two_ids_of_one_name_are_one_class(tmp_path):
    draw(tmp_path / "a.jpg")
    categories = [{"id": 0, "name": "cup"}, {"id": "1", "name": "cup "}, {"id": 0, "name": "cup"}]
    put(tmp_path, categories=categories, annotations=[*annotated(), *annotated(category_id=0)])
    found = read_dataset(tmp_path, strict=True)
    assert (found.classes, found.notes, found.unused) == (("cup",), (), ())
    assert found.items[0].labels.tolist() == [0, 0]


@pytest.mark.parametrize("name", ["می\u200cخواهم", "क्\u200dष", "x" * 101, "猫", "a, b", "7"])
def test_names_of_any_script_and_length_are_names(tmp_path, name):
    draw(tmp_path / "a.jpg")
    put(tmp_path, categories=[{"id": 1, "name": int(name) if name == "7" else name}])
    assert read_dataset(tmp_path, strict=True).classes == (name,)


# === What is there twice ===


def test_one_annotation_twice_under_one_id_is_one_object(tmp_path):
    draw(tmp_path / "a.jpg")
    other = annotated(bbox=[0, 0, 5, 5])
    put(tmp_path, annotations=[*annotated(), *annotated(), *other])
    assert notes(tmp_path) == ["1 object twice under one id: taken once (instances.json: object 1)"]
    assert len(read_dataset(tmp_path).items[0].boxes) == 2, "another box of that id is another"


def test_a_picture_that_is_named_twice_is_one_with_the_objects_of_both(tmp_path):
    draw(tmp_path / "a.jpg")
    both = [annotated(id=number, image_id=number)[0] for number in (1, 2)]
    more = annotated(id=3, image_id=2, bbox=[0, 0, 5, 5])
    put(tmp_path, ["a.jpg", "./a.jpg"], annotations=[*both, *more])
    assert "picture ./a.jpg: named twice; the objects of both are put together" in fault(tmp_path)
    (item,) = read_dataset(tmp_path).items
    np.testing.assert_array_equal(item.boxes, [*BOX, [0, 0, 5, 5]])
