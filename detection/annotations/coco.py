"""COCO's annotations: one JSON file with `images`, `annotations` and `categories`."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Collection, Sequence
from pathlib import Path

from atelier.errors import DataError
from atelier.media.pairs import is_picture
from detection.annotations.collector import Collector, Found
from detection.annotations.dataset import Dataset, join
from detection.annotations.fields import Id, flag, identity, mapping, real, text
from detection.annotations.finder import PictureFinder
from detection.annotations.layouts import (
    choose_split,
    coco_files,
    data_root,
    picture_folders,
    split_names,
    what_is_there,
)
from detection.annotations.outlines import outline_box
from detection.annotations.places import inside, picture_frame, read_bounded
from detection.annotations.sizes import Reading
from detection.annotations.text import FaultError, counted, described, plain

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

    Numbers may stand as text, and ids as 1, 1.0 or "1". An object without a usable box has the box
    around its outline. Categories of one name are one class; those that nothing is annotated with
    are none, but in `unused`.

    Args:
        source: a COCO JSON file, or a folder with one or several; see
            `detection.annotations.layouts`.
        split: such as "val2017", the file's or its folder's name; None for the one file, or for
            all where each has a folder of its own.
        images: the pictures' folder; left out, those usual beside the file.
        classes: names and order; left out, the file's categories by their ids.
        strict: whether the first fault is an error.
        exif: see `read_dataset`.

    Raises:
        DataError: no such file, not COCO's form, no picture without fault, or with `strict` a
            fault.
    """
    source = Path(source)
    files = [source] if source.suffix.lower() == ".json" else _choose(source, split)
    folders = [Path(images)] if images is not None else []
    options = {"classes": classes, "strict": strict, "exif": exif}
    return join([_File(file, folders, **options).read() for file in files])


class _File:
    """A COCO file as it is read."""

    def __init__(self, file: Path, folders: Sequence[Path], *, classes, strict: bool, exif):
        self.file = file
        self.twice: set[Path] = set()
        """Pictures that two records name."""
        root = data_root(file)
        try:
            self.content = _parse(read_bounded(file, JSON_BYTES))
            self.categories = _categories(self.content)
            usual = [inside(root, _below(root, folder)) for folder in picture_folders(file)]
        except FaultError as error:
            raise DataError(f"{file}: {error}") from None
        self.finder = PictureFinder(folders or usual, [] if folders else [root])
        names = split_names(file)
        top = root.parent if names[0] == root.name else root
        used = self._used()
        self.unused = [name for name in dict.fromkeys(self.categories.values()) if name not in used]
        name = f"{top.resolve().name} {names[0]}"
        self.collector = Collector(name, classes or used or self.unused, strict, exif)
        if classes or not used:
            self.unused = []

    def read(self) -> Dataset:
        """Returns all of it."""
        pictures, owners = self._pictures()
        objects: dict[Path, list[dict]] = {path: [] for path in pictures}
        seen: dict[Id, dict] = {}
        for place, record in enumerate(self.content["annotations"]):
            with self.collector.guard(self.file.name, f"annotation number {place + 1}"):
                key = identity(mapping(record), "image_id")
                if key not in owners:
                    raise FaultError(f"no picture has the id {plain(str(key))}")
                if not self._is_repeated(record, seen) and owners[key] is not None:
                    objects[owners[key]].append(record)
        for path, record in pictures.items():
            with self.collector.guard(self.file.name, f"picture {_shown(record)}"):
                self._add(path, record, objects[path])
        self._count_others(pictures)
        if self.unused:
            many = counted(len(self.unused), "category", "categories")
            shown = ", ".join(map(plain, self.unused[:8])) + (", …" if self.unused[8:] else "")
            self.collector.notes.say(
                f"{many} that nothing is annotated with: left out, unless --classes names them "
                f"({shown})"
            )
        return dataclasses.replace(self.collector.dataset(), unused=tuple(self.unused))

    def _count_others(self, pictures: Collection[Path]) -> None:
        """Notes how many pictures beside those of the records have none."""
        folders = dict.fromkeys(path.parent for path in pictures)
        beside = (path for folder in folders for path in sorted(folder.iterdir()))
        others = [path for path in beside if is_picture(path) and path not in pictures]
        if others:
            many = counted(len(others), "picture", "pictures")
            first = plain(f"{others[0].parent.name}/{others[0].name}", 300)
            self.collector.notes.say(f"{many} without a record: passed over ({first})")

    def _used(self) -> list[str]:
        """The names of the categories that something is annotated with, in the order of ids."""
        used = set()
        for record in self.content["annotations"]:
            if isinstance(record, dict) and (name := self._category(record)) is not None:
                used.add(name)
        return [name for name in dict.fromkeys(self.categories.values()) if name in used]

    def _category(self, record: dict) -> str | None:
        try:
            return self.categories.get(identity(record, "category_id"))
        except FaultError:
            return None

    def _pictures(self) -> tuple[dict[Path, dict], dict[Id, Path | None]]:
        """The picture records by their files, and the files by ids; None of an id at fault."""
        pictures: dict[Path, dict] = {}
        owners: dict[Id, Path | None] = {}
        for place, record in enumerate(self.content["images"]):
            with self.collector.guard(self.file.name, f"image number {place + 1}"):
                key = identity(mapping(record), "id")
                name, known = text(record, "file_name"), key in owners
                earlier = owners.setdefault(key, None)
                with self.collector.guard(self.file.name, f"picture {plain(name)}"):
                    path = self.finder.find(name)
                    if known and path != earlier:
                        pictures.pop(earlier, None)
                        owners[key] = None
                        raise FaultError(f"one of two of the id {plain(str(key))}, both left out")
                    owners[key] = path
                    if path in pictures:
                        self.twice.add(path)
                        raise FaultError("named twice; the objects of both are put together")
                    pictures[path] = record
        return pictures, owners

    def _is_repeated(self, record: dict, seen: dict[Id, dict]) -> bool:
        """Whether an annotation is there before, under the same id."""
        try:
            key = identity(record, "id")
        except FaultError:
            return False
        if seen.setdefault(key, record) is record or seen[key] != record:
            return False
        self.collector.notes.count("repeated", f"{self.file.name}: object {plain(str(key))}")
        return True

    def _add(self, path: Path, record: dict, annotations: Sequence[dict]) -> None:
        picture = f"picture {_shown(record)}"
        frame, stated = picture_frame(path), _stated(record)
        if stated is None:
            self.collector.notes.count("no size", f"{self.file.name}: {picture}")
        founds: list[Found] = []
        for annotation in annotations:
            number = plain(str(annotation.get("id")))
            what = f"{picture}, {described(number, self._category(annotation) or '')}"
            with self.collector.costs_picture(what):
                founds.append(self._found(what, annotation, stated or frame.shown))
        if path in self.twice:
            founds = list(
                {(found.label, found.box, found.crowd): found for found in founds}.values()
            )
        stated_name = record["file_name"].replace("\\", "/")
        name = stated_name if path.as_posix().endswith(stated_name) else path.name
        self.collector.add(self.file.name, name, path, frame, founds, stated, picture)

    def _found(self, what: str, record: dict, size: tuple[float, float]) -> Found:
        category = identity(record, "category_id")
        if category not in self.categories:
            raise FaultError(f"unknown category {plain(str(category))}")
        box = self._box(what, record, size)
        crowd = flag(record, "iscrowd")
        ignored = flag(record, "ignore") or flag(record, "difficult")  # pylabel's.
        return Found(what, self.categories[category], box, crowd=crowd, difficult=ignored)

    def _box(self, what: str, record: dict, size) -> tuple[float, float, float, float]:
        """The box, or that around the outline where it is missing, damaged or without area."""
        fault, corners, box = FaultError("'bbox' is no list of four numbers"), None, None
        try:
            box = record.get("bbox")
            if not isinstance(box, list) or len(box) != 4:
                raise fault
            x, y, width, height = (real(value, "bbox") for value in box)
            corners = (x, y, x + width, y + height)
            if width and height:
                return corners
        except FaultError as error:
            fault = error
        outline = outline_box(record.get("segmentation"), size)
        if outline is not None:
            self.collector.notes.count("outline", f"{self.file.name}: {what}")
            return outline
        if corners is not None:
            return corners  # Without area, which the collector names.
        raise fault


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


