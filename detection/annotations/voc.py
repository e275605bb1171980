"""Pascal VOC's annotations: an XML file a picture, as labelImg writes them too."""

from __future__ import annotations

import dataclasses
import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

from atelier.errors import DataError
from atelier.images import READABLE
from detection.annotations.collector import Collector, Found, from_voc
from detection.annotations.dataset import Dataset
from detection.annotations.places import inside, picture_frame, read_bounded
from detection.annotations.sizes import Reading
from detection.annotations.text import FaultError, described, plain

XML_BYTES = 2_000_000
"""Annotation files larger than this are refused; those of VOC have some thousand bytes."""

ANNOTATIONS, SPLITS, PICTURES = "Annotations", "ImageSets/Main", ("JPEGImages", "images", "Images")
"""Folders in the data set's own; without them, the files lie in it directly."""


def read_voc(
    folder: str | os.PathLike,
    split: str | None = None,
    *,
    images: str | os.PathLike | None = None,
    classes: Sequence[str] | None = None,
    strict: bool = False,
    exif: Reading | None = None,
) -> Dataset:
    """Reads a folder in VOC's form.

    Args:
        folder: with `Annotations/*.xml`, or *.xml directly; pictures in `JPEGImages/` or
            `images/`, or beside the XML files.
        split: a list in `ImageSets/Main`, "trainval" for trainval.txt; None for all XML files.
        images: the pictures' folder, instead of those.
        classes: names and order; left out, all names in all XML files, of other splits too,
            sorted, so that each split of a data set has the same.
        strict: whether the first fault is an error.
        exif: see `read_dataset`.

    Raises:
        DataError: no such folder or split, no picture without fault, or with `strict` a fault.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    name = f"{folder.resolve().name} {split}" if split else folder.resolve().name
    try:
        place = inside(folder, ANNOTATIONS) if (folder / ANNOTATIONS).is_dir() else folder
        pictures = [Path(images)] if images is not None else _picture_folders(folder, place)
        files = {file.stem: file.name for file in place.glob("*.xml")}
        stems = sorted(files) if split is None else _split(folder, split, files)
    except (FaultError, OSError) as error:
        raise DataError(f"{folder}: {error}") from None
    if not files:
        raise DataError(f"{folder}: no XML files, neither in it nor in {ANNOTATIONS}/")
    parsed = {}
    for stem in files if classes is None else stems:
        try:
            xml = files.get(stem, f"{stem}.xml")
            parsed[stem] = _parse(read_bounded(inside(place, xml), XML_BYTES))
        except FaultError as error:
            parsed[stem] = error
    if classes is None:
        pages = [page for page in parsed.values() if isinstance(page, _Page)]
        classes = sorted({name for page in pages for name, _ in page.objects if name})
    collector = Collector(name, classes, strict, exif)
    for stem in stems:
        xml = files.get(stem, f"{stem}.xml")
        with collector.guard(xml):
            page = parsed.get(stem) or FaultError("no such file")
            if isinstance(page, FaultError):
                raise page
            picture = _picture(pictures, page.file, stem)
            frame = picture_frame(picture)
            if page.size is None:
                collector.notes.count("no size", xml)
            founds = []
            for number, (label, element) in enumerate(page.objects, 1):
                with collector.costs_picture(described(number, label)):
                    founds.append(_found(described(number, label), label, element))
            collector.add(xml, picture.name, picture, frame, founds, page.size)
    return collector.dataset()


@dataclasses.dataclass(frozen=True)
class _Page:
    """An XML file, read but unchecked."""

    file: str
    size: tuple[float, float] | None
    """Height and width."""
    objects: list[tuple[str, ET.Element]]
    """The class's name, "" if there is none, and the element."""


def _parse(content: bytes) -> _Page:
    try:
        text = content.decode(
            "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        )
    except UnicodeDecodeError:
        raise FaultError("not UTF-8 text") from None
    # The text that is looked through is the text that is parsed: NUL is no character of XML.
    if "\0" in text:
        raise FaultError("malformed XML (it holds NUL characters)")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise FaultError("refused: it declares a document type, which annotations have no need of")
    try:
        root = ET.fromstring(text)
    except (ET.ParseError, ValueError) as error:
        raise FaultError(f"malformed XML ({plain(str(error))})") from None
    if root.tag != "annotation":
        raise FaultError(f"<{plain(root.tag)}> is no VOC annotation")
    size = root.find("size")
    stated = None
    if size is not None:
        stated = (_number(size, "height"), _number(size, "width"))
        stated = None if stated == (0, 0) else stated  # So some tools say that they do not know.
    objects = [(_text(element, "name"), element) for element in root.findall("object")]
    return _Page(_text(root, "filename"), stated, objects)


def _found(what: str, label: str, element: ET.Element) -> Found:
    box = element.find("bndbox")
    if not label:
        raise FaultError("no <name>")
    if box is None:
        raise FaultError("no <bndbox>")
    corners = [_number(box, side) for side in ("xmin", "ymin", "xmax", "ymax")]
    return Found(what, label, from_voc(corners), difficult=_text(element, "difficult") == "1")


def _text(element: ET.Element, tag: str) -> str:
    return (element.findtext(tag) or "").strip()


def _number(element: ET.Element, tag: str) -> float:
    text = _text(element, tag)
    if not re.fullmatch(r"[+-]?\d{1,9}(\.\d{0,9})?", text, re.ASCII):
        raise FaultError(f"<{tag}> is {plain(text)!r}, not a number" if text else f"no <{tag}>")
    return float(text)


# === Places ===


def _picture_folders(folder: Path, place: Path) -> list[Path]:
    usual = [inside(folder, name) for name in PICTURES if (folder / name).is_dir()]
    return [*usual, *dict.fromkeys([place, folder])]


def _picture(folders: Sequence[Path], name: str, stem: str) -> Path:
    """The picture that the XML file names, or else the one of the XML file's own name."""
    suffixes = [*READABLE, *(suffix.upper() for suffix in READABLE)]
    names = [name] if name else []
    names += [
        f"{base}{suffix}" for base in dict.fromkeys([name, stem]) if base for suffix in suffixes
    ]
    for candidate in names:
        for folder in folders:
            path = inside(folder, candidate)
            if os.path.isfile(path):
                return path
    raise FaultError(f"the picture {plain(name or stem)!r} is missing")


def _split(folder: Path, split: str, files: dict[str, str]) -> list[str]:
    """The names in a split's list; of the lists of one class, the flag behind each is ignored."""
    lists = inside(folder, SPLITS) if (folder / SPLITS).is_dir() else folder
    path = inside(lists, f"{split}.txt")
    if not os.path.isfile(path):
        known = ", ".join(sorted(plain(file.stem) for file in lists.glob("*.txt"))) or "none"
        raise FaultError(f"no split {split!r} in {SPLITS}; there are: {known}")
    lines = read_bounded(path, XML_BYTES).decode("utf-8-sig", "replace").splitlines()
    names = [line.strip() for line in lines if line.strip()]
    return list(dict.fromkeys(n if n in files else re.sub(r"\s+(-1|0|1)$", "", n) for n in names))
