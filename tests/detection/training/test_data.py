"""Batches to train on: reproducible, each picture once an epoch, boxes where the pixels are."""

import dataclasses

import numpy as np
import pytest

from atelier.nets.vgg import preprocess
from detection.annotations import Annotated, Dataset
from detection.network.architectures import LITE
from detection.network.transform import prepare
from detection.training import data
from detection.training.data import (
    IGNORE,
    augment,
    batches,
    collate,
    most_boxes,
    recolor,
    taught_labels,
)
from detection.training.paste import CutOut

SMALL = dataclasses.replace(LITE, min_size=96, max_size=128)
RED, BLUE = (52, 34, 84, 58), (10, 60, 50, 80)


def annotated(image, boxes=(), labels=(), **flags) -> Annotated:
    marks = {name: np.zeros(len(boxes), bool) for name in ("crowd", "difficult")}
    return Annotated(
        "a.png",
        image,
        image.shape[:2],
        np.asarray(boxes, np.float32).reshape(-1, 4),
        np.asarray(labels, np.int64),
        **{**marks, **{name: np.asarray(value, bool) for name, value in flags.items()}},
    )


@pytest.fixture
def picture() -> np.ndarray:
    """A red and a blue rectangle on black, uint8 (96, 128, 3)."""
    image = np.zeros((96, 128, 3), np.uint8)
    for (x1, y1, x2, y2), channel in ((RED, 0), (BLUE, 2)):
        image[y1:y2, x1:x2, channel] = 255
    return image


def colours(image: np.ndarray) -> np.ndarray:
    """RGB of what was normalised as Caffe has it."""
    return (image - preprocess(np.zeros((1, 1, 3), np.uint8)))[..., ::-1]


def around(bright: np.ndarray) -> np.ndarray:
    """The box of what is brighter than half of the brightest."""
    lit = bright > bright.max() / 2
    rows, columns = (np.flatnonzero(lit.any(axis=axis)) for axis in (1, 0))
    return np.array((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))


@pytest.mark.parametrize("flips", ["none", "horizontal", "all"])
def test_boxes_are_where_the_pixels_are(picture, flips):
    item = annotated(picture, [RED, BLUE], [0, 1])
    ways = set()
    for seed in range(150):
        rng = np.random.default_rng(seed)
        image, boxes, labels = augment(picture, item, SMALL, rng, side=96, flips=flips, jitter=1.4)
        assert image.dtype == boxes.dtype == np.float32
        assert labels.dtype == np.int32
        assert max(image.shape) <= 96
        assert (boxes >= 0).all()
        assert (boxes[:, 2:] <= image.shape[1::-1]).all()
        shown = colours(image)
        redness = shown[..., 0] - shown[..., 2]
        for box, label in zip(boxes, labels, strict=True):
            if (box[2:] - box[:2]).min() < 3:
                continue
            # The ignored one keeps its place, but its colour must be found out.
            x, y = ((box[:2] + box[2:]) / 2).astype(int)
            if label != IGNORE:
                assert (redness[y, x] > 0) == (label == 1)
            found = around(redness if redness[y, x] > 0 else -redness)
            np.testing.assert_allclose(found, box, atol=1.01)
        if list(labels) == [1, 2] and (boxes[:, 2:] < image.shape[1::-1]).all() and boxes.all():
            (x1, y1, *_), (x2, y2, *_) = boxes
            wide = np.ptp(boxes[1, ::2]) > np.ptp(boxes[1, 1::2])
            ways.add((bool(x1 > x2), bool(y1 < y2), bool(wide)))
    assert len(ways) == {"none": 1, "horizontal": 2, "all": 8}[flips]


def test_what_is_cropped_by_hand():
    """A square of 100 from (10, 20) on: whole, 30 of 100, 29 of 100, a line, outside."""
    boxes = np.array([
        (20, 30, 40, 50), (0, 30, 14.3, 40), (0, 30, 12.9, 40), (5, 19, 60, 20.01), (0, 0, 9, 9),
    ])  # fmt: skip
    found, labels = data._crop(boxes, np.array([1, 2, 3, 1, 1]), (20, 10), (100, 100, 3))
    expected = [(10, 10, 30, 30), (0, 10, 4.3, 20), (0, 10, 2.9, 20)]
    np.testing.assert_allclose(found, expected)
    np.testing.assert_array_equal(labels, [1, 2, IGNORE])


