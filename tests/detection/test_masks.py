"""Photos with masks: a box around each part, and faults by name."""

import numpy as np
import pytest

from atelier.errors import DataError
from atelier.media.images import save_image
from detection.annotations import FaultError, read_dataset
from detection.annotations.masks import is_masks, parts, read_mask, read_masks
from detection.sources import DataConfig


def mask(*rectangles, size=(100, 100)) -> np.ndarray:
    drawn = np.zeros(size, np.uint8)
    for x1, y1, x2, y2 in rectangles:
        drawn[y1:y2, x1:x2] = 255
    return drawn


def put(folder, name, drawn, size=(100, 100), suffix=".png"):
    save_image(folder / "images" / f"{name}.png", np.full((*size, 3), 90, np.uint8))
    if drawn is not None:
        save_image(folder / "masks" / f"{name}{suffix}", drawn)


@pytest.fixture
def folder(tmp_path):
    """Three photos: of one object, of two with a speck, of nothing."""
    put(tmp_path / "set", "a", mask((10, 20, 40, 60)))
    put(tmp_path / "set", "b", mask((0, 0, 20, 20), (50, 50, 100, 100), (90, 5, 95, 10)))
    put(tmp_path / "set", "c", mask())
    return tmp_path / "set"


def fault(folder, **options) -> str:
    """The one fault of reading a folder; strictly read, the same is the error's text."""
    (line,) = map(str, read_masks(folder, **options).faults)
    with pytest.raises(DataError) as error:
        read_masks(folder, strict=True, **options)
    assert str(error.value) == f"{folder.name}: {line}"
    return line


def test_parts_by_hand():
    """Of 10,000 pixels, 50 are an object, 49 a speck, 2 still are one, and 1 is nothing."""
    drawn = mask((0, 0, 10, 5), (20, 0, 27, 7), (40, 0, 42, 1), (60, 0, 61, 1)) > 0
    found = [(box.tolist(), speck) for box, speck in parts(drawn)]
    assert found == [([0, 0, 10, 5], False), ([20, 0, 27, 7], True), ([40, 0, 42, 1], True)]
    assert parts(mask() > 0) == []
    (whole,) = parts(~mask() > 0)
    np.testing.assert_array_equal(whole[0], [0, 0, 100, 100])


def test_what_touches_at_a_corner_hangs_together():
    (found,) = parts(mask((10, 10, 20, 20), (20, 20, 30, 30)) > 0)
    np.testing.assert_array_equal(found[0], [10, 10, 30, 30])


def test_photos_with_masks_by_hand(folder):
    assert is_masks(folder)
    found = read_dataset(folder)
    assert (found.name, found.classes, found.faults) == ("set", ("object",), ())
    a, b, c = found.items
    assert [item.name for item in found.items] == ["a.png", "b.png", "c.png"]
    np.testing.assert_array_equal(a.boxes, [[10, 20, 40, 60]])
    assert a.boxes.dtype == np.float32
    by_place = dict(zip(map(tuple, b.boxes.tolist()), b.crowd.tolist(), strict=True))
    assert by_place == {
        (0, 0, 20, 20): False, (50, 50, 100, 100): False, (90, 5, 95, 10): True,
    }  # fmt: skip
    assert c.boxes.shape == (0, 4)
    assert read_masks(folder, classes=("person",)).classes == ("person",)


def test_photos_of_groups_are_crowds_altogether(folder):
    a, b, _ = read_masks(folder, groups=("b", "z")).items
    assert a.crowd.tolist() == [False]
    assert b.crowd.tolist() == [True] * 3


