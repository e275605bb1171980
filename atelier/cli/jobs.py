"""One loop for all commands that make something of each input.

It skips what is done and current, keeps a record of each result, outlives what goes wrong with one
input, ends after Ctrl-C with all that is finished kept, and gives the exit code.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from atelier import cli
from atelier.cli.begun import Begun
from atelier.cli.failures import Failure, Faults, as_failure
from atelier.cli.inputs import Input
from atelier.cli.ledger import BusyError, Ledger
from atelier.cli.records import Record, identify, settings_of
from atelier.errors import OutputError
from atelier.files import check_writable, refuse_existing
from atelier.progress import OnStep, Step

STDOUT = Path("-")
"""What stands for standard output, as a result's place."""

NEUTRAL = frozenset({"inputs", "out", "cluster", "worker_cpus", "worker_gpus", "overwrite", "json"})
"""Settings of a command that shape no result."""


@dataclasses.dataclass(frozen=True)
class Job:
    """An input, and where its results go."""

    item: Input
    path: Path | None
    """The result's file, or `STDOUT`; None for a job whose answer is told, and not written."""
    others: tuple[Path, ...] = ()
    """What else it may write: files and folders."""
    overwrite: bool = False
    """Whether what exists there may be replaced."""

    @property
    def wanted(self) -> tuple[Path, ...]:
        """All files and folders that it writes, the main one first."""
        return tuple(p for p in (self.path, *self.others) if p is not None and p != STDOUT)


class Outcome(NamedTuple):
    """What became of a job that went well."""

    record: Mapping
    """What --json prints."""
    line: str
    """What a user is told."""
    more: Mapping = {}
    """What tables need besides, fit for JSON."""
    also: tuple[Path, ...] = ()
    """Files that were written besides those that the job names."""
    partial: bool = False
    """Whether it was stopped before its end; without a record if it is no result at all."""

    def tell(self, *, json: bool) -> None:
        """Tells of it, with or without the record."""
        if json and self.record:
            cli.print_json(self.record)
        cli.print_note(self.line)


Work = Callable[[Iterable[Job], OnStep], Iterator[tuple[Job, Outcome | Exception]]]
"""(jobs, on_step): does jobs as it takes them, and gives each with what became of it."""

OnEnd = Callable[[Job, "Outcome | Failure"], object]
"""Told of each job that has ended."""

Place = Callable[[Sequence[Job], Callable[[], Work], "Ledger | None", OnEnd, OnEnd], object]
"""(jobs, factory, ledger, on_end, on_known): does jobs somewhere, until all have ended. `on_known`
is told of those that another run has done meanwhile."""


def one_by_one(work: Callable[[Job, OnStep], Outcome]) -> Work:
    """Makes a `Work` of a function that does one job."""

    def work_through(jobs, on_step):
        for job in jobs:
            try:
                outcome = work(job, on_step)
            except Exception as error:
                outcome = error
            yield job, outcome

    return work_through


# === The loop ===


class Finished:
    """The jobs of a run that are done, by this run or an earlier one."""

    def __init__(self, jobs: Sequence[Job], ledger: Ledger | None):
        self._jobs, self._ledger = jobs, ledger
        self._outcomes: dict[str, Outcome | None] = {}

    def add(self, job: Job, outcome: Outcome) -> None:
        """Takes note of one."""
        recorded = self._ledger is not None and not outcome.partial
        # What is recorded is on disk, and need not be in memory.
        self._outcomes[job.item.name] = None if recorded else outcome

    def __len__(self) -> int:
        return len(self._outcomes)

    def __iter__(self) -> Iterator[tuple[Job, Outcome]]:
        """Each with what became of it, in the order of the inputs."""
        for job in self._jobs:
            if job.item.name in self._outcomes:
                outcome = self._outcomes[job.item.name]
                if outcome is None:
                    record, _ = self._ledger.find(job.item.source, job.wanted)
                    if record is None:  # It has gone meanwhile.
                        continue
                    outcome = outcome_of(job, record)
                yield job, outcome


