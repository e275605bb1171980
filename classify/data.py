"""CIFAR-10, from wherever it lies, and its batches for training.

60,000 photos of 32×32 pixels in ten classes (Krizhevsky, 2009): 50,000 to train, 10,000 to test.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import math
import os
import sys
from pathlib import Path

import keras
import numpy as np

from atelier.errors import DataError
from atelier.files import read_bounded
from classify.pickles import load_batch

BATCH_BYTES = 100_000_000
"""Batches larger than this are refused; the official ones have 31 million."""

CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
"""The names of the labels 0 to 9."""

SIDE = 32
"""Pixels a side of each picture."""

OFFICIAL = "cifar-10-batches-py"
"""The folder in the archive that the data's authors publish."""


@dataclasses.dataclass(frozen=True)
class Split:
    """Pictures and their labels."""

    images: np.ndarray
    """uint8 (N, 32, 32, 3), RGB."""
    labels: np.ndarray
    """int64 (N,), places in `CLASSES`."""

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, chosen) -> Split:
        return Split(self.images[chosen], self.labels[chosen])


@dataclasses.dataclass(frozen=True)
class Cifar10:
    """The data set, and where it was found."""

    train: Split
    test: Split
    source: str
    """In words, for cards and messages."""


# === Where it comes from ===


def load_cifar10(folder: str | os.PathLike | None = None) -> Cifar10:
    """CIFAR-10 from a folder, or from the caches of Keras and of tensorflow-datasets.

    Args:
        folder: one that holds the official batches (`data_batch_1` …), or holds the folder
            `cifar-10-batches-py`, or is a data folder of tensorflow-datasets with `cifar10` in it.
            None takes `keras.datasets.cifar10`, which downloads it once, or else what
            tensorflow-datasets has prepared.

    Raises:
        DataError: it is not there, or damaged; the text says what was looked for.
    """
    if folder is not None:
        return _from_folder(Path(folder))
    reasons = []
    for name, load in {"keras.datasets": _from_keras, "tensorflow-datasets": _from_tfds}.items():
        try:
            return load()
        except Exception as error:  # Offline, both raise what their lower floors raise.
            reasons.append(f"{name}: {' '.join(str(error).split())[:160] or type(error).__name__}")
    raise DataError(
        f"CIFAR-10 is not here and cannot be fetched ({'; '.join(reasons)}): connect to the "
        f"network once, or pass --data DIR with the official {OFFICIAL}"
    )


def _from_folder(folder: Path) -> Cifar10:
    for candidate in (folder, folder / OFFICIAL):
        if (candidate / "data_batch_1").is_file():
            return _official(candidate)
    if (folder / "cifar10").is_dir():
        try:
            return _from_tfds(folder)
        except Exception as error:
            reason = " ".join(str(error).split())[:160]
            raise DataError(f"{folder / 'cifar10'} is damaged ({reason})") from None
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    raise DataError(
        f"{folder} holds no CIFAR-10: looked for data_batch_1 and {OFFICIAL}/data_batch_1 (the "
        f"official python version), and for cifar10/ (as tensorflow-datasets prepares it)"
    )


def _official(folder: Path) -> Cifar10:
    train = [_batch(folder / f"data_batch_{number}") for number in range(1, 6)]
    return Cifar10(
        train=Split(
            np.concatenate([part.images for part in train]),
            np.concatenate([part.labels for part in train]),
        ),
        test=_batch(folder / "test_batch"),
        source="official python version",
    )


def _batch(file: Path) -> Split:
    """One file of the official python version: a dictionary of `data` (N, 3072) and `labels`."""
    try:
        content = load_batch(io.BytesIO(read_bounded(file, BATCH_BYTES)))
        rows, labels = np.asarray(content["data"]), np.asarray(content["labels"])
    except FileNotFoundError:
        raise DataError(f"{file} is missing; unpack the official archive anew") from None
    except Exception as error:  # A damaged pickle raises a dozen kinds of error.
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise DataError(f"{file} is damaged ({reason}); unpack the official archive anew") from None
    whole = rows.dtype == np.uint8 and rows.ndim == 2 and rows.shape[1] == 3 * SIDE * SIDE
    if not whole or labels.shape != (len(rows),) or labels.dtype.kind != "i":
        raise DataError(f"{file} is damaged (its arrays are no pictures with labels)")
    if len(labels) and not (labels.min() >= 0 and labels.max() < len(CLASSES)):
        raise DataError(f"{file} is damaged (labels beyond 0 to 9)")
    images = rows.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
    return Split(np.ascontiguousarray(images), labels.astype(np.int64))


def _from_keras() -> Cifar10:
    with contextlib.redirect_stdout(sys.stderr):  # Of the download's progress.
        arrays = keras.datasets.cifar10.load_data()
    train, test = (Split(images, labels.ravel().astype(np.int64)) for images, labels in arrays)
    return Cifar10(train, test, "keras.datasets.cifar10")