def test_crowds_and_difficult_objects_are_ignored(picture):
    item = annotated(picture, [RED] * 3, [4, 4, 4], crowd=[0, 1, 0], difficult=[0, 0, 1])
    np.testing.assert_array_equal(taught_labels(item), [5, IGNORE, IGNORE])
    rng = np.random.default_rng(0)
    *_, labels = augment(picture, item, SMALL, rng, side=192)
    np.testing.assert_array_equal(labels, [5, IGNORE, IGNORE])


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (2, 3)])
def test_pictures_a_pixel_wide(size):
    image = np.full((*size, 3), 200, np.uint8)
    item = annotated(image, [(0, 0, *size[::-1])], [0])
    for seed in range(12):
        rng = np.random.default_rng(seed)
        found, boxes, _ = augment(image, item, SMALL, rng, side=64, flips="all", jitter=1.4)
        assert min(found.shape[:2]) >= 1
        assert max(found.shape[:2]) <= 64
        assert np.isfinite(found).all()
        assert np.isfinite(boxes).all()


def test_size_varies_within_the_jitter_and_aspect_by_a_tenth_each_way(picture):
    item = annotated(picture, [RED], [0])
    areas, aspects = [], []
    for seed in range(200):
        image, *_ = augment(picture, item, SMALL, np.random.default_rng(seed), side=256, jitter=1.4)
        areas.append(np.sqrt(image.shape[0] * image.shape[1] / (96 * 128)))
        aspects.append(image.shape[1] / image.shape[0] * 96 / 128)
    assert 0.69 < min(areas) < 0.75
    assert 1.3 < max(areas) < 1.42
    assert 1 / 1.24 < min(aspects) < 0.86
    assert 1.16 < max(aspects) < 1.24


def test_some_squares_show_their_picture_whole(picture):
    item = annotated(picture, [(0, 0, 128, 96)], [0])
    whole = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        image, boxes, _ = augment(picture, item, SMALL, rng, side=64, jitter=1.4, whole=0.5)
        assert max(image.shape) <= 64
        whole += max(image.shape) > 1.05 * min(image.shape[:2])  # A crop of it is a square.
        np.testing.assert_array_equal(boxes, [(0, 0, image.shape[1], image.shape[0])])
    assert 35 < whole < 65


def test_colours_change_slightly():
    grey = np.full((8, 8, 3), 100, np.uint8)
    found = np.array([recolor(grey, np.random.default_rng(seed)) for seed in range(200)])
    assert found.dtype == np.uint8
    means = found.mean(axis=(1, 2, 3))
    assert 70 <= means.min() < 80
    assert 120 < means.max() <= 140
    assert np.ptp(found, axis=-1).max() <= 25


def test_padding_is_zero_and_of_no_class():
    batch = collate([(np.ones((5, 7, 3)), np.array([[1, 2, 3, 4]]), np.array([2]))], 64, 3)
    assert {name: (value.shape, value.dtype) for name, value in batch.items()} == {
        "images": ((1, 64, 64, 3), np.float32),
        "sizes": ((1, 2), np.float32),
        "boxes": ((1, 3, 4), np.float32),
        "labels": ((1, 3), np.int32),
    }
    np.testing.assert_array_equal(batch["sizes"], [[5, 7]])
    assert batch["images"].sum() == 5 * 7 * 3
    np.testing.assert_array_equal(batch["labels"], [[2, 0, 0]])
    np.testing.assert_array_equal(batch["boxes"][0], [[1, 2, 3, 4], [0] * 4, [0] * 4])


@pytest.mark.parametrize("antialias", [False, True])
def test_pictures_are_shrunk_as_in_use(antialias, monkeypatch):
    """Each fourth column is white: a quarter with antialiasing, unseen between two without."""
    image = np.zeros((384, 512, 3), np.uint8)
    image[:, ::4] = 255
    architecture = dataclasses.replace(SMALL, antialias=antialias)
    item = annotated(image)
    monkeypatch.setattr(data, "recolor", lambda square, rng: square)
    monkeypatch.setattr(data, "STRETCH", 1.0)
    monkeypatch.setattr(data, "load_image", lambda source: source)
    pictures = data.Pictures(Dataset("striped", (), (item,)), architecture, 1.0)
    square, *_ = augment(
        pictures[0], item, architecture, np.random.default_rng(0), side=192, flips="none"
    )
    used = prepare([image], architecture)["images"][0, : square.shape[0], : square.shape[1]]
    np.testing.assert_allclose(square, used, atol=0.51)
    assert colours(square).mean() == pytest.approx(63.75 if antialias else 0, abs=0.5)


# === Batches ===


@pytest.fixture
def dataset(picture) -> Dataset:
    """Five pictures, the first without an object, the last with two."""
    items = [annotated(picture)]
    items += [annotated(picture, [RED], [0]) for _ in range(3)]
    items += [annotated(picture, [RED, BLUE], [0, 1])]
    named = [dataclasses.replace(item, name=f"{n}") for n, item in enumerate(items)]
    return Dataset("drawn", ("red", "blue"), tuple(named))


