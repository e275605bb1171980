"""Batches of any size on a Ray cluster: each input once, even if workers or the command are killed.

Inputs go in blocks to workers, which load a model once and do one input after the other. A record
follows each result (`atelier.cli.records`), so that who is given a dead worker's block does only
the rest.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import socket
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from atelier import errors
from atelier.cli import jobs
from atelier.cli.failures import Failure
from atelier.cli.jobs import Job, OnEnd, Outcome, Place, Work, do
from atelier.cli.ledger import Ledger
from atelier.cluster import check_address, connected, count_room
from atelier.cluster.pool import map_rows
from atelier.errors import AtelierError, SettingsError
from atelier.media.images import READABLE
from atelier.media.movies import VIDEOS

BLOCK = 64
"""Inputs that a worker is given at once, at most."""

ATTEMPTS = 3
"""Times that an input may take its worker's life; and workers that may die as they load the model,
for each that the cluster has room for, before one has loaded it."""


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

    @property
    def place(self) -> Place:
        """Where inputs are done."""
        return jobs.here if self.cluster is None else functools.partial(on_cluster, self)


# === The command's side ===


def on_cluster(
    arguments: ClusterSettings,
    left: Sequence[Job],
    factory: Callable[[], Work],
    ledger: Ledger,
    on_end: OnEnd,
    on_known: OnEnd,
) -> None:
    """Does jobs on a cluster: an `atelier.cli.jobs.Place`.

    The command holds the jobs in memory, about 2 KB each with all that it knows of its inputs, and
    no picture. Workers hold a model each, and the picture (or batch) in their hands.

    Raises:
        AtelierError: what is wrong for all jobs, or with the cluster; another command on a cluster
            has the folder; what was finished is kept.
        KeyboardInterrupt: likewise.
    """
    by_name = {job.item.name: job for job in left}
    with (
        ledger.working(),
        connected(arguments.cluster),
        jobs.bar(len(left)) as bar,
    ):
        limits = {"cpus": arguments.worker_cpus, "gpus": arguments.worker_gpus}
        workers = count_room("worker", **limits)
        worker = functools.partial(Worker, factory, ledger, ATTEMPTS * workers)
        blocks = [tuple(part) for part in split(left, workers)]
        answers = map_rows(worker, blocks, **limits)
        with contextlib.closing(answers):
            for answer in answers:
                bar.clear()
                for name, outcome in answer.ended:
                    on_end(by_name[name], outcome)
                for name, outcome in answer.known:
                    on_known(by_name[name], outcome)
                bar.update(len(answer.ended) + len(answer.known))
                if answer.error is not None:
                    kind, text = answer.error
                    raise getattr(errors, kind, AtelierError)(text)


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


class Answer(NamedTuple):
    """What a worker says of a block."""

    ended: list[tuple[str, Outcome | Failure]]
    """Names of inputs, and what became of them."""
    known: list[tuple[str, Outcome]]
    """The same of those that another run had done."""
    error: tuple[str, str] | None = None
    """What is wrong for all: the name of the error's class, and its text."""


class Worker:
    """Does blocks of jobs.

    Args:
        factory: makes what does jobs.
        ledger: the command's.
        starts: how many workers may start before one has loaded its model; the next one ends all.
    """

    def __init__(self, factory: Callable[[], Work], ledger: Ledger, starts: int):
        self.ledger, self.error = ledger, None
        folder = ledger.run_folder
        try:
            import cv2

            cv2.setNumThreads(int(os.environ.get("OMP_NUM_THREADS", 1)))
            if not folder.is_dir():
                raise SettingsError(
                    f"--out {ledger.folder}: a worker on {socket.gethostname()} does not see this "
                    "folder; all hosts of the cluster must share it, at one path"
                )
            loading = len([*folder.glob("loading-*")])
            if loading >= starts and not any(folder.glob("loaded-*")):
                raise SettingsError(
                    f"{loading} workers died as they loaded the model; do they lack memory?"
                )
            name = uuid.uuid4().hex
            (folder / f"loading-{name}").touch()
            self.work = factory()
            (folder / f"loaded-{name}").touch()
        except AtelierError as error:
            self.error = (type(error).__name__, str(error))

    def __call__(self, block: Sequence[Job]) -> Answer:
        answer = Answer([], [], self.error)
        if self.error is not None:
            return answer
        try:
            self._do(block, answer)
        except AtelierError as error:
            return answer._replace(error=(type(error).__name__, str(error)))
        return answer

    def _do(self, block: Sequence[Job], answer: Answer) -> None:
        ledger = self.ledger

        def on_end(job: Job, outcome: Outcome | Failure) -> None:
            answer.ended.append((job.item.name, outcome))

        def on_known(job: Job, outcome: Outcome) -> None:
            # What a worker of this run did before it died, nobody was told yet.
            record, _ = ledger.find(job.item.source, job.wanted)
            own = record is not None and record.run == ledger.run
            (answer.ended if own else answer.known).append((job.item.name, outcome))

        def still_ours(jobs: Sequence[Job]) -> Iterator[Job]:
            for job in jobs:
                if not ledger.run_folder.is_dir():
                    raise SettingsError(f"{ledger.folder}: another run has taken this batch over")
                yield job

        fresh, again = [], []
        for job in block:
            deaths = ledger.times_begun(job.item.source, job.wanted)
            if deaths >= ATTEMPTS:
                on_end(job, Failure(f"each of the {deaths} workers that tried it died"))
            else:
                (again if deaths else fresh).append(job)
        do(self.work, still_ours(fresh), ledger, on_end, on_known)
        for job in again:  # Alone: another of its block may be what killed the worker.
            do(self.work, still_ours([job]), ledger, on_end, on_known)
