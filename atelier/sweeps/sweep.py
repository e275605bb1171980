"""Hyper-parameter sweeps: trials, a table of them, a contact sheet, and resuming."""

from __future__ import annotations

import dataclasses
import json
import math
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from atelier import cli
from atelier.cluster import check_address
from atelier.cluster.tuning import Asha, Cluster, Lost, Stopped, run_trials
from atelier.errors import OutputError, SettingsError
from atelier.files import locked, read_bounded, read_table, write_json, write_table
from atelier.media.images import load_image, save_image
from atelier.media.sheets import contact_sheet
from atelier.progress import OnStep
from atelier.sweeps.search import draw_settings, parse_grid

Config = TypeVar("Config")

PLAN = "sweep.json"
"""What a sweep's folder is known by."""

JSON_BYTES = 100_000_000
"""A plan larger than this is not one of ours."""


@dataclasses.dataclass(frozen=True)
class TrialResult:
    """What one trial gives."""

    image: np.ndarray
    """uint8 (H, W, 3 or 4), for the contact sheet."""
    metrics: Mapping[str, float]
    """Numbers for the table."""


@dataclasses.dataclass(frozen=True)
class TrialRun:
    """What a trial may know of the sweep that it is part of."""

    index: int
    """Of the trial, from 0."""
    out: Path
    """The sweep's folder."""
    on_step: OnStep
    """To be called after each step of a trial that has some, with metrics named as the table's
    columns. A trial that is stopped there ends by what this raises."""

    def folder(self, name: str | None = None) -> Path:
        """A folder for what the trial keeps beside its picture, such as a run folder.

        Args:
            name: below the sweep's folder; the picture's when left out.

        Raises:
            OutputError: this host of a cluster does not see the sweep's folder.
        """
        if not (self.out / PLAN).exists():
            raise OutputError(
                f"{socket.gethostname()} does not see {self.out}, where trainings keep their runs; "
                "choose an --out that all hosts of the cluster share"
            )
        return self.out / (name or _picture(self.out, self.index).stem)


@dataclasses.dataclass(frozen=True)
class SweepOptions:
    """The flags that all sweeps share."""

    grid: tuple[str, ...] = ()
    """What to vary: FIELD=VALUE,VALUE… for any of the settings, one after another; with --samples
    also FIELD=LOW..HIGH or FIELD=log:LOW..HIGH for numbers."""
    samples: int | None = None
    """Draw so many combinations at random, instead of taking all."""
    sample_seed: int = 0
    """Of that draw."""
    cluster: str | None = None
    """Run trials side by side on a Ray cluster: ray://HOST:PORT, or auto for the one that this
    machine is part of, else its own cores. Left out, they run here, one after another."""
    trial_cpus: int = 1
    """Cores of the cluster a trial."""
    trial_gpus: float = 0
    """GPUs of the cluster a trial, or a part of one, such as 0.5."""
    scheduler: Literal["asha"] | None = None
    """asha stops trials of the cluster early that do worse than others as far on."""
    metric: str | None = None
    """What asha compares, a column of the table; left out, the first that the task measures."""
    mode: Literal["min", "max"] | None = None
    """Which values of it are better; left out, as is usual for it."""
    grace: int | None = None
    """Steps (a training's epochs, a picture's iterations) before asha stops a trial."""
    json: bool = False
    """Print each trial's row as a JSON object on standard output."""

    def settings_to_try(self, base: object, default: Sequence[str] = ()) -> list[dict[str, object]]:
        """For each trial the fields that differ from `base`.

        Args:
            base: the settings that the trials vary.
            default: the grid, where none is given.

        Raises:
            SettingsError: a grid that cannot be read, or settings that make no sense together.
        """
        if self.samples is None:
            return parse_grid(self.grid or default, base)
        return draw_settings(self.grid or default, base, self.samples, self.sample_seed)

    def where(self, metrics: Mapping[str, Literal["min", "max"]], grace: int = 1) -> Cluster | None:
        """The cluster that trials run on; None for this process.

        Args:
            metrics: of the steps of a trial, with which of their values are better, the one to
                compare by first; none for trials without steps.
            grace: steps before a trial may be stopped, where nothing is said.

        Raises:
            SettingsError: flags that make no sense, or none together.
        """
        check_address(self.cluster)
        needs = {"--metric": self.metric, "--mode": self.mode, "--grace": self.grace}
        if self.scheduler is None:
            for flag in (flag for flag, value in needs.items() if value is not None):
                raise SettingsError(f"{flag} goes with --scheduler asha")
        elif self.cluster is None:
            raise SettingsError(
                "--scheduler compares trials that run side by side: it goes with --cluster"
            )
        if self.trial_cpus < 1 or not 0 <= self.trial_gpus < math.inf:
            raise SettingsError("--trial-cpus is at least 1, and --trial-gpus at least 0")
        if self.trial_gpus > 1 and self.trial_gpus % 1:
            raise SettingsError(f"--trial-gpus above 1 are whole, not {self.trial_gpus:g}")
        if self.cluster is None:
            return None
        asha = None if self.scheduler is None else self._asha(metrics, grace)
        return Cluster(self.cluster, self.trial_cpus, self.trial_gpus, asha)

    def _asha(self, metrics: Mapping[str, Literal["min", "max"]], grace: int) -> Asha:
        if not metrics:
            raise SettingsError("--scheduler: these trials have no steps at which to stop")
        metric = next(iter(metrics)) if self.metric is None else self.metric
        if metric not in metrics:
            raise SettingsError(f"--metric is one of {', '.join(metrics)}, not {metric!r}")
        grace = grace if self.grace is None else self.grace
        if grace < 1:
            raise SettingsError(f"--grace must be at least 1, not {grace}")
        return Asha(metric, self.mode or metrics[metric], grace)


