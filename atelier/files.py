"""Files are written whole or not at all."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from atelier.errors import OutputError


@contextlib.contextmanager
def atomic_path(target: str | os.PathLike, *, overwrite: bool = True) -> Iterator[Path]:
    """A temporary path beside `target` to write to; it becomes `target` when the block ends well.

    Parent folders are made. If the block fails, for whatever reason, the temporary file is
    removed and an earlier `target` stays as it was.

    Raises:
        OutputError: the target exists and `overwrite` is false, its folder cannot be made or
            written, or the disk is full. An `OSError` of the block that is about a file in
            another folder, such as one that it reads, goes through as it is.
    """
    target = Path(target)
    if "\0" in str(target):
        raise OutputError(f"cannot write {str(target)!r}: a name cannot hold a NUL byte")
    temporary = None
    try:
        refuse_existing(target, overwrite)
        if target.is_dir():
            raise OutputError(f"{target} is a folder, not a file to write")
        target.parent.mkdir(parents=True, exist_ok=True)
        # The suffix is kept, because writers choose the format by it.
        handle, name = tempfile.mkstemp(suffix=target.suffix, prefix=".tmp-", dir=target.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        os.chmod(temporary, 0o666 & ~_umask())
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        if temporary is not None and _is_elsewhere(error, temporary.parent):
            raise
        raise OutputError(f"cannot write {target}: {_reason(error)}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def refuse_existing(target: str | os.PathLike, overwrite: bool) -> None:
    """Raises `OutputError` if `target` exists and may not be overwritten."""
    if not overwrite and Path(target).exists():
        raise OutputError(f"{target} exists; choose another --out or pass --overwrite")


def write_text(target: str | os.PathLike, text: str, *, overwrite: bool = True) -> None:
    """Writes `text` as UTF-8, whole or not at all."""
    with atomic_path(target, overwrite=overwrite) as path:
        path.write_text(text, encoding="utf-8")


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
        with open(path, encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines, restkey="", strict=True))
        for row in rows:
            int(row[key])
    except (OSError, ValueError, TypeError, KeyError, csv.Error):
        raise OutputError(f"{path} is damaged; mend or delete it") from None
    return rows


def _is_elsewhere(error: OSError, folder: Path) -> bool:
    """Whether the error names a file that is not in `folder`."""
    name = error.filename
    return isinstance(name, str) and Path(os.path.abspath(name)).parent != folder


def _reason(error: OSError) -> str:
    if isinstance(error, FileExistsError):
        return f"{error.filename} is a file, not a folder"
    # HDF5 says the system's reason in the midst of three lines of addresses.
    quoted = re.search(r"error message = '([^']+)'", str(error))
    return quoted[1] if quoted else error.strerror or str(error)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
