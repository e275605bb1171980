"""How data sets of Pascal VOC's form lie in folders: pages, pictures and lists, found by name.

Known are VOC's own `Annotations/`, `JPEGImages/` and `ImageSets/Main/`; the same in other case and
under other names (`annots/`, `images/`); FiftyOne's `labels/` and `data/`; pages beside their
pictures, as labelImg writes them; Roboflow's `train/`, `valid/` and `test/`; each with folders
below.
"""

from __future__ import annotations

import codecs
import contextlib
import dataclasses
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from atelier.media.images import READABLE
from detection.annotations.finder import readings
from detection.annotations.layouts import SPLITS, choose_split, named
from detection.annotations.places import inside, read_bounded
from detection.annotations.text import FaultError, plain

ANNOTATIONS = ("Annotations", "annotation", "annots", "labels", "xml", "xmls")
PICTURES = ("JPEGImages", "images", "image", "imgs", "data", "pictures")
"""Folders of pages and of pictures, in any case; a page and its picture are of one name but for
these."""

LISTS = ("ImageSets/Main", "ImageSets")

LIST_BYTES = 100_000_000
"""Lists larger than this are refused."""

SHOWN = 3
"""Candidates that a fault names at most."""

_FLAGS = ("-1", "0", "1")
"""Behind each name in the list of one class."""

_DROPPED = frozenset(name.casefold() for name in (*ANNOTATIONS, *PICTURES))


@dataclasses.dataclass(frozen=True)
class File:
    """A page or picture."""

    base: Path
    """The folder that it may not lead out of."""
    name: str
    """From there on, with slashes."""
    link: bool

    def path(self) -> Path:
        """Returns where it is.

        Raises:
            FaultError: it is a link that leads out.
        """
        return inside(self.base, self.name) if self.link else self.base / self.name