def run_sweep(
    base: Config,
    changes: Sequence[Mapping[str, object]],
    trial: Callable[[Config, TrialRun], TrialResult],
    out: Path,
    *,
    inputs: Mapping[str, object] | None = None,
    on_trial: Callable[[int, int], bool | None] | None = None,
    columns: int | None = None,
    cluster: Cluster | None = None,
) -> list[dict[str, str]]:
    """Runs a trial for each set of changes, in order, and keeps a table of them.

    The folder `out` holds sweep.json (what is swept), trials.csv (a row a finished trial),
    trial-NNN.png (its picture) and, at the end, contact_sheet.png. A sweep that was stopped, or
    killed, goes on with the first trial that is missing, on a cluster or not. A trial that fails
    gets a row with its error, and is tried again by the next run; one that was stopped early gets
    one with how far it came (stopped_at), and is not.

    Args:
        base: settings, a dataclass.
        changes: for each trial the fields that differ from `base`.
        trial: runs one trial. On a cluster, it is sent to other processes with all that it refers
            to.
        out: the folder; made if missing.
        inputs: what the trials work on, to tell one sweep from another.
        on_trial: called before each trial with its index and their number; True ends the sweep.
        columns: of the contact sheet.
        cluster: where to run trials side by side; this process, one after another, when left out.

    Returns:
        The rows of trials.csv, values as text.

    Raises:
        OutputError: the folder holds another sweep, another process works in it, or it cannot be
            written.
        AtelierError: as the trial raised it, or as `atelier.cluster.tuning.run_trials`. A
            `SettingsError` of the trial is its row's.
    """
    plan = {
        "inputs": dict(inputs or {}),
        "settings": dataclasses.asdict(base),
        "trials": [dict(change) for change in changes],
    }
    with locked(out):
        _claim(out, plan)
        fields = sorted({name for change in changes for name in change})
        table = _Table(out / "trials.csv", fields, len(changes))
        work = _work(base, changes, trial, out)

        def keep(index: int, outcome: TrialResult | str | Stopped | Lost) -> None:
            change, image = changes[index], None
            if isinstance(outcome, (str, Lost)):
                reason = outcome if isinstance(outcome, str) else outcome.reason
                table.add(index, change, {}, error=reason)
                return
            metrics, image = outcome.metrics, outcome.image
            if isinstance(outcome, Stopped):
                metrics = {**metrics, "stopped_at": outcome.at}
            if image is not None:
                save_image(_picture(out, index), image)
            table.add(index, change, metrics)

        def told(index: int) -> bool:
            return on_trial is not None and bool(on_trial(index, len(changes)))

        missing = [index for index in range(len(changes)) if not table.has(index)]
        if cluster is not None and missing:
            run_trials(cluster, work, missing, on_start=told, on_end=keep)
        for index in range(len(changes)) if cluster is None else ():
            if told(index):
                break
            if index in missing:
                keep(index, work(index, lambda step: None))
        shown = [row for row in table.rows if _picture(out, int(row["trial"])).exists()]
        shown = [row for row in shown if not row.get("error")]
        if shown:
            images = (load_image(_picture(out, int(row["trial"]))) for row in shown)
            labels = [_label(row, changes[int(row["trial"])]) for row in shown]
            contact_sheet(images, labels, out / "contact_sheet.png", columns=columns)
        return table.rows


