"""How data sets lie in folders: COCO files of any name, parts in folders of their own.

Known are the folders of COCO, of CVAT and datumaro (`annotations/`, `images/`), of FiftyOne
(`labels.json`, `data/`), of Label Studio (`result.json`, `images/`), and of Roboflow
(`train/`, `valid/`, `test/`, each with its `_annotations.coco.json` or XML files).
"""

from __future__ import annotations

import collections
import itertools
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from atelier.files import files_below

SPLITS = ("train", "training", "val", "valid", "validation", "test", "testing")
"""Names of folders that hold a part of a data set each, in any case."""

ALIKE = (("train", "training"), ("val", "valid", "validation"), ("test", "testing"))
"""Names of the same part."""

ANNOTATIONS = ("annotations", "annotation", "labels")
"""Folders that COCO files may lie in, in any case."""

XML_FOLDERS = ("annotations", "annotation", "annots", "xmls", "xml", "labels")
"""Folders that VOC's files may lie in, in any case."""

HEAD = 65536
"""Bytes at either end of a JSON file by which it is told whether it is COCO's."""

LISTED = 100_000
"""Files that an error counts at most."""

LOOKED_AT = 1000
"""JSON files of a folder that are looked into at most."""

_KEY = re.compile(rb'"(images|annotations|categories)"\s*:\s*\[')


def named(folder: Path, names: Iterable[str]) -> Path | None:
    """Returns the folder in `folder` that has one of the names, in any case; the first of them.

    One that is spelt just so goes before one of other case.
    """
    try:
        folders = sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError:
        return None
    for name in names:
        alike = [path for path in folders if path.name.lower() == name.lower()]
        for path in alike:
            if path.name == name:
                return path
        if alike:
            return alike[0]
    return None


def split_folders(folder: Path, is_data: Callable[[Path], bool]) -> dict[str, Path]:
    """Returns the folders of parts, such as Roboflow's `train/` and `valid/`, by their names.

    Args:
        folder: the data set's.
        is_data: whether a folder holds annotated pictures.
    """
    try:
        folders = sorted(path for path in folder.iterdir() if path.name.lower() in SPLITS)
    except OSError:
        return {}
    order = [path for name in SPLITS for path in folders if path.name.lower() == name]
    return {path.name: path for path in order if path.is_dir() and is_data(path)}


def choose_split(split: str, names: Iterable[str]) -> str | None:
    """Returns the name that means a split: itself, in other case, or `valid` for `val`."""
    names = list(names)
    alike = next((group for group in ALIKE if split.lower() in group), (split.lower(),))
    for wanted in dict.fromkeys([split, split.lower(), *alike]):
        for name in names:
            if name == wanted or name.lower() == wanted:
                return name
    return None


def holds_xml(folder: Path, *, deep: bool = True) -> bool:
    """Whether a folder holds XML files, or the folder of annotations in it does.

    Args:
        folder: the data set's.
        deep: whether any folder below may hold them.
    """
    place = folder if deep else named(folder, XML_FOLDERS)
    below = files_below(place, skip=_is_hidden) if place is not None else ()
    near = (path for path in folder.iterdir() if path.is_file())
    return any(file.suffix.lower() == ".xml" for file in itertools.chain(near, below))


def coco_files(folder: Path, *, deep: bool = True) -> list[Path]:
    """Returns the COCO files of a folder, sorted.

    They are `annotations/instances_*.json`; else all JSON files of COCO's form there, in the folder
    itself, or, without any, in folders below.

    Args:
        folder: the data set's.
        deep: whether to look in folders below.
    """
    if not folder.is_dir():
        return []
    places = [folder]
    if (annotations := named(folder, ANNOTATIONS)) is not None:
        instances = sorted(annotations.glob("instances_*.json"))
        if instances:
            return instances
        places.append(annotations)
    near = [file for place in places for file in sorted(place.iterdir()) if _is_json(file)]
    found = [file for file in near[:LOOKED_AT] if looks_like_coco(file)]
    if found or not deep:
        return found
    below = files_below(folder, skip=_is_hidden)
    deeper = sorted(file for file in below if _is_json(file) and file not in near)
    return [file for file in deeper[:LOOKED_AT] if looks_like_coco(file)]


def looks_like_coco(file: Path) -> bool:
    """Whether both ends of a JSON file hold two of COCO's lists."""
    try:
        if not file.is_file():
            return False
        with file.open("rb") as stream:
            content = stream.read(HEAD)
            stream.seek(0, 2)
            end = stream.tell()
            stream.seek(max(len(content), end - HEAD))
            content += stream.read(HEAD)
    except OSError:
        return False
    keys = set(_KEY.findall(content))
    opened = content.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{")
    return opened and len(keys) >= 2


def picture_folders(file: Path) -> list[Path]:
    """Returns the folders that a COCO file's pictures are looked for in, the likeliest first."""
    root, names = data_root(file), split_names(file)
    usual = [root]
    for name in ("images", "data", "JPEGImages", "imgs", "pictures"):
        if (folder := named(root, (name,))) is not None:
            usual.insert(len(usual) - 1, folder)
    of_split = [
        folder
        for place in (root, *usual)
        for name in names
        if (folder := named(place, (name,))) is not None
    ]
    return list(dict.fromkeys([*of_split, *usual[:-1], file.parent, root]))


def data_root(file: Path) -> Path:
    """Returns the data set's folder that a COCO file belongs to."""
    return file.parent.parent if file.parent.name.lower() in ANNOTATIONS else file.parent


def split_names(file: Path) -> list[str]:
    """Returns the names of the part that a COCO file may be asked for by, the properest first."""
    stem, root = file.stem.removeprefix("instances_"), data_root(file)
    words = [word for word in re.split(r"[\W_]+", stem) if word.lower() in SPLITS]
    folders = [root.name] if root.name.lower() in SPLITS else []
    return list(dict.fromkeys([*folders, stem, *words]))


def what_is_there(folder: Path) -> str:
    """Says in a line which kinds of files a folder holds and where, for errors."""
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    for file in itertools.islice(files_below(folder, skip=_is_hidden), LISTED):
        place = file.parent.relative_to(folder).as_posix()
        if not file.name.startswith("."):
            counts[file.suffix.lower() or "no suffix", place] += 1
    shown = [
        f"{count} {suffix} in {place + '/' if place != '.' else 'it'}"
        for (suffix, place), count in counts.most_common(5)
    ]
    more = f", and files of {len(counts) - 5} more kinds or folders" if len(counts) > 5 else ""
    return f"found {', '.join(shown)}{more}" if shown else "found no files"


def _is_hidden(path: Path) -> bool:
    return path.name.startswith(".")


def _is_json(file: Path) -> bool:
    return file.suffix.lower() == ".json" and not file.name.startswith(".")