@pytest.mark.parametrize("size", [(50, 50), (201, 200), (99, 100)])
def test_a_mask_is_brought_to_its_photos_size(tmp_path, size):
    drawn = mask((0, 0, size[1] // 2, size[0]), size=size)
    save_image(tmp_path / "mask.png", drawn)
    found = read_mask(tmp_path / "mask.png", (100, 100))
    assert found.shape == (100, 100)
    assert found.dtype == bool
    assert found[:, :49].all()
    assert not found[:, 51:].any()


def test_another_photos_mask_is_a_fault(folder, tmp_path):
    put(folder, "b", mask(size=(100, 105)))
    assert fault(folder) == "images/b.png: its mask has 105×100 pixels, and it 100×100"
    with pytest.raises(FaultError, match="105×100"):
        read_mask(folder / "masks" / "b.png", (100, 100))
    assert [item.name for item in read_masks(folder).items] == ["a.png", "c.png"]


def test_a_missing_or_damaged_mask_is_a_fault(folder):
    (folder / "masks" / "b.png").write_text("no picture")
    assert "images/b.png: " in fault(folder)
    (folder / "masks" / "b.png").unlink()
    assert fault(folder) == "images/b.png: there is no mask masks/b.*"


def test_a_damaged_photo_is_a_fault_and_other_files_are_none(folder):
    (folder / "images" / "b.png").write_bytes(b"")
    (folder / "images" / "notes.txt").write_text("nothing")
    (folder / "images" / ".hidden.png").write_text("nothing")
    (folder / "masks" / "a.txt").write_text("nothing")
    assert "images/b.png: the picture cannot be read" in fault(folder)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"split": "train"}, "no split 'train'; folders of photos are: none"),
        ({"classes": ("a", "b")}, "a folder with masks has one class, not 2"),
    ],
)
def test_what_masks_cannot_say_is_refused(folder, options, words):
    with pytest.raises(DataError, match=words):
        read_masks(folder, **options)


def test_folders_of_photos_are_splits(tmp_path):
    for place, name in (("train", "a"), ("valid", "b")):
        drawn = np.full((100, 100, 3), 90, np.uint8)
        save_image(tmp_path / "images" / place / f"{name}.png", drawn)
        save_image(tmp_path / "masks" / place / f"{name}.png", mask((10, 20, 40, 60)))
    assert [item.name for item in read_dataset(tmp_path).items] == ["train/a.png", "valid/b.png"]
    (item,) = read_dataset(tmp_path, "val").items
    assert item.name == "valid/b.png"
    (item,) = read_masks(tmp_path, "train", groups=("train/a",)).items
    assert item.crowd.all()


def test_masks_without_a_photo_are_named(folder):
    (folder / "images" / "b.png").unlink()
    found = read_masks(folder, strict=True)
    assert len(found) == 2
    assert [str(note) for note in found.notes] == ["set: 1 mask is without a photo (masks/b.png)"]


def test_photos_may_lie_elsewhere(folder, tmp_path):
    (folder / "images").rename(tmp_path / "photos")
    found = read_dataset(folder, images=tmp_path / "photos")
    assert [len(item.boxes) for item in found.items] == [1, 3, 0]


def test_no_such_folder_is_one_line(tmp_path):
    assert not is_masks(tmp_path / "none")
    with pytest.raises(DataError, match="none must hold the folders images/ and masks/"):
        read_masks(tmp_path / "none")


def test_a_mask_of_0_and_1_shows_its_object(tmp_path):
    put(tmp_path, "a", mask((60, 10, 90, 80)) // 255)
    (item,) = read_masks(tmp_path).items
    np.testing.assert_array_equal(item.boxes, [[60, 10, 90, 80]])


def test_a_mask_that_numbers_its_objects_shows_each(tmp_path):
    """The second object lies in two parts, and touches the first."""
    drawn = mask((10, 10, 40, 60)) // 255
    drawn[20:50, 40:60] = 2
    drawn[20:50, 70:90] = 2
    put(tmp_path, "a", drawn)
    (item,) = read_masks(tmp_path, groups=("a",)).items
    np.testing.assert_array_equal(item.boxes, [[10, 10, 40, 60], [40, 20, 90, 50]])
    assert not item.crowd.any()


def test_colours_tell_objects_apart_that_touch(tmp_path):
    drawn = np.zeros((100, 100, 3), np.uint8)
    drawn[10:60, 10:40] = 200, 0, 0
    drawn[20:50, 40:60] = 0, 200, 0
    drawn[70:90, 70:90] = 0, 200, 0
    put(tmp_path, "a", drawn)
    (item,) = read_masks(tmp_path).items
    boxes = sorted(map(tuple, item.boxes.tolist()))
    assert boxes == [(10, 10, 40, 60), (40, 20, 60, 50), (70, 70, 90, 90)]


def test_data_without_one_object_is_an_error(tmp_path):
    put(tmp_path / "set", "a", mask())
    put(tmp_path / "set", "b", mask((5, 5, 8, 8)))  # A speck.
    with pytest.raises(DataError, match="none of the 2 pictures shows an object of the classes"):
        DataConfig(data=(str(tmp_path / "set"),)).read()