def _work(base, changes, trial, out: Path) -> Callable[[int, OnStep], TrialResult | str]:
    """Runs the trial of an index; gives its result, or why its settings have none."""

    def work(index: int, on_step: OnStep) -> TrialResult | str:
        try:
            config = dataclasses.replace(base, **changes[index])
            return trial(config, TrialRun(index, out, on_step))
        except (SettingsError, MemoryError) as error:
            return " ".join(str(error).split()) or "out of memory"

    return work


def _picture(out: Path, index: int) -> Path:
    return out / f"trial-{index:03d}.png"


def report_trials(rows: Sequence[Mapping[str, str]], out: Path, *, as_json: bool) -> int:
    """Says how a sweep ended, as its command does; returns the exit code.

    Args:
        rows: what `run_sweep` returned.
        out: its folder.
        as_json: whether each row is also printed as a JSON object on standard output.
    """
    failed = [row for row in rows if row.get("error")]
    for row in rows:
        if as_json:
            cli.print_json(row)
        if row.get("error"):
            cli.print_error(f"trial {row['trial']}: {row['error']}")
    stopped = sum(bool(row.get("stopped_at")) for row in rows)
    early = f", {stopped} of them stopped early" if stopped else ""
    cli.print_note(f"{out / 'contact_sheet.png'}: {len(rows) - len(failed)} trials{early}")
    return cli.SOME_FAILED if failed else cli.DONE


class _Table:
    """trials.csv, rewritten whole with each row."""

    def __init__(self, path: Path, fields: Sequence[str], count: int):
        self.path, self.fields = path, list(fields)
        self.rows = [row for row in read_table(path, key="trial") if not row.get("error")]
        known = {str(index) for index in range(count)}
        if not all(row["trial"] in known and _is_number(row.get("loss") or 0) for row in self.rows):
            raise OutputError(f"{path} is damaged; mend or delete it")

    def has(self, index: int) -> bool:
        """Whether a trial is done; one that was stopped early need not have a picture."""
        row = next((row for row in self.rows if row["trial"] == str(index)), None)
        if row is None:
            return False
        return bool(row.get("stopped_at")) or _picture(self.path.parent, index).exists()

    def add(self, index: int, change, metrics, error: str = "") -> None:
        row = {"trial": index, **change, **metrics, "error": error}
        rows = [other for other in self.rows if other["trial"] != str(index)]
        rows.append({name: str(value) for name, value in row.items()})
        self.rows = sorted(rows, key=lambda other: int(other["trial"]))
        metric_names = [
            n for r in self.rows for n in r if n not in ("trial", "error", *self.fields)
        ]
        names = ["trial", *self.fields, *dict.fromkeys(metric_names), "error"]
        write_table(self.path, self.rows, names)


def _claim(out: Path, plan: dict) -> None:
    file = out / PLAN
    plan = json.loads(json.dumps(plan, default=str))
    if file.exists():
        try:
            same = json.loads(read_bounded(file, JSON_BYTES)) == plan
        except (OSError, ValueError, RecursionError):
            same = False
        if not same:
            raise OutputError(f"{out} holds another sweep; choose another --out")
    else:
        write_json(file, plan)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _label(row: Mapping[str, str], change: Mapping[str, object]) -> str:
    texts = {name: str(value) for name, value in change.items()}
    for name, value in change.items():
        if isinstance(value, float) and len(texts[name]) > 8:  # As if drawn at random.
            texts[name] = f"{value:.4g}"
    settings = ", ".join(map(" ".join, texts.items())) or f"trial {row['trial']}"
    measured = "loss" not in change and row.get("loss")  # Or the name of one, which is varied.
    return f"{settings}: loss {float(measured):.4g}" if measured else settings
