"""The records of a folder of results, kept by the command that writes into it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from atelier.errors import OutputError
from atelier.files import atomic_path, files_below, hold, read_bounded, reason, refuse_existing
from atelier.records import (
    FOLDER,
    MAX_BYTES,
    VERSION,
    Facts,
    Record,
    as_json,
    facts_of,
    flat,
    identify,
    read_record,
)

_TRIES = 10
"""For a folder that others take away as it is made."""


class BusyError(Exception):
    """Another process is making this result."""


class Ledger:
    """The records of one command's run in one folder of results.

    Args:
        folder: of the results; made when something is begun.
        command: its name, such as superres.run.
        settings: those that shape its results, see `settings_of`.
        overwrite: whether results may be replaced, whoever made them.
    """

    def __init__(
        self,
        folder: Path,
        command: str,
        settings: Mapping[str, object],
        *,
        overwrite: bool = False,
    ):
        self.folder, self.command = folder, command
        self.settings = json.loads(json.dumps(settings, default=str))
        self.overwrite, self.run = overwrite, uuid.uuid4().hex
        self._made: list[Path] = []

    # === What is there ===

    def find(self, source: Path | bytes, wanted: Sequence[Path]) -> tuple[Record | None, bool]:
        """The record of a result, and whether that is done and current.

        Args:
            source: of the input.
            wanted: the files and folders that it is to become, the main one first.
        """
        record = read_record(self._file(source, wanted, ".json"))
        return record, record is not None and self._is_current(record, source, wanted)

    def _is_current(self, record: Record, source: Path | bytes, wanted: Sequence[Path]) -> bool:
        name, state = identify(source)
        return (
            (not self.overwrite or record.run == self.run)
            and (record.input, record.state, record.settings) == (name, state, self.settings)
            and bool(state)
            and all(self._name(path) in record.results for path in wanted)
            and all(
                (self.folder / file).exists()
                for path in wanted
                for file in record.results[self._name(path)]
            )
        )

    def begin(self, source: Path | bytes, wanted: Sequence[Path]) -> Record | Begun:
        """Begins to make a result, unless it is done and current: then its record.

        Raises:
            OutputError: what exists there may not be replaced, or nothing can be written there.
            BusyError: another process is making it.
        """
        begun = self._hold(source, wanted)
        try:
            record, current = self.find(source, wanted)
            if current:
                begun.forget()
                return record
            begun.record, begun.replace = record, self._may_replace(record, begun)
            begun.note()
        except BaseException:
            begun.abandon()
            raise
        return begun

    def _may_replace(self, record: Record | None, begun: Begun) -> bool:
        """Whether what exists may be replaced.

        Raises:
            OutputError: it may not; says why.
        """
        present, how = begun.origin, "choose another --out or pass --overwrite"
        if self.overwrite or not present:
            return self.overwrite or begun.goes_on
        path = next(iter(begun.wanted))
        known = {} if record is None else record.files
        for name in present:
            if name not in known:
                refuse_existing(self.folder / name, overwrite=False)
        if record.input != begun.identity[0]:
            raise OutputError(f"{path} exists, made from {record.input}; {how}")
        differing = {
            f"--{key.replace('_', '-')}"
            for key in record.settings | self.settings
            if record.settings.get(key) != self.settings.get(key)
        }
        if differing:
            names = ", ".join(sorted(differing))
            raise OutputError(f"{path} exists, made with other settings ({names}); {how}")
        for name, facts in present.items():
            if facts != known[name]:
                raise OutputError(
                    f"{self.folder / name} exists, and was changed since it was made; {how}"
                )
        return True

    # === Tables ===

    def claim(self, table: Path, inputs: Sequence[str]) -> None:
        """Makes sure that a table, which all inputs share, may be written.

        Args:
            table: its file.
            inputs: what `identify` calls those that it is to hold.

        Raises:
            OutputError: it exists, and may not be replaced: it is a stranger's, or the earlier
                run had other settings or inputs that would be lost from it.
        """
        if self.overwrite or not table.exists():
            return
        begun = self._begin_table(table)
        try:
            if not begun.origin:
                return
            record = read_record(self._file(b"", (table,), ".json"))
            self._may_replace(record, begun)
            lost = set(record.more.get("inputs", ())) - {_short(name) for name in inputs}
            if lost:
                raise OutputError(
                    f"{table} exists, and holds {len(lost):,} inputs that are not among these; "
                    "choose another --out or pass --overwrite"
                )
        finally:
            begun.abandon()

    @contextlib.contextmanager
    def writing(self, tables: Sequence[Path], inputs: Sequence[str]) -> Iterator[None]:
        """Records the tables that the block writes, as far as it does."""
        begun = [self._begin_table(table) for table in tables]
        try:
            for table in begun:
                table.note()
            yield
            for table in begun:
                if table.present():
                    table.finish({}, "", {"inputs": [_short(name) for name in inputs]})
        finally:
            for table in begun:
                table.abandon()

    def _begin_table(self, table: Path) -> Begun:
        try:
            return self._hold(b"", (table,))
        except BusyError:
            raise OutputError(
                f"{table} is being written by another run; wait for its end"
            ) from None

    # === Workers of a cluster ===

    @property
    def run_folder(self) -> Path:
        """There as long as the run has the say."""
        return self.folder / FOLDER / f"run-{self.run}"

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Keeps `run_folder` while the block runs; those of runs that were killed go.

        Raises:
            OutputError: it cannot be written.
        """
        try:
            for old in (self.folder / FOLDER).glob("run-*"):
                shutil.rmtree(old, ignore_errors=True)
            self._make(self.run_folder)
        except OSError as error:
            raise OutputError(f"cannot write into {self.folder}: {reason(error)}") from None
        try:
            yield
        finally:
            shutil.rmtree(self.run_folder, ignore_errors=True)

    def times_begun(self, source: Path | bytes, wanted: Sequence[Path]) -> int:
        """How often this run has begun to make a result that is not done."""
        mark = _read_mark(self._file(source, wanted, ".begun"))
        return mark["times"] if mark.get("run") == self.run else 0

    # === Files ===

    def close(self) -> None:
        """Removes the folders that were made, if they have stayed empty."""
        for folder in self._made:
            with contextlib.suppress(OSError):
                folder.rmdir()

    def _hold(self, source: Path | bytes, wanted: Sequence[Path]) -> Begun:
        """Locks the mark of a result.

        Raises:
            OutputError: it cannot be written.
            BusyError: another process has it.
        """
        file = self._file(source, wanted, ".begun")
        for more in range(_TRIES, -1, -1):
            try:
                self._make(file.parent)
                return Begun(self, file, hold(file), source, wanted)
            except BlockingIOError:
                raise BusyError from None
            except OSError as error:
                # Another run may have just removed the folder, which was empty.
                if not (more and isinstance(error, FileNotFoundError)):
                    raise OutputError(f"cannot write into {self.folder}: {reason(error)}") from None
        raise AssertionError("the last try returns or raises")

    def _make(self, folder: Path) -> None:
        missing = [f for f in (folder, *folder.parents) if not f.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        self._made = [*missing, *self._made]

    def _file(self, source: Path | bytes, wanted: Sequence[Path], suffix: str) -> Path:
        place = self._name(wanted[0]) if wanted else f"input:{identify(source)[0]}"
        text = f"{self.command}\0{place}".encode("utf-8", "surrogateescape")
        return self.folder / FOLDER / f"{hashlib.sha256(text).hexdigest()[:32]}{suffix}"

    def _name(self, path: Path) -> str:
        whole, top = os.path.abspath(path), os.path.abspath(self.folder)
        return os.path.relpath(whole, top) if whole.startswith(os.path.join(top, "")) else whole


class Begun:
    """A result that is being made."""

    replace = False
    """Whether what exists may be replaced."""

    def __init__(
        self,
        ledger: Ledger,
        file: Path,
        handle: int,
        source: Path | bytes,
        wanted: Sequence[Path],
    ):
        self.ledger, self.file, self.handle, self.wanted = ledger, file, handle, wanted
        self.identity = identify(source)
        self.left = _read_mark(file)
        same = self.left.get("input"), self.left.get("settings")
        self.goes_on = same == (self.identity[0], ledger.settings)
        """Whether the same command has begun it, and was stopped before it was done."""
        self.origin = {n: f for n, f in self.present().items() if not self._is_leftover(n, f)}
        """What is there, but for what that command left."""
        self.record: Record | None = None
        """That of what is there."""

    def present(self) -> dict[str, Facts]:
        """The files that are there."""
        return flat(self._found())

    def _is_leftover(self, name: str, facts: Facts) -> bool:
        return self.goes_on and self.left["before"].get(name) != facts

    def note(self) -> None:
        """Says on disk that it was begun, should the process die."""
        times = self.left["times"] if self.left.get("run") == self.ledger.run else 0
        mark = {
            "run": self.ledger.run,
            "times": times + 1,
            "input": self.identity[0],
            "settings": self.ledger.settings,
            "before": self.origin,
        }
        try:
            os.ftruncate(self.handle, 0)
            os.pwrite(self.handle, as_json(mark), 0)
        except OSError as error:
            raise OutputError(f"cannot write {self.file}: {reason(error)}") from None

    def finish(self, record: Mapping, line: str, more: Mapping, also: Sequence[Path] = ()) -> None:
        """Records that it is done.

        Args:
            record: what `--json` prints.
            line: what a user is told.
            more: what tables need besides.
            also: what else was written.

        Raises:
            OutputError: the record cannot be written; the result is there.
        """
        results = self._found()
        if self.wanted:
            main = results[self.ledger._name(self.wanted[0])]
            main |= {self.ledger._name(path): facts_of(path) for path in also}
        name, state = self.identity
        stored = Record(
            self.ledger.command,
            self.ledger.settings,
            name,
            state,
            results,
            self.ledger.run,
            dict(record),
            line,
            dict(more),
            self._earlier(results),
        )
        try:
            with atomic_path(self.file.with_suffix(".json")) as temporary:
                temporary.write_bytes(as_json({"version": VERSION, **vars(stored)}))
        except OutputError as error:
            self.leave()
            raise OutputError(f"{error}; it was made, and cannot be recorded") from None
        self.forget()

    def abandon(self) -> None:
        """Ends without a result; what there is of one may be replaced by the next run."""
        if self.handle is None:
            return
        if self.present() == self.origin:
            self.forget()
        else:
            self.leave()

    def leave(self) -> None:
        """Ends with a part of a result, which the next run may replace."""
        if self.handle is not None:
            os.close(self.handle)
        self.handle = None

    def forget(self) -> None:
        """Ends as if it had not been begun."""
        if self.handle is not None:
            with contextlib.suppress(OSError):
                self.file.unlink()
        self.leave()

    def _earlier(self, results: Mapping[str, Mapping[str, Facts]]) -> dict[str, Facts]:
        known = {} if self.record is None else self.record.files
        now = flat(results)
        return {
            name: facts
            for name, facts in known.items()
            if name not in now and (self.ledger.folder / name).exists()
        }

    def _found(self) -> dict[str, dict[str, Facts]]:
        found = {}
        for path in self.wanted:
            files = files_below(path) if path.is_dir() else [path]
            facts = {self.ledger._name(file): facts_of(file) for file in files}
            found[self.ledger._name(path)] = {name: f for name, f in facts.items() if f}
        return found


def _read_mark(file: Path) -> dict:
    try:
        mark = json.loads(read_bounded(file, MAX_BYTES))
        good = isinstance(mark["times"], int) and isinstance(mark["before"], dict)
        return mark if good else {}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return {}


def _short(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:16]
