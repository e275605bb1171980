"""The flags that say which annotated pictures: one, several, of which form and which classes."""

import json
import shutil

import numpy as np
import pytest

from atelier import cli
from atelier.errors import DataError, SettingsError
from atelier.media.images import save_image
from detection.sources import DataConfig, common_classes, report_faults


def config(*words) -> DataConfig:
    return cli.parse(DataConfig, [str(word) for word in words])


@pytest.fixture
def masks(tmp_path):
    """Two photos with masks, `single` and `pair`."""
    folder = tmp_path / "masks"
    drawn = np.zeros((40, 60), np.uint8)
    drawn[5:30, 10:40] = 255
    for name in ("single", "pair"):
        save_image(folder / "images" / f"{name}.png", np.zeros((40, 60, 3), np.uint8))
        save_image(folder / "masks" / f"{name}.png", drawn)
    return folder


@pytest.fixture
def coco(tmp_path):
    """A COCO file of one picture, with a disc."""
    folder = tmp_path / "coco"
    save_image(folder / "a.png", np.zeros((40, 60, 3), np.uint8))
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 60, "height": 40}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 5, "bbox": [1, 2, 30, 20]}],
        "categories": [{"id": 5, "name": "disc"}],
    }
    (folder / "all.json").write_text(json.dumps(content))
    return folder / "all.json"


def test_forms_are_found_out_or_said(shapes, coco, masks):
    assert config("--data", shapes).read().classes == ("disc", "square")
    assert config("--data", shapes, "--format", "voc").read().classes == ("disc", "square")
    assert config("--data", coco).read().classes == ("disc",)
    assert config("--data", coco, "--format", "coco").read().classes == ("disc",)
    assert config("--data", masks).read().classes == ("object",)
    words = ("--data", masks, "--format", "masks", "--classes", "person")
    assert config(*words).read().classes == ("person",)
    with pytest.raises(DataError, match=r"no JSON file of COCO's form; found 7 \.png in JPEGI"):
        config("--data", shapes, "--format", "coco").read()
    with pytest.raises(DataError, match="no XML files"):
        config("--data", masks, "--format", "voc").read()
    with pytest.raises(SettingsError, match="yolo"):
        config("--data", shapes, "--format", "yolo")


def test_classes_are_those_wanted_in_their_order(shapes, masks):
    found = config("--data", shapes, "--classes", "square", "disc").read()
    assert found.classes == ("square", "disc")
    assert found.items[0].labels.tolist() == [0, 1]
    alone = config("--data", shapes, "--classes", "disc").read()
    assert alone.classes == ("disc",)
    assert [item.labels.tolist() for item in alone.items] == [[0]] * 7
    np.testing.assert_array_equal(alone.items[0].boxes, found.items[0].boxes[1:])
    assert alone.faults == (), "what is not wanted is no fault"
    assert config("--data", masks, "--classes", "person").read().classes == ("person",)
    with pytest.raises(DataError, match="shapes: no class 'dics'; there are disc, square"):
        config("--data", shapes, "--classes", "dics").read()


def test_several_sets_are_one(shapes, coco, masks):
    found = config("--data", shapes, coco, masks, "--classes", "disc").read()
    assert found.name == "shapes + coco all + masks"
    assert len(found) == 7 + 1 + 2
    assert found.classes == ("disc",)
    wanted = config("--data", coco, shapes, "--classes", "square", "disc").read()
    assert wanted.classes == ("square", "disc"), "though one of them has no squares"
    assert wanted.items[0].labels.tolist() == [1]
    assert config("--data", coco, shapes).read().classes == ("disc", "square")


def test_the_split_is_that_of_the_settings_or_another(shapes, tmp_path):
    folder = shutil.copytree(shapes, tmp_path / "copy")
    lists = folder / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("0\n1\n")
    (lists / "val.txt").write_text("2\n")
    settings = config("--data", folder, "--split", "train")
    assert [item.name for item in settings.read().items] == ["0.png", "1.png"]
    assert [item.name for item in settings.read("val").items] == ["2.png"]
    assert len(config("--data", folder).read()) == 7


def test_pictures_may_lie_elsewhere(shapes, coco, masks, tmp_path):
    (coco.parent / "a.png").rename(tmp_path / "a.png")
    assert len(config("--data", coco, "--images", tmp_path).read()) == 1
    (masks / "images").rename(tmp_path / "photos")
    assert len(config("--data", masks, "--images", tmp_path / "photos").read()) == 2
    folder = shutil.copytree(shapes, tmp_path / "copy")
    (folder / "JPEGImages").rename(tmp_path / "pictures")
    assert len(config("--data", folder, "--images", tmp_path / "pictures").read()) == 7


def test_parts_have_the_classes_of_all(coco, tmp_path):
    """As in Roboflow's valid/, where a rare class is missing."""
    for name, labels in (("train", ("disc", "cup")), ("valid", ("cup",))):
        content = json.loads(coco.read_text())
        (record,) = content["annotations"]
        numbered = list(enumerate(labels, 1))
        content["categories"] = [{"id": n, "name": label} for n, label in numbered]
        content["annotations"] = [{**record, "id": n, "category_id": n} for n, _ in numbered]
        save_image(tmp_path / "set" / name / "a.png", np.zeros((40, 60, 3), np.uint8))
        (tmp_path / "set" / name / "_annotations.coco.json").write_text(json.dumps(content))
    for words in ((), ("--classes", "disc", "cup")):
        seen, held_back = config("--data", tmp_path / "set", *words).read_parts(["train", "val"])
        assert seen.classes == held_back.classes == ("disc", "cup")
        assert held_back.items[0].labels.tolist() == [1]
    with pytest.raises(DataError, match="no class 'cap'"):
        config("--data", tmp_path / "set", "--classes", "cap").read()


def test_a_class_that_masks_do_not_name_can_be_named(masks):
    words = r"person finds person, and none of object; masks do not name their class: --classes"
    with pytest.raises(DataError, match=words):
        common_classes(config("--data", masks).read(), ("person",), "person")
    named = config("--data", masks, "--classes", "person").read()
    assert common_classes(named, ("person",), "person") == (named, ())


def test_groups_are_read_from_a_file(masks, tmp_path):
    file = tmp_path / "groups.txt"
    file.write_bytes("pair\r\nübrige\r\n".encode())
    settings = config("--data", masks, "--groups", file)
    assert {"pair", "übrige"} <= settings.group_names
    pair, single = settings.read().items
    assert (pair.crowd.tolist(), single.crowd.tolist()) == ([True], [False])
    assert config("--data", masks).group_names == frozenset()
    for content in (None, b"\xff\xfe\x00"):
        file.unlink() if content is None else file.write_bytes(content)
        with pytest.raises(DataError, match=r"groups\.txt cannot be read as text") as error:
            settings.read()
        assert "\n" not in str(error.value)


def test_strict_stops_at_the_first_fault(masks):
    (masks / "masks" / "pair.png").unlink()
    settings = config("--data", masks)
    assert len(settings.read()) == 1
    with pytest.raises(DataError, match=r"masks: images/pair.png: there is no mask"):
        config("--data", masks, "--strict").read()


def test_faults_are_said_a_line_each(masks, capsys):
    (masks / "masks" / "pair.png").unlink()
    report_faults(config("--data", masks).read())
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "left out: images/pair.png: there is no mask masks/pair.*\n"


def test_no_data_at_all_is_one_line():
    with pytest.raises(DataError, match="--data names no data set"):
        config("--data").read()
    with pytest.raises(DataError, match="no such folder"):
        config().read()
