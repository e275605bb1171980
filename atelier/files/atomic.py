"""Writes files whole or not at all, by way of a temporary one beside them."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from atelier.errors import OutputError, describe_os_error
from atelier.files import locks

# The machine's name, because not every file system shares its locks between machines.
_PREFIX = f".tmp-atelier-{locks.HOST}-"
_TEMPORARY = re.compile(re.escape(_PREFIX) + r"[a-z0-9_]{8}(\..*)?")


@contextlib.contextmanager
def atomic_path(target: str | os.PathLike, *, overwrite: bool = True) -> Iterator[Path]:
    """A temporary path beside `target` to write to; it becomes `target` when the block ends well.

    Parent folders are made. If the block fails, for whatever reason, the temporary file is
    removed and an earlier `target` stays as it was. What a killed process of this machine left
    beside `target` is removed the first time that this one writes there. A `target` that is a
    link stays one: the file that it leads to is written.

    Raises:
        OutputError: the target exists and `overwrite` is false, it is a folder, a pipe or a
            device, its folder cannot be made or written, or the disk is full. An `OSError` of the
            block that is about a file in another folder, such as one that it reads, goes through
            as it is.
    """
    target = Path(target)
    if "\0" in str(target):
        raise OutputError(f"cannot write {str(target)!r}: a name cannot hold a NUL byte")
    temporary = handle = None
    try:
        refuse_existing(target, overwrite)
        target = _writable_file(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers_once(target.parent)
        temporary, handle = _make_temporary(target)
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        _publish(temporary, target, overwrite)
    except OSError as error:
        if temporary is not None and _is_elsewhere(error, temporary.parent):
            raise
        raise OutputError(f"cannot write {target}: {describe_os_error(error)}") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):  # Published, or on a disk that takes no more.
                temporary.unlink()
        if handle is not None:
            os.close(handle)


def _writable_file(target: Path) -> Path:
    """The file that `target` names, through links.

    Raises:
        OutputError: it exists and is no ordinary file; nothing of that kind may be replaced by one.
        OSError: it cannot be looked at, such as a link that leads to itself.
    """
    target = Path(os.path.realpath(target)) if target.is_symlink() else target
    try:
        mode = target.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return target
    if stat.S_ISDIR(mode):
        raise OutputError(f"{target} is a folder, not a file to write")
    if not stat.S_ISREG(mode):
        raise OutputError(f"{target} is a pipe or a device, not a file to write")
    return target


def refuse_existing(target: str | os.PathLike, overwrite: bool) -> None:
    """Raises `OutputError` if `target` exists and may not be overwritten."""
    if not overwrite and Path(target).exists():
        raise OutputError(f"{target} exists; choose another --out or pass --overwrite")


def check_writable(target: str | os.PathLike) -> None:
    """Raises `OutputError` if the folder of `target` cannot be written or made, as far as can be
    seen without a try: better before long work than after it."""
    folder = next(f for f in Path(os.path.abspath(target)).parents if f.exists())
    if not folder.is_dir():
        raise OutputError(f"cannot write {target}: {folder} is a file, not a folder")
    if not os.access(folder, os.W_OK):
        raise OutputError(f"cannot write {target}: {folder} takes no files")


# === Temporary files ===

_cleaned: set[str] = set()
_REMEMBERED = 1000
"""Folders that are known to hold no leftovers; a process that writes into more looks again."""


def _make_temporary(target: Path) -> tuple[Path, int | None]:
    """A new file beside `target`, and its handle, which has it locked for as long as it is open."""
    for more in range(locks.TRIES, -1, -1):
        # The suffix is kept, because writers choose the format by it. Not `mkstemp`, whose files
        # are for their owner alone.
        name = target.parent / f"{_PREFIX}{secrets.token_hex(4)}{target.suffix}"
        try:
            handle = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            if not more:
                raise
            continue
        if locks.fcntl is None:  # Where open files cannot be renamed.
            os.close(handle)
            return name, None
        locks.lock(handle, wait=True)
        if locks.is_at(handle, name) or not more:
            break
        os.close(handle)  # Somebody took it, not yet locked, for a leftover.
    return name, handle


def _remove_leftovers_once(folder: Path) -> None:
    place = os.path.realpath(folder)
    if place not in _cleaned:
        if len(_cleaned) >= _REMEMBERED:
            _cleaned.clear()
        _cleaned.add(place)
        remove_leftovers(folder)


def remove_leftovers(folder: str | os.PathLike) -> None:
    """Removes temporary files of this machine's processes that were killed as they wrote.

    Those of a living process are locked by it.
    """
    with contextlib.suppress(OSError):
        found = [entry.path for entry in os.scandir(folder) if _TEMPORARY.fullmatch(entry.name)]
        for path in found:
            with contextlib.suppress(OSError):  # Gone, or being written.
                handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
                try:
                    if locks.lock(handle, wait=False):
                        os.unlink(path)
                finally:
                    os.close(handle)


def _publish(temporary: Path, target: Path, overwrite: bool) -> None:
    """Gives a file its final name; if `overwrite` is false, only one that is free till then."""
    if not overwrite:
        try:
            os.link(temporary, target)  # Unlike a look beforehand, without a moment in between.
            return
        except FileExistsError:
            refuse_existing(target, overwrite)
        except OSError:
            pass  # A file system without links.
    os.replace(temporary, target)


def _is_elsewhere(error: OSError, folder: Path) -> bool:
    """Whether the error names a file that is not in `folder`."""
    name = error.filename
    return isinstance(name, str) and Path(os.path.abspath(name)).parent != folder
