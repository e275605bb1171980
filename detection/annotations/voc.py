"""Pascal VOC's annotations: an XML file a picture, as many programs write them.

PASCAL's own files count pixels from 1 and include the last one (VOC2012 development kit, Section
5); so do those of supervision. labelImg 1.8.6, datumaro 1.13, globox 2.9, pylabel, FiftyOne and
Label Studio write continuous corners, which count from 0.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Literal

from atelier.errors import DataError
from detection.annotations.collector import Collector, Found, from_voc
from detection.annotations.dataset import Dataset
from detection.annotations.layouts import what_is_there
from detection.annotations.pages import Page, Thing, parse
from detection.annotations.places import picture_frame, read_bounded
from detection.annotations.sizes import Reading
from detection.annotations.text import FaultError, counted, described, plain
from detection.annotations.voc_folders import File, VocFolder, key_of

XML_BYTES = 2_000_000
"""Annotation files larger than this are refused; those of VOC have some thousand bytes."""

Base = Literal[0, 1]
"""From which number on pixels are counted."""


def read_voc(
    folder: str | os.PathLike,
    split: str | None = None,
    *,
    images: str | os.PathLike | None = None,
    classes: Sequence[str] | None = None,
    strict: bool = False,
    exif: Reading | None = None,
    base: Base | None = None,
) -> Dataset:
    """Reads a folder in VOC's form; see `detection.annotations.voc_folders` for what it may hold.

    Args:
        folder: with `Annotations/*.xml`, or *.xml directly; pictures in `JPEGImages/` or
            `images/`, or beside the XML files; each with folders below.
        split: a list in `ImageSets/Main`, "trainval" for trainval.txt, or a folder such as
            `train/`; None for all XML files. Pictures that are listed and have no XML file are
            pictures without objects.
        images: the pictures' folder, instead of those.
        classes: names and order; left out, all names in all XML files, of other splits too,
            sorted, so that each split of a data set has the same.
        strict: whether the first fault is an error.
        exif: see `read_dataset`.
        base: whether corners count pixels from 1, the last one included, as in PASCAL's own files,
            or from 0, as most programs write them; left out, from 0, but for files with a
            <source> that is PASCAL's, if none of them has a corner below 1.

    Raises:
        DataError: no such folder or split, no picture without fault, or with `strict` a fault.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    name = f"{folder.resolve().name} {split}" if split else folder.resolve().name
    try:
        place = VocFolder(folder, None if images is None else Path(images))
        listed = place.listed_by_any() if split is None else place.split(split)
    except (FaultError, OSError) as error:
        raise DataError(f"{folder}: {error}") from None
    if not place.pages:
        raise DataError(f"{folder}: no XML files in it or below; {what_is_there(folder)}")
    order = {key: number for number, key in enumerate(listed)}
    wanted = place.pages
    if split is not None:
        wanted = sorted((p for p in place.pages if p[0] in order), key=lambda page: order[page[0]])
    parsed = {page: _parsed(page) for _, page in (place.pages if classes is None else wanted)}
    if classes is None:
        read = [page for page in parsed.values() if isinstance(page, Page)]
        classes = sorted({thing.label for page in read for thing in page.things if thing.label})
    collector = Collector(name, classes, strict, exif)
    bases = _bases(parsed, base, collector)
    taken = _pictures(place, wanted, parsed)
    for _, file in wanted:
        shown = place.shown(file)
        with collector.guard(shown):
            page, picture = parsed[file], taken[file]
            for fault in (page, picture):
                if isinstance(fault, FaultError):
                    raise fault
            frame = picture_frame(picture.path())
            if page.size is None:
                collector.notes.count("no size", shown)
            founds = []
            for number, thing in enumerate(page.things, 1):
                what = described(number, thing.label)
                with collector.costs_picture(what):
                    founds.append(_found(what, thing, bases[page.pascal]))
                if thing.outlined:
                    collector.notes.count("outline", f"{shown}: {what}")
            name = place.picture_name(picture)
            collector.add(shown, name, picture.path(), frame, founds, page.size)
    _add_listed(collector, place, listed, split)
    if split is None:
        _say_unlisted(collector, place, order.keys(), taken)
    for link in place.links:
        collector.notes.count("link", link)
    return collector.dataset()


