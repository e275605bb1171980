"""Photos with masks, such as segmentation sets have: boxes around the parts of each mask."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Sequence
from pathlib import Path

import cv2
import numpy as np

from atelier.errors import AtelierError, DataError
from atelier.images import READABLE
from atelier.masks import Labels, read_labels
from detection.annotations.collector import Collector, Found
from detection.annotations.dataset import Dataset
from detection.annotations.places import picture_size
from detection.annotations.sizes import Frame
from detection.annotations.text import FaultError, described, plain

FOLDERS = ("images", "masks")

SMALLEST = 0.005
"""Parts of a mask below this share of the picture are specks, and ignored like crowds."""

SPECK = 0.0002
"""Below this share they are noise, and nothing at all."""

MISFIT = 0.03
"""By how much a mask may be wider or higher than its photo, once both are of one size."""


def is_masks(folder: str | os.PathLike) -> bool:
    """Whether a folder holds photos with masks."""
    return all((Path(folder) / part).is_dir() for part in FOLDERS)


def read_masks(
    folder: str | os.PathLike,
    split: str | None = None,
    *,
    classes: Sequence[str] | None = None,
    strict: bool = False,
    groups: Collection[str] = (),
) -> Dataset:
    """Reads a folder with `images/` and `masks/`, names alike.

    What the values of a mask mean is found out by `atelier.masks.read_labels`. Where they number
    objects, 1, 2, 3 …, each number is one object; else what hangs together is one. Two people arm
    in arm would then share a box: photos with such are named in `groups`.

    Args:
        folder: with the two folders.
        split: has no meaning here, and must be left out.
        classes: the name of the one class; left out, "object".
        strict: whether the first fault is an error.
        groups: names without suffix of photos on which several objects hang together. All parts of
            their masks count as crowds, which are neither taught nor asked for.

    Raises:
        DataError: no such folders, no picture without fault, or with `strict` a fault.
    """
    folder = Path(folder)
    if split is not None:
        raise DataError(f"{folder}: a folder with masks has no splits such as {plain(split)!r}")
    if classes is not None and len(classes) != 1:
        raise DataError(f"{folder}: a folder with masks has one class, not {len(classes)}")
    (label,) = classes or ("object",)
    collector = Collector(folder.resolve().name, (label,), strict)
    masks = mask_files(folder)
    for file in sorted((folder / "images").iterdir()):
        if not is_picture(file):
            continue
        with collector.guard(f"images/{file.name}"):
            size = picture_size(file)
            if file.stem not in masks:
                raise FaultError(f"there is no mask masks/{plain(file.stem)}.*")
            labels = read_objects(masks[file.stem], size)
            ignored = file.stem in groups and not labels.instances
            founds = [
                Found(described(number, label), label, box, crowd or ignored)
                for number, (box, crowd) in enumerate(objects(labels), 1)
            ]
            mask = f"masks/{masks[file.stem].name}"
            collector.add(mask, file.name, file, Frame(size), founds)
    return collector.dataset()


def mask_files(folder: Path) -> dict[str, Path]:
    """The masks of such a folder, by the names of their photos without suffix.

    Raises:
        DataError: no such folders.
    """
    if not is_masks(folder):
        raise DataError(f"{folder} must hold the folders images/ and masks/")
    return {file.stem: file for file in (folder / "masks").iterdir() if is_picture(file)}


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


def is_picture(file: Path) -> bool:
    """Whether a file's name is that of a picture."""
    return file.suffix.lower() in READABLE and not file.name.startswith(".")
