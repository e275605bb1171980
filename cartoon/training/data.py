"""Photos of people with their masks, and endless augmented batches of them for training."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import tensorflow as tf

from atelier.errors import DataError, ImageError
from atelier.media import pairs
from atelier.media.images import READABLE, find_pictures, fit_size, load_image, resize
from atelier.media.masks import read_labels
from cartoon.training.teachers import Teacher

LONGEST = 512
"""Photos wait to be cropped at this size."""

HELD_BACK = 6
"""Of the photos in the order of their files' names, each sixth is not trained on."""

MISFIT = 0.03
"""By how much a mask may be wider or higher than its photo, once both are of one size."""


@dataclasses.dataclass(frozen=True)
class Photo:
    """A photo and where people are in it."""

    image: np.ndarray
    """uint8 (H, W, 3), RGB."""
    mask: np.ndarray
    """uint8 (H, W): 255 where there is a person."""
    certain: np.ndarray | None = None
    """uint8 (H, W): how far the mask is to be trusted; None where wholly."""


# === Reading ===


def find_pairs(
    folder: str | os.PathLike,
    images: str | os.PathLike | None = None,
    *,
    on_unread: Callable[[str], object] | None = None,
) -> list[tuple[Path, Path]]:
    """Finds the photos in `folder/images` with their masks in `folder/masks`, of any depth.

    Args:
        folder: with the two folders, or with folders that hold such; see `atelier.media.pairs`.
        images: the photos' folder, where it is another.
        on_unread: told, in a line, of masks without a photo.

    Returns:
        Photo and mask, in the order of the photos' names.

    Raises:
        DataError: there are no such folders, or a photo has no mask.
    """
    found = pairs.find_pairs(folder, images)
    for pair in found.pairs:
        if pair.mask is None:
            raise DataError(f"{pair.image} has no mask: {pair.problem}")
    if not found.pairs:
        raise DataError(
            f"{images or folder} holds no pictures with masks: looked for {', '.join(READABLE)}"
        )
    if found.stray and on_unread is not None:
        on_unread(
            f"passed over: {len(found.stray)} masks without a photo, such as {found.stray[0]}"
        )
    return [(pair.image, pair.mask) for pair in found.pairs if pair.mask is not None]


def split(photos: Sequence) -> tuple[list, list]:
    """Those to train on, and those held back: each sixth."""
    held_back = list(photos[HELD_BACK - 1 :: HELD_BACK])
    return [photo for i, photo in enumerate(photos) if i % HELD_BACK != HELD_BACK - 1], held_back


def read_pair(image: Path, mask: Path) -> Photo:
    """A photo and its mask at full size; a mask of another size is brought to it.

    Raises:
        DataError: one cannot be read, or their aspects are those of different pictures.
    """
    try:
        photo, drawn = load_image(image), read_labels(mask).values > 0
    except ImageError as error:
        raise DataError(str(error)) from None
    (height, width), (rows, columns) = photo.shape[:2], drawn.shape
    if abs(rows * width - columns * height) > MISFIT * rows * width + max(width, height):
        raise DataError(
            f"{mask} has {columns}×{rows} pixels and its photo {width}×{height}: another's mask?"
        )
    drawn = 255 * drawn.astype(np.uint8)
    if drawn.shape != photo.shape[:2]:
        drawn = cv2.resize(drawn, (width, height), interpolation=cv2.INTER_NEAREST)
    return Photo(photo, drawn)


def read_for_training(files: Sequence[tuple[Path, Path]]) -> list[Photo]:
    """Photos with masks, shrunk; specks of noise in masks are filled.

    Raises:
        DataError: one cannot be read, or there is nobody in any of the masks.
    """
    photos = []
    for image, mask in files:
        photo = read_pair(image, mask)
        size = _shrunk(photo.image.shape)
        drawn = cv2.resize(photo.mask, size[::-1], interpolation=cv2.INTER_AREA)
        photos.append(Photo(resize(photo.image, size), cv2.medianBlur(drawn, 5)))
    if not any(photo.mask.any() for photo in photos):
        raise DataError(f"{files[0][1].parent}: nobody is in any of the {len(files)} masks")
    return photos


