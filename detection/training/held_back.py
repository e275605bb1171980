"""Pictures that are measured on: which they are, and what else shows the same."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from atelier.errors import DataError
from detection.annotations import Dataset, Fault, plain

HELD_BACK = 6
"""Without --validation, each sixth picture is not trained on."""


def hold_back(dataset: Dataset) -> tuple[Dataset, Dataset]:
    """Splits a data set into what is trained on and what is measured on, each sixth picture.

    Of fewer than six, all are trained on and the first is measured on as well.
    """
    if len(dataset) < HELD_BACK:
        return dataset, dataclasses.replace(dataset, items=dataset.items[:1])
    held_back = dataclasses.replace(dataset, items=dataset.items[HELD_BACK - 1 :: HELD_BACK])
    kept = [item for i, item in enumerate(dataset.items) if i % HELD_BACK != HELD_BACK - 1]
    return without(dataclasses.replace(dataset, items=tuple(kept)), held_back), held_back


def without(seen: Dataset, held_back: Dataset) -> Dataset:
    """Removes from `seen` the pictures that are held back, under whatever name.

    Returns:
        the rest, with a fault that says how many were removed.

    Raises:
        DataError: nothing is left, or a picture cannot be read.
    """
    again = shown_again([item.image for item in seen.items], held_back)
    if not again:
        return seen
    kept = tuple(item for i, item in enumerate(seen.items) if i not in again)
    if not kept:
        raise DataError(f"{seen.name}: each picture is one to measure on; none is left to train on")
    first = plain(seen.items[min(again)].name)
    reason = f"{len(again)} pictures such as {first}, which are measured on, are not trained on"
    fault = Fault(seen.name, "", reason)
    return dataclasses.replace(seen, items=kept, faults=(*seen.faults, fault))


def photos_held_back(files: Iterable[Path], held_back: Dataset) -> list[Path]:
    """Returns those of the picture files that have the content or the name, without suffix, of one
    that is held back.

    Raises:
        DataError: a picture cannot be read.
    """
    files = sorted(files)
    again = shown_again(files, held_back)
    stems = {Path(item.name).stem for item in held_back.items}
    return [file for i, file in enumerate(files) if i in again or file.stem in stems]


def shown_again(images: Sequence[Path | bytes | np.ndarray], held_back: Dataset) -> frozenset[int]:
    """Returns the places of the images that are equal, byte by byte, to one that is held back.

    Args:
        images: as of `Annotated.image`.
        held_back: the pictures to compare with.

    Raises:
        DataError: a picture cannot be read.
    """
    others = [item.image for item in held_back.items]
    lengths = set(map(_length, others))
    candidates = [i for i, image in enumerate(images) if _length(image) in lengths]
    lengths = {_length(images[i]) for i in candidates}
    digests = {_digest(image) for image in others if _length(image) in lengths}
    return frozenset(i for i in candidates if _digest(images[i]) in digests)


def trained_on(seen: Dataset, held_back: Dataset) -> bool:
    """Whether pictures are measured on that are trained on as well."""
    return bool(shown_again([item.image for item in seen.items], held_back))


def _length(image: Path | bytes | np.ndarray) -> int:
    if isinstance(image, Path):
        try:
            return image.stat().st_size
        except OSError as error:
            raise DataError(f"{image} cannot be read ({error.strerror})") from None
    return image.nbytes if isinstance(image, np.ndarray) else len(image)


def _digest(image: Path | bytes | np.ndarray) -> bytes:
    """Returns SHA-256 of the file, or of the pixels with their shape."""
    if isinstance(image, Path):
        try:
            with image.open("rb") as file:
                return hashlib.file_digest(file, "sha256").digest()
        except OSError as error:
            raise DataError(f"{image} cannot be read ({error.strerror})") from None
    if isinstance(image, np.ndarray):
        return hashlib.sha256(repr(image.shape).encode() + image.tobytes()).digest()
    return hashlib.sha256(image).digest()
