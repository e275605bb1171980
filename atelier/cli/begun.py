"""A result that is being made, which its process has locked: no other makes it at that time."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from atelier.cli.records import (
    FOLDER,
    VERSION,
    Facts,
    Record,
    as_json,
    facts_of,
    flat,
    identify,
    read_mark,
)
from atelier.errors import OutputError, describe_os_error
from atelier.files import atomic_path, files_below


class Maker:
    """Which run of which command makes results, and where it keeps their records.

    Args:
        folder: of the results.
        command: its name, such as superres.run.
        settings: those that shape its results, see `atelier.cli.records.settings_of`.
    """

    def __init__(self, folder: Path, command: str, settings: Mapping[str, object]):
        self.folder, self.command, self.run = folder, command, uuid.uuid4().hex
        self.settings = json.loads(json.dumps(settings, default=str))

    def name(self, path: Path) -> str:
        """A file's name in records: relative to the folder if it lies in it, else absolute."""
        whole, top = os.path.abspath(path), os.path.abspath(self.folder)
        return os.path.relpath(whole, top) if whole.startswith(os.path.join(top, "")) else whole

    def file(self, source: Path | bytes, wanted: Sequence[Path], suffix: str) -> Path:
        """The file of records of a result, named by a hash of the command and the result's place.

        Args:
            source: of the input.
            wanted: the files and folders that it becomes, the main one first.
            suffix: .json of the record, .begun of the mark that it is being made.
        """
        place = self.name(wanted[0]) if wanted else f"input:{identify(source)[0]}"
        text = f"{self.command}\0{place}".encode("utf-8", "surrogateescape")
        return self.folder / FOLDER / f"{hashlib.sha256(text).hexdigest()[:32]}{suffix}"


class Begun:
    """A result that is being made."""

    replace = False
    """Whether what exists may be replaced."""

    def __init__(
        self,
        maker: Maker,
        file: Path,
        handle: int,
        source: Path | bytes,
        wanted: Sequence[Path],
    ):
        self.maker, self.file, self.handle, self.wanted = maker, file, handle, wanted
        self.identity = identify(source)
        self.left = read_mark(file)
        same = self.left.get("input"), self.left.get("settings")
        self.goes_on = same == (self.identity[0], maker.settings)
        """Whether the same command has begun it, and was stopped before it was done."""
        self.origin = {n: f for n, f in self.present().items() if not self._is_leftover(n, f)}
        """What is there, but for what that command left."""
        self.noted = False
        self.record: Record | None = None
        """That of what is there."""

    def present(self) -> dict[str, Facts]:
        """The files that are there."""
        return flat(self._found())

    def _is_leftover(self, name: str, facts: Facts) -> bool:
        return self.goes_on and self.left["before"].get(name) != facts

    def note(self, *, parts: bool = False) -> None:
        """Says on disk that it was begun, should the process die.

        Args:
            parts: whether what is there by now is told, too, as of a result that was stopped.
        """
        times = self.left["times"] if self.left.get("run") == self.maker.run else 0
        now = self.present() if parts else {}
        mark = {
            "run": self.maker.run,
            "times": times + 1,
            "input": self.identity[0],
            "settings": self.maker.settings,
            "before": self.origin,
            "parts": [name for name, facts in now.items() if self.origin.get(name) != facts],
        }
        self.noted = True
        try:
            os.ftruncate(self.handle, os.pwrite(self.handle, as_json(mark), 0))
        except OSError as error:
            raise OutputError(f"cannot write {self.file}: {describe_os_error(error)}") from None

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
        self._remove_stale()
        results = self._found()
        if self.wanted:
            main = results[self.maker.name(self.wanted[0])]
            main |= {self.maker.name(path): facts_of(path) for path in also}
        name, state = self.identity
        stored = Record(
            self.maker.command,
            self.maker.settings,
            name,
            state,
            results,
            self.maker.run,
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
        # A mark that was found and not changed is for its own command to take up.
        if self.present() == self.origin and (self.noted or not self.left):
            self.forget()
        else:
            self.leave()

    def leave(self) -> None:
        """Ends with a part of a result, which the next run may replace."""
        if self.handle is not None and self.noted:
            with contextlib.suppress(OutputError):  # A full disk: the mark stays as it was.
                self.note(parts=True)
        self._release()

    def _release(self) -> None:
        if self.handle is not None:
            os.close(self.handle)
        self.handle = None

    def forget(self) -> None:
        """Ends as if it had not been begun."""
        if self.handle is not None:
            with contextlib.suppress(OSError):
                self.file.unlink()
        self._release()

    def _remove_stale(self) -> None:
        """Removes what an earlier state of the input became and this one does not, such as the
        fourth of what are now three objects; not what was changed by hand."""
        for path in self.wanted:
            was = {} if self.record is None else self.record.results
            for name, facts in was.get(self.maker.name(path), {}).items():
                file = self.maker.folder / name
                if self.replace and facts == facts_of(file):
                    with contextlib.suppress(OSError):
                        file.unlink()

    def _earlier(self, results: Mapping[str, Mapping[str, Facts]]) -> dict[str, Facts]:
        known = {} if self.record is None else self.record.files
        now = flat(results)
        return {
            name: facts
            for name, facts in known.items()
            if name not in now and (self.maker.folder / name).exists()
        }

    def _found(self) -> dict[str, dict[str, Facts]]:
        found = {}
        for path in self.wanted:
            files = files_below(path) if path.is_dir() else [path]
            facts = {self.maker.name(file): facts_of(file) for file in files}
            found[self.maker.name(path)] = {name: f for name, f in facts.items() if f}
        return found