def ask_teachers(
    folders: Sequence[str | os.PathLike],
    teachers: Mapping[str, Teacher],
    *,
    on_unread: Callable[[str], object] | None = None,
) -> list[Photo]:
    """Photos without masks, with what teachers think of them: the mean of their opinions, less
    certain where these differ. Where one of them sees nobody at all, nobody is there: that is
    half certain at least, as it is easier to take a cat for a person than to miss one.

    Args:
        folders: with the photos.
        teachers: give a mask for each photo.
        on_unread: told, in a line, of each photo that cannot be read and is passed over.

    Raises:
        ImageError: there are no photos, or none can be read.
    """
    photos, files = [], find_pictures(folders) if folders else ()
    for file in files:
        try:
            image = load_image(file)
        except ImageError as error:
            if on_unread is not None:
                on_unread(f"passed over: {error}")
            continue
        image = resize(image, _shrunk(image.shape))
        opinions = np.stack([teacher(image) for teacher in teachers.values()])
        mask, certain = opinions.mean(axis=0), np.square(1 - np.ptp(opinions, axis=0))
        if opinions.max(axis=(1, 2)).min() < 0.5:
            mask, certain = np.zeros_like(mask), np.maximum(certain, 0.5)
        photos.append(Photo(image, _levels(mask), _levels(certain)))
    if files and not photos:
        raise ImageError(f"none of the {len(files)} photos can be read")
    return photos


def _shrunk(shape: tuple[int, ...]) -> tuple[int, int]:
    return fit_size(shape, min(LONGEST, max(shape[:2])))


def _levels(parts: np.ndarray) -> np.ndarray:
    return np.rint(255 * np.clip(parts, 0, 1)).astype(np.uint8)


# === Batches ===


def batches(
    photos: Sequence[Photo],
    others: Sequence[Photo] = (),
    *,
    side: int,
    batch: int,
    steps: range,
    seed: int,
) -> tf.data.Dataset:
    """Augmented squares, one batch for each of `steps`.

    A batch depends on `seed` and its step's number alone, so that a training that was stopped goes
    on with just the batches that it would have seen.

    Args:
        photos: with masks.
        others: with teachers' masks; a sixth of each batch, and the scenery into which people are
            pasted.
        side: of the squares, pixels.
        batch: squares a batch.
        steps: the numbers of the batches.
        seed: of all random choices.

    Returns:
        Batches of float32 (batch, side, side, 3), RGB in [0, 1], and of float32 (batch, side,
        side, 2): the mask and how far it is to be trusted, in [0, 1].
    """

    def draw(step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng([seed, int(step)])
        drawn = [sample(photos, others, side, rng) for _ in range(batch)]
        images, targets = (np.stack(parts) for parts in zip(*drawn, strict=True))
        return tuple(x.astype(np.float32) / 255 for x in (images, targets))

    shapes = (batch, side, side, 3), (batch, side, side, 2)

    def shaped(step):
        both = tf.numpy_function(draw, [step], (tf.float32, tf.float32))
        return tuple(tf.ensure_shape(x, shape) for x, shape in zip(both, shapes, strict=True))

    return tf.data.Dataset.range(steps.start, steps.stop).map(shaped).prefetch(3)


def sample(
    photos: Sequence[Photo], others: Sequence[Photo], side: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """One augmented square: uint8 (side, side, 3), and mask and trust, uint8 (side, side, 2)."""
    photo = photos[rng.integers(len(photos))]
    kind = rng.random()
    if others and kind < 1 / 6:
        photo = others[rng.integers(len(others))]
    image, target = _crop(photo, side, rng)
    if kind > 0.7:
        # Copy-paste (Ghiasi et al., 2021): people before other scenery, true to the pixel.
        if others and rng.random() < 0.6:
            image, target = _crop(others[rng.integers(len(others))], side, rng)
        pasted = photos[rng.integers(len(photos))]
        image, target = _paste(image, target, pasted, side, rng)
    return _worsen(_recolour(image, rng), rng), target


def _crop(photo: Photo, side: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A part of a photo, or a little more than all of it, as a square, turned and mirrored."""
    height, width = photo.mask.shape
    extent = np.exp(rng.uniform(np.log(0.4), np.log(1.2)))
    aspect = np.exp(rng.normal(0, 0.12))
    across, down = width * extent * aspect, height * extent / aspect
    # Squares of tall pictures are parts of them more often than their squeezed whole.
    if rng.random() < 0.6:
        across = down = np.sqrt(across * down)
    centre = [
        size / 2 + rng.uniform(-0.5, 0.5) * max(0.2 * size, size - part)
        for size, part in ((width, across), (height, down))
    ]
    angle = np.radians(rng.normal(0, 12)) if rng.random() < 0.4 else 0.0
    mirror = 1 if rng.random() < 0.5 else -1
    matrix = _affine(centre, (across * mirror / side, down / side), angle, side)
    return _warp(photo, matrix, side, cv2.BORDER_REFLECT_101)


def _affine(centre, scale, angle: float, side: int) -> np.ndarray:
    """(2, 3): from a square's pixels to a photo's, the square's middle to `centre`."""
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, -sin], [sin, cos]]) * np.asarray(scale)
    return np.column_stack([turn, np.asarray(centre) - turn @ ((side - 1) / 2, (side - 1) / 2)])


