"""Reads files that may be a stranger's: bounded, and never waiting for a pipe."""

from __future__ import annotations

import csv
import errno
import io
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from atelier.errors import OutputError

TABLE_BYTES = 100_000_000
"""Tables larger than this are not ours."""


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
