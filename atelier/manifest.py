"""What of a batch is done: the folder `manifest` beside the results, which outlives every stop.

batch.json     the settings that the batch was begun with
done.jsonl     an object an input that is done, in the order of the inputs: what --json prints
failed.jsonl   an object an input that failed: `input` and `reason`
begun.jsonl    inputs that were begun and not done, whose results may lie there
journal/       a folder for each run under way, in it a file for each block of inputs

A line of a journal is written once its input's result is on disk, by whoever made it: nothing that
was finished is lost with a worker or with the command itself. The lists are made of the journals
when a run ends, and where it was killed, when the next one begins.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import json
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from atelier.errors import OutputError, SettingsError
from atelier.files import atomic_path, locked, reason, refuse_existing, write_json

VERSION = 1
"""Of the form of these files."""


class Journal:
    """What became of a block's inputs, a line each, for whoever must go on with the block.

    Entries are `{"begin": name}`, `{"done": record, "line": text}` and `{"failed": name,
    "reason": text}`.

    Args:
        path: the file, in a folder that exists as long as the run has the say.
    """

    def __init__(self, path: Path):
        self.path = path
        self._torn = False
        if path.exists() and path.stat().st_size:
            # A kill in the middle of a write leaves half a line; the next is not to be lost too.
            with _telling(path), open(path, "rb") as file:
                file.seek(-1, os.SEEK_END)
                self._torn = file.read() != b"\n"

    def read(self) -> tuple[dict[str, dict], collections.Counter[str]]:
        """The last entry of each input that is done or failed, and how often each was begun."""
        ended, begun = {}, collections.Counter()
        for _, entry in entries(self.path):
            if "begin" in entry:
                begun[entry["begin"]] += 1
            else:
                ended[name_of(entry)] = entry
        return ended, begun

    def append(self, entry: Mapping[str, object], *, sync: bool = True) -> None:
        """Adds an entry, in one write; with `sync`, the disk has it when this returns.

        Raises:
            SettingsError: another run has taken over.
            OutputError: the file cannot be written.
        """
        data = b"\n" * self._torn + _line(entry)
        try:
            handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            try:
                if os.write(handle, data) < len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                if sync:
                    os.fsync(handle)
            finally:
                os.close(handle)
        except FileNotFoundError:
            batch = self.path.parent.parent.parent.parent
            raise SettingsError(f"{batch}: another run has taken this batch over") from None
        except OSError as error:
            self._torn = True
            raise OutputError(f"cannot write {self.path}: {reason(error)}") from None
        self._torn = False


def name_of(entry: Mapping[str, object]) -> str:
    """The input of a journal's entry."""
    if "done" in entry:
        return entry["done"]["input"]
    return entry["failed"] if "failed" in entry else entry["begin"]


