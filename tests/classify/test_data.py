"""CIFAR-10 from wherever it lies, what is refused in a line, and batches that can be had again."""

import pickle
import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from atelier.errors import DataError
from classify import data
from classify.data import (
    CLASSES,
    Batches,
    Split,
    crop,
    cut_out,
    draw_stand_in,
    hold_back,
    load_cifar10,
    to_float,
)


def refusal(folder) -> str:
    with pytest.raises(DataError) as caught:
        load_cifar10(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def assert_same(found, expected) -> None:
    for one, other in ((found.train, expected.train), (found.test, expected.test)):
        np.testing.assert_array_equal(one.images, other.images)
        np.testing.assert_array_equal(one.labels, other.labels)
        assert (one.images.dtype, one.labels.dtype) == (np.uint8, np.int64)


# === The official files ===


@pytest.mark.parametrize("place", ["", "cifar-10-batches-py"])
def test_official_files_are_found_in_their_folder_and_in_its_parent(official, drawn, place):
    found = load_cifar10(official / place)
    assert_same(found, drawn)
    assert found.source == "official python version"
    assert_same(load_cifar10(str(official / place)), drawn)


def test_rows_are_red_green_and_blue_planes_line_by_line(copy, official_bytes):
    row = np.arange(3072, dtype=np.uint32).astype(np.uint8)
    content = official_bytes({b"data": row[None], b"labels": [9]})
    (copy / "data_batch_1").write_bytes(content)
    image = load_cifar10(copy).train.images[0]
    for y, x, channel in ((0, 0, 0), (0, 5, 0), (3, 5, 0), (3, 5, 1), (31, 31, 2)):
        assert image[y, x, channel] == (1024 * channel + 32 * y + x) % 256


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_files_that_python_3_has_written_are_read_too(copy, drawn, protocol):
    part = drawn.train[:60]
    rows = np.ascontiguousarray(part.images.transpose(0, 3, 1, 2)).reshape(60, 3072)
    content = {b"data": rows, b"labels": part.labels.tolist()}
    (copy / "data_batch_1").write_bytes(pickle.dumps(content, protocol))
    assert_same(load_cifar10(copy), drawn)


@pytest.mark.parametrize("name", ["data_batch_4", "test_batch"])
def test_missing_batch_is_named(copy, name):
    (copy / name).unlink()
    assert refusal(copy) == f"{copy / name} is missing; unpack the official archive anew"


@pytest.mark.parametrize("kept", [0, 1, 0.3, 0.999])
def test_truncated_file_is_damaged(copy, kept):
    whole = (copy / "data_batch_3").read_bytes()
    (copy / "data_batch_3").write_bytes(whole[: int(kept * len(whole)) if kept < 1 else 1])
    line = refusal(copy)
    assert line.startswith(f"{copy / 'data_batch_3'} is damaged (")
    assert line.endswith("); unpack the official archive anew")


ROWS = np.zeros((2, 3072), np.uint8)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ([1, 2], ""),
        ({}, "'data'"),
        ({b"data": ROWS}, "'labels'"),
        ({b"data": None, b"labels": []}, "no pictures"),
        ({b"data": ROWS[0], b"labels": [1]}, "no pictures"),
        ({b"data": np.array(3, np.uint8), b"labels": [1]}, "no pictures"),
        ({b"data": ROWS[:, :1024], b"labels": [1, 2]}, "no pictures"),
        ({b"data": ROWS.reshape(2, 3, 32, 32), b"labels": [1, 2]}, "no pictures"),
        ({b"data": ROWS.astype(np.float32), b"labels": [1, 2]}, "no pictures"),
        ({b"data": ROWS, b"labels": [1]}, "no pictures"),
        ({b"data": ROWS, b"labels": [1.0, 2.0]}, "no pictures"),
        ({b"data": ROWS, b"labels": [[1], [2]]}, "no pictures"),
        ({b"data": ROWS, b"labels": [1, 10]}, "labels beyond 0 to 9"),
        ({b"data": ROWS, b"labels": [-1, 0]}, "labels beyond 0 to 9"),
    ],
)
def test_arrays_of_another_kind_are_damage(copy, official_bytes, content, reason):
    (copy / "data_batch_2").write_bytes(official_bytes(content))
    line = refusal(copy)
    assert line.startswith(f"{copy / 'data_batch_2'} is damaged (")
    assert reason in line


