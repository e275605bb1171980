"""COCO's annotations: one JSON file with `images`, `annotations` and `categories`."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path

from atelier.errors import DataError
from detection.annotations.collector import Collector, Found
from detection.annotations.dataset import Dataset
from detection.annotations.places import inside, picture_frame, read_bounded
from detection.annotations.sizes import Reading
from detection.annotations.text import FaultError, described, plain

JSON_BYTES = 600_000_000
"""Annotation files larger than this are refused; that of COCO's train2017 has 470 million."""


def read_coco(
    source: str | os.PathLike,
    split: str | None = None,
    *,
    images: str | os.PathLike | None = None,
    classes: Sequence[str] | None = None,
    strict: bool = False,
    exif: Reading | None = None,
) -> Dataset:
    """Reads a data set in COCO's form.

    Args:
        source: a folder with `annotations/instances_SPLIT.json`, or such a JSON file itself.
        split: such as "val2017"; None where there is one file alone.
        images: the pictures' folder; left out, `SPLIT/`, `images/SPLIT/` or `images/` in the data
            set's folder, or the JSON file's own.
        classes: names and order; left out, the file's categories by their ids.
        strict: whether the first fault is an error.
        exif: see `read_dataset`.

    Raises:
        DataError: no such file, not COCO's form, no picture without fault, or with `strict` a
            fault.
    """
    source = Path(source)
    file = source if source.suffix.lower() == ".json" else _choose(source, split)
    try:
        content = _parse(read_bounded(file, JSON_BYTES))
        categories = _categories(content)
        folders = [Path(images)] if images is not None else _picture_folders(file)
    except FaultError as error:
        raise DataError(f"{file}: {error}") from None
    root = file.parent.parent if file.parent.name == "annotations" else file.parent
    name = f"{root.resolve().name} {_split_of(file)}"
    collector = Collector(name, classes or categories.values(), strict, exif)
    pictures = _pictures(content, collector, file.name)
    numbered = {key: [] for key in pictures}
    for place, record in enumerate(content["annotations"]):
        with collector.guard(file.name, f"annotation number {place + 1}"):
            key = _field(_mapping(record), "image_id", (int, str))
            if key not in pictures:
                raise FaultError(f"no picture has the id {plain(str(key))}")
            numbered[key].append(record)
    for key, record in pictures.items():
        with collector.guard(file.name, f"picture {_shown(record)}"):
            path = _picture(folders, record["file_name"])
            frame = picture_frame(path)
            stated = (_number(record, "height"), _number(record, "width"))
            founds = []
            for annotation in numbered[key]:
                what = f"picture {_shown(record)}, {_named(annotation, categories)}"
                with collector.costs_picture(what):
                    founds.append(_found(what, annotation, categories))
            what = f"picture {_shown(record)}"
            collector.add(file.name, record["file_name"], path, frame, founds, stated, what)
    return collector.dataset()


def find_files(folder: Path) -> list[Path]:
    """The annotation files of a folder in COCO's form."""
    return sorted((folder / "annotations").glob("instances_*.json"))


# === Fields of strangers' JSON ===


def _parse(content: bytes) -> dict:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:  # Also of text that is not UTF-8.
        raise FaultError(f"malformed JSON ({plain(str(error))})") from None
    if not isinstance(value, dict):
        raise FaultError("not COCO's form: an object with images, annotations and categories")
    for key in ("images", "annotations", "categories"):
        if not isinstance(value.get(key), list):
            raise FaultError(f"not COCO's form: {key!r} is no list")
    return value


def _categories(content: dict) -> dict[int, str]:
    """Names by id, in the order of the ids."""
    names = {}
    for record in content["categories"]:
        key, name = _field(_mapping(record), "id", int), _field(record, "name", str)
        if key in names:
            raise FaultError(f"two categories have the id {plain(str(key))}")
        if not name.strip() or plain(name, 100) != name:
            raise FaultError(f"{plain(name)!r} is no category's name")
        names[key] = name
    return dict(sorted(names.items()))


def _pictures(content: dict, collector: Collector, file: str) -> dict[int | str, dict]:
    """The picture records by id."""
    pictures = {}
    for place, record in enumerate(content["images"]):
        with collector.guard(file, f"image number {place + 1}"):
            key = _field(_mapping(record), "id", (int, str))
            _field(record, "file_name", str)
            if key in pictures:
                raise FaultError(f"a second picture of the id {plain(str(key))}")
            pictures[key] = record
    return pictures


def _found(what: str, record: dict, categories: dict[int, str]) -> Found:
    category = _field(record, "category_id", int)
    if category not in categories:
        raise FaultError(f"unknown category {plain(str(category))}")
    box = record.get("bbox")
    if not isinstance(box, list) or len(box) != 4:
        raise FaultError("'bbox' is no list of four numbers")
    x, y, width, height = (_real(value, "bbox") for value in box)
    crowd = record.get("iscrowd", 0)
    if crowd not in (0, 1):
        raise FaultError(f"'iscrowd' is {plain(str(crowd))}, neither 0 nor 1")
    return Found(what, categories[category], (x, y, x + width, y + height), crowd=bool(crowd))


def _mapping(value) -> dict:
    if not isinstance(value, dict):
        raise FaultError("not an object")
    return value


def _field(record: dict, key: str, kind: type | tuple[type, ...]):
    value = record.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        wrong = "missing" if key not in record else f"{plain(str(value))}, of a wrong type"
        raise FaultError(f"{key!r} is {wrong}")
    return value


def _number(record: dict, key: str) -> float:
    return _real(_field(record, key, (int, float)), key)


def _real(value, key: str) -> float:
    try:
        if isinstance(value, (int, float)) and math.isfinite(value) and not isinstance(value, bool):
            return float(value)
    except OverflowError:  # Of an integer of hundreds of digits.
        pass
    raise FaultError(f"{key!r} holds {plain(str(value))}, which is no number")


def _shown(record: dict) -> str:
    return plain(record["file_name"])


def _named(record: dict, categories: dict[int, str]) -> str:
    number, category = record.get("id"), record.get("category_id")
    label = categories.get(category, "") if isinstance(category, int) else ""
    return described(plain(str(number)), label)


# === Places ===


def _choose(folder: Path, split: str | None) -> Path:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    try:
        safe = [inside(folder, f"{file.parent.name}/{file.name}") for file in find_files(folder)]
    except FaultError as error:
        raise DataError(f"{folder}: {error}") from None
    files = {_split_of(file): file for file in safe}
    if split in files:
        return files[split]
    if split is None and len(files) == 1:
        return next(iter(files.values()))
    known = ", ".join(map(plain, files)) or "none"
    asked = "say of which split" if split is None else f"no split {split!r}"
    raise DataError(f"{folder}: {asked}; annotations/instances_SPLIT.json there are: {known}")


def _split_of(file: Path) -> str:
    return file.stem.removeprefix("instances_")


def _picture_folders(file: Path) -> list[Path]:
    root = file.parent.parent if file.parent.name == "annotations" else file.parent
    usual = [_split_of(file), f"images/{_split_of(file)}", "images"]
    return [*(inside(root, name) for name in usual if (root / name).is_dir()), file.parent]


def _picture(folders: Sequence[Path], name: str) -> Path:
    paths = [inside(folder, name) for folder in folders]
    for path in paths:
        if os.path.isfile(path):
            return path
    raise FaultError("the picture is missing")