def test_a_batch_depends_on_seed_and_step_alone(dataset):
    options = {"side": 64, "batch": 2, "flips": "all"}
    whole = [batch for (batch,) in batches(dataset, SMALL, steps=range(6), seed=3, **options)]
    assert len(whole) == 6
    resumed = [batch for (batch,) in batches(dataset, SMALL, steps=range(4, 6), seed=3, **options)]
    for one, other in zip(whole[4:], resumed, strict=True):
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])
    ((other,),) = batches(dataset, SMALL, steps=range(4, 5), seed=4, **options)
    assert not np.array_equal(whole[4]["images"], other["images"])
    assert not np.array_equal(whole[4]["images"], whole[5]["images"])
    for batch in whole:
        assert batch["images"].shape == (2, 64, 64, 3)
        assert batch["boxes"].shape == (2, 2, 4)
        assert batch["labels"].shape == (2, 2)
    assert max(batch["labels"].max() for batch in whole) == 2


def test_each_picture_comes_once_an_epoch_in_another_order(dataset, monkeypatch):
    seen = []
    real = data.augment

    def spy(image, item, *rest, **options):
        seen.append(item.name)
        return real(image, item, *rest, **options)

    monkeypatch.setattr(data, "augment", spy)
    list(batches(dataset, SMALL, side=64, batch=2, steps=range(10), seed=0))
    epochs = [seen[start : start + 5] for start in range(0, 20, 5)]
    assert all(sorted(epoch) == list("01234") for epoch in epochs)
    assert len(set(map(tuple, epochs))) > 1


def test_an_epoch_is_shuffled_once(dataset):
    data._order.cache_clear()
    list(batches(dataset, SMALL, side=64, batch=2, steps=range(10), seed=0))
    assert data._order.cache_info().misses == 4, "20 squares of 5 pictures"


def test_a_data_set_without_any_object_makes_batches(picture):
    dataset = Dataset("empty", ("red",), (annotated(picture),))
    assert most_boxes(dataset) == 1
    ((batch,),) = batches(dataset, SMALL, side=64, batch=3, steps=range(1), seed=0)
    assert batch["images"].shape == (3, 64, 64, 3)
    assert (batch["labels"] == 0).all()


def test_cut_outs_are_laid_over_some_squares_as_the_first_class(picture):
    dataset = Dataset("empty", ("green", "blue"), (annotated(picture),))
    green = CutOut(
        np.full((40, 20, 3), (0, 255, 0), np.uint8), np.full((40, 20), 255, np.uint8), False
    )
    found = list(
        batches(dataset, SMALL, side=96, batch=4, steps=range(5), seed=0, cut_outs=[green])
    )
    labels = np.concatenate([batch["labels"] for (batch,) in found])
    assert labels.shape == (20, 1 + data.PASTED)
    assert set(np.unique(labels)) <= {IGNORE, 0, 1}
    pasted = (labels != 0).any(axis=1)
    assert 4 < pasted.sum() < 16
    shown = np.concatenate([colours(batch["images"]) for (batch,) in found])
    greenness = (shown[..., 1] - np.maximum(shown[..., 0], shown[..., 2])).max(axis=(1, 2))
    np.testing.assert_array_equal(greenness > 40, pasted)


# === Pictures ===


def test_pictures_are_read_once_as_far_as_there_is_room(dataset, picture, monkeypatch):
    read = []

    def spy(image):
        read.append(1)
        return image

    monkeypatch.setattr(data, "load_image", spy)
    monkeypatch.setattr(data, "_CACHE_BYTES", 2 * picture.nbytes)
    pictures = data.Pictures(dataset, SMALL, 1.4)
    for _ in range(3):
        for index in range(5):
            np.testing.assert_array_equal(pictures[index], picture)
    assert sum(read) == 2 + 3 * 3
    assert pictures.room == 0


def test_pictures_are_kept_no_larger_than_needed():
    image = np.zeros((400, 600, 3), np.uint8)
    dataset = Dataset("large", ("red",), (annotated(image, [(0, 0, 300, 200)], [0]),))
    pictures = data.Pictures(dataset, SMALL, 1.4)
    # For use it has 85 × 128 pixels, and up to 1.4 times as many a side in training.
    assert pictures[0].shape == (119, 180, 3)
    rng = np.random.default_rng(0)
    found, boxes, _ = augment(pictures[0], dataset.items[0], SMALL, rng, side=256)
    height, width = found.shape[:2]
    wide = boxes[0, 2] - boxes[0, 0]
    np.testing.assert_allclose((wide, boxes[0, 3]), (width / 2, height / 2), rtol=1e-5)