CALLS = []


def record(*_) -> None:
    CALLS.append("called")


class Asks:
    """Asks for a function's call when it is unpickled."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("where", ["alone", "among the labels"])
def test_functions_that_a_pickle_asks_for_are_not_called(copy, protocol, where):
    asks = Asks(record)
    content = asks if where == "alone" else {b"data": ROWS, b"labels": [asks, 1]}
    (copy / "data_batch_1").write_bytes(pickle.dumps(content, protocol))
    assert f"it asks for {record.__module__}.record" in refusal(copy)
    assert not CALLS


@pytest.mark.parametrize("function", [len, np.frombuffer, np.zeros, Asks])
def test_nothing_but_arrays_can_be_asked_for(copy, function):
    (copy / "test_batch").write_bytes(pickle.dumps(Asks(function, b"12"), 2))
    assert "it asks for " in refusal(copy)


@pytest.mark.parametrize(
    ("pickled", "reason"),
    [
        (b"cnumpy\nndarray\n((I2\nI3\nttR.", "an array of its own making"),
        (b"c_codecs\nencode\n(Vx\nVutf8\ntR.", "another encoding than latin1"),
        (b"}" + b")\x85" + b"K\1s.", "something else than values by name"),
        (b"}(" + b")\x85" + b"K\1u.", "something else than values by name"),
        (b"()\x85" + b"K\1d.", "something else than values by name"),
        (b"}}b.", "something else than arrays and plain values"),
        (b"\x80\x04\x8f.", "143"),
        (b"].", "no values by name but one list"),
        (pickle.dumps({b"data": np.array(["a"])}, 2), "arrays of something else than numbers"),
    ],
    ids=["ndarray", "encoding", "key", "keys", "dict", "state", "set", "list", "text"],
)
def test_what_batches_have_no_need_of_is_refused(copy, pickled, reason):
    (copy / "test_batch").write_bytes(pickled)
    line = refusal(copy)
    assert line.startswith(f"{copy / 'test_batch'} is damaged (")
    assert reason in line


# === Other places ===


def test_bytes_of_a_batch_are_bounded(copy, monkeypatch):
    load_cifar10(copy)
    monkeypatch.setattr(data, "BATCH_BYTES", 100)
    assert "larger than 100 bytes" in refusal(copy)


class Builder:
    """Takes the place of tensorflow-datasets' builder."""

    def __init__(self, drawn, ready: bool = True):
        self.drawn, self.ready, self.asked = drawn, ready, []

    def __call__(self, name, data_dir=None):
        self.asked.append((name, data_dir))
        return self

    def as_dataset(self, split, batch_size):
        if not self.ready:
            raise AssertionError("Dataset cifar10:\n could not find data in /somewhere.")
        assert batch_size == -1
        return tuple(
            {"image": getattr(self.drawn, name).images, "label": getattr(self.drawn, name).labels}
            for name in split
        )


@pytest.fixture
def places(monkeypatch, drawn):
    """Gives what is asked of tensorflow-datasets; sets whether it and Keras have the data."""

    def have(*, keras_has: bool, tfds_has: bool) -> Builder:
        def load_data():
            print("Downloading data")
            if not keras_has:
                raise Exception("URL fetch failure on\n https://www.cs.toronto.edu: None")
            return tuple((s.images, s.labels.astype(np.uint8)[:, None]) for s in splits)

        splits = (drawn.train, drawn.test)
        builder = Builder(drawn, tfds_has)
        monkeypatch.setattr(keras.datasets.cifar10, "load_data", load_data)
        monkeypatch.setitem(sys.modules, "tensorflow_datasets", SimpleNamespace(builder=builder))
        return builder

    return have


