"""Crops of photos for distillation: endless, augmented, and the same for the same seed and step."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from atelier.errors import ImageError
from atelier.media.images import fit_size, load_image, resize
from atelier.nets.vgg import preprocess

LONGEST = 640
"""Photos are kept at this size while they wait to be cropped: 1 MB each."""


def crops(
    photos: Sequence[Path],
    *,
    size: int,
    batch: int,
    steps: range,
    seed: int,
    pictures: np.ndarray | None = None,
    on_unread: Callable[[str], object] | None = None,
) -> tf.data.Dataset:
    """Batches of augmented crops, one for each of `steps`.

    A batch depends on `seed` and its step's number alone, so a training that was stopped goes on
    with just the batches that it would have seen.

    Args:
        photos: the files to crop from.
        size: side of the crops, pixels.
        batch: crops a batch.
        steps: the numbers of the batches.
        seed: of all random choices.
        pictures: float32 (n, size, size, 3), preprocessed; one third of each batch is taken from
            them, turned and mirrored.
        on_unread: told, in a line, of a photo that cannot be read and is passed over; perhaps of
            the same more than once.

    Returns:
        float32 (batch, size, size, 3) batches, as `atelier.nets.vgg.preprocess` gives them.
    """
    # Decoding costs far more than cropping: a thousand photos stay in memory, no more.
    read = functools.lru_cache(maxsize=1000)(_read_photo)

    def photo(number: int) -> np.ndarray:
        """A photo, or the next one that can be read: one broken file must not end a long run."""
        for other in range(number, number + len(photos)):
            try:
                return read(photos[other % len(photos)])
            except ImageError as error:
                if on_unread is not None:
                    on_unread(f"passed over: {error}")
        raise ImageError(f"none of the {len(photos)} photos can be read")

    def draw(step: np.ndarray) -> np.ndarray:
        rng = np.random.default_rng([seed, int(step)])
        chosen = rng.integers(len(photos), size=batch)
        crops = [_augment(_crop(photo(i), size, rng), rng) for i in chosen]
        if pictures is not None:
            for i in range(batch // 3):
                crops[i] = _turn(pictures[rng.integers(len(pictures))], rng)
        return np.stack(crops)

    dataset = tf.data.Dataset.range(steps.start, steps.stop)
    dataset = dataset.map(
        lambda step: tf.ensure_shape(
            tf.numpy_function(draw, [step], tf.float32), (batch, size, size, 3)
        )
    )
    return dataset.prefetch(4)


def _read_photo(path: Path) -> np.ndarray:
    image = load_image(path)
    return resize(image, fit_size(image.shape, min(LONGEST, max(image.shape[:2]))))


def _crop(image: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """A square at a random place and scale, turned and mirrored, as float in [0, 1]."""
    smallest = size / min(image.shape[:2])
    scale = np.exp(rng.uniform(np.log(smallest), np.log(max(1.3, smallest * 1.01))))
    side = int(min(np.ceil(size / scale), *image.shape[:2]))
    top = rng.integers(image.shape[0] - side + 1)
    left = rng.integers(image.shape[1] - side + 1)
    square = resize(image[top : top + side, left : left + side], (size, size))
    return _turn(square, rng).astype(np.float32) / 255


def _turn(square: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    square = np.rot90(square, rng.integers(4))
    return square[:, ::-1] if rng.random() < 0.5 else square


def _augment(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Colours and noise that photos lack but a picture on its way to a painting has."""
    if rng.random() < 0.6:
        image = image[..., rng.permutation(3)]
    if rng.random() < 0.6:
        grey = image.mean(axis=2, keepdims=True)
        image = grey + (image - grey) * rng.uniform(0, 3)
        image = (image - image.mean()) * rng.uniform(0.5, 1.8) + image.mean()
        image = image + rng.uniform(-0.15, 0.15)
    if rng.random() < 0.4:
        # Noise in cells of 1, 2, 4 or 8 pixels.
        cell = 2 ** rng.integers(4)
        side = -(-image.shape[0] // cell)
        noise = rng.normal(0, rng.uniform(0.02, 0.25), (side, side, 3))
        noise = noise.repeat(cell, axis=0).repeat(cell, axis=1)
        image = image + noise[: image.shape[0], : image.shape[1]]
    return preprocess(np.clip(image, 0, 1) * 255)
