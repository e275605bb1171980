"""Batches to train on: pictures of an annotated data set, augmented, in one fixed shape."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from typing import Literal

import cv2
import numpy as np

from atelier.media.images import load_image
from detection.annotations import Annotated, Dataset
from detection.network.architectures import Architecture
from detection.network.transform import fitted_size, normalize, resize
from detection.training.paste import CutOut, paste

Flips = Literal["none", "horizontal", "all"]

IGNORE = -1
VISIBLE = 0.3
"""An object of which less than this share is in the crop is ignored, neither learned nor denied."""

STRETCH = 1.1
"""By how much a side is drawn longer, and the other shorter, at most."""

PASTED = 3
"""Cut-outs laid over a square, at most."""

_CACHE_BYTES = 1 << 30


class Pictures:
    """The pictures of a data set, each read once where they fit into the cache.

    Where the architecture shrinks with antialiasing, they are kept no larger than augmentation
    needs them.

    Args:
        dataset: what they are of.
        architecture: whose input size they are kept for.
        largest: the factor on that size that augmentation may ask for.
    """

    def __init__(self, dataset: Dataset, architecture: Architecture, largest: float):
        self.dataset, self.architecture, self.largest = dataset, architecture, largest
        self.cache: dict[int, np.ndarray] = {}
        self.room = _CACHE_BYTES

    def __getitem__(self, index: int) -> np.ndarray:
        """uint8 (H, W, 3)."""
        if index in self.cache:
            return self.cache[index]
        image = load_image(self.dataset.items[index].image)
        size = [
            math.ceil(self.largest * side) for side in fitted_size(image.shape, self.architecture)
        ]
        # Without antialiasing, two resizings in a row are not one: the picture stays as it is.
        if self.architecture.antialias and size[0] < image.shape[0]:
            image = resize(image, tuple(size), True)
        if image.nbytes <= self.room:
            self.cache[index] = image
            self.room -= image.nbytes
        return image


def batches(
    dataset: Dataset,
    architecture: Architecture,
    *,
    side: int,
    batch: int,
    steps: range,
    seed: int,
    flips: Flips = "horizontal",
    jitter: float = 1.4,
    whole: float = 0.0,
    cut_outs: Sequence[CutOut] = (),
) -> Iterator[tuple[dict[str, np.ndarray]]]:
    """Augmented batches, the same for the same step and seed.

    A picture is drawn at its size for use times a random factor, a random square of it is taken,
    flipped, and changed in colour. Each picture comes once before any comes again.

    Args:
        dataset: annotated pictures.
        architecture: how they are normalised, and their size in use.
        side: of the squares, pixels; smaller pictures are padded.
        batch: squares a batch.
        steps: the numbers of the batches, of the whole training.
        seed: of all that is random.
        flips: "all" turns by quarters, too: for what has no upside.
        jitter: the largest factor; the smallest is its inverse.
        whole: share of the squares that show their picture whole, shrunk to fit.
        cut_outs: objects of the first class, to be laid over some of the squares.

    Yields:
        a tuple of one dictionary, as `FasterRCNN` is trained with: `images` (N, side, side, 3),
        `sizes` (N, 2), `boxes` (N, G, 4), `labels` (N, G), G being the same for all batches.
    """
    pictures = Pictures(dataset, architecture, jitter * STRETCH)
    boxes = most_boxes(dataset) + (PASTED if cut_outs else 0)
    for step in steps:
        rng = np.random.default_rng((seed, step))
        samples = []
        for position in range(step * batch, (step + 1) * batch):
            epoch, place = divmod(position, len(dataset))
            index = int(_order(seed, epoch, len(dataset))[place])
            samples.append(
                augment(
                    pictures[index], dataset.items[index], architecture, rng,
                    side=side, flips=flips, jitter=jitter, whole=whole, cut_outs=cut_outs,
                )
            )  # fmt: skip
        yield (collate(samples, side, boxes),)


@functools.lru_cache(maxsize=2)
def _order(seed: int, epoch: int, count: int) -> np.ndarray:
    """Returns the order in which an epoch shows `count` pictures, int64 (count,)."""
    return np.random.default_rng((seed, epoch, count)).permutation(count)


def most_boxes(dataset: Dataset) -> int:
    """The largest number of boxes on a picture, at least 1."""
    return max(1, *(len(item.boxes) for item in dataset.items))


def collate(samples: Sequence[tuple], side: int, count: int) -> dict[str, np.ndarray]:
    """Pictures, sizes, boxes and labels, padded to one shape."""
    batch = {
        "images": np.zeros((len(samples), side, side, 3), np.float32),
        "sizes": np.zeros((len(samples), 2), np.float32),
        "boxes": np.zeros((len(samples), count, 4), np.float32),
        "labels": np.zeros((len(samples), count), np.int32),
    }
    for i, (image, boxes, labels) in enumerate(samples):
        batch["images"][i, : image.shape[0], : image.shape[1]] = image
        batch["sizes"][i] = image.shape[:2]
        batch["boxes"][i, : len(boxes)] = boxes
        batch["labels"][i, : len(labels)] = labels
    return batch


def taught_labels(item: Annotated) -> np.ndarray:
    """int32 (N,): classes from 1 on; `IGNORE` for crowds and what is marked difficult."""
    ignored = item.crowd | item.difficult
    return np.where(ignored, IGNORE, item.labels + 1).astype(np.int32)


def augment(
    image: np.ndarray,
    item: Annotated,
    architecture: Architecture,
    rng: np.random.Generator,
    *,
    side: int,
    flips: Flips = "horizontal",
    jitter: float = 1.0,
    whole: float = 0.0,
    cut_outs: Sequence[CutOut] = (),
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A random square of a picture, and what is on it.

    Args:
        image: uint8 (H, W, 3), `item`'s picture at any size.

    Returns:
        image: float32 (h, w, 3), normalised, h and w at most `side`.
        boxes: float32 (N, 4).
        labels: int32 (N,), see `taught_labels`.
    """
    fitted = fitted_size(image.shape, architecture)
    scale = math.exp(rng.uniform(-1, 1) * math.log(jitter))
    stretch = math.exp(rng.uniform(-1, 1) * math.log(STRETCH))
    if whole and rng.random() < whole:
        scale = min(scale, side / max(fitted[0] * stretch, fitted[1] / stretch))
    size = (
        max(1, round(fitted[0] * scale * stretch)),
        max(1, round(fitted[1] * scale / stretch)),
    )
    image = resize(image, size, architecture.antialias)
    boxes = item.boxes * (np.array(size * 2) / np.array(item.size * 2))[[1, 0, 1, 0]]

    top, left = (int(rng.integers(max(0, length - side) + 1)) for length in size)
    image = image[top : top + side, left : left + side]
    boxes, labels = _crop(boxes, taught_labels(item), (top, left), image.shape)

    height, width = image.shape[:2]
    if flips != "none" and rng.random() < 0.5:
        image, boxes = image[:, ::-1], (boxes * (-1, 1, -1, 1) + (width, 0, width, 0))
        boxes = boxes[:, [2, 1, 0, 3]]
    if flips == "all" and rng.random() < 0.5:
        image, boxes = image[::-1], (boxes * (1, -1, 1, -1) + (0, height, 0, height))
        boxes = boxes[:, [0, 3, 2, 1]]
    if flips == "all" and rng.random() < 0.5:
        image, boxes = image.transpose(1, 0, 2), boxes[:, [1, 0, 3, 2]]
    if cut_outs and rng.random() < 0.5:
        for _ in range(rng.integers(1, PASTED + 1)):
            chosen = cut_outs[rng.integers(len(cut_outs))]
            image, boxes, labels = paste(image, boxes, labels, chosen, 1, IGNORE, rng)
    image = normalize(recolor(image, rng), architecture)
    return image, boxes.astype(np.float32), labels


def _crop(boxes, labels, corner, shape):
    """Boxes within a crop at `corner`; those mostly outside are ignored, those outside dropped."""
    top, left = corner
    moved = boxes - (left, top, left, top)
    clipped = np.clip(moved, 0, (shape[1], shape[0]) * 2)
    area, whole = (np.prod(b[:, 2:] - b[:, :2], axis=1) for b in (clipped, moved))
    labels = np.where(area < VISIBLE * whole, IGNORE, labels)
    inside = area > 1
    return clipped[inside], labels[inside].astype(np.int32)


def recolor(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A picture of slightly other brightness, contrast, saturation and tint, uint8."""
    gains = rng.uniform(0.75, 1.3) * rng.uniform(0.93, 1.07, 3)
    changed = np.asarray(image, np.float32) * gains.astype(np.float32)
    grey = cv2.transform(changed, np.array([[0.299, 0.587, 0.114]], np.float32))[..., None]
    changed = grey + np.float32(rng.uniform(0.5, 1.3)) * (changed - grey)
    mean = np.float32(changed.mean())
    changed = mean + np.float32(rng.uniform(0.75, 1.3)) * (changed - mean)
    return np.clip(changed, 0, 255).astype(np.uint8)
