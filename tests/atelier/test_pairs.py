"""Photos and masks: whose is whose, in folders of any depth and case."""

import numpy as np
import pytest

from atelier.errors import DataError
from atelier.media.images import save_image
from atelier.media.pairs import find_pairs, mask_folders


def put(folder, *names):
    for name in names:
        save_image(folder / name, np.zeros((4, 4, 3), np.uint8))


def named(folder, **options) -> dict[str, str | None]:
    pairs = find_pairs(folder, **options).pairs
    return {pair.name: pair.mask and pair.mask.relative_to(folder).as_posix() for pair in pairs}


def test_names_alike_belong_together(tmp_path):
    put(tmp_path, "images/b.jpg", "images/a.png", "masks/a.png", "masks/b.png")
    assert named(tmp_path) == {"a.png": "masks/a.png", "b.jpg": "masks/b.png"}


def test_folders_may_be_of_any_case_and_depth(tmp_path):
    put(tmp_path, "Images/cam 1/a.png", "Images/cam2/a.png", "Images/c.png")
    put(tmp_path, "MASKS/cam 1/a.png", "MASKS/Cam2/A.png", "MASKS/c.png")
    assert named(tmp_path) == {
        "c.png": "MASKS/c.png",
        "cam 1/a.png": "MASKS/cam 1/a.png",
        "cam2/a.png": "MASKS/Cam2/A.png",
    }


def test_a_mask_elsewhere_is_taken_where_its_name_is_the_only_one(tmp_path):
    put(tmp_path, "images/x/a.png", "images/x/b.png", "images/y/b.png")
    put(tmp_path, "masks/a.png", "masks/b.png")
    found = find_pairs(tmp_path)
    assert [pair.mask and pair.mask.name for pair in found.pairs] == ["a.png", None, None]
    assert found.pairs[1].problem == "there is no mask masks/x/b.*"
    assert found.stray == (tmp_path / "masks" / "b.png",)


@pytest.mark.parametrize("name", ["a_mask.gif", "a-seg.png", "A_GT.png", "a_Segmentation.png"])
def test_masks_may_be_named_as_such(tmp_path, name):
    put(tmp_path, "images/a.png")
    save_image(tmp_path / "masks" / "a.png", np.zeros((4, 4, 3), np.uint8))
    (tmp_path / "masks" / "a.png").rename(tmp_path / "masks" / name)
    assert named(tmp_path) == {"a.png": f"masks/{name}"}


def test_two_masks_of_a_name_are_neither(tmp_path):
    put(tmp_path, "images/a.png", "masks/a.png", "masks/a.jpg")
    (pair,) = find_pairs(tmp_path).pairs
    assert pair.mask is None
    assert pair.problem == "several masks are of its name: a.jpg, a.png"


def test_sets_below_are_one(tmp_path):
    put(tmp_path, "train/images/a.png", "train/masks/a.png")
    put(tmp_path, "deep/valid/images/a.png", "deep/valid/masks/a.png", ".old/images/a.png")
    put(tmp_path, ".old/masks/a.png")
    assert named(tmp_path) == {
        "deep/valid/a.png": "deep/valid/masks/a.png", "train/a.png": "train/masks/a.png",
    }  # fmt: skip
    assert len(list(mask_folders(tmp_path))) == 2


@pytest.mark.parametrize("masks", ["masks", "."])
def test_photos_may_lie_elsewhere(tmp_path, masks):
    put(tmp_path, "photos/a.png", f"set/{masks}/a.png")
    assert named(tmp_path / "set", images=tmp_path / "photos") == {
        "a.png": "a.png" if masks == "." else "masks/a.png"
    }


def test_photos_and_masks_may_share_a_folder(tmp_path):
    put(tmp_path, "a.png", "a_mask.png")
    assert named(tmp_path, images=tmp_path) == {"a.png": "a_mask.png"}


def test_other_files_are_no_photos(tmp_path):
    put(tmp_path, "images/a.png", "images/.b.png", "masks/a.png")
    (tmp_path / "images" / "notes.txt").write_text("nothing")
    assert named(tmp_path) == {"a.png": "masks/a.png"}


def test_folders_that_are_missing_are_one_line(tmp_path):
    with pytest.raises(DataError, match="must hold the folders images/ and masks/"):
        find_pairs(tmp_path / "none")
    with pytest.raises(DataError, match="nowhere: no such folder"):
        find_pairs(tmp_path, tmp_path / "nowhere")
