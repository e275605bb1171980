"""Photos with masks, such as segmentation sets have: boxes around the parts of each mask."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Sequence
from pathlib import Path

import cv2
import numpy as np

from atelier.errors import AtelierError, DataError
from atelier.media import pairs
from atelier.media.masks import Labels, read_labels
from detection.annotations.collector import Collector, Found
from detection.annotations.dataset import Dataset
from detection.annotations.layouts import choose_split
from detection.annotations.places import picture_size
from detection.annotations.sizes import Frame
from detection.annotations.text import FaultError, counted, described, plain

UNNAMED = ("object",)
"""The class of what masks show, where nobody names it."""

SMALLEST = 0.005
"""Parts of a mask below this share of the picture are specks, and ignored like crowds."""

SPECK = 0.0002
"""Below this share they are noise, and nothing at all."""

MISFIT = 0.03
"""By how much a mask may be wider or higher than its photo, once both are of one size."""


def is_masks(
    folder: str | os.PathLike, images: str | os.PathLike | None = None, *, deep: bool = True
) -> bool:
    """Whether a folder holds photos with masks, or, of photos in `images`, their masks.

    Args:
        folder: the data set's.
        images: the photos' folder, if it is named.
        deep: whether folders below may hold them.
    """
    folder = Path(folder)
    if images is not None or not deep:
        own = [pairs.own_folder(folder, pairs.MASKS)]
        own += [pairs.own_folder(folder, pairs.IMAGES)] if images is None else []
        return None not in own
    return next(pairs.mask_folders(folder), None) is not None


def read_masks(
    folder: str | os.PathLike,
    split: str | None = None,
    *,
    images: str | os.PathLike | None = None,
    classes: Sequence[str] | None = None,
    strict: bool = False,
    groups: Collection[str] = (),
) -> Dataset:
    """Reads a folder with `images/` and `masks/`, names alike; see
    `atelier.media.pairs.find_pairs`.

    What the values of a mask mean is found out by `atelier.media.masks.read_labels`. Where they
    number objects, 1, 2, 3 …, each number is one object; else what hangs together is one. Two
    people arm in arm would then share a box: photos with such are named in `groups`.

    Args:
        folder: with the two folders, or with folders that hold such.
        split: a folder in `images/`, such as train; None for all.
        images: the photos' folder, where it is another.
        classes: the name of the one class; left out, "object".
        strict: whether the first fault is an error.
        groups: names without suffix of photos on which several objects hang together. All parts of
            their masks count as crowds, which are neither taught nor asked for.

    Raises:
        DataError: no such folders, no picture without fault, or with `strict` a fault.
    """
    folder = Path(folder)
    if classes is not None and len(classes) != 1:
        raise DataError(f"{folder}: a folder with masks has one class, not {len(classes)}")
    (label,) = classes or UNNAMED
    name = f"{folder.resolve().name} {split}" if split else folder.resolve().name
    collector = Collector(name, (label,), strict)
    found = pairs.find_pairs(folder, images)
    for pair in _of_split(found.pairs, split, folder):
        with collector.guard(f"images/{pair.name}"):
            size = picture_size(pair.image)
            if pair.mask is None:
                raise FaultError(pair.problem)
            labels = read_objects(pair.mask, size)
            named = {Path(pair.name).stem, Path(pair.name).with_suffix("").as_posix()}
            ignored = not named.isdisjoint(groups) and not labels.instances
            founds = [
                Found(described(number, label), label, box, crowd or ignored)
                for number, (box, crowd) in enumerate(objects(labels), 1)
            ]
            collector.add(f"masks/{pair.mask.name}", pair.name, pair.image, Frame(size), founds)
    if found.stray and split is None:
        without = counted(len(found.stray), "mask is", "masks are")
        collector.notes.say(f"{without} without a photo (masks/{plain(found.stray[0].name)})")
    return collector.dataset()


def _of_split(found: Sequence[pairs.Pair], split: str | None, folder: Path) -> Sequence[pairs.Pair]:
    """The photos in the folder of a split."""
    if split is None:
        return found
    folders = dict.fromkeys(part for pair in found for part in Path(pair.name).parts[:-1])
    chosen = choose_split(split, folders)
    if chosen is None:
        known = ", ".join(map(plain, folders)) or "none"
        raise DataError(f"{folder}: no split {plain(split)!r}; folders of photos are: {known}")
    return [pair for pair in found if chosen in Path(pair.name).parts[:-1]]


def read_objects(file: Path, size: tuple[int, int]) -> Labels:
    """Reads a mask at the size of its photo.

    Raises:
        FaultError: it cannot be read, or its aspect is that of another picture.
    """
    try:
        labels = read_labels(file)
    except AtelierError as error:
        raise FaultError(str(error)) from None
    (height, width), (rows, columns) = size, labels.values.shape
    if abs(rows * width - columns * height) > MISFIT * rows * width + max(width, height):
        raise FaultError(f"its mask has {columns}×{rows} pixels, and it {width}×{height}")
    if (rows, columns) == tuple(size):
        return labels
    resized = cv2.resize(labels.values, (width, height), interpolation=cv2.INTER_NEAREST)
    return dataclasses.replace(labels, values=resized)


def read_mask(file: Path, size: tuple[int, int]) -> np.ndarray:
    """Reads where any object is, bool (H, W), at the size of the mask's photo.

    Raises:
        FaultError: as `read_objects`.
    """
    return read_objects(file, size).values > 0


def objects(labels: Labels) -> list[tuple[np.ndarray, bool]]:
    """The boxes, float (4,), around the objects, and whether one is but a speck."""
    found = []
    for label in range(1, labels.values.max(initial=0) + 1):
        mask = labels.values == label
        if not labels.instances:
            found += parts(mask)
        elif (area := np.count_nonzero(mask)) >= SPECK * mask.size:
            left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
            box = np.array((left, top, left + width, top + height), float)
            found.append((box, bool(area < SMALLEST * mask.size)))
    return found


def parts(mask: np.ndarray) -> list[tuple[np.ndarray, bool]]:
    """The boxes, float (4,), around what hangs together, and whether it is but a speck."""
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    found = []
    for left, top, width, height, area in stats[1:count]:
        if area >= SPECK * mask.size:
            box = np.array((left, top, left + width, top + height), float)
            found.append((box, bool(area < SMALLEST * mask.size)))
    return found
