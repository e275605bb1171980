"""Reading a data set of any kind: what it is, is found out."""

from __future__ import annotations

import collections
import dataclasses
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal

from atelier.errors import DataError
from atelier.files import files_below
from atelier.media.pairs import is_picture
from detection.annotations import coco, layouts, masks, voc
from detection.annotations.collector import Collector
from detection.annotations.dataset import Dataset, join
from detection.annotations.places import picture_size
from detection.annotations.prepared import PREPARED, read_prepared
from detection.annotations.sizes import Frame, Reading
from detection.annotations.text import plain

Form = Literal["voc", "coco", "masks"]
"""Of annotations."""


def read_dataset(
    source: str | os.PathLike,
    split: str | None = None,
    *,
    images: str | os.PathLike | None = None,
    classes: Sequence[str] | None = None,
    strict: bool = False,
    exif: Reading | None = None,
    form: Form | None = None,
    groups: Collection[str] = (),
    voc_base: voc.Base | None = None,
) -> Dataset:
    """Reads a data set of any kind known here.

    Args:
        source: a folder in VOC's or COCO's form or with photos and masks; one with folders such as
            `train/` and `valid/`, each in one of these forms; a COCO JSON file; or the name of a
            set that tensorflow-datasets has prepared, "voc/2007" or "coco/2017".
        split: such as "train" or "val2017", a folder, a list or a file, with "val" for "valid" and
            the other way about; None for all, or see the readers.
        images: the pictures' folder, where it is not the usual one.
        classes: their names and order; left out, those that the annotations hold. An object of
            another class is a fault.
        strict: whether the first fault is an error.
        exif: whether boxes on pictures that EXIF turns are of the picture as "shown" or of its
            pixels as "stored"; left out, the reading that keeps every box of the set inside its
            picture, or else "shown".
        form: the annotations'; found out, if left out.
        groups: see `read_masks`.
        voc_base: see `detection.annotations.voc.read_voc`.

    Raises:
        DataError: nothing of the kind, a damaged file, no picture left, or with `strict` a fault.
    """
    path = Path(source)
    if not path.exists() and str(source).startswith(PREPARED):
        return read_prepared(str(source), split or "train", classes=classes, strict=strict)
    options = {"images": images, "classes": classes, "strict": strict}
    if path.is_dir() and form is None and form_of(path, images) is None:
        parts = layouts.split_folders(path, lambda folder: form_of(folder, images) is not None)
        chosen = None if split is None else layouts.choose_split(split, parts)
        if chosen is not None or (parts and split is None):
            folders = [parts[chosen]] if chosen is not None else parts.values()
            datasets = [
                _read(folder, None, groups=groups, exif=exif, base=voc_base, **options)
                for folder in folders
            ]
            names = [f"{path.resolve().name} {folder.name}" for folder in folders]
            return join(
                [dataclasses.replace(d, name=n) for d, n in zip(datasets, names, strict=True)]
            )
    return _read(path, split, form, groups=groups, exif=exif, base=voc_base, **options)


def _read(
    path: Path, split: str | None, form: Form | None = None, *, groups, exif, base, **options
) -> Dataset:
    form = form or form_of(path, options["images"], deep=True)
    if form == "masks":
        return masks.read_masks(path, split, groups=groups, **options)
    if form == "coco":
        return coco.read_coco(path, split, exif=exif, **options)
    if form == "voc":
        return voc.read_voc(path, split, exif=exif, base=base, **options)
    if not path.exists():
        raise DataError(f"{path}: no such folder")
    if not path.is_dir():
        raise DataError(f"{path} is a file, but neither COCO's JSON nor a folder")
    raise DataError(
        f"{path}: no XML files of VOC's form, no JSON file of COCO's, and no images/ with masks/; "
        f"{layouts.what_is_there(path)}"
    )


def form_of(
    path: Path, images: str | os.PathLike | None = None, *, deep: bool = False
) -> Form | None:
    """Returns the form of a data set, None if it is of none that is known.

    Args:
        path: a folder or a file.
        images: the pictures' folder, if it is named.
        deep: whether annotations may lie in folders below that are not the usual ones.
    """
    if path.suffix.lower() == ".json" and not path.is_dir():
        return "coco"
    if not path.is_dir():
        return None
    if layouts.coco_files(path, deep=False):
        return "coco"
    if masks.is_masks(path, images, deep=False):
        return "masks"
    if layouts.holds_xml(path, deep=False):
        return "voc"
    if masks.is_masks(path, images):
        return "masks"
    if deep and layouts.coco_files(path):
        return "coco"
    return "voc" if deep and layouts.holds_xml(path) else None


def read_backgrounds(folder: str | os.PathLike, classes: Sequence[str]) -> Dataset:
    """Reads pictures on which there is nothing, of a folder and of those below.

    Files that are no pictures are counted in a note.

    Raises:
        DataError: no such folder, or no picture in it that can be read.
    """
    folder = Path(folder)
    collector = Collector(folder.name, classes, strict=False)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    others: collections.Counter[str] = collections.Counter()
    files = files_below(folder, skip=lambda path: path.name.startswith("."))
    for file in sorted(files):
        name = file.relative_to(folder).as_posix()
        if is_picture(file):
            with collector.guard(name):
                collector.add(name, name, file, Frame(picture_size(file)), ())
        elif not file.name.startswith("."):
            others[file.suffix.lower() or "no suffix"] += 1
    if others:
        kinds = ", ".join(f"{count} {plain(kind)}" for kind, count in others.most_common(5))
        collector.notes.say(f"files that are no pictures, passed over: {kinds}")
    return collector.dataset()
