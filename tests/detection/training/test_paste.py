"""Copy-paste: what is cut out, where it is laid, and what it hides."""

import numpy as np
import pytest

from atelier.errors import DataError
from atelier.media.images import save_image
from detection.training.paste import HIDDEN, LONGEST, CutOut, paste, read_cut_outs

GREEN = CutOut(
    np.full((60, 30, 3), (0, 255, 0), np.uint8), np.full((60, 30), 255, np.uint8), grounded=False
)
NOTHING = np.zeros((0, 4)), np.zeros(0, np.int32)


def laid(seed: int, cut_out=GREEN, size=(96, 128), boxes=NOTHING[0], labels=NOTHING[1]):
    image = np.zeros((*size, 3), np.uint8)
    return paste(image, boxes, labels, cut_out, 1, -1, np.random.default_rng(seed))


# === Laying over ===


@pytest.mark.parametrize("grounded", [False, True])
def test_the_box_is_around_what_was_laid(grounded):
    heights, bottoms, cut_off = [], [], 0
    for seed in range(120):
        image, boxes, labels = laid(seed, GREEN._replace(grounded=grounded))
        if not len(boxes):
            assert not image.any()
            continue
        (box,) = boxes
        rows, columns = (np.flatnonzero(image[..., 1].any(axis=axis)) for axis in (1, 0))
        np.testing.assert_array_equal(
            box, [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        )  # Within the picture, then.
        assert labels.tolist() == [1]
        assert labels.dtype == np.int32
        heights.append(box[3] - box[1])
        bottoms.append(box[3])
        cut_off += box[0] == 0 or box[2] == 128
    assert len(heights) > 80
    assert min(heights) < 20
    assert max(heights) > (80 if not grounded else 60)
    assert cut_off > 5
    assert (set(bottoms) == {96}) == grounded


def test_where_it_is_laid_depends_on_the_generator_alone():
    one, other = laid(3), laid(3)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(not np.array_equal(laid(3)[0], laid(seed)[0]) for seed in (4, 5))


def test_the_picture_that_is_given_stays():
    image = np.zeros((96, 128, 3), np.uint8)
    for seed in range(10):
        paste(image, *NOTHING, GREEN, 1, -1, np.random.default_rng(seed))
    assert not image.any()


def test_what_is_hidden_is_ignored_and_the_rest_stays():
    boxes, labels = np.array([[50.0, 30, 70, 60], [0, 0, 128, 96]]), np.array([2, 3], np.int32)
    hidden, partly = 0, 0
    for seed in range(200):
        _, found, names = laid(seed, boxes=boxes, labels=labels)
        np.testing.assert_array_equal(found[:2], boxes)
        if len(found) == 2:
            continue
        x1, y1, x2, y2 = found[2]
        wide, high = min(x2, 70) - max(x1, 50), min(y2, 60) - max(y1, 30)
        share = max(wide, 0) * max(high, 0) / 600
        assert names.tolist() == [-1 if share > HIDDEN else 2, 3, 1]
        hidden += share > HIDDEN
        partly += 0 < share < HIDDEN
    assert hidden > 5
    assert partly > 5


def test_only_the_mask_is_laid_and_its_edge_is_blended():
    opacity = np.zeros((60, 30), np.uint8)
    opacity[20:40, 10:20] = 255
    for seed in range(20):
        image, boxes, _ = laid(seed, GREEN._replace(mask=opacity), size=(240, 320))
        if len(boxes):
            x1, y1, x2, y2 = boxes[0].astype(int)
            image[max(0, y1 - 8) : y2 + 8, max(0, x1 - 8) : x2 + 8] = 0
        assert not image.any()


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (200, 3)])
def test_on_small_pictures_nothing_is_laid(size):
    for seed in range(20):
        image, boxes, labels = laid(seed, size=size)
        assert not image.any()
        assert (len(boxes), len(labels)) == (0, 0)


# === Cutting out ===


def put(folder, name, rectangles, size=(100, 150)):
    image, mask = np.full((*size, 3), 40, np.uint8), np.zeros(size, np.uint8)
    for x1, y1, x2, y2 in rectangles:
        image[y1:y2, x1:x2], mask[y1:y2, x1:x2] = (200, 60, 50), 255
    save_image(folder / "images" / f"{name}.png", image)
    save_image(folder / "masks" / f"{name}.png", mask)


def test_single_objects_are_cut_out(tmp_path):
    put(tmp_path, "a", [(20, 30, 60, 70)])
    put(tmp_path, "b", [(70, 40, 110, 100)])
    put(tmp_path, "c", [(0, 0, 40, 40), (60, 60, 90, 90)])
    put(tmp_path, "d", [])
    put(tmp_path, "e", [(20, 30, 60, 70)])
    put(tmp_path, "f", [(500, 20, 1000, 780)], size=(800, 1200))
    (tmp_path / "masks" / "a.txt").write_text("no mask")
    a, b, f = read_cut_outs(tmp_path, groups={"e"})
    assert [cut_out.grounded for cut_out in (a, b, f)] == [False, True, False]
    assert a.image.shape == (40, 40, 3)  # Small ones stay as they are.
    assert b.image.shape == (60, 40, 3)
    assert f.image.shape == (LONGEST, round(LONGEST * 500 / 760), 3)
    for cut_out in (a, b, f):
        assert cut_out.mask.shape == cut_out.image.shape[:2]
        assert cut_out.image.dtype == cut_out.mask.dtype == np.uint8
        assert (cut_out.image == (200, 60, 50)).all(), "nothing of the background"
        assert (cut_out.mask[8:-8, 8:-8] == 255).all()


def test_where_there_is_none_is_one_line(tmp_path):
    put(tmp_path, "c", [(0, 0, 40, 40), (60, 60, 90, 90)])
    with pytest.raises(DataError, match="no photo with a single object to cut out"):
        read_cut_outs(tmp_path)
    with pytest.raises(DataError, match="none must hold the folders images/ and masks/"):
        read_cut_outs(tmp_path / "none")