class Manifest:
    """The manifest of one batch, for the command that runs it.

    `out` is locked till `close`, see `atelier.files.locked`: against a second command on this
    machine, and on others where the file system passes locks on, as NFS does by default. Where it
    does not (some mounts of Lustre, SMB, object stores), the command that came first ends with a
    line, once its workers find that the other has taken over.

    In memory it holds the names of inputs that are done or failed, and a number or reason each.

    Args:
        out: the folder of the results.
        settings: all that shapes the results.
        names: of the inputs, in order, each once.
        overwrite: whether results may be replaced: a batch with other settings is forgotten, and
            one that had come to its end is done anew. One that was stopped goes on.

    Raises:
        SettingsError: the folder holds a batch with other settings.
        OutputError: another command has it, it cannot be written, or a list is damaged.
    """

    def __init__(
        self,
        out: Path,
        settings: Mapping[str, object],
        names: Sequence[str],
        *,
        overwrite: bool = False,
    ):
        self.out, self.folder, self.names = out, out / "manifest", names
        self.done: dict[str, int] = {}
        """Where in done.jsonl an input's record begins."""
        self.failed: dict[str, str] = {}
        """Why an input failed."""
        self.begun: set[str] = set()
        """Inputs whose results are this batch's own, though they are not done."""
        self.journals = self.folder / "journal" / uuid.uuid4().hex
        """The folder of this run's journals, as long as it has the say."""
        with contextlib.ExitStack() as lock:
            lock.enter_context(locked(out))
            self._open(json.loads(json.dumps(settings, default=str)), overwrite)
            with _telling(self.journals):
                self.journals.mkdir(parents=True)
            self.close = lock.pop_all().close

    def _open(self, settings: dict, overwrite: bool) -> None:
        file, stored = self.folder / "batch.json", {}
        if file.exists():
            try:
                stored = json.loads(file.read_text(encoding="utf-8"))
                if stored["version"] != VERSION:
                    raise SettingsError(f"{file} is of another version; choose another --out")
                before, finished = dict(stored["settings"]), bool(stored["finished"])
            except (OSError, ValueError, TypeError, KeyError, RecursionError):
                raise OutputError(f"{file} is damaged; choose another --out") from None
            differing = {k for k in settings | before if settings.get(k) != before.get(k)}
            if overwrite and (finished or differing):
                self._forget()
                stored = {}
        self.collect()
        if stored and differing and (self.done or self.begun):
            raise SettingsError(
                f"{self.out} holds a batch with other settings ({', '.join(sorted(differing))}); "
                "choose another --out or pass --overwrite"
            )
        self._batch = {
            "version": VERSION,
            "finished": False,
            "tables": stored.get("tables", []),
            "settings": settings,
        }
        write_json(file, self._batch)

    def _forget(self) -> None:
        with _telling(self.folder):
            for name in ("done", "failed", "begun"):
                (self.folder / f"{name}.jsonl").unlink(missing_ok=True)
            if (self.folder / "journal").exists():
                shutil.rmtree(self.folder / "journal")

    def claim(self, path: Path, overwrite: bool) -> None:
        """Makes a file that is written at the end, such as a table, this batch's own.

        Raises:
            OutputError: it is there, is not this batch's, and may not be replaced.
        """
        if str(path) in self._batch["tables"]:
            return
        refuse_existing(path, overwrite)
        self._batch["tables"].append(str(path))
        write_json(self.folder / "batch.json", self._batch)

    def collect(self, *, finished: bool = False) -> None:
        """Makes the lists anew of what they were and of all journals, which then go.

        From here on, workers that still live can add nothing: their folder has another name.

        Args:
            finished: whether each input was tried.

        Raises:
            OutputError: a list is damaged, or cannot be written; then nothing is lost.
        """
        lists = {name: self.folder / f"{name}.jsonl" for name in ("done", "failed", "begun")}
        taken = []
        with _telling(self.folder):
            for run in sorted(self.folder.glob("journal/*")):
                target = run if run.suffix == ".taken" else run.with_suffix(".taken")
                run.rename(target)
                taken.append(target)
        places: dict[str, tuple[Path, int]] = {}
        failed, begun = {}, set()
        for offset, record in entries(lists["done"], strict=True):
            places[record["input"]] = (lists["done"], offset)
        for _, entry in entries(lists["failed"], strict=True):
            failed[entry["input"]] = entry["reason"]
        begun.update(entry["input"] for _, entry in entries(lists["begun"], strict=True))
        for file in (file for run in taken for file in sorted(run.glob("*.jsonl"))):
            for offset, entry in entries(file):
                name = name_of(entry)
                if "done" in entry:
                    places[name] = (file, offset)
                elif "failed" in entry:
                    failed[name] = entry["reason"]
                else:
                    begun.add(name)
        self.done = _write_done(lists["done"], places, self.names)
        order = dict.fromkeys((*(name for name in self.names if name in failed), *failed))
        self.failed = {name: failed[name] for name in order if name not in places}
        self.begun = begun - places.keys()
        rows = ({"input": name, "reason": why} for name, why in self.failed.items())
        _write_lines(lists["failed"], rows)
        _write_lines(lists["begun"], ({"input": name} for name in sorted(self.begun)))
        if finished:
            write_json(self.folder / "batch.json", self._batch | {"finished": True})
        with _telling(self.folder):
            for run in taken:
                shutil.rmtree(run)

    def records(self) -> Iterator[tuple[int, dict]]:
        """The number of each input that is done, from 0, and its record, in order."""
        with open(self.folder / "done.jsonl", "rb") as file:
            for number, name in enumerate(self.names):
                if name in self.done:
                    file.seek(self.done[name])
                    yield number, json.loads(file.readline())


def entries(path: Path, *, strict: bool = False) -> Iterator[tuple[int, dict]]:
    """The objects of a file, a line each, and where each begins; none if there is no file.

    Args:
        path: the file.
        strict: whether a line that is none, as a kill in the middle of a write leaves one, is an
            error; else it is passed by.

    Raises:
        OutputError: the file cannot be read, or with `strict` is damaged.
    """
    try:
        with open(path, "rb") as lines:
            offset = 0
            for line in lines:
                try:
                    entry = json.loads(line)
                    if strict:
                        entry["input"]
                    else:
                        name_of(entry)
                    yield offset, entry
                except (ValueError, TypeError, KeyError, RecursionError):
                    if strict:
                        raise OutputError(f"{path} is damaged; mend or delete it") from None
                offset += len(line)
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutputError(f"cannot read {path}: {reason(error)}") from None


def _write_done(
    target: Path, places: Mapping[str, tuple[Path, int]], names: Iterable[str]
) -> dict[str, int]:
    """Writes done.jsonl, the inputs of `names` first; returns where each record begins."""
    begins = {}
    with (
        atomic_path(target) as temporary,
        open(temporary, "wb") as written,
        contextlib.ExitStack() as opened,
    ):
        file = None
        for name in (*(name for name in names if name in places), *places):
            if name in begins:
                continue
            path, offset = places[name]
            if file is None or file.name != path:
                opened.close()
                file = opened.enter_context(open(path, "rb"))
            file.seek(offset)
            entry = json.loads(file.readline())
            begins[name] = written.tell()
            written.write(_line(entry.get("done", entry)))
    return begins


def _write_lines(target: Path, rows: Iterable[Mapping[str, object]]) -> None:
    with atomic_path(target) as temporary, open(temporary, "wb") as file:
        file.writelines(map(_line, rows))


def _line(entry: Mapping[str, object]) -> bytes:
    text = json.dumps(entry, default=str, ensure_ascii=False) + "\n"
    # Names of files need not be UTF-8; \udc80 is how JSON itself writes such a byte.
    return text.encode("utf-8", "backslashreplace")


@contextlib.contextmanager
def _telling(path: Path) -> Iterator[None]:
    """Makes an `OutputError` of what the system refuses."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write {path}: {reason(error)}") from None
