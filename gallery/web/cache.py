"""The server's folder of uploads and results, kept from growing."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection, Iterable
from pathlib import Path

from gallery.web.limits import Limits


def files_in(folder: Path) -> frozenset[Path]:
    """All files in a folder and below."""
    return frozenset(Path(top, name) for top, _, names in os.walk(folder) for name in names)


def size(folder: Path) -> int:
    """Bytes of all files in a folder and below."""
    total = 0
    for path in files_in(folder):
        with contextlib.suppress(OSError):  # Removed meanwhile.
            total += path.lstat().st_size
    return total


def sweep(folder: Path, limits: Limits, keep: Collection[Path] = (), now: float = 0) -> None:
    """Removes files that are older than they may get, the oldest of those that are too many, and
    folders left empty.

    Args:
        folder: of uploads and results.
        limits: how long they stay, and how much there may be.
        keep: files that stay, such as the page's own examples.
        now: the time, for tests; 0 for now.
    """
    now = now or time.time()
    oldest_allowed = now - limits.keep_minutes * 60
    ages = []
    for path in files_in(folder) - frozenset(keep):
        with contextlib.suppress(OSError):  # Somebody else removed it: an aborted upload, say.
            facts = path.lstat()
            ages.append((facts.st_mtime, facts.st_size, path))
    total, excess = sum(size for _, size, _ in ages), limits.disk_megabytes * 1e6
    for modified, size, path in sorted(ages):
        if modified >= oldest_allowed and total <= excess:
            break
        with contextlib.suppress(OSError):
            path.unlink()
        total -= size
    for top, _, _ in os.walk(folder, topdown=False):
        # A young folder may be one that a file is about to be written into.
        with contextlib.suppress(OSError):
            if Path(top) != folder and os.stat(top).st_mtime < now - 60:
                os.rmdir(top)


def forget(names: Iterable[set[str]]) -> None:
    """Drops from Gradio's lists of its files those that are gone."""
    for group in names:
        group -= {name for name in tuple(group) if not os.path.exists(name)}
