"""Detections in the files of other tools: CSV, COCO's JSON and Pascal VOC's XML.

Files appear whole or not at all. The two that hold all pictures are written as these come, so that
thousands take no memory; Ctrl-C keeps the pictures that were done.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO

import numpy as np

from atelier.errors import OutputError
from atelier.files import atomic_path, write_text
from detection.detections import Detections

COLUMNS = ("input", "label", "score", "x1", "y1", "x2", "y2")
"""Of a table."""

LIST = "ImageSets/Main/default.txt"
"""Of the pages in VOC's `Annotations/`."""

AddRows = Callable[..., None]
"""(input, detections, frame=None): adds a row for each object."""

AddPicture = Callable[[str, Sequence[int], Detections], None]
"""(file name, (height, width, …), detections): adds a picture with its objects."""

_NOT_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""XML 1.0, section 2.2: what no escape can bring in either; and the return, read as a new line."""


def as_records(detections: Detections) -> list[dict]:
    """An object each: `label`, `score` to 4 decimals, `box` as x1 y1 x2 y2 to hundredths."""
    return [
        {"label": label, "score": round(float(score), 4), "box": [_hundredths(v) for v in box]}
        for label, score, box in zip(
            detections.labels, detections.scores, detections.boxes, strict=True
        )
    ]


def from_records(records: Iterable[Mapping]) -> Detections:
    """What `as_records` was given, but for the decimals that it left out."""
    records = list(records)
    boxes = np.float32([record["box"] for record in records]).reshape(-1, 4)
    scores = np.float32([record["score"] for record in records])
    return Detections(boxes, scores, tuple(record["label"] for record in records))


# === CSV ===


@contextlib.contextmanager
def write_csv(
    path: str | os.PathLike, *, frames: bool = False, overwrite: bool = True
) -> Iterator[AddRows]:
    """Writes a table with a row an object, as they come.

    What a spreadsheet would take for a formula, as names of strangers' classes may be, is put
    behind an apostrophe.

    Args:
        path: the file, which appears when the block ends.
        frames: whether there is a last column `frame`, which is empty for pictures.
        overwrite: whether an existing file may be replaced.

    Raises:
        OutputError: it exists, or cannot be written.
    """
    with _whole(path, overwrite) as file:
        writer = csv.writer(file)
        writer.writerow([*COLUMNS, "frame"] if frames else COLUMNS)

        def add(name: str, detections: Detections, frame: int | None = None) -> None:
            more = [frame] if frames else []
            writer.writerows(
                [_inert(name), _inert(record["label"]), record["score"], *record["box"], *more]
                for record in as_records(detections)
            )

        yield add


def _inert(text: str) -> str:
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else text


# === COCO ===


@contextlib.contextmanager
def write_coco(
    path: str | os.PathLike, classes: Sequence[str], *, overwrite: bool = True
) -> Iterator[AddPicture]:
    """Writes a COCO data set: `images`, `categories`, and `annotations` that have a `score` too.

    `read_coco` reads it. Pictures, categories and annotations are numbered from 1. `info` and each
    `segmentation` are empty, but there: `info()` and `showAnns()` of pycocotools 2.0.11 ask for
    them.

    Args:
        path: the JSON file, which appears when the block ends.
        classes: all that may come, in the order of the categories.
        overwrite: whether an existing file may be replaced.

    Raises:
        OutputError: it exists, or cannot be written.
    """
    numbers = {name: number for number, name in enumerate(classes, 1)}
    images, written = [], 0
    with _whole(path, overwrite) as file:
        file.write('{"info": {}, "annotations": [')

        def add(name: str, size: Sequence[int], detections: Detections) -> None:
            nonlocal written
            image = {"id": len(images) + 1, "file_name": name, "width": size[1], "height": size[0]}
            lines = []
            for record in _coco_results(image["id"], detections, numbers):
                record |= {"area": _hundredths(record["bbox"][2] * record["bbox"][3])}
                record |= {"iscrowd": 0, "segmentation": []}
                lines.append(json.dumps({"id": written + len(lines) + 1, **record}))
            if lines:  # Written at once, so that Ctrl-C finds no half of a picture.
                file.write((",\n" if written else "\n") + ",\n".join(lines))
            images.append(json.dumps(image))
            written += len(lines)

        try:
            yield add
        finally:
            categories = [json.dumps({"id": n, "name": name}) for name, n in numbers.items()]
            for key, rows in (("images", images), ("categories", categories)):
                file.write(f'],\n"{key}": [\n' + ",\n".join(rows))
            file.write("]}\n")


def write_coco_results(
    path: str | os.PathLike,
    results: Iterable[tuple[int | str, Detections]],
    categories: Mapping[str, int],
    *,
    overwrite: bool = True,
) -> None:
    """Writes what COCO's evaluation takes: a list of `image_id`, `category_id`, `bbox`, `score`.

    Args:
        path: the JSON file.
        results: the data set's id of each picture, and what was found on it.
        categories: the data set's id of each class.
        overwrite: whether an existing file may be replaced.

    Raises:
        OutputError: it exists, or cannot be written.
    """
    with _whole(path, overwrite) as file:
        separator = "[\n"
        for key, detections in results:
            for record in _coco_results(key, detections, categories):
                file.write(separator + json.dumps(record))
                separator = ",\n"
        file.write("]\n" if separator != "[\n" else "[]\n")


def _coco_results(
    key: int | str, detections: Detections, categories: Mapping[str, int]
) -> list[dict]:
    records = []
    for record in as_records(detections):
        x1, y1, x2, y2 = record["box"]
        box = [x1, y1, _hundredths(x2 - x1), _hundredths(y2 - y1)]
        category = categories[record["label"]]
        score = record["score"]
        records.append({"image_id": key, "category_id": category, "bbox": box, "score": score})
    return records


# === VOC ===


def write_voc(
    path: str | os.PathLike,
    file_name: str,
    size: Sequence[int],
    detections: Detections,
    *,
    overwrite: bool = True,
) -> None:
    """Writes one picture's objects as labelImg does; `read_voc` reads them.

    Corners are continuous and count from 0, as labelImg 1.8.6 and datumaro 1.13 write and show
    them. They are rounded to whole pixels, at least one each way. `score` is an element of our own,
    which other tools pass by.

    Args:
        path: the XML file.
        file_name: of the picture.
        size: the picture's (height, width, …).
        detections: what was found on it.
        overwrite: whether an existing file may be replaced.

    Raises:
        OutputError: it exists, or cannot be written.
    """
    height, width = size[:2]
    root = ET.Element("annotation")
    _add(root, filename=file_name)
    _add(ET.SubElement(root, "size"), width=width, height=height, depth=3)
    _add(root, segmented=0)
    for record in as_records(detections):
        xmin, xmax = _whole_pixels(record["box"][0::2], width)
        ymin, ymax = _whole_pixels(record["box"][1::2], height)
        cut = xmin == 0 or ymin == 0 or xmax == width or ymax == height
        element = ET.SubElement(root, "object")
        _add(element, name=record["label"], pose="Unspecified", truncated=int(cut), difficult=0)
        _add(element, score=record["score"])
        _add(ET.SubElement(element, "bndbox"), xmin=xmin, ymin=ymin, xmax=xmax, ymax=ymax)
    ET.indent(root)
    write_text(path, ET.tostring(root, encoding="unicode") + "\n", overwrite=overwrite)


def _add(element: ET.Element, **values: object) -> None:
    for tag, value in values.items():
        ET.SubElement(element, tag).text = _NOT_XML.sub("?", str(value))


def _whole_pixels(ends: Sequence[float], length: int) -> tuple[int, int]:
    """The ends of a side, a pixel apart at least."""
    start, stop = round(ends[0]), round(ends[1])
    if start == stop:
        start = max(0, min(int(sum(ends) / 2), length - 1))
        stop = start + 1
    return start, stop


def write_voc_list(folder: str | os.PathLike, names: Iterable[str]) -> None:
    """Adds names to `ImageSets/Main/default.txt`, without which datumaro 1.13 finds no data set.

    Args:
        folder: the data set's, with pages in `Annotations/`.
        names: the pages', from that folder on, without suffix.

    Raises:
        OutputError: the list cannot be written.
    """
    path = Path(folder) / LIST
    try:
        lines = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except FileNotFoundError:
        lines = []
    except OSError as error:
        raise OutputError(f"{path} cannot be read ({error.strerror})") from None
    added = sorted(set(names) - set(lines))
    if added:
        write_text(path, "\n".join([*lines, *added]) + "\n", overwrite=True)


# === Files ===


@contextlib.contextmanager
def _whole(path: str | os.PathLike, overwrite: bool) -> Iterator[TextIO]:
    """A file that appears when the block ends well, or by Ctrl-C."""
    interrupted = None
    with (
        atomic_path(path, overwrite=overwrite) as temporary,
        # Names of files need not be UTF-8, but the table is to be.
        open(temporary, "w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        try:
            yield file
        except KeyboardInterrupt as stop:
            interrupted = stop
    if interrupted:
        raise interrupted


def _hundredths(value: float) -> float:
    return round(float(value), 2)
