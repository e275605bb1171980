"""Files are written whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from atelier.errors import OutputError


@contextlib.contextmanager
def atomic_path(target: str | os.PathLike, *, overwrite: bool = True) -> Iterator[Path]:
    """A temporary path beside `target` to write to; it becomes `target` when the block ends well.

    Parent folders are made. If the block fails, for whatever reason, the temporary file is
    removed and an earlier `target` stays as it was.

    Raises:
        OutputError: the target exists and `overwrite` is false, its folder cannot be made or
            written, or the disk is full.
    """
    target = Path(target)
    refuse_existing(target, overwrite)
    if target.is_dir():
        raise OutputError(f"{target} is a folder, not a file to write")
    temporary = None
    try:
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
        raise OutputError(f"cannot write {target}: {error.strerror or error}") from error
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


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
