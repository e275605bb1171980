"""Data sets in the folders that programs make: found, with their splits, or what is there said."""

import json

import numpy as np
import pytest
from PIL import Image

from atelier.errors import DataError
from detection.annotations import layouts, read_backgrounds, read_dataset
from detection.annotations.coco import read_coco
from detection.annotations.layouts import choose_split, coco_files, looks_like_coco

BOX = [10, 5, 30, 20]


def draw(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (60, 40), (90, 120, 30)).save(path)


def put(path, file_name="a.jpg", label="cup"):
    """Writes a COCO file with an object on one picture."""
    value = {
        "info": {},
        "images": [{"id": 1, "file_name": file_name, "width": 60, "height": 40}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 5, 20, 15]}],
        "categories": [{"id": 1, "name": label}],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def put_page(path, label="cup"):
    """Writes a VOC file with an object."""
    sides = "".join(
        f"<{k}>{v}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), BOX, strict=True)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"<annotation><filename>{path.stem}.jpg</filename><size><width>60</width><height>40"
        f"</height></size><object><name>{label}</name><bndbox>{sides}</bndbox></object></annotation>"
    )


LAYOUTS = {
    "COCO": ("annotations/instances_val2017.json", "val2017/a.jpg", "a.jpg"),
    "CVAT": ("annotations/instances_default.json", "images/default/a.jpg", "a.jpg"),
    "FiftyOne": ("labels.json", "data/a.jpg", "a.jpg"),
    "Label Studio": ("result.json", "images/a.jpg", "images\\a.jpg"),
    "beside": ("export 3.json", "a.jpg", "a.jpg"),
    "of a split": ("annotations/train.json", "images/train/a.jpg", "a.jpg"),
    "other case": ("Annotations/all.JSON", "Images/a.jpg", "a.jpg"),
    "below": ("project/export/coco.json", "project/export/photos/a.jpg", "photos/a.jpg"),
    "another machine": ("a.json", "x/y/a.jpg", "C:\\Users\\me\\y\\a.jpg"),
    "absolute": ("a.json", "images/a.jpg", "/home/me/data/a.jpg"),
    "to the side": ("annotations/a.json", "pictures/a.jpg", "../pictures/a.jpg"),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_coco_file_and_its_pictures_are_found(tmp_path, name):
    file, picture, file_name = LAYOUTS[name]
    put(tmp_path / file, file_name)
    draw(tmp_path / picture)
    found = read_dataset(tmp_path, strict=True)
    (item,) = found.items
    assert item.image == tmp_path / picture
    assert item.name in ("a.jpg", "images/a.jpg", "photos/a.jpg"), "a path of this machine"
    np.testing.assert_array_equal(item.boxes, [BOX])
    assert read_coco(tmp_path, strict=True).items[0].image == item.image


@pytest.mark.parametrize("kind", ["COCO", "VOC"])
def test_roboflows_folders_are_splits(tmp_path, kind):
    for name, label in (("train", "cup"), ("valid", "cup"), ("test", "dog")):
        draw(tmp_path / name / f"{name}.jpg")
        if kind == "COCO":
            put(tmp_path / name / "_annotations.coco.json", f"{name}.jpg", label)
        else:
            put_page(tmp_path / name / f"{name}.xml", label)
    (tmp_path / "README.roboflow.txt").write_text("nothing")
    for asked, name in (("train", "train"), ("valid", "valid"), ("val", "valid"), ("Test", "test")):
        (item,) = read_dataset(tmp_path, asked, strict=True).items
        assert item.name == f"{name}.jpg"
    everything = read_dataset(tmp_path, strict=True)
    assert sorted(item.name for item in everything.items) == ["test.jpg", "train.jpg", "valid.jpg"]
    assert set(everything.classes) == {"cup", "dog"}
    assert {everything.classes[item.labels[0]] for item in everything.items} == {"cup", "dog"}


def test_files_in_one_folder_are_splits_of_which_one_must_be_named(tmp_path):
    for name in ("train", "val"):
        draw(tmp_path / "images" / f"{name}.jpg")
        put(tmp_path / "annotations" / f"my_{name}.json", f"{name}.jpg")
    assert read_dataset(tmp_path, "valid", strict=True).items[0].name == "val.jpg"
    with pytest.raises(DataError, match=r"say of which split; there are: my_train \(annot"):
        read_dataset(tmp_path)
    with pytest.raises(DataError, match="no split 'x'; there are: my_train"):
        read_dataset(tmp_path, "x")


@pytest.mark.parametrize(
    ("asked", "names", "chosen"),
    [
        ("val", ["train", "valid"], "valid"),
        ("validation", ["val", "valid"], "val"),
        ("val", ["valid", "val"], "val"),
        ("TRAIN", ["Train"], "Train"),
        ("train2017", ["train", "val"], None),
        ("x", [], None),
    ],
)
def test_names_of_splits(asked, names, chosen):
    assert choose_split(asked, names) == chosen


def test_json_of_another_form_is_passed_over(tmp_path):
    draw(tmp_path / "a.jpg")
    put(tmp_path / "z.json")
    (tmp_path / "a.json").write_text('{"version": "5.5.0", "shapes": [], "imagePath": "a.jpg"}')
    (tmp_path / "b.json").write_text('[{"annotations": [], "images": []}]')
    (tmp_path / "c.json").write_text('{"categories": []}')
    assert coco_files(tmp_path) == [tmp_path / "z.json"]
    assert len(read_dataset(tmp_path, strict=True)) == 1


def test_cocos_lists_may_be_far_apart(tmp_path, monkeypatch):
    put(tmp_path / "a.json")
    monkeypatch.setattr(layouts, "HEAD", 60)
    assert looks_like_coco(tmp_path / "a.json")
    monkeypatch.setattr(layouts, "HEAD", 10)
    assert not looks_like_coco(tmp_path / "a.json")


def test_an_error_says_what_is_there(tmp_path):
    draw(tmp_path / "images" / "a.jpg", tmp_path / "images" / "b.jpg")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 0.5 0.5 0.1 0.1")
    (tmp_path / ".hidden").write_text("nothing")
    with pytest.raises(DataError) as error:
        read_dataset(tmp_path)
    assert str(error.value) == (
        f"{tmp_path}: no XML files of VOC's form, no JSON file of COCO's, and no images/ with "
        "masks/; found 2 .jpg in images/, 1 .txt in labels/"
    )
    with pytest.raises(DataError, match=r"a\.txt is a file, but neither COCO's JSON nor a folder"):
        read_dataset(tmp_path / "labels" / "a.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="found no files"):
        read_dataset(tmp_path / "empty")


def test_masks_somewhere_below_do_not_hide_a_set_of_boxes(tmp_path):
    draw(tmp_path / "a.jpg", tmp_path / "more" / "images" / "b.jpg", tmp_path / "more/masks/b.jpg")
    put_page(tmp_path / "a.xml", "dog")
    assert read_dataset(tmp_path).classes == ("dog",)


def test_backgrounds_lie_in_folders_of_any_depth(tmp_path):
    draw(tmp_path / "b.jpg", tmp_path / "x" / "y" / "a.PNG", tmp_path / ".trash" / "c.jpg")
    (tmp_path / "x" / "notes.txt").write_text("nothing")
    found = read_backgrounds(tmp_path, ("cup",))
    assert [item.name for item in found.items] == ["b.jpg", "x/y/a.PNG"]
    assert found.faults == ()
    (note,) = found.notes
    assert note.text == "files that are no pictures, passed over: 1 .txt"
