"""Pairs of low- and high-resolution luma, and crops of them: endless, augmented, reproducible."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from atelier.errors import ImageError, SettingsError
from atelier.media.images import load_image
from superres.color import RANGE, luma
from superres.training.degradation import Step

SHRINKS = (1.0, 0.9, 0.8, 0.7, 0.6)
"""Sizes at which each training picture is used: augmentation by scaling."""

SMALLEST = 20
"""Pixels a side of the smallest HR picture that is used: SSIM's window within its border."""

Pair = tuple[np.ndarray, np.ndarray]
"""LR luma, uint8 (h, w), and HR luma, uint8 (scale·h, scale·w)."""


def read(path: Path) -> np.ndarray:
    """A picture as the published protocol has it: uint8 (H, W, 3), or (H, W) if it is grey."""
    return load_image(path, grey="keep")


def pairs(
    files: Sequence[Path],
    *,
    scale: int,
    degradation: Step,
    shrinks: Sequence[float] = SHRINKS,
    variants: int = 1,
    seed: int = 0,
    on_unreadable: Callable[[ImageError], object] | None = None,
) -> list[Pair]:
    """Degrades whole pictures, so that JPEG's blocks and colours are those of files.

    Args:
        files: HR pictures. Those that cannot be read, or are smaller than `SMALLEST` when they
            are shrunk, are left out.
        scale: of the degradation.
        degradation: from HR to LR, as in `superres.training.degradation`.
        shrinks: factors in (0, 1] by which each picture is shrunk first.
        variants: how often each is degraded, each time with other random parameters.
        seed: of the degradation.
        on_unreadable: told why a picture is left out.

    Returns:
        Pairs of luma, in the order of files, shrinks and variants.

    Raises:
        ImageError: no picture is left.
    """

    def pictures() -> Iterator[tuple[np.ndarray, float]]:
        for file in files:
            try:
                picture = read(file)
            except ImageError as error:  # One broken file must not end a long run.
                if on_unreadable is not None:
                    on_unreadable(error)
                continue
            picture = np.atleast_3d(picture)
            if min(picture.shape[:2]) < SMALLEST and on_unreadable is not None:
                on_unreadable(ImageError(f"{file}: smaller than {SMALLEST} pixels a side"))
            for shrink in shrinks:
                if round(min(picture.shape[:2]) * shrink) >= SMALLEST:
                    yield from [(picture, shrink)] * variants

    def degrade(index, picture, shrink):
        hr = tf.cast(picture, tf.float32)
        if shrink < 1:
            size = tf.cast(tf.round(tf.cast(tf.shape(hr)[:2], tf.float32) * shrink), tf.int32)
            hr = tf.image.resize(hr, size, "bicubic", antialias=True)
            hr = tf.clip_by_value(tf.round(hr), 0, 255)
        lr = degradation(hr, tf.stack([seed, tf.cast(index, tf.int32)]))
        return lr, hr

    signature = (tf.TensorSpec((None, None, None), tf.uint8), tf.TensorSpec((), tf.float32))
    dataset = tf.data.Dataset.from_generator(pictures, output_signature=signature)
    dataset = dataset.enumerate().map(lambda i, args: degrade(i, *args), num_parallel_calls=2)
    made = [_luma_pair(lr, hr, scale) for lr, hr in dataset.as_numpy_iterator()]
    if not made:
        raise ImageError(
            f"none of the {len(files)} pictures can be read and has {SMALLEST} pixels a side"
        )
    return made


def _luma_pair(lr: np.ndarray, hr: np.ndarray, scale: int) -> Pair:
    height, width = lr.shape[0] * scale, lr.shape[1] * scale
    return luma_8_bit(lr), luma_8_bit(hr[:height, :width])


def luma_8_bit(picture: np.ndarray) -> np.ndarray:
    """The luma of a picture of one or three channels in [0, 255], rounded to uint8 (H, W)."""
    return np.uint8(np.floor(luma(picture[..., 0] if picture.shape[-1] == 1 else picture) + 0.5))


def crops(
    pairs: Sequence[Pair], *, size: int, batch: int, steps: range, seed: int
) -> tf.data.Dataset:
    """Batches of crops, turned and mirrored, one batch for each of `steps`.

    A batch depends on `seed` and its step's number alone, so a training that was stopped goes on
    with just the batches that it would have seen. Pictures are drawn in proportion to their area.

    Args:
        pairs: LR and HR luma; those smaller than a crop are left out.
        size: side of the LR crops, pixels.
        batch: crops a batch.
        steps: the numbers of the batches.
        seed: of all random choices.

    Returns:
        float32 (batch, size, size, 1) and (batch, scale·size, scale·size, 1), luma / 256.

    Raises:
        SettingsError: all pairs are smaller than a crop.
    """
    pairs = [pair for pair in pairs if min(pair[0].shape) >= size]
    if not pairs:
        raise SettingsError(f"all pictures are smaller than crops of {size} LR pixels")
    scale = pairs[0][1].shape[0] // pairs[0][0].shape[0]
    areas = np.cumsum([lr.size for lr, _ in pairs])

    def draw(step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng([seed, int(step)])
        chosen = np.searchsorted(areas, rng.integers(areas[-1], size=batch), side="right")
        corners = rng.random((batch, 2))
        turns = rng.integers(8, size=batch)
        x = np.empty((batch, size, size), np.float32)
        y = np.empty((batch, scale * size, scale * size), np.float32)
        for i in range(batch):
            lr, hr = pairs[chosen[i]]
            top, left = (corners[i] * (np.array(lr.shape) - size + 1)).astype(int)
            x[i] = _turn(lr[top : top + size, left : left + size], turns[i])
            top, left, side = top * scale, left * scale, size * scale
            y[i] = _turn(hr[top : top + side, left : left + side], turns[i])
        return x[..., None] / np.float32(RANGE), y[..., None] / np.float32(RANGE)

    dataset = tf.data.Dataset.range(steps.start, steps.stop)
    dataset = dataset.map(
        lambda step: tf.numpy_function(draw, [step], (tf.float32, tf.float32), stateful=False)
    )
    shapes = (batch, size, size, 1), (batch, scale * size, scale * size, 1)
    dataset = dataset.map(
        lambda x, y: (tf.ensure_shape(x, shapes[0]), tf.ensure_shape(y, shapes[1]))
    )
    return dataset.prefetch(8)


def _turn(crop: np.ndarray, turn: int) -> np.ndarray:
    """One of the eight ways to lay a square."""
    crop = crop.T if turn & 4 else crop
    return crop[:: -1 if turn & 1 else 1, :: -1 if turn & 2 else 1]
