"""Annotated pictures in one form, wherever they come from."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from atelier.errors import DataError
from detection.annotations.text import counted, plain


@dataclasses.dataclass(frozen=True, eq=False)
class Annotated:
    """A picture, and the N objects on it."""

    name: str
    """The picture's file name, as the annotations give it."""
    image: Path | bytes | np.ndarray
    """What `atelier.media.images.load_image` takes: a path, an encoded file, or uint8 (H, W, 3)."""
    size: tuple[int, int]
    """Height and width in pixels, EXIF orientation applied."""
    boxes: np.ndarray
    """float32 (N, 4): x1 y1 x2 y2, continuous: the first pixel covers 0 to 1."""
    labels: np.ndarray
    """int64 (N,): places in the data set's `classes`."""
    crowd: np.ndarray
    """bool (N,): COCO's `iscrowd`, a box around many that are not told apart."""
    difficult: np.ndarray
    """bool (N,): VOC's `difficult`, which its evaluation does not count."""


@dataclasses.dataclass(frozen=True)
class Fault:
    """What is wrong with an annotation; as text, one line."""

    file: str
    """The annotation file, from the data set's folder on."""
    object: str
    """Which object, such as "object 13 (RBC)"; "" for the whole picture."""
    reason: str

    def __str__(self) -> str:
        return f"{self.file}: {self.object + ': ' if self.object else ''}{self.reason}"


@dataclasses.dataclass(frozen=True)
class Note:
    """What was mended in annotations, or taken for granted, said once for all; as text, one line.

    `--strict` does not refuse it.
    """

    data: str
    """The data set's name."""
    text: str

    def __str__(self) -> str:
        return f"{self.data}: {self.text}"


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Annotated pictures, what was mended, and what was wrong with others."""

    name: str
    classes: tuple[str, ...]
    """Without a background."""
    items: tuple[Annotated, ...]
    faults: tuple[Fault, ...] = ()
    """What was left out, in the order of reading."""
    notes: tuple[Note, ...] = ()
    """What was mended or taken for granted."""
    unused: tuple[str, ...] = ()
    """Classes that the annotations declare and no object has; `keep_classes` takes them."""

    def __len__(self) -> int:
        return len(self.items)


def keep_classes(dataset: Dataset, classes: Sequence[str]) -> Dataset:
    """The same pictures, with objects of these classes alone, in this order.

    Raises:
        DataError: a class that the data set neither has nor declares.
    """
    places = {name: place for place, name in enumerate(classes)}
    for name in classes:
        if name not in dataset.classes + dataset.unused:
            known = ", ".join(dataset.classes + dataset.unused)
            raise DataError(f"{dataset.name}: no class {plain(name)!r}; there are {known}")
    items = []
    for item in dataset.items:
        names = [dataset.classes[label] for label in item.labels]
        kept = [i for i, name in enumerate(names) if name in places]
        chosen = {
            "boxes": item.boxes[kept],
            "labels": np.asarray([places[names[i]] for i in kept], np.int64),
            "crowd": item.crowd[kept],
            "difficult": item.difficult[kept],
        }
        items.append(dataclasses.replace(item, **chosen))
    unused = tuple(name for name in dataset.unused if name not in places)
    return dataclasses.replace(dataset, classes=tuple(classes), items=tuple(items), unused=unused)


def join(datasets: Sequence[Dataset]) -> Dataset:
    """Makes one data set of several; its classes are those of all, in the order of the first.

    A picture file that several name is one picture, with the objects of all.
    """
    alike = share_classes(datasets)
    name = " + ".join(dataset.name for dataset in alike)
    items, again = _merged(item for dataset in alike for item in dataset.items)
    notes = _joined_notes(alike)
    if again:
        many = counted(len(again), "picture is", "pictures are")
        line = f"{many} in several of these: their objects are put together ({plain(again[0])})"
        notes += (Note(name, line),)
    return Dataset(
        name,
        alike[0].classes,
        items,
        tuple(fault for dataset in alike for fault in dataset.faults),
        notes,
        tuple(dict.fromkeys(name for dataset in alike for name in dataset.unused)),
    )


def _joined_notes(datasets: Sequence[Dataset]) -> tuple[Note, ...]:
    """The notes of all; what is said alike of several is said once."""
    names: dict[str, dict[str, None]] = {}
    for note in (note for dataset in datasets for note in dataset.notes):
        names.setdefault(note.text, {})[note.data] = None
    return tuple(Note(", ".join(data), text) for text, data in names.items())


def _merged(items: Iterable[Annotated]) -> tuple[tuple[Annotated, ...], list[str]]:
    """Returns each picture file once, and the names of those that came again."""
    found: dict[object, Annotated] = {}
    again: dict[object, str] = {}
    for item in items:
        key = item.image if isinstance(item.image, Path) else id(item)
        if key in found:
            again[key] = item.name
            item = _together(found[key], item)
        found[key] = item
    return tuple(found.values()), list(again.values())


def _together(one: Annotated, other: Annotated) -> Annotated:
    """Adds to a picture the objects of another record of it that it does not have."""
    have = {
        (label, *box) for label, box in zip(one.labels.tolist(), one.boxes.tolist(), strict=True)
    }
    more = [
        place
        for place, box in enumerate(other.boxes.tolist())
        if (int(other.labels[place]), *box) not in have
    ]
    joined = {
        field: np.concatenate([getattr(one, field), getattr(other, field)[more]])
        for field in ("boxes", "labels", "crowd", "difficult")
    }
    return dataclasses.replace(one, **joined)


def share_classes(datasets: Sequence[Dataset]) -> list[Dataset]:
    """Gives each data set the classes of all, in the order of the first."""
    classes = tuple(dict.fromkeys(name for dataset in datasets for name in dataset.classes))
    return [
        dataclasses.replace(
            dataset,
            classes=classes,
            items=_relabelled(dataset, classes),
            unused=tuple(name for name in dataset.unused if name not in classes),
        )
        for dataset in datasets
    ]


def _relabelled(dataset: Dataset, classes: tuple[str, ...]) -> tuple[Annotated, ...]:
    """Returns the pictures with labels that are places in `classes`."""
    if dataset.classes == classes[: len(dataset.classes)]:
        return dataset.items
    places = np.asarray([classes.index(name) for name in dataset.classes], np.int64)
    return tuple(dataclasses.replace(item, labels=places[item.labels]) for item in dataset.items)
