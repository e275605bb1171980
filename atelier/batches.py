"""Batches of any size on a Ray cluster: each input once, whatever workers or the command die of.

Inputs go in blocks to workers, which load a model once and do one input after the other. A line in
the block's journal follows each result, so that who is given a dead worker's block does only the
rest; `atelier.manifest` keeps what was done from one run of the command to the next.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import socket
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from atelier import cli, errors
from atelier.cluster import check_address, connected, count_room
from atelier.errors import AtelierError, ImageError, OutputError, SettingsError
from atelier.files import refuse_existing
from atelier.images import READABLE
from atelier.manifest import Journal, Manifest
from atelier.movies import VIDEOS
from atelier.pool import map_rows

BLOCK = 64
"""Inputs that a worker is given at once, at most."""

ATTEMPTS = 3
"""Times that an input may take its worker's life; and workers that may die as they load the model,
for each that the cluster has room for, before one has loaded it."""

NEUTRAL = frozenset({"inputs", "out", "cluster", "worker_cpus", "worker_gpus", "overwrite", "json"})
"""Settings of a command that shape no result."""


@dataclasses.dataclass(frozen=True)
class Job:
    """An input, and where its results go."""

    item: cli.Input
    path: Path | None
    """Of its result; where that is, the job is done. None for jobs without one."""
    others: tuple[Path, ...] = ()
    """What else it may write, files and folders."""

    def refuse_existing(self, overwrite: bool) -> None:
        """Raises `OutputError` if a result exists and may not be overwritten."""
        for path in filter(None, (self.path, *self.others)):
            refuse_existing(path, overwrite)


class Outcome(NamedTuple):
    """What became of a job that went well."""

    record: dict
    """What --json prints; `input` is the item's name."""
    line: str
    """What a user is told."""

    def tell(self, *, json: bool) -> None:
        """Tells of it, with or without the record."""
        if json:
            cli.print_json(self.record)
        cli.say(self.line)


Work = Callable[[Iterable[Job], bool], Iterator[tuple[Job, Outcome | AtelierError]]]
"""(jobs, overwrite): does jobs as it takes them, and gives each with what became of it."""


@dataclasses.dataclass(frozen=True)
class ClusterSettings:
    """Where a command does its inputs."""

    cluster: str | None = None
    """Work through the inputs on a Ray cluster: ray://HOST:PORT, or auto for the one that this
    machine is part of, else its own cores. Left out, they are done here, one after another."""
    worker_cpus: int = 1
    """Cores of the cluster a worker; each worker holds the model once."""
    worker_gpus: float = 0
    """GPUs of the cluster a worker, or a part of one, such as 0.5."""

    def check_cluster(self) -> None:
        """Refuses settings that make no sense, or that go together on one machine alone.

        Raises:
            SettingsError: one of them, in a line.
        """
        check_address(self.cluster)
        if self.worker_cpus < 1:
            raise SettingsError(f"--worker-cpus is at least 1, not {self.worker_cpus}")
        if not (0 <= self.worker_gpus <= 1 or self.worker_gpus % 1 == 0 < self.worker_gpus):
            raise SettingsError(
                f"--worker-gpus is a part of one, or whole, not {self.worker_gpus:g}"
            )
        if self.cluster is None:
            return
        if "-" in (*self.inputs, str(self.out)):
            raise SettingsError("--cluster takes files, and no - for standard input or output")
        if self.out.suffix.lower() in (*READABLE, *VIDEOS) and not self.out.is_dir():
            raise SettingsError(f"--cluster takes a folder for --out, not the file {self.out}")


def one_by_one(work: Callable[[Job, bool], Outcome]) -> Work:
    """Makes a `Work` of a function that does one job.

    A fault of the program's own counts as that job's: the others need not wait until it is mended.
    """

    def work_through(jobs, overwrite):
        for job in jobs:
            try:
                outcome = work(job, overwrite)
            except Exception as error:
                outcome = as_failure(error)
            yield job, outcome

    return work_through