def _warp(photo: Photo, matrix, side: int, border: int) -> tuple[np.ndarray, np.ndarray]:
    """Image and target under an affine map, smoothed before where they shrink."""
    certain = np.full_like(photo.mask, 255) if photo.certain is None else photo.certain
    planes = np.dstack([photo.image, photo.mask, certain])
    shrink = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    if shrink > 1.2:
        planes = cv2.GaussianBlur(planes, (0, 0), 0.4 * shrink)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    planes = [
        cv2.warpAffine(part, matrix, (side, side), flags=flags, borderMode=border)
        for part in (planes[..., :3], planes[..., 3:])
    ]
    return planes[0], planes[1]


def _paste(image, target, photo: Photo, side: int, rng) -> tuple[np.ndarray, np.ndarray]:
    """Lays the people of another photo over a square, anywhere, at any size."""
    rows, columns = (np.flatnonzero(photo.mask.max(axis=axis) > 127) for axis in (1, 0))
    if not len(rows):
        return image, target
    top, bottom, left, right = rows[0], rows[-1], columns[0], columns[-1]
    tall = side * np.exp(rng.uniform(np.log(0.25), np.log(1.2)))
    scale = max(bottom - top, right - left, 8) / tall
    shift = rng.uniform(-0.4, 0.4, 2) * side * scale
    centre = np.array([(left + right) / 2, (top + bottom) / 2]) + shift
    mirror = 1 if rng.random() < 0.5 else -1
    matrix = _affine(centre, (scale * mirror, scale), np.radians(rng.normal(0, 6)), side)
    person, own = _warp(photo, matrix, side, cv2.BORDER_CONSTANT)
    own[..., 1] = own[..., 0]  # A pasted person is certain, what is behind as certain as it was.
    person = _recolour(person, rng) if rng.random() < 0.5 else person
    opacity = own[..., :1].astype(np.float32) / 255
    mixed = np.rint(person * opacity + image * (1 - opacity)).astype(np.uint8)
    either = np.rint(own + target * (1 - opacity)).astype(np.uint8)  # Mask, and trust.
    return mixed, either


def _recolour(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Other light, other film: gain and gamma, tint, saturation; now and then grey."""
    x = image.astype(np.float32) / 255
    x = np.power(x, np.exp(rng.normal(0, 0.25)), out=x)
    x *= np.exp(rng.normal(0, 0.15)) * np.exp(rng.normal(0, 0.06, 3)).astype(np.float32)
    grey = x.mean(axis=2, keepdims=True)
    saturation = 0.0 if rng.random() < 0.1 else np.exp(rng.normal(0, 0.3))
    x = grey + (x - grey) * np.float32(saturation)
    middle = x.mean()
    x = middle + (x - middle) * np.float32(np.exp(rng.normal(0, 0.15)))
    return _levels(x)


def _worsen(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur, noise, or JPEG's blocks, each now and then."""
    kind = rng.random()
    if kind < 0.1:
        return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 2.0))
    if kind < 0.2:
        noise = rng.normal(0, rng.uniform(2, 14), image.shape)
        return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)
    if kind < 0.3:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 80))]
        return cv2.imdecode(cv2.imencode(".jpg", image, quality)[1], cv2.IMREAD_COLOR)
    return image