def _from_tfds(folder: Path | None = None) -> Cifar10:
    import tensorflow_datasets as tfds  # Slow to import, and needed by few.

    builder = tfds.builder("cifar10", data_dir=folder and str(folder))
    splits = builder.as_dataset(split=("train", "test"), batch_size=-1)
    train, test = (
        Split(np.asarray(part["image"]), np.asarray(part["label"], np.int64)) for part in splits
    )
    return Cifar10(train, test, "tensorflow-datasets cifar10")


def draw_stand_in(train: int = 500, test: int = 100, seed: int = 0) -> Cifar10:
    """Drawn pictures in CIFAR-10's form, to see in seconds that a training runs, without the data.

    Each class has stripes of its own direction and colour, at a random phase, in noise.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]

    def draw(count: int) -> Split:
        labels = np.arange(count) % len(CLASSES)
        angles, phases = labels[:, None, None] * np.pi / len(CLASSES), rng.random((count, 1, 1))
        waves = np.sin((x * np.cos(angles) + y * np.sin(angles)) * 0.8 + 2 * np.pi * phases)
        colours = 60 * np.stack([np.cos(labels * k) for k in (1, 2, 3)], axis=-1)
        noise = rng.normal(0, 40, (count, SIDE, SIDE, 3))
        images = 128 + waves[..., None] * colours[:, None, None] + noise
        return Split(np.clip(images, 0, 255).astype(np.uint8), labels.astype(np.int64))

    return Cifar10(draw(train), draw(test), "drawn stand-in")


def hold_back(split: Split, count: int) -> tuple[Split, Split]:
    """All but the last `count` pictures, to train on, and those, on which to set what is not
    trained: the temperature and the threshold of rejection."""
    return split[: len(split) - count], split[len(split) - count :]


# === Batches ===


def to_float(images: np.ndarray) -> np.ndarray:
    """uint8 pictures as float32 in [0, 1], as the networks take them."""
    return images.astype(np.float32) / np.float32(255)


class Batches(keras.utils.PyDataset):
    """Shuffled and augmented batches of (pictures, one-hot labels), which any backend takes.

    A batch depends on the seed, the epoch and its place in the epoch alone, so a training that
    goes on from a checkpoint sees what it would have seen. The last one holds what is left.

    Args:
        split: pictures and labels.
        batch: pictures a batch.
        seed: of order and augmentation.
        epoch: the first epoch, for a training that goes on.
        flip: "none"; "random", each picture for itself; or "alternating": each picture in random
            orientation in the first epoch, and in the other one in each next (Jordan, 2024,
            Section 3.6), so that it is never seen the same way twice in a row.
        translate: pictures are moved by up to this many pixels either way, the border mirrored.
        cutout: side of a square set to the mean grey, at a random place; 0 for none (DeVries and
            Taylor, 2017).
    """

    def __init__(
        self,
        split: Split,
        *,
        batch: int,
        seed: int = 0,
        epoch: int = 0,
        flip: str = "none",
        translate: int = 0,
        cutout: int = 0,
    ):
        super().__init__()
        self.split, self.batch, self.seed, self.epoch = split, batch, seed, epoch
        self.flip, self.translate, self.cutout = flip, translate, cutout
        borders = ((0, 0), (translate, translate), (translate, translate), (0, 0))
        self._padded = np.pad(split.images, borders, mode="reflect")
        self._mirrored = np.random.default_rng(seed).random(len(split)) < 0.5
        self._order = self._shuffle()

    def _shuffle(self) -> np.ndarray:
        return np.random.default_rng((self.seed, self.epoch)).permutation(len(self.split))

    def __len__(self) -> int:
        return math.ceil(len(self.split) / self.batch)

    def on_epoch_end(self) -> None:
        self.epoch += 1
        self._order = self._shuffle()

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = self._order[index * self.batch : (index + 1) * self.batch]
        rng = np.random.default_rng((self.seed, self.epoch, index))
        images = self._padded[chosen]
        if self.translate:
            images = crop(images, rng.integers(0, 2 * self.translate + 1, (len(chosen), 2)))
        if self.flip != "none":
            odd = self.epoch % 2 == 1
            random = rng.random(len(chosen)) < 0.5
            mirror = random if self.flip == "random" else self._mirrored[chosen] ^ odd
            images = np.where(mirror[:, None, None, None], images[:, :, ::-1], images)
        images = to_float(images)
        if self.cutout:
            cut_out(images, rng.integers(0, SIDE, (len(chosen), 2)), self.cutout)
        return images, np.eye(len(CLASSES), dtype=np.float32)[self.split.labels[chosen]]


def crop(images: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """From each picture of (N, H, W, 3) the 32×32 pixels whose upper left corner is (y, x)."""
    windows = np.lib.stride_tricks.sliding_window_view(images, (SIDE, SIDE), axis=(1, 2))
    return windows[np.arange(len(images)), corners[:, 0], corners[:, 1]].transpose(0, 2, 3, 1)


def cut_out(images: np.ndarray, centres: np.ndarray, side: int) -> None:
    """Sets in each picture, in place, a square around (y, x) to grey, as far as it lies inside."""
    away = np.arange(SIDE) - centres[..., None] + side // 2  # (N, 2, 32)
    rows, columns = np.moveaxis((away >= 0) & (away < side), 1, 0)
    images[rows[:, :, None] & columns[:, None, :]] = 0.5
