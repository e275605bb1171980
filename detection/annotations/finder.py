"""Finds the pictures that annotations name, whatever machine the names come from.

Annotations name pictures by paths of the machine that they were made on, Windows' too, by percent
encoding, and by addresses of Label Studio (SDK 2.1.2: `/data/local-files/?d=…`). A picture is
always taken from the data set's own folders.
"""

from __future__ import annotations

import functools
import itertools
import os
import re
import unicodedata
import urllib.parse
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from atelier.files import files_below
from atelier.media.images import READABLE
from detection.annotations.places import inside
from detection.annotations.text import FaultError, plain

LISTED = 2_000_000
"""Files of a folder that are looked through for names at most."""

SHOWN = 3
"""Candidates that a fault names at most."""

_ADDRESS = re.compile(r"(?:[A-Za-z][\w+.-]+://[^/?#]*)?(/[^?#]*)(?:\?([^#]*))?(?:#.*)?")


class PictureFinder:
    """Finds pictures by the names that annotations give them.

    Args:
        folders: where pictures usually lie, the likeliest first.
        roots: folders in and below which a file of the name is looked for, if it is in none of
            `folders`.
    """

    def __init__(self, folders: Iterable[Path], roots: Iterable[Path] = ()):
        self.folders = tuple(dict.fromkeys(folders))
        self.roots = tuple(dict.fromkeys([*roots, *self.folders]))

    def find(self, name: str, suffixes: Sequence[str] = ("",)) -> Path:
        """Returns the picture's file.

        Tried are the name as it is, its readings (see `readings`) and, of a path that is not
        there or leads out of the data set, the one file of its last part's name.

        Args:
            name: as the annotations give it.
            suffixes: each is appended in turn.

        Raises:
            FaultError: there is no such file, there are several, or it is a link that leads out of
                the data set.
        """
        refusal = None
        names = readings(name)
        for reading in names:
            for suffix in suffixes:
                for folder in self.folders:
                    try:
                        path = inside(folder, reading + suffix)
                    except FaultError as error:
                        refusal = refusal or error
                        continue
                    if os.path.isfile(path):
                        return path
        for reading in names:
            for suffix in suffixes:
                if (path := self._elsewhere(reading + suffix)) is not None:
                    return path
        raise refusal or FaultError("the picture is missing")

    def _elsewhere(self, name: str) -> Path | None:
        parts = [part for part in PurePosixPath(name).parts if part not in ("/", "..")]
        if not parts:
            return None
        candidates = self._listed.get(_key(parts[-1]), ())
        exact = [(root, path) for root, path in candidates if path.name == parts[-1]]
        candidates = exact or candidates
        shared = [_shared_end(parts, path.parts) for _, path in candidates]
        best = [
            each for each, count in zip(candidates, shared, strict=True) if count == max(shared)
        ]
        if len(best) > 1:
            shown = ", ".join(plain(str(path.relative_to(root))) for root, path in best[:SHOWN])
            more = ", …" if len(best) > SHOWN else ""
            raise FaultError(f"several pictures have the name {plain(parts[-1])!r}: {shown}{more}")
        for root, path in best:
            return inside(root, path.relative_to(root).as_posix())
        return None

    @functools.cached_property
    def _listed(self) -> dict[str, list[tuple[Path, Path]]]:
        """Root and file of all pictures, by their names as `_key` has them."""
        found: dict[str, list[tuple[Path, Path]]] = {}
        seen = set()
        for root in self.roots:
            below = files_below(root, skip=lambda folder: folder.name.startswith("."))
            for path in itertools.islice(below, LISTED):
                if path.suffix.lower() in READABLE and path not in seen:
                    seen.add(path)
                    found.setdefault(_key(path.name), []).append((root, path))
        return found


def readings(name: str) -> list[str]:
    """Returns what a picture's name may stand for, with slashes between folders.

    First comes the name itself; then, of an address, the path that it holds; then percent-encoded
    names decoded.
    """
    found = [name, name.replace("\\", "/")]
    parsed = re.fullmatch(
        r"(?:[A-Za-z][\w+.-]+://[^/?#]*)?(/[^?#]*)(?:\?([^#]*))?(?:#.*)?", found[1]
    )
    if parsed and ("://" in name or parsed[2]):
        asked = urllib.parse.parse_qs(parsed[2] or "", max_num_fields=100) if parsed[2] else {}
        found += [*asked.get("d", []), parsed[1]]
    decoded = [urllib.parse.unquote(each) for each in found if "%" in each]
    return list(dict.fromkeys([*found, *decoded]))


def _key(name: str) -> str:
    """A file's name without differences of case and of Unicode's composed and decomposed forms."""
    return unicodedata.normalize("NFC", name).casefold()


def _shared_end(one: Sequence[str], other: Sequence[str]) -> int:
    """How many last parts two paths share."""
    count = 0
    for a, b in zip(reversed(one), reversed(other), strict=False):
        if _key(a) != _key(b):
            break
        count += 1
    return count