def test_keras_cache_comes_first(places, drawn, capsys):
    builder = places(keras_has=True, tfds_has=True)
    found = load_cifar10()
    assert_same(found, drawn)
    assert found.source == "keras.datasets.cifar10"
    assert builder.asked == []
    assert capsys.readouterr().out == "", "progress is no result of a command"


def test_what_tensorflow_datasets_has_comes_second(places, drawn):
    builder = places(keras_has=False, tfds_has=True)
    found = load_cifar10()
    assert_same(found, drawn)
    assert found.source == "tensorflow-datasets cifar10"
    assert builder.asked == [("cifar10", None)]


def test_nowhere_is_one_line_with_both_reasons_and_a_way_out(places):
    places(keras_has=False, tfds_has=False)
    line = refusal(None)
    assert "keras.datasets: URL fetch failure" in line
    assert "tensorflow-datasets: Dataset cifar10: could not find data" in line
    assert "pass --data DIR with the official cifar-10-batches-py" in line


def test_folder_of_tensorflow_datasets_is_known_by_its_name(places, drawn, tmp_path):
    builder = places(keras_has=False, tfds_has=True)
    (tmp_path / "cifar10").mkdir()
    found = load_cifar10(tmp_path)
    assert_same(found, drawn)
    assert found.source == "tensorflow-datasets cifar10"
    assert builder.asked == [("cifar10", str(tmp_path))]


def test_folder_of_tensorflow_datasets_that_is_damaged(places, tmp_path):
    places(keras_has=True, tfds_has=False)
    (tmp_path / "cifar10").mkdir()
    assert refusal(tmp_path).startswith(
        f"{tmp_path / 'cifar10'} is damaged (Dataset cifar10: could"
    )


def test_other_folders_say_what_was_looked_for(tmp_path):
    assert refusal(tmp_path / "nowhere") == f"{tmp_path / 'nowhere'}: no such folder"
    (tmp_path / "notes.txt").write_text("no data")
    assert refusal(tmp_path / "notes.txt").endswith("no such folder")
    line = refusal(tmp_path)
    for words in (
        f"{tmp_path} holds no CIFAR-10",
        "data_batch_1",
        "cifar-10-batches-py",
        "cifar10/",
    ):
        assert words in line


def test_stand_in_has_the_form_of_the_data():
    drawn = draw_stand_in(50, 20, seed=3)
    assert (len(drawn.train), len(drawn.test)) == (50, 20)
    for split in (drawn.train, drawn.test):
        assert split.images.shape == (len(split), 32, 32, 3)
        assert (split.images.dtype, split.labels.dtype) == (np.uint8, np.int64)
        assert set(split.labels) == set(range(10))
    assert_same(draw_stand_in(50, 20, seed=3), drawn)
    assert (draw_stand_in(50, 20, seed=4).train.images != drawn.train.images).any()


def test_the_last_pictures_are_held_back(drawn):
    seen, held_back = hold_back(drawn.train, 40)
    assert (len(seen), len(held_back)) == (260, 40)
    np.testing.assert_array_equal(seen.images, drawn.train.images[:260])
    np.testing.assert_array_equal(held_back.labels, drawn.train.labels[260:])
    seen, held_back = hold_back(drawn.train, 0)
    assert (len(seen), len(held_back)) == (300, 0)


def test_classes_are_cifar_10s():
    assert CLASSES[0] == "airplane"
    assert CLASSES[3] == "cat"
    assert CLASSES[9] == "truck"
    assert len(set(CLASSES)) == 10


# === Batches ===


@pytest.fixture
def pictures(rng) -> Split:
    """90 random pictures."""
    images = rng.integers(90, 256, (90, 32, 32, 3), dtype=np.uint8)
    return Split(images, np.arange(90) % 10)