class VocFolder:
    """The pages, pictures and lists of a data set.

    Args:
        folder: the data set's.
        images: the pictures' folder, where it is not in there.

    Raises:
        FaultError: one of its folders is a link that leads out.
        OSError: a folder cannot be listed.
    """

    def __init__(self, folder: Path, images: Path | None = None):
        self.folder, self.images = folder, images
        self.links: list[str] = []
        """Folders that are links, and were not gone into."""
        files = list(self._below(folder))
        pages = [file for file in files if file.name.lower().endswith(".xml")]
        self.annotations = _top(pages, named(folder, ANNOTATIONS), folder)
        self.pages = sorted((key_of(file.name), file) for file in _in(pages, self.annotations))
        if images is not None:
            files = list(self._below(images))
        pictures = [file for file in files if _is_picture(file.name)]
        top = None if images is not None else named(folder, PICTURES)
        self.pictures_folder = _top(pictures, top, folder)
        self._pictures: dict[str, list[File]] = {}
        self._by_stem: dict[str, list[File]] = {}
        for file in sorted(pictures, key=lambda file: file.name):
            key = key_of(file.name)
            self._pictures.setdefault(key, []).append(file)
        for file in _in(pictures, self.pictures_folder):
            self._by_stem.setdefault(key_of(file.name).rpartition("/")[2], []).append(file)

    # === Pages and pictures ===

    def shown(self, page: File) -> str:
        """What faults call a page."""
        return page.name.removeprefix(f"{self.annotations}/")

    def picture_name(self, picture: File) -> str:
        """A picture's name from the pictures' folder on."""
        return picture.name.removeprefix(f"{self.pictures_folder}/")

    def picture(self, key: str, stated: str = "") -> File:
        """Finds the picture of a page.

        The page's own name goes first, since what is stated is often that of an earlier name;
        then the name that is stated; then the one file of either's last part, which paths of
        other machines leave.

        Args:
            key: the page's, of `key_of`.
            stated: what it says, if anything.

        Raises:
            FaultError: there is none, or several.
        """
        names = [name for name in readings(stated) if name.strip()] if stated else []
        if own := self._pictures.get(key):
            return self._chosen(own, names)
        keys = [key_of(name) for name in names]
        for other in keys:
            if found := self._pictures.get(other):
                return self._chosen(found, names)
        if (odd := self._odd(names)) is not None:
            return odd
        suffixes = {_suffix(name) for name in names if _is_picture(name)}
        for other in (key, *keys):
            found = self._by_stem.get(other.rpartition("/")[2], ())
            # A mask of the same name, say, is another picture.
            found = [file for file in found if not suffixes or _suffix(file.name) in suffixes]
            if found:
                shared = [_shared_end(other, key_of(file.name)) for file in found]
                best = [f for f, count in zip(found, shared, strict=True) if count == max(shared)]
                return self._chosen(best, names)
        raise FaultError(f"the picture {plain(stated or key)!r} is missing")

    def _odd(self, names: Iterable[str]) -> File | None:
        """A file that is named just so, without a picture's suffix."""
        base = self.folder if self.images is None else self.images
        usual = named(base, PICTURES)
        tops = ["", f"{usual.name}/"] if usual is not None else [""]
        for name in names:
            for top in tops:
                with contextlib.suppress(FaultError):
                    if not _is_picture(name) and os.path.isfile(inside(base, f"{top}{name}")):
                        return File(base, f"{top}{name}", link=True)
        return None

    def listed_picture(self, key: str) -> File:
        """Finds the picture of a name in a list.

        Raises:
            FaultError: there is none, or several.
        """
        if key not in self._pictures:
            raise FaultError(f"the picture {plain(key)!r} is missing")
        return self._chosen(self._pictures[key], ())

    def _chosen(self, files: Sequence[File], names: Sequence[str]) -> File:
        if len(files) == 1:
            return files[0]
        for same in (_last, _suffix):
            wanted = {same(name) for name in names}
            chosen = [file for file in files if same(file.name) in wanted]
            if len(chosen) == 1:
                return chosen[0]
        usual = [file for file in files if self.picture_name(file) != file.name]
        if len(usual) == 1:
            return usual[0]
        more = ", …" if len(files) > SHOWN else ""
        shown = ", ".join(plain(file.name) for file in files[:SHOWN])
        raise FaultError(f"several pictures are of this name: {shown}{more}")

    def pictures(self) -> Iterator[tuple[str, list[File]]]:
        """The pictures where they usually lie, by their keys."""
        for key, files in self._pictures.items():
            usual = _in(files, self.pictures_folder)
            if usual:
                yield key, usual

    # === Lists ===

    def lists(self) -> dict[str, Path]:
        """Returns the files of `ImageSets/Main`, or else of `ImageSets`, by their names.

        Raises:
            FaultError: the folder is a link that leads out.
        """
        top = named(self.folder, ("ImageSets",))
        if top is None:
            return {}
        top = inside(self.folder, top.name)
        main = named(top, ("Main",))
        place = top if main is None else inside(top, main.name)
        files = sorted(file for file in place.iterdir() if file.suffix.lower() == ".txt")
        return {file.stem: inside(place, file.name) for file in files}

    def parts(self) -> list[str]:
        """Returns the names of folders that hold a part each, such as Roboflow's `train`."""
        firsts = dict.fromkeys(key.partition("/")[0] for key, _ in self.pages if "/" in key)
        return [name for name in firsts if name in SPLITS]

    def split(self, name: str) -> list[str]:
        """Returns the keys in a list, or of the pages in the folder of that name.

        Raises:
            FaultError: there is neither.
        """
        lists, parts = self.lists(), self.parts()
        if (chosen := choose_split(name, lists)) is not None:
            return self.listed(lists[chosen])
        if (chosen := choose_split(name, parts)) is not None:
            return [key for key, _ in self.pages if key.startswith(f"{chosen}/")]
        known = ", ".join(map(plain, [*lists, *parts])) or "none"
        raise FaultError(f"no split {plain(name)!r} in {LISTS[0]}; there are: {known}")

    def listed_by_any(self) -> list[str]:
        """Returns the keys in all lists, but for those of one class, whose names others have too.

        Raises:
            FaultError: one of them cannot be read.
        """
        texts = [_read_list(file) for file in self.lists().values()]
        whole = [text for text in texts if not _is_of_one_class(text)]
        return list(dict.fromkeys(key for text in whole or texts for key in self._keys(text)))

    def listed(self, file: Path) -> list[str]:
        """Returns the keys of the names in a list.

        Of the lists of one class, the flag behind each name is ignored; so are the suffix, and
        the quotes around names with spaces.

        Raises:
            FaultError: it cannot be read.
        """
        return self._keys(_read_list(file))

    def _keys(self, text: str) -> list[str]:
        known = {key for key, _ in self.pages} | self._pictures.keys()
        keys = []
        for line in filter(None, map(str.strip, text.splitlines())):
            quoted = re.match(r'"([^"]+)"', line)
            name = quoted[1] if quoted else line
            bare = name if quoted else _without_flag(name)
            candidates = [key_of(f"{name}.xml"), key_of(name), key_of(f"{bare}.xml"), key_of(bare)]
            keys.append(next((key for key in candidates if key in known), candidates[-1]))
        return list(dict.fromkeys(keys))

    # === Walking ===

    def _below(self, base: Path) -> Iterator[File]:
        """All files in a folder and below, but for hidden ones."""
        waiting = [""]
        while waiting:
            place = waiting.pop()
            with os.scandir(base / place) as entries:
                for entry in entries:
                    if entry.name.startswith(".") or entry.name == "__MACOSX":
                        continue
                    name = f"{place}{entry.name}"
                    if not entry.is_symlink():
                        if entry.is_dir():
                            waiting.append(f"{name}/")
                        else:
                            yield File(base, name, link=False)
                    elif not entry.is_dir():
                        yield File(base, name, link=True)
                    elif not place and entry.name.casefold() in _DROPPED:
                        inside(base, name)
                        waiting.append(f"{name}/")
                    else:
                        self.links.append(name)