def outcome_of(job: Job, record: Record) -> Outcome:
    """What became of a job, by its record, with the names that things have now."""
    now = {"input": job.item.name, "output": str(job.path)}
    names = {name: value for name, value in now.items() if record.record.get(name) is not None}
    return Outcome(record.record | names, record.line, record.more)


def here(
    jobs: Sequence[Job],
    factory: Callable[[], Work],
    ledger: Ledger | None,
    on_end: OnEnd,
    on_known: OnEnd,
) -> None:
    """Does jobs in this process, one after another: a `Place`."""
    work = factory()
    with cli.stop_on_signal() as stopped:
        do(work, jobs, ledger, on_end, on_known, stopped)
        if stopped(None):
            raise KeyboardInterrupt


def run(
    jobs: Sequence[Job],
    factory: Callable[[], Work],
    arguments: object,
    *,
    command: str,
    place: Place = here,
    tell: Callable[[Outcome], object] | None = None,
    at_end: Callable[[Finished], object] | None = None,
    tables: Collection[Path] = (),
    neutral: Collection[str] = (),
    more: Mapping[str, object] | None = None,
) -> int:
    """Does what earlier runs of the same command have left to do.

    Results in a folder have records there (`atelier.cli.records`): what is done and current is
    skipped, and the result of an input that has changed is made anew. A result that exists and is a
    stranger's, or was made with other settings, from another input, or changed since, is its
    input's failure without `overwrite`.

    Args:
        jobs: of the command. Of those with one name, the last counts.
        factory: makes what does jobs; called only if there is something to do.
        arguments: the command's settings, a dataclass with out, overwrite and json.
        command: its name.
        place: where jobs are done.
        tell: called with each job's outcome as it comes, instead of `Outcome.tell`.
        at_end: writes what is made of all outcomes, `tables`; called after Ctrl-C, too.
        tables: files that `at_end` writes.
        neutral: settings that shape no result, or only which results there are.
        more: what shapes results and is no setting.

    Returns:
        The exit code: 0 all done, 1 some failed.

    Raises:
        AtelierError: what is wrong for all jobs; what was finished is kept.
        KeyboardInterrupt: Ctrl-C or SIGTERM; likewise.
    """
    jobs = list({job.item.name: job for job in jobs}.values())
    out, overwrite, json = arguments.out, arguments.overwrite, arguments.json
    jobs = [dataclasses.replace(job, overwrite=overwrite) for job in jobs]
    ledger = None
    # A result that is named by its file has no folder of its own for records, and an answer that
    # is told and not written needs none.
    written = place is not here or tables or any(job.wanted for job in jobs)
    if written and not any(job.path == out for job in jobs):
        settings = settings_of(arguments, NEUTRAL | {*neutral}) | dict(more or {})
        ledger = Ledger(out, command, settings, overwrite=overwrite)
    finished, faults, code = Finished(jobs, ledger), Faults(ledger and out), cli.DONE
    tell = tell or functools.partial(Outcome.tell, json=json)

    def on_known(job: Job, outcome: Outcome) -> None:
        finished.add(job, outcome)
        # An answer that was told and not written is told again.
        if job.path is None:
            tell(outcome)
        elif json:
            cli.print_json(outcome.record)

    def on_end(job: Job, outcome: Outcome | Failure) -> None:
        nonlocal code
        if isinstance(outcome, Failure):
            faults.report(job.item.name, outcome)
            code = cli.SOME_FAILED
            return
        finished.add(job, outcome)
        try:
            tell(outcome)
        except OutputError as error:
            faults.report(job.item.name, Failure(str(error)))
            code = cli.SOME_FAILED

    with contextlib.closing(ledger) if ledger else contextlib.nullcontext():
        for table in tables:
            check_writable(table)
            if ledger is None:
                refuse_existing(table, overwrite)
            else:
                ledger.claim(table, [identify(job.item.source)[0] for job in jobs])
        left = _left(jobs, ledger, on_known)
        try:
            if left:
                place(left, factory, ledger, on_end, on_known)
        finally:
            if at_end is not None and len(finished):
                done = [identify(job.item.source)[0] for job, _ in finished] if ledger else []
                with ledger.writing(tables, done) if ledger else contextlib.nullcontext():
                    at_end(finished)
    return code


