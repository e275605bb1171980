"""Writes text, JSON and tables, whole or not at all; and streams, past their buffers."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
from collections.abc import Mapping, Sequence
from typing import BinaryIO

from atelier.errors import OutputError, describe_os_error
from atelier.files.atomic import atomic_path


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
        raise OutputError(f"cannot write to standard output: {describe_os_error(error)}") from None