# === Pages ===


def _parsed(file: File) -> Page | FaultError:
    try:
        return parse(read_bounded(file.path(), XML_BYTES))
    except FaultError as error:
        return error


def _found(what: str, thing: Thing, base: int) -> Found:
    if not thing.label:
        raise FaultError("no <name>")
    if thing.corners is None:
        raise FaultError(thing.reason)
    return Found(what, thing.label, from_voc(thing.corners, base), difficult=thing.difficult)


def _bases(
    parsed: Mapping[File, Page | FaultError], base: Base | None, collector: Collector
) -> dict[bool, int]:
    """From where corners are counted, by whether a page is PASCAL's; says it."""
    pages = [page for page in parsed.values() if isinstance(page, Page) and page.things]
    own = [page for page in pages if page.pascal]
    if not pages:
        return {False: 0, True: 1}
    if base is not None:
        collector.notes.say(f"corners count pixels from {base}, as --voc-base says")
        return {False: base, True: base}
    if not own:
        collector.notes.say(
            "corners count pixels from 0, as most programs write them; --voc-base 1 overrules"
        )
        return {False: 0, True: 0}
    corners = (thing.corners for page in own for thing in page.things if thing.corners)
    if any(min(each) < 1 for each in corners):
        collector.notes.say(
            "corners count pixels from 0, since there is a 0, though a <source> says PASCAL; "
            "--voc-base 1 overrules"
        )
        return {False: 0, True: 0}
    which = "" if len(own) == len(pages) else f"of {counted(len(own), 'file', 'files')} "
    rest = "" if len(own) == len(pages) else ", those of the others from 0"
    collector.notes.say(
        f"corners {which}count pixels from 1, as <source> says PASCAL{rest}; --voc-base 0 overrules"
    )
    return {False: 0, True: 1}


# === Pictures ===


def _pictures(
    place: VocFolder,
    wanted: Sequence[tuple[str, File]],
    parsed: Mapping[File, Page | FaultError],
) -> dict[File, File | FaultError]:
    """The picture of each page. Of several pages of one picture, the one of its name has it."""
    taken: dict[File, File | FaultError] = {}
    claims: dict[File, list[tuple[str, File]]] = {}
    for key, page in wanted:
        content = parsed[page]
        try:
            stated = content.file if isinstance(content, Page) else ""
            taken[page] = place.picture(key, stated)
            claims.setdefault(taken[page], []).append((key, page))
        except FaultError as error:
            taken[page] = error
    for picture, pages in claims.items():
        if len(pages) == 1:
            continue
        own = [page for key, page in pages if key == key_of(picture.name)]
        for _, page in pages:
            if [page] == own:
                continue
            other = next(
                file for _, file in pages if file != page and (len(own) != 1 or file in own)
            )
            taken[page] = FaultError(
                f"the picture {plain(picture.name)!r} is that of {plain(place.shown(other))}, too"
            )
    return taken


def _add_listed(
    collector: Collector, place: VocFolder, listed: Sequence[str], split: str | None
) -> None:
    """Adds the pictures that are listed and have no page: those have no objects."""
    pages = {key for key, _ in place.pages}
    for key in listed:
        if key in pages:
            continue
        try:
            picture = place.listed_picture(key)
        except FaultError:
            if split is None:
                collector.notes.count("listed alone", key)
                continue
            picture = None
        with collector.guard(f"{key}.xml"):
            if picture is None:
                raise FaultError("no such file, nor a picture of the name")
            path, name = picture.path(), place.picture_name(picture)
            collector.add(f"{key}.xml", name, path, picture_frame(path), ())
            collector.notes.count("without page", name)


def _say_unlisted(
    collector: Collector,
    place: VocFolder,
    listed: Collection[str],
    taken: Mapping[File, File | FaultError],
) -> None:
    """Counts pictures that have no page and are in no list: they may show anything."""
    used = set(taken.values())
    pages = {key for key, _ in place.pages}
    for key, files in place.pictures():
        if key not in pages and key not in listed and not used.intersection(files):
            collector.notes.count("unlisted", files[0].name)