def _categories(content: dict) -> dict[Id, str]:
    """Names by id, in the order of the ids."""
    names: dict[Id, str] = {}
    for record in content["categories"]:
        key, name = identity(mapping(record), "id"), text(record, "name")
        if names.setdefault(key, name) != name:
            raise FaultError(f"two categories have the id {plain(str(key))}")
        if any(ord(c) < 32 or "\ud800" <= c <= "\udfff" for c in name):
            raise FaultError(f"{plain(name)!r} is no category's name")
    return dict(sorted(names.items(), key=lambda pair: (isinstance(pair[0], str), pair[0])))


def _stated(record: dict) -> tuple[float, float] | None:
    """Height and width, if the record has them and they can be."""
    try:
        stated = real(record.get("height"), "height"), real(record.get("width"), "width")
    except FaultError:
        return None
    return stated if min(stated) > 0 else None


def _shown(record: dict) -> str:
    return plain(record["file_name"])


# === Places ===


def _choose(folder: Path, split: str | None) -> list[Path]:
    """The files of a folder that are to be read."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    try:
        files = [inside(folder, file.relative_to(folder).as_posix()) for file in coco_files(folder)]
    except FaultError as error:
        raise DataError(f"{folder}: {error}") from None
    if not files:
        raise DataError(f"{folder}: no JSON file of COCO's form; {what_is_there(folder)}")
    names = {file: split_names(file) for file in files}
    if split is not None:
        known = dict.fromkeys(name for each in names.values() for name in each)
        name = choose_split(split, known)
        chosen = [file for file in files if name is not None and name in names[file]]
        if chosen:
            return chosen
    elif len(files) == 1 or len({file.parent for file in files}) == len(files):
        return files
    shown = ", ".join(f"{names[file][0]} ({_below(folder, file)})" for file in files[:8])
    asked = "say of which split" if split is None else f"no split {split!r}"
    raise DataError(f"{folder}: {asked}; there are: {plain(shown, 300)}")


def _below(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix() if path != folder else "."