@pytest.fixture
def marked() -> Split:
    """90 pictures: their number in blue everywhere, and red in the left half alone."""
    images = np.zeros((90, 32, 32, 3), np.uint8)
    images[..., 2] = np.arange(90)[:, None, None]
    images[:, :, :16, 0] = 255
    return Split(images, np.arange(90) % 10)


def epoch_of(batches: Batches) -> tuple[np.ndarray, np.ndarray]:
    """All pictures, as uint8, and labels of an epoch; then the next one is begun."""
    images, labels = zip(*(batches[i] for i in range(len(batches))), strict=True)
    batches.on_epoch_end()
    return np.rint(np.concatenate(images) * 255).astype(np.uint8), np.concatenate(labels)


def mirrored(batches: Batches) -> np.ndarray:
    """Of an epoch of `marked`: whether each picture is mirrored, by its number."""
    images, _ = epoch_of(batches)
    result = np.zeros(len(images), bool)
    result[images[:, 16, 16, 2]] = images[:, 16, 24, 0] == 255
    return result


AUGMENTED = {"flip": "random", "translate": 3, "cutout": 8}


def test_plain_batches_are_the_pictures_in_random_order(pictures):
    batches = Batches(pictures, batch=32, seed=5)
    images, labels = epoch_of(batches)
    assert (labels.sum(axis=1) == 1).all()
    order = [int(np.flatnonzero((pictures.images == image).all((1, 2, 3)))[0]) for image in images]
    assert sorted(order) == list(range(90)), "each once"
    assert order != sorted(order)
    np.testing.assert_array_equal(labels.argmax(axis=1), pictures.labels[order])
    again, _ = epoch_of(batches)
    assert (again != images).any(), "another order in each epoch"


def test_pictures_are_float32_from_0_to_1_and_labels_one_hot(pictures):
    images, labels = Batches(pictures, batch=4)[0]
    assert (images.shape, images.dtype) == ((4, 32, 32, 3), np.float32)
    assert (labels.shape, labels.dtype) == ((4, 10), np.float32)
    assert set(np.unique(labels)) == {0, 1}
    assert to_float(np.uint8([0, 51, 255])).tolist() == [0, np.float32(0.2), 1]


@pytest.mark.parametrize(
    ("batch", "sizes"), [(32, [32, 32, 26]), (45, [45, 45]), (90, [90]), (100, [90]), (89, [89, 1])]
)
def test_last_batch_holds_what_is_left(pictures, batch, sizes):
    batches = Batches(pictures, batch=batch)
    assert [len(batches[i][1]) for i in range(len(batches))] == sizes


def test_a_batch_depends_on_seed_epoch_and_place_alone(pictures):
    one = Batches(pictures, batch=20, seed=1, **AUGMENTED)
    other = Batches(pictures, batch=20, seed=1, **AUGMENTED)
    last = other[4]  # Another order of asking.
    for i in range(4):
        for a, b in zip(one[i], other[i], strict=True):
            np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(one[4][0], last[0])
    assert (Batches(pictures, batch=20, seed=2, **AUGMENTED)[0][0] != one[0][0]).any()
    assert (one[1][0] != one[0][0]).any()


@pytest.mark.parametrize("flip", ["random", "alternating"])
def test_training_that_goes_on_sees_what_it_would_have_seen(pictures, flip):
    options = {**AUGMENTED, "flip": flip, "batch": 20, "seed": 1}
    whole, resumed = Batches(pictures, **options), Batches(pictures, epoch=3, **options)
    for _ in range(3):
        epoch_of(whole)
    for _ in range(2):
        for a, b in zip(epoch_of(whole), epoch_of(resumed), strict=True):
            np.testing.assert_array_equal(a, b)


def test_pictures_themselves_are_left_as_they_are(pictures):
    before = pictures.images.copy()
    for translate in (0, 2):
        epoch_of(Batches(pictures, batch=20, flip="random", translate=translate, cutout=8))
    np.testing.assert_array_equal(pictures.images, before)


