"""Records of finished inputs: a run that was stopped goes on, and nothing is made twice.

A folder of results has a hidden folder `.atelier` with

NAME.json    for each result: its input and in which state that was, the command, its settings, the
             files that were written, and what `--json` prints
NAME.begun   for each result that is being made, locked by the process that makes it
run-ID/      while a cluster works for a command: who of its workers has started

NAME is a hash of the command and of the result's place. Each file is written whole or not at all,
and one that is damaged, or of another version, counts as none: the result is then a stranger's,
which is not replaced unasked.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from atelier.files import read_bounded

FOLDER = ".atelier"
"""The folder of records, in that of the results."""

VERSION = 1
"""Of the records' form."""

MAX_BYTES = 1 << 28
"""Bytes of a record: one hour of video has up to a million objects."""

Facts = list[int]
"""Size and time of change in nanoseconds of a file; of bytes, their number alone."""


@dataclasses.dataclass(frozen=True)
class Record:
    """How a result came to be."""

    command: str
    settings: dict[str, object]
    """Those that shape the result."""
    input: str
    """The absolute path, or the hash of what came without one."""
    state: Facts
    """The input's, when it was read."""
    results: dict[str, dict[str, Facts]]
    """What was asked for, files and folders, and the files that each of them became. Names are
    relative to the folder of the results where they lie in it."""
    run: str
    """Which run made it."""
    record: dict
    """What `--json` prints."""
    line: str
    """What a user was told."""
    more: dict
    """What tables need besides."""
    earlier: dict[str, Facts]
    """Files that earlier runs made of the same result, and this one did not."""

    @property
    def files(self) -> dict[str, Facts]:
        """All files that were written, by name."""
        return self.earlier | flat(self.results)


def read_record(path: Path) -> Record | None:
    """A record; None if there is none that can be used."""
    try:
        stored = json.loads(read_bounded(path, MAX_BYTES))
        if stored.pop("version") != VERSION:
            return None
        record = Record(**stored)
        if not all(isinstance(facts, list) for facts in record.files.values()):
            return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    kinds = {"settings": dict, "record": dict, "more": dict, "input": str, "line": str}
    return record if all(isinstance(getattr(record, k), t) for k, t in kinds.items()) else None


def results_known_in(folder: Path) -> set[str]:
    """The absolute paths of all files that commands wrote, by the records in `folder`, and of what
    they have left where they were stopped."""
    known = set()
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder / FOLDER):
            names = ()
            if entry.name.endswith(".json"):
                record = read_record(Path(entry.path))
                names = () if record is None else record.files
            elif entry.name.endswith(".begun"):
                names = read_mark(Path(entry.path)).get("parts", ())
            known.update(os.path.abspath(folder / name) for name in names)
    return known


def identify(source: Path | bytes) -> tuple[str, Facts]:
    """What an input is, and its state; an empty one if there is no such file."""
    if isinstance(source, bytes):
        return f"sha256:{hashlib.sha256(source).hexdigest()}", [len(source)]
    return os.path.abspath(source), facts_of(source)


def settings_of(arguments: object, neutral: Sequence[str] | frozenset[str]) -> dict[str, object]:
    """The settings that shape results, as JSON has them: all fields but those of `neutral`.

    Of those that name a file or a folder, also its place and state.
    """
    settings = {}
    for field in dataclasses.fields(arguments):
        if field.name in neutral:
            continue
        settings[field.name] = value = getattr(arguments, field.name)
        files = [_identify_setting(v) for v in (value if isinstance(value, tuple) else (value,))]
        if any(files):
            settings[field.name] = {"value": value, "files": files}
    return json.loads(json.dumps(settings, default=str))


def _identify_setting(value: object) -> list | None:
    if not isinstance(value, (str, Path)) or not str(value) or "\0" in str(value):
        return None
    path = Path(value)
    try:
        files = sorted(path.iterdir()) if path.is_dir() else [path] if path.is_file() else []
        return [os.path.abspath(path), [[f.name, *facts_of(f)] for f in files]] if files else None
    except OSError:
        return None


def read_mark(file: Path) -> dict:
    """What the mark of a result that was begun says; nothing if there is none that can be used."""
    try:
        mark = json.loads(read_bounded(file, MAX_BYTES))
        names = isinstance(mark["parts"], list) and all(isinstance(n, str) for n in mark["parts"])
        good = names and isinstance(mark["times"], int) and isinstance(mark["before"], dict)
        return mark if good else {}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return {}


def facts_of(path: Path) -> Facts:
    """A file's size and time; an empty list if there is none."""
    try:
        facts = os.stat(path)
    except (OSError, ValueError):
        return []
    return [facts.st_size, facts.st_mtime_ns]


def flat(results: Mapping[str, Mapping[str, Facts]]) -> dict[str, Facts]:
    """The files of all results, by name."""
    return {name: facts for files in results.values() for name, facts in files.items()}


def as_json(value: Mapping[str, object]) -> bytes:
    """JSON in UTF-8, whatever names it holds."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    # Names of files need not be UTF-8; \udc80 is how JSON itself writes such a byte.
    return text.encode("utf-8", "backslashreplace")
