"""Hyper-parameter sweeps: trials one after another, a table, a contact sheet, and resuming."""

from __future__ import annotations

import dataclasses
import itertools
import json
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from atelier import cli
from atelier.errors import OutputError, SettingsError
from atelier.files import read_table, write_json, write_table
from atelier.images import load_image, save_image
from atelier.sheets import contact_sheet

Config = TypeVar("Config")


@dataclasses.dataclass(frozen=True)
class TrialResult:
    """What one trial gives."""

    image: np.ndarray
    """uint8 (H, W, 3 or 4), for the contact sheet."""
    metrics: Mapping[str, float]
    """Numbers for the table."""


def parse_grid(axes: Sequence[str], base: Config) -> list[dict[str, object]]:
    """All combinations of a grid.

    Args:
        axes: each FIELD=VALUE,VALUE…, a field of `base` (- and _ are the same). The value of a
            field that holds several numbers is written 100:200.
        base: the settings that the trials vary; values are read as the field's flag would be.

    Returns:
        One dictionary of changed fields a trial, the last axis fastest.

    Raises:
        SettingsError: an axis that cannot be read, or settings that make no sense together.
    """
    known = {field.name for field in dataclasses.fields(base)}
    names, values = [], []
    for axis in axes:
        name, _, listed = axis.partition("=")
        name = name.strip().lstrip("-").replace("-", "_")
        if not listed or name not in known:
            raise SettingsError(
                f"--grid takes FIELD=VALUE,VALUE with a field of the settings, not {axis!r}"
            )
        if name in names:
            raise SettingsError(f"--grid names {name} twice")
        names.append(name)
        values.append([_read(base, name, value.strip()) for value in listed.split(",")])
    changes = [dict(zip(names, chosen, strict=True)) for chosen in itertools.product(*values)]
    for change in changes:
        dataclasses.replace(base, **change)  # Settings that refuse each other are told here.
    return changes


def _read(base, name: str, value: str):
    flag = "--" + name.replace("_", "-")
    if isinstance(getattr(base, name), bool):
        if value.lower() not in ("true", "false"):
            raise SettingsError(f"{name} is true or false, not {value!r}")
        return value.lower() == "true"
    kind = typing.get_type_hints(type(base))[name]
    # Names may hold colons themselves.
    several = typing.get_origin(kind) is tuple and {*typing.get_args(kind)} <= {int, float, ...}
    # The field alone: with the defaults of the others its value may make no sense.
    axis = dataclasses.make_dataclass("Axis", [(name, kind)])
    return getattr(cli.parse(axis, [flag, *(value.split(":") if several else [value])]), name)


def run_sweep(
    base: Config,
    changes: Sequence[Mapping[str, object]],
    trial: Callable[[Config], TrialResult],
    out: Path,
    *,
    inputs: Mapping[str, object] | None = None,
    on_trial: Callable[[int, int], bool | None] | None = None,
    columns: int | None = None,
) -> list[dict[str, str]]:
    """Runs a trial for each set of changes, in order, and keeps a table of them.

    The folder `out` holds sweep.json (what is swept), trials.csv (a row a finished trial),
    trial-NNN.png (its picture) and, at the end, contact_sheet.png. A sweep that was stopped, or
    killed, goes on with the first trial that is missing. A trial that fails gets a row with its
    error, and is tried again by the next run.

    Args:
        base: settings, a dataclass.
        changes: for each trial the fields that differ from `base`.
        trial: runs one trial.
        out: the folder; made if missing.
        inputs: what the trials work on, to tell one sweep from another.
        on_trial: called before each trial with its index and their number; True ends the sweep.
        columns: of the contact sheet.

    Returns:
        The rows of trials.csv, values as text.

    Raises:
        OutputError: the folder holds another sweep, or cannot be written.
    """
    plan = {
        "inputs": dict(inputs or {}),
        "settings": dataclasses.asdict(base),
        "trials": [dict(change) for change in changes],
    }
    _claim(out, plan)
    table = _Table(out / "trials.csv", sorted({name for change in changes for name in change}))
    for index, change in enumerate(changes):
        if on_trial is not None and on_trial(index, len(changes)):
            break
        picture = out / f"trial-{index:03d}.png"
        if table.has(index) and picture.exists():
            continue
        try:
            result = trial(dataclasses.replace(base, **change))
        except (SettingsError, MemoryError) as error:
            table.add(index, change, {}, error=" ".join(str(error).split()) or "out of memory")
            continue
        save_image(picture, result.image)
        table.add(index, change, result.metrics)
    finished = [row for row in table.rows if not row.get("error")]
    if finished:
        images = [load_image(out / f"trial-{int(row['trial']):03d}.png") for row in finished]
        labels = [_label(row, changes[int(row["trial"])]) for row in finished]
        contact_sheet(images, labels, out / "contact_sheet.png", columns=columns)
    return table.rows


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
            cli.report(f"trial {row['trial']}: {row['error']}")
    cli.say(f"{out / 'contact_sheet.png'}: {len(rows) - len(failed)} trials")
    return cli.SOME_FAILED if failed else cli.DONE


class _Table:
    """trials.csv, rewritten whole with each row."""

    def __init__(self, path: Path, fields: Sequence[str]):
        self.path, self.fields = path, list(fields)
        self.rows = [row for row in read_table(path, key="trial") if not row.get("error")]

    def has(self, index: int) -> bool:
        return any(row["trial"] == str(index) for row in self.rows)

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
    file = out / "sweep.json"
    plan = json.loads(json.dumps(plan, default=str))
    if file.exists():
        try:
            same = json.loads(file.read_text(encoding="utf-8")) == plan
        except (OSError, ValueError):
            same = False
        if not same:
            raise OutputError(f"{out} holds another sweep; choose another --out")
    else:
        write_json(file, plan)


def _label(row: Mapping[str, str], change: Mapping[str, object]) -> str:
    settings = ", ".join(f"{name} {row[name]}" for name in change) or f"trial {row['trial']}"
    measured = "loss" not in change and row.get("loss")  # Or the name of one, which is varied.
    return f"{settings}: loss {float(measured):.4g}" if measured else settings