def key_of(name: str) -> str:
    """What a page and its picture have in common: the path without suffix, folders such as
    `JPEGImages`, and differences of case and of Unicode's forms."""
    path = PurePosixPath(unicodedata.normalize("NFC", name.replace("\\", "/")).casefold())
    parts = [part for part in path.parts[:-1] if part not in _DROPPED and part not in ("/", "..")]
    known = path.suffix == ".xml" or path.suffix in READABLE
    return "/".join([*parts, path.stem if known else path.name])


def _without_flag(name: str) -> str:
    words = name.rsplit(None, 1)
    return words[0] if len(words) == 2 and words[1] in _FLAGS else name


def _is_of_one_class(text: str) -> bool:
    first = text.partition("\n")[0].strip()
    return _without_flag(first) != first


def _read_list(file: Path) -> str:
    content = read_bounded(file, LIST_BYTES)
    utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # As PowerShell writes.
    return content.decode("utf-16" if utf_16 else "utf-8-sig", "replace")


def _is_picture(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in READABLE


def _last(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[2]


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _top(files: Iterable[File], place: Path | None, folder: Path) -> str:
    """The name of a folder in the data set's, "" if none of the files is in it."""
    if place is None:
        return ""
    return place.name if any(file.name.startswith(f"{place.name}/") for file in files) else ""


def _in(files: Iterable[File], top: str) -> list[File]:
    return [file for file in files if not top or file.name.startswith(f"{top}/")]


def _shared_end(one: str, other: str) -> int:
    """How many last parts two keys share."""
    count = 0
    for a, b in zip(reversed(one.split("/")), reversed(other.split("/")), strict=False):
        if a != b:
            break
        count += 1
    return count
