"""Photos and their masks: which mask is whose, in folders of any depth."""

from __future__ import annotations

import collections
import dataclasses
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from atelier.errors import DataError
from atelier.files import files_below
from atelier.media.images import READABLE

IMAGES = ("images", "image", "imgs", "img")
"""Names of folders of photos, in any case; the first that there is counts."""

MASKS = ("masks", "mask")
"""Names of folders of masks, in any case."""

_ADDED = re.compile(r"(?i)[ ._-](masks?|seg(mentation)?|labels?|gt|matte)$")
"""What programs add to a photo's name to name its mask, such as a_mask.png."""


@dataclasses.dataclass(frozen=True)
class Pair:
    """A photo, and its mask if it has one."""

    name: str
    """The photo's path below its folder, with slashes."""
    image: Path
    mask: Path | None
    problem: str = ""
    """Why there is no mask; a line."""


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Photos with their masks."""

    pairs: tuple[Pair, ...]
    """In the order of the photos' paths."""
    stray: tuple[Path, ...]
    """Masks without a photo."""


def find_pairs(folder: str | os.PathLike, images: str | os.PathLike | None = None) -> Pairs:
    """Finds the photos of a folder and the mask of each.

    A mask belongs to the photo that has its path below `images/`, as the mask below `masks/`,
    without suffix, in any case. Else to the only photo of its name, in whichever folder; a name
    may end in `_mask` or the like.

    Args:
        folder: with the folders `images/` and `masks/`, in any case, or with folders that hold
            such, at any depth.
        images: the photos' folder, where it is not `images/` beside `masks/`; `folder` then holds
            `masks/` or is that folder.

    Raises:
        DataError: there are no such folders.
    """
    folder = Path(folder)
    if images is not None:
        if not Path(images).is_dir():
            raise DataError(f"{images}: no such folder")
        places = [(Path(images), own_folder(folder, MASKS) or folder)]
    else:
        places = list(mask_folders(folder))
    if not places:
        raise DataError(f"{folder} must hold the folders images/ and masks/, names alike")
    found = [
        _pair(*place, Path() if images is not None else place[0].parent.relative_to(folder))
        for place in places
    ]
    return Pairs(
        tuple(pair for each in found for pair in each.pairs),
        tuple(mask for each in found for mask in each.stray),
    )


def mask_folders(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Yields the folders of photos and of masks in a folder, or in those below; links to folders
    below are not followed."""
    for top, folders, _ in os.walk(folder):
        images, masks = (_named(Path(top), names, folders) for names in (IMAGES, MASKS))
        if images is not None and masks is not None:
            yield images, masks
            folders.clear()
        folders[:] = sorted(name for name in folders if not name.startswith("."))


def is_picture(file: Path) -> bool:
    """Whether a file's name is that of a picture."""
    return file.suffix.lower() in READABLE and not file.name.startswith(".")


def own_folder(folder: Path, names: Sequence[str]) -> Path | None:
    """Returns the folder in `folder` that has one of the names, in any case."""
    try:
        return _named(folder, names, [path.name for path in folder.iterdir() if path.is_dir()])
    except OSError:
        return None


def _named(folder: Path, names: Sequence[str], folders: Iterable[str]) -> Path | None:
    by_name = {name.lower(): name for name in sorted(folders, reverse=True)}
    known = next((by_name[name] for name in names if name in by_name), None)
    return None if known is None else folder / known


def _pair(images: Path, masks: Path, below: Path) -> Pairs:
    photos, drawn = (_pictures(place) for place in (images, masks))
    if images == masks:
        drawn = [path for path in drawn if _ADDED.search(path.stem)]
        photos = [path for path in photos if not _ADDED.search(path.stem)]
    by_path = _grouped(drawn, lambda path: _key(path.relative_to(masks).with_suffix("")))
    by_stem = _grouped(drawn, lambda path: _key(path.stem))
    by_bare = _grouped(drawn, lambda path: _key(_ADDED.sub("", path.stem)))
    stems = collections.Counter(_key(path.stem) for path in photos)
    pairs, used = [], set()
    for photo in photos:
        path, stem = photo.relative_to(images), _key(photo.stem)
        fitting = by_path.get(_key(path.with_suffix(""))) or (
            (by_stem.get(stem) or by_bare.get(stem) or []) if stems[stem] == 1 else []
        )
        used.update(fitting)
        problem = ""
        if len(fitting) > 1:
            shown = ", ".join(str(mask.relative_to(masks)) for mask in fitting[:3])
            problem = f"several masks are of its name: {shown}"
        elif not fitting:
            problem = f"there is no mask {masks.name}/{path.with_suffix('').as_posix()}.*"
        mask = fitting[0] if len(fitting) == 1 else None
        pairs.append(Pair((below / path).as_posix(), photo, mask, problem))
    return Pairs(tuple(pairs), tuple(mask for mask in drawn if mask not in used))


def _pictures(folder: Path) -> list[Path]:
    files = files_below(folder, skip=lambda path: path.name.startswith("."))
    return sorted(file for file in files if is_picture(file))


def _grouped(paths: Iterable[Path], key: Callable[[Path], str]) -> dict[str, list[Path]]:
    groups: dict[str, list[Path]] = {}
    for path in paths:
        groups.setdefault(key(path), []).append(path)
    return groups


def _key(path: Path | str) -> str:
    return Path(path).as_posix().casefold()
