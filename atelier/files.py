"""Files are written whole or not at all, and one run at a time has a folder to itself."""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import json
import os
import platform
import re
import secrets
import stat
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows: nothing is locked there, and leftovers stay.
    fcntl = None

from atelier.errors import OutputError

TABLE_BYTES = 100_000_000
"""Tables larger than this are not ours."""

_HOST = re.sub(r"\W+", "_", platform.node())

# The machine's name, because not every file system shares its locks between machines.
_PREFIX = f".tmp-atelier-{_HOST}-"
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
        raise OutputError(f"cannot write {target}: {reason(error)}") from error
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


def write_text(target: str | os.PathLike, text: str, *, overwrite: bool = True) -> None:
    """Writes `text` as UTF-8, whole or not at all."""
    with atomic_path(target, overwrite=overwrite) as path:
        # Names of files need not be UTF-8, but what tells of them is to be.
        path.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(target: str | os.PathLike, value: object, *, overwrite: bool = True) -> None:
    """Writes `value` as indented JSON, whole or not at all; paths become text."""
    text = json.dumps(value, indent=2, default=str, ensure_ascii=False) + "\n"
    write_text(target, text, overwrite=overwrite)


def write_table(
    target: str | os.PathLike,
    rows: Sequence[Mapping[str, object]],
    fields: Sequence[str] | None = None,
) -> None:
    """Writes rows as CSV with a header, whole or not at all.

    Args:
        fields: the columns, those of the last row when left out; missing values stay empty.
    """
    text = io.StringIO()
    names = list(rows[-1]) if fields is None else fields
    writer = csv.DictWriter(text, names, restval="", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    write_text(target, text.getvalue())


def read_table(path: str | os.PathLike, *, key: str) -> list[dict[str, str]]:
    """The rows of a CSV file with a header, values as text; none if there is no file.

    Args:
        key: the column that numbers the rows.

    Raises:
        OutputError: the file is damaged: no such column, or a row without its number.
    """
    if not Path(path).exists():
        return []
    try:
        text = read_bounded(path, TABLE_BYTES).decode("utf-8")
        rows = list(csv.DictReader(io.StringIO(text, newline=""), restkey="", strict=True))
        for row in rows:
            int(row[key])
    except (OSError, ValueError, TypeError, KeyError, csv.Error):
        raise OutputError(f"{path} is damaged; mend or delete it") from None
    return rows


def read_bounded(path: str | os.PathLike, limit: int) -> bytes:
    """The bytes of a file that may be a stranger's.

    Raises:
        OSError: it is missing, cannot be read, has more than `limit` bytes, or is something that
            may have no end: a pipe, a device.
        ValueError: its name holds a NUL byte.
    """

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))  # A pipe would be waited for.

    with open(path, "rb", opener=opener) as file:
        facts = os.fstat(file.fileno())
        if not stat.S_ISREG(facts.st_mode):
            raise OSError(errno.EINVAL, "not a file, but a pipe or a device")
        # Room for `limit` is only taken where it is needed: the size may be a lie, as below /proc.
        large = facts.st_size > limit
        content = b"" if large else file.read(facts.st_size + 1)
        if len(content) > facts.st_size:
            content += file.read(limit + 1 - len(content))
    if large or len(content) > limit:
        raise OSError(errno.EFBIG, f"larger than {limit:,} bytes")
    return content


def write_stream(stream: BinaryIO, data: bytes) -> None:
    """Writes to an open stream, such as `sys.stdout.buffer`, past its buffer: what a full disk
    leaves in that, Python tries to write once more at exit, and fails with a traceback.

    Raises:
        OutputError: it cannot be written, because the disk is full, say.
        BrokenPipeError: whoever reads it has gone.
    """
    raw, left = getattr(stream, "raw", stream), memoryview(data)
    try:
        stream.flush()
        while left:
            written = raw.write(left)
            if written is None:
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            left = left[written:]
        stream.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"cannot write to standard output: {reason(error)}") from None


