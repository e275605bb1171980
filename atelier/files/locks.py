"""Locks: one run at a time has a folder to itself."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import threading
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: nothing is locked there, and leftovers stay.
    fcntl = None

from atelier.errors import OutputError, describe_os_error

HOST = re.sub(r"\W+", "_", platform.node())
"""This machine's name, as it stands in the names of files."""

TRIES = 10
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
        raise OutputError(f"cannot write into {folder}: {describe_os_error(error)}") from error
    with contextlib.suppress(OSError):  # A full disk: the lock holds, without its owner's name.
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {HOST}".encode(), 0)
    return handle


def hold(file: str | os.PathLike) -> int:
    """An open file, made if missing, that nobody else can hold until it is closed.

    Raises:
        BlockingIOError: another process, or another handle of this one, holds it.
        OSError: it cannot be written.
    """
    for more in range(TRIES, -1, -1):
        handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            lock(handle, wait=False)
        except BlockingIOError:
            os.close(handle)
            raise
        if is_at(handle, Path(file)) or not more:
            break
        os.close(handle)  # Its last owner has just removed it.
    return handle


def lock(handle: int, *, wait: bool) -> bool:
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


def is_at(handle: int, path: Path) -> bool:
    """Whether an open file is the one that lies at `path`."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False