def test_alternating_flip_shows_each_picture_the_other_way_round_in_each_epoch(marked):
    batches = Batches(marked, batch=32, flip="alternating")
    first, second, third = (mirrored(batches) for _ in range(3))
    assert 25 < first.sum() < 65, "about half of them at first"
    np.testing.assert_array_equal(second, ~first)
    np.testing.assert_array_equal(third, first)
    other_seed = mirrored(Batches(marked, batch=32, flip="alternating", seed=1))
    assert (other_seed != first).any()


def test_random_flip_is_drawn_anew(marked):
    batches = Batches(marked, batch=32, flip="random")
    first, second = mirrored(batches), mirrored(batches)
    for epoch in (first, second):
        assert 25 < epoch.sum() < 65
    assert 25 < (first ^ second).sum() < 65


def test_without_flip_none_is_mirrored(marked):
    batches = Batches(marked, batch=32)
    assert not mirrored(batches).any()
    assert not mirrored(batches).any()


def test_translation_crops_the_mirrored_continuation(rng):
    image = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    split = Split(np.repeat(image[None], 300, axis=0), np.zeros(300, np.int64))
    images, _ = epoch_of(Batches(split, batch=150, translate=2))
    padded = np.pad(image, ((2, 2), (2, 2), (0, 0)), mode="reflect")
    assert (padded[0] == padded[4]).all(), "the border itself is not repeated"
    windows = {(y, x): padded[y : y + 32, x : x + 32].tobytes() for y in range(5) for x in range(5)}
    found = [image.tobytes() for image in images]
    assert set(found) == set(windows.values()), "each of the 25 places, and no other"


def test_crop_takes_each_pictures_own_corner(rng):
    images = rng.integers(0, 256, (3, 36, 38, 3), dtype=np.uint8)
    corners = np.array([[0, 0], [4, 6], [1, 5]])
    for found, image, (y, x) in zip(crop(images, corners), images, corners, strict=True):
        np.testing.assert_array_equal(found, image[y : y + 32, x : x + 32])


@pytest.mark.parametrize(
    ("centre", "side", "rows", "columns"),
    [
        ((16, 10), 8, (12, 20), (6, 14)),
        ((16, 10), 5, (14, 19), (8, 13)),
        ((0, 31), 8, (0, 4), (27, 32)),
        ((31, 0), 3, (30, 32), (0, 2)),
        ((16, 16), 32, (0, 32), (0, 32)),
    ],
)
def test_cutout_is_a_grey_square_as_far_as_it_lies_inside(centre, side, rows, columns):
    images = np.ones((2, 32, 32, 3), np.float32)
    cut_out(images, np.array([centre, (3, 3)]), side)
    expected = np.ones((32, 32, 3))
    expected[slice(*rows), slice(*columns)] = 0.5
    np.testing.assert_array_equal(images[0], expected)


def test_augmentation_is_another_in_each_epoch(rng):
    image = rng.integers(0, 128, (32, 32, 3), dtype=np.uint8)
    split = Split(np.repeat(image[None], 50, axis=0), np.zeros(50, np.int64))
    for name, value in AUGMENTED.items():
        batches = Batches(split, batch=50, **{name: value})
        first, second = epoch_of(batches)[0], epoch_of(batches)[0]
        assert (first != second).any(), name


def test_cutout_covers_a_place_of_its_own_in_each_picture():
    split = Split(np.full((60, 32, 32, 3), 255, np.uint8), np.zeros(60, np.int64))
    images, _ = Batches(split, batch=60, cutout=8)[0]
    covered = (images == 0.5).all(axis=-1)
    assert (covered | (images == 1).all(axis=-1)).all()
    areas = covered.sum(axis=(1, 2))
    assert areas.max() == 64
    assert areas.min() >= 16
    assert len(np.unique(covered.reshape(60, -1), axis=0)) > 50