def as_failure(error: Exception) -> AtelierError:
    """The reason for which one input failed; what is wrong for all is raised instead."""
    if isinstance(error, (ImageError, OutputError)):
        return error
    if isinstance(error, AtelierError):
        raise error
    return ImageError(f"a fault of the program: {type(error).__name__}: {error}")


# === The command's side ===


def run(
    jobs: Sequence[Job],
    factory: Callable[[], Work],
    arguments: ClusterSettings,
    *,
    command: str,
    tell: Callable[[Outcome], object] | None = None,
    at_end: Callable[[Manifest], object] | None = None,
    tables: Collection[Path] = (),
    afterwards: Collection[str] = (),
) -> int:
    """Does on a cluster what jobs of an earlier run of the same command have left to do.

    It holds the jobs in memory, about 2 KB each with all that a command knows of its inputs, and
    no picture. Workers hold a model each, and the picture (or batch) in their hands.

    Args:
        jobs: of the command. Of those with one name, the last counts.
        factory: makes what does jobs; called once in each worker.
        arguments: the command's settings, a dataclass with those of `ClusterSettings`, and with
            inputs, out, overwrite and json.
        command: its name; a folder holds results of one command.
        tell: called with each job's outcome as it comes, instead of `Outcome.tell`.
        at_end: writes what is made of all records, `tables`; called after Ctrl-C, too.
        tables: files that `at_end` writes.
        afterwards: settings that shape them alone.

    Returns:
        The exit code: 0 all done, 1 some failed.

    Raises:
        AtelierError: what is wrong for all jobs, or with the cluster; what was finished is kept.
        KeyboardInterrupt: likewise.
    """
    jobs = {job.item.name: job for job in jobs}
    fields = dataclasses.asdict(arguments)
    settings = {k: v for k, v in fields.items() if k not in NEUTRAL | {*afterwards}}
    manifest = Manifest(
        arguments.out, {"command": command, **settings}, [*jobs], overwrite=arguments.overwrite
    )
    with contextlib.closing(manifest):
        for table in tables:
            manifest.claim(table, arguments.overwrite)
        left = [job for job in jobs.values() if not _is_done(job, manifest)]
        if len(left) < len(jobs):
            cli.say(f"{len(jobs) - len(left):,} of {len(jobs):,} inputs are done already")
        finished = False
        try:
            if left:
                tell = tell or functools.partial(Outcome.tell, json=arguments.json)
                _work_through(left, factory, arguments, manifest, tell)
            finished = True
        finally:
            manifest.collect(finished=finished)
            if at_end is not None and manifest.done:
                at_end(manifest)
        return cli.SOME_FAILED if any(name in manifest.failed for name in jobs) else cli.DONE


def _is_done(job: Job, manifest: Manifest) -> bool:
    return job.item.name in manifest.done and (job.path is None or job.path.exists())


def _work_through(
    jobs: Sequence[Job],
    factory: Callable[[], Work],
    arguments: ClusterSettings,
    manifest: Manifest,
    tell: Callable[[Outcome], object],
) -> None:
    bar = tqdm(total=len(jobs), leave=False, disable=not sys.stderr.isatty(), unit="input")
    with connected(arguments.cluster), bar:
        limits = {"cpus": arguments.worker_cpus, "gpus": arguments.worker_gpus}
        workers = count_room("worker", **limits)
        worker = functools.partial(
            Worker, factory, manifest.journals, arguments.overwrite, ATTEMPTS * workers
        )
        blocks = [
            Block(number, tuple((job, _is_own(job, manifest)) for job in part))
            for number, part in enumerate(split(jobs, workers))
        ]
        answers = map_rows(worker, blocks, **limits)
        with contextlib.closing(answers):
            for answer in answers:
                bar.clear()
                for entry in answer.entries:
                    if "done" in entry:
                        tell(Outcome(entry["done"], entry["line"]))
                    else:
                        cli.report_failure(entry["failed"], ImageError(entry["reason"]))
                bar.update(len(answer.entries))
                if answer.error is not None:
                    kind, text = answer.error
                    raise getattr(errors, kind, AtelierError)(text)


def _is_own(job: Job, manifest: Manifest) -> bool:
    """Whether a result that lies there is this batch's."""
    return job.item.name in manifest.begun or job.item.name in manifest.done


