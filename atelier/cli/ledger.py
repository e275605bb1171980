"""The records of a folder of results, kept by the command that writes into it."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from atelier.cli.begun import Begun, Maker
from atelier.cli.records import FOLDER, Record, identify, read_mark, read_record
from atelier.errors import OutputError, describe_os_error
from atelier.files import hold, locked, refuse_existing

_TRIES = 10
"""For a folder that others take away as it is made."""


class BusyError(Exception):
    """Another process is making this result."""


class Ledger(Maker):
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
        super().__init__(folder, command, settings)
        self.overwrite = overwrite
        self._made: list[Path] = []

    # === What is there ===

    def find(self, source: Path | bytes, wanted: Sequence[Path]) -> tuple[Record | None, bool]:
        """The record of a result, and whether that is done and current.

        Args:
            source: of the input.
            wanted: the files and folders that it is to become, the main one first.
        """
        record = read_record(self.file(source, wanted, ".json"))
        return record, record is not None and self._is_current(record, source, wanted)

    def _is_current(self, record: Record, source: Path | bytes, wanted: Sequence[Path]) -> bool:
        name, state = identify(source)
        return (
            (not self.overwrite or record.run == self.run)
            and (record.input, record.state, record.settings) == (name, state, self.settings)
            and bool(state)
            and all(self.name(path) in record.results for path in wanted)
            and all(
                (self.folder / file).exists()
                for path in wanted
                for file in record.results[self.name(path)]
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
            record = read_record(self.file(b"", (table,), ".json"))
            self._may_replace(record, begun)
            lost = set(record.more.get("inputs", ())) - {_short(name) for name in inputs}
            if lost:
                raise OutputError(
                    f"{table} exists, and holds inputs that are not among these ({len(lost):,}); "
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
        """Keeps the folder to this run and its workers while the block runs.

        Raises:
            OutputError: another run with workers has it, or it cannot be written.
        """
        with _telling(self.folder):
            self._make(self.folder)
        with locked(self.folder), self._run_folder():
            yield

    @contextlib.contextmanager
    def _run_folder(self) -> Iterator[None]:
        """Makes `run_folder`; those of runs that were killed go."""
        for old in (self.folder / FOLDER).glob("run-*"):
            shutil.rmtree(old, ignore_errors=True)
        with _telling(self.folder):
            self._make(self.run_folder)
        try:
            yield
        finally:
            shutil.rmtree(self.run_folder, ignore_errors=True)

    def times_begun(self, source: Path | bytes, wanted: Sequence[Path]) -> int:
        """How often this run has begun to make a result that is not done."""
        mark = read_mark(self.file(source, wanted, ".begun"))
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
        file = self.file(source, wanted, ".begun")
        for more in range(_TRIES, -1, -1):
            try:
                self._make(file.parent)
                return Begun(self, file, hold(file), source, wanted)
            except BlockingIOError:
                raise BusyError from None
            except OSError as error:
                # Another run may have just removed the folder, which was empty.
                if not (more and isinstance(error, FileNotFoundError)):
                    raise OutputError(
                        f"cannot write into {self.folder}: {describe_os_error(error)}"
                    ) from None
        raise AssertionError("the last try returns or raises")

    def _make(self, folder: Path) -> None:
        missing = [f for f in (folder, *folder.parents) if not f.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        self._made = [*missing, *self._made]


def _short(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:16]


@contextlib.contextmanager
def _telling(folder: Path) -> Iterator[None]:
    """Makes an `OutputError` of what the system refuses."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write into {folder}: {describe_os_error(error)}") from None