def _left(jobs: Sequence[Job], ledger: Ledger | None, on_known: OnEnd) -> list[Job]:
    """The jobs that are not done and current; says how many are."""
    if ledger is None:
        return list(jobs)
    left, changed = [], 0
    for job in jobs:
        record, current = ledger.find(job.item.source, job.wanted)
        if current:
            on_known(job, outcome_of(job, record))
            continue
        left.append(job)
        name, state = identify(job.item.source)
        changed += record is not None and record.input == name and record.state != state != []
    if len(left) < len(jobs):
        cli.print_note(f"{len(jobs) - len(left):,} of {len(jobs):,} inputs are done already")
    if changed and not ledger.overwrite:
        cli.print_note(
            f"{changed:,} of {len(jobs):,} inputs have changed since; theirs are made anew"
        )
    return left


_WAIT = 0.2
"""Seconds between looks at a job that another process has in its hands."""


def do(
    work: Work,
    jobs: Iterable[Job],
    ledger: Ledger | None,
    on_end: OnEnd,
    on_known: OnEnd,
    stopped: OnStep = lambda step: False,
) -> None:
    """Does jobs, and records each that is done.

    One that another process is doing is left to the end, and waited for.

    Args:
        work: what does them.
        jobs: those that are to be done.
        ledger: of their results, if they have one.
        on_end: told of each that ends.
        on_known: told of each that is done and current by now.
        stopped: whether to stop, which is asked between jobs, and by `work` after each step.
    """
    begun: dict[str, Begun] = {}
    busy: list[Job] = []
    asked = False

    def on_step(step: Step | None) -> bool:
        nonlocal asked
        asked = asked or bool(stopped(step))
        return asked

    def admitted(jobs: Iterable[Job], *, wait: bool) -> Iterator[Job]:
        for job in jobs:
            if stopped(None):
                return
            try:
                if ledger is None:
                    for path in job.wanted:
                        refuse_existing(path, job.overwrite)
                    yield job
                    continue
                start = _begin(ledger, job, stopped if wait else None)
            except OutputError as error:
                on_end(job, as_failure(error))
            except BusyError:
                busy.append(job)
            else:
                if isinstance(start, Record):
                    on_known(job, outcome_of(job, start))
                elif start is not None:
                    begun[job.item.name] = start
                    yield dataclasses.replace(job, overwrite=start.replace)

    def work_through(jobs: Iterable[Job], *, wait: bool) -> None:
        for job, outcome in work(admitted(jobs, wait=wait), on_step):
            on_end(job, _ended(begun.pop(job.item.name, None), outcome, asked))

    try:
        work_through(jobs, wait=False)
        for job in busy.copy():
            work_through([job], wait=True)
    finally:
        for start in begun.values():
            start.abandon()


def _begin(ledger: Ledger, job: Job, stopped: OnStep | None) -> Begun | Record | None:
    while True:
        try:
            return ledger.begin(job.item.source, job.wanted)
        except BusyError:
            if stopped is None:
                raise
        if stopped(None):
            return None
        time.sleep(_WAIT)


def _ended(start: Begun | None, outcome: Outcome | Exception, asked: bool) -> Outcome | Failure:
    if isinstance(outcome, Exception):
        if start is not None:
            start.abandon()
        return as_failure(outcome)
    if start is None:
        return outcome
    if asked or outcome.partial:  # To stop: what was made of it may be a part.
        start.leave()
        return outcome._replace(partial=True)
    try:
        start.finish(outcome.record, outcome.line, outcome.more, outcome.also)
    except OutputError as error:
        return as_failure(error)
    return outcome


def bar(total: int, unit: str = "input") -> tqdm:
    """A progress bar over jobs, where standard error is a terminal."""
    return tqdm(total=total, leave=False, disable=not sys.stderr.isatty(), unit=unit)