def files_below(
    folder: str | os.PathLike,
    *,
    on_error: Callable[[OSError], object] | None = None,
    skip: Callable[[Path], bool] | None = None,
) -> Iterator[Path]:
    """All that is no folder in `folder` and below, in no order; links to folders are not followed.

    Folders that cannot be listed, because they have gone since they were seen, say, are given to
    `on_error` or else left out; so are those below `folder` for which `skip` is true.
    """
    for top, folders, names in os.walk(folder, onerror=on_error):
        if skip is not None:
            folders[:] = [name for name in folders if not skip(Path(top, name))]
        yield from (Path(top, name) for name in names)


# === One run at a time ===

_TRIES = 10
"""For a file that others take away as it is made; not endless, as not every file system tells one
file from another."""

_held: dict[str, list] = {}
_holding = threading.RLock()


@contextlib.contextmanager
def locked(folder: str | os.PathLike) -> Iterator[None]:
    """Keeps other processes' runs out of `folder` while the block runs.

    The kernel lets the lock go when the process ends, however it ends: a killed run keeps nobody
    out. It is on a file `.lock`, which goes with it. The process that has the folder may take it
    again. On a file system without locks, nobody is kept out.

    Args:
        folder: made if missing.

    Raises:
        OutputError: another process has it, or it cannot be written.
    """
    place = os.path.realpath(folder)
    with _holding:
        if place not in _held:
            _held[place] = [_take(Path(folder)), 0]
        _held[place][1] += 1
    try:
        yield
    finally:
        with _holding:
            _held[place][1] -= 1
            if not _held[place][1]:
                handle, _ = _held.pop(place)
                with contextlib.suppress(OSError):  # The folder is gone, or takes no changes.
                    os.unlink(os.path.join(place, ".lock"))
                os.close(handle)


def _take(folder: Path) -> int:
    """An open file that holds the lock of `folder`."""
    file = folder / ".lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = hold(file)
    except BlockingIOError:
        owner = ""
        with contextlib.suppress(OSError):
            owner = file.read_text("utf-8", "replace")[:100]
        raise OutputError(
            f"{folder} is in use by another run ({owner or 'just started'}); wait for its "
            "end, or choose another --out"
        ) from None
    except OSError as error:
        raise OutputError(f"cannot write into {folder}: {reason(error)}") from error
    with contextlib.suppress(OSError):  # A full disk: the lock holds, without its owner's name.
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {_HOST}".encode(), 0)
    return handle


def hold(file: str | os.PathLike) -> int:
    """An open file, made if missing, that nobody else can hold until it is closed.

    Raises:
        BlockingIOError: another process, or another handle of this one, holds it.
        OSError: it cannot be written.
    """
    for more in range(_TRIES, -1, -1):
        handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(handle, wait=False)
        except BlockingIOError:
            os.close(handle)
            raise
        if _is_at(handle, Path(file)) or not more:
            break
        os.close(handle)  # Its last owner has just removed it.
    return handle


def _lock(handle: int, *, wait: bool) -> bool:
    """Locks an open file for this process; returns whether the file system has locks.

    Raises:
        BlockingIOError: another process has it locked, and `wait` is false.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        raise
    except (OSError, AttributeError):
        return False
    return True


def _is_at(handle: int, path: Path) -> bool:
    """Whether an open file is the one that lies at `path`."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


# === Temporary files ===

_cleaned: set[str] = set()
_REMEMBERED = 1000
"""Folders that are known to hold no leftovers; a process that writes into more looks again."""


def _make_temporary(target: Path) -> tuple[Path, int | None]:
    """A new file beside `target`, and its handle, which has it locked for as long as it is open."""
    for more in range(_TRIES, -1, -1):
        # The suffix is kept, because writers choose the format by it. Not `mkstemp`, whose files
        # are for their owner alone.
        name = target.parent / f"{_PREFIX}{secrets.token_hex(4)}{target.suffix}"
        try:
            handle = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            if not more:
                raise
            continue
        if fcntl is None:  # Where open files cannot be renamed.
            os.close(handle)
            return name, None
        _lock(handle, wait=True)
        if _is_at(handle, name) or not more:
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
                    if _lock(handle, wait=False):
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


def reason(error: OSError) -> str:
    """Why, in a few words: the system's own."""
    if isinstance(error, FileExistsError):
        return f"{error.filename} is a file, not a folder"
    # HDF5 says the system's reason in the midst of three lines of addresses.
    quoted = re.search(r"error message = '([^']+)'", str(error))
    return quoted[1] if quoted else error.strerror or str(error)
