"""Reading a data set of any kind: what it is, is found out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from atelier.errors import DataError
from atelier.images import READABLE
from detection.annotations import coco, masks, voc
from detection.annotations.collector import Collector
from detection.annotations.dataset import Dataset
from detection.annotations.places import picture_size
from detection.annotations.prepared import PREPARED, read_prepared
from detection.annotations.sizes import Frame, Reading


def read_dataset(
    source: str | os.PathLike,
    split: str | None = None,
    *,
    images: str | os.PathLike | None = None,
    classes: Sequence[str] | None = None,
    strict: bool = False,
    exif: Reading | None = None,
) -> Dataset:
    """Reads a data set of any kind known here.

    Args:
        source: a folder in VOC's or COCO's form or with photos and masks, a COCO JSON file, or the
            name of a set that tensorflow-datasets has prepared, "voc/2007" or "coco/2017".
        split: such as "train" or "val2017"; see the readers for what None means.
        images: the pictures' folder, where it is not the usual one.
        classes: their names and order; left out, those that the annotations hold. An object of
            another class is a fault.
        strict: whether the first fault is an error.
        exif: whether boxes on pictures that EXIF turns are of the picture as "shown" or of its
            pixels as "stored"; left out, the reading that keeps every box of the set inside its
            picture, or else "shown".

    Raises:
        DataError: nothing of the kind, a damaged file, no picture left, or with `strict` a fault.
    """
    path = Path(source)
    if not path.exists() and str(source).startswith(PREPARED):
        return read_prepared(str(source), split or "train", classes=classes, strict=strict)
    options = {"images": images, "classes": classes, "strict": strict, "exif": exif}
    if path.suffix.lower() == ".json" or (path.is_dir() and coco.find_files(path)):
        return coco.read_coco(path, split, **options)
    if masks.is_masks(path, images):
        return masks.read_masks(path, split, images=images, classes=classes, strict=strict)
    return voc.read_voc(path, split, **options)


def read_backgrounds(folder: str | os.PathLike, classes: Sequence[str]) -> Dataset:
    """Pictures of a folder on which there is nothing.

    Raises:
        DataError: no such folder, or no picture in it that can be read.
    """
    collector = Collector(Path(folder).name, classes, strict=False)
    if not os.path.isdir(folder):
        raise DataError(f"{folder}: no such folder")
    for file in sorted(Path(folder).iterdir()):
        if file.suffix.lower() in READABLE:
            with collector.guard(file.name):
                collector.add(file.name, file.name, file, Frame(picture_size(file)), ())
    return collector.dataset()