def split(jobs: Sequence[Job], workers: int) -> Iterator[Sequence[Job]]:
    """Blocks: at most `BLOCK` pictures, four for each worker if there are enough; videos alone."""
    size = max(1, min(BLOCK, len(jobs) // (4 * workers)))
    pictures = []
    for job in jobs:
        if job.item.relative.suffix.lower() in VIDEOS:
            yield [job]
            continue
        pictures.append(job)
        if len(pictures) == size:
            yield pictures
            pictures = []
    if pictures:
        yield pictures


# === The workers' side ===


class Block(NamedTuple):
    """A row of the dataset."""

    number: int
    """Names its journal."""
    jobs: tuple[tuple[Job, bool], ...]
    """Each with whether a result of its that exists is this batch's own."""


class Answer(NamedTuple):
    """What a worker says of a block."""

    entries: list[dict]
    """The journal's, of inputs that are done or failed."""
    error: tuple[str, str] | None = None
    """What is wrong for all: the name of the error's class, and its text."""


class Worker:
    """Does blocks.

    Args:
        factory: makes what does jobs.
        journals: the folder of this run's journals.
        overwrite: whether results may be replaced that are not this batch's own.
        starts: how many workers may start before one has loaded its model; the next one ends all.
    """

    def __init__(self, factory: Callable[[], Work], journals: Path, overwrite: bool, starts: int):
        self.journals, self.overwrite, self.error = journals, overwrite, None
        try:
            import cv2

            cv2.setNumThreads(int(os.environ.get("OMP_NUM_THREADS", 1)))
            if not journals.is_dir():
                out = journals.parent.parent.parent
                raise SettingsError(
                    f"--out {out}: a worker on {socket.gethostname()} does not see this folder; "
                    "all hosts of the cluster must share it, at one path"
                )
            start = Journal(journals / "workers")
            _, before = start.read()
            if before["loading"] >= starts and not before["loaded"]:
                raise SettingsError(
                    f"{before['loading']} workers died as they loaded the model; "
                    "do they lack memory?"
                )
            start.append({"begin": "loading"}, sync=False)
            self.work = factory()
            start.append({"begin": "loaded"}, sync=False)
        except AtelierError as error:
            self.error = (type(error).__name__, str(error))

    def __call__(self, block: Block) -> Answer:
        if self.error is not None:
            return Answer([], self.error)
        ended: dict[str, dict] = {}
        try:
            self._do(block, ended)
        except AtelierError as error:
            return Answer(list(ended.values()), (type(error).__name__, str(error)))
        return Answer(list(ended.values()))

    def _do(self, block: Block, ended: dict[str, dict]) -> None:
        journal = Journal(self.journals / f"{block.number:06d}.jsonl")
        before, begun = journal.read()
        ended |= before

        def end(job: Job, outcome: Outcome | AtelierError) -> None:
            name = job.item.name
            if isinstance(outcome, Outcome):
                entry = {"done": outcome.record, "line": outcome.line}
            else:
                entry = {"failed": name, "reason": str(outcome)}
            journal.append(entry)
            ended[name] = entry

        def admitted(jobs: Iterable[Job], overwrite: bool) -> Iterator[Job]:
            for job in jobs:
                try:
                    job.refuse_existing(overwrite)
                except OutputError as error:
                    end(job, error)
                    continue
                # From here on, a result that exists is ours.
                journal.append({"begin": job.item.name}, sync=False)
                yield job

        def do(jobs: Sequence[Job], overwrite: bool) -> None:
            for job, outcome in self.work(admitted(jobs, overwrite), overwrite):
                end(job, outcome)

        fresh, own = [], []
        for job, is_own in block.jobs:
            deaths = begun[job.item.name]
            if job.item.name in ended:
                continue
            if deaths >= ATTEMPTS:
                end(job, ImageError(f"each of the {deaths} workers that tried it died"))
            elif deaths:
                do([job], True)  # Alone: another of its block may be what killed the worker.
            else:
                (own if is_own else fresh).append(job)
        do(own, True)
        do(fresh, self.overwrite)
