"""The cost as the work grows: `python -m benchmarks.scale` (some 25 minutes on two cores).

Each task goes through folders of 10 to 10,000 pictures, and through pictures of 0.25 to 48
megapixels, as `python -m TASK.run FOLDER`, in a process of its own: seconds, and the largest memory
that the process held. What is made once, TensorFlow, the network and its graphs, is paid in
pictures that come first and do not count; it is given apart. Pictures are of many shapes, as those
of real folders, so that what is kept for each shape shows.

Memory must not grow with the number of pictures: from the 100th to the last of the longest run its
peak may rise by 4 KiB a picture, which is more than a file's names take and less than the smallest
picture does, or by a twentieth of what it was. Else the command ends with 1.

Style transfer optimises each photo, for seconds or minutes. So folders are repainted in two steps
at 64 pixels, which takes the same way through the program and shows what a photo costs beside its
steps. By megapixels there are two lines: `nst`, which shrinks any photo to 512 pixels first, as it
does unless told, in two steps; and `nst whole`, one step at the photo's own size.

Results are written after each point; the same command goes on where it was stopped. What takes
longer than `--seconds` is stopped then, and counts for as many pictures as were done; what would
take longer by the point before it is left out, and said so.
"""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

# Run as a script, this file's folder comes first, and its neighbours would pass for the tasks.
sys.path = [folder for folder in sys.path if not folder.endswith("benchmarks")]

from atelier import cli
from atelier.errors import SettingsError
from atelier.files import write_json
from atelier.media.images import save_image
from atelier.training.runs import machine
from benchmarks.scale_pictures import Pictures
from benchmarks.scale_plot import plot
from benchmarks.scale_report import FROM, Record, growth, print_report
from benchmarks.scale_watch import Failed, Watched, watch


@dataclasses.dataclass(frozen=True)
class Task:
    """How a task is measured."""

    package: str
    """Whose `run` it is."""
    side: int | None
    """Longer side of the pictures of folders, pixels; None: no folders."""
    folders: tuple[str, ...] = ()
    """Flags for folders of many."""
    large: tuple[str, ...] = ()
    """Flags for large pictures."""
    warm: int = 1
    """Pictures after which all is made that is made once: classify takes 64 at a time."""
    most: int = 10
    """Large pictures of a size, at most."""
    rough: tuple[float, float, float] = (8, 0, 0)
    """Seconds to start, for a picture of a folder and for a megapixel, on two cores: to say
    beforehand how long it will take."""


THUMBNAIL, SNAPSHOT = 80, 512
"""Sides of pictures: of those tasks that get through 10,000 in time, and of the others."""

TASKS: Mapping[str, Task] = {
    "classify": Task(
        "classify",
        THUMBNAIL,
        ("--sheet", "0", "--csv"),
        ("--sheet", "0"),
        warm=64,
        rough=(8, 0.003, 0.02),
    ),
    "superres": Task("superres", THUMBNAIL, rough=(6, 0.009, 1.1)),
    "detection": Task("detection", SNAPSHOT, rough=(7, 0.15, 0.3)),
    "cartoon": Task("cartoon", SNAPSHOT, rough=(8, 0.4, 0.35)),
    "nst": Task(
        "nst",
        THUMBNAIL,
        ("--size", "64", "--coarsest", "0", "--iterations", "2"),
        ("--coarsest", "0", "--iterations", "2"),
        rough=(9, 0.1, 0.1),
    ),
    "nst whole": Task(
        "nst",
        None,
        large=("--size", "0", "--coarsest", "0", "--iterations", "1"),
        most=2,
        rough=(9, 0, 4),
    ),
}


@dataclasses.dataclass(frozen=True)
class BenchmarkArguments:
    """Measure the cost as the work grows; writes scale.json, prints tables and draws them."""

    tasks: tuple[str, ...] = tuple(TASKS)
    """Which."""
    counts: tuple[int, ...] = (10, 100, 1000, 10_000)
    """Numbers of pictures in a folder."""
    megapixels: tuple[float, ...] = (0.25, 1, 4, 12, 24, 48)
    """Sizes of single pictures."""
    seconds: float = 90
    """For the pictures of a point, besides what is made once."""
    out: Path = Path("out/scale")
    """The folder for the results, and those of an earlier run that this one goes on from."""
    plot: Path | None = None
    """The plot's file; scale.png in that folder, if it is not named."""
    overwrite: bool = False
    """Measure anew what is there."""
    json: bool = False
    """Print the numbers as JSON on standard output instead of tables."""

    def __post_init__(self):
        for task in self.tasks:
            if task not in TASKS:
                raise SettingsError(f"no task {task!r}; choose of {', '.join(TASKS)}")
        if not self.tasks or len(set(self.tasks)) < len(self.tasks):
            raise SettingsError("--tasks names each task once")
        for name in ("counts", "megapixels"):
            values = getattr(self, name)
            if list(values) != sorted(set(values)) or (values and values[0] <= 0):
                raise SettingsError(f"--{name} ascend, from above 0")
        if self.megapixels and not 0.01 <= self.megapixels[0] <= self.megapixels[-1] <= 100:
            raise SettingsError("--megapixels are from 0.01 to 100, as more are not read")
        if not self.seconds > 0:
            raise SettingsError("--seconds is positive")


@dataclasses.dataclass(frozen=True)
class Point:
    """What is measured in one go."""

    task: str
    series: str
    """counts or megapixels."""
    value: float

    @property
    def pictures(self) -> int:
        """That count; of large pictures, as many as make a mean."""
        if self.series == "counts":
            return int(self.value)
        return min(TASKS[self.task].most, math.ceil(1 + 6 / self.value))

    @property
    def expected(self) -> float:
        """Seconds for these, roughly."""
        _, each, megapixel = TASKS[self.task].rough
        return self.pictures * (each if self.series == "counts" else megapixel * self.value)


def points(arguments: BenchmarkArguments) -> list[Point]:
    """All that is to be measured, in order."""
    return [
        Point(task, series, value)
        for task in arguments.tasks
        for series in ("counts", "megapixels")
        for value in getattr(arguments, series)
        if series == "megapixels" or TASKS[task].side
    ]


def expected_seconds(todo: Sequence[Point], seconds: float) -> float:
    """How long points will take, roughly, each being stopped after `seconds`."""
    total, full = 0.0, set()
    for point in todo:
        line = (point.task, point.series)
        if line not in full:
            start, each, _ = TASKS[point.task].rough
            total += start + TASKS[point.task].warm * each + min(seconds, point.expected)
        if point.expected > seconds:
            full.add(line)  # Those that follow are left out.
    return total


# === Measuring ===


def measure(point: Point, seconds: float, folder: Path, stopped: Callable[[], bool]) -> Record:
    """Makes a point's pictures and watches its task.

    Args:
        point: what.
        seconds: after which it is stopped.
        folder: to work in.
        stopped: asked often.

    Raises:
        Failed: see `watch`.
        KeyboardInterrupt: `stopped` ended it.
    """
    task, out = TASKS[point.task], folder / "results"
    counted = point.series == "counts"
    pictures = Pictures(folder).of(
        small=task.warm + (point.pictures if counted else 0),
        side=task.side or THUMBNAIL,
        large=0 if counted else point.pictures,
        megapixels=point.value,
    )
    words = ["impasto"] if task.package == "nst" else []
    flags = task.folders if counted else task.large
    try:
        seen = watch(
            f"{task.package}.run",
            [str(pictures), *words, "--out", str(out), *flags],
            pictures,
            warm=task.warm,
            pictures=point.pictures,
            seconds=seconds,
            stopped=stopped,
        )
    finally:
        shutil.rmtree(pictures)
        shutil.rmtree(out, ignore_errors=True)
    return as_record(seen)


def as_record(seen: Watched) -> Record:
    """What of a watched command is kept: seconds are those of a picture, memory is in bytes."""
    record = {
        "pictures": seen.pictures,
        "start": round(seen.start, 2),
        "seconds": round(seen.seconds / seen.pictures, 6),
        "peak": seen.peaks[-1],
        "cut": seen.cut,
    }
    if seen.pictures > FROM:
        record["peak_before"] = seen.peaks[FROM]
    return record


def measure_all(
    todo: Sequence[Point], seconds: float, done: list[Record], save: Callable[[], object]
) -> None:
    """Measures points, and adds a record of each to `done`; `save` is called after each.

    Raises:
        KeyboardInterrupt: Ctrl-C, or SIGTERM; points so far are saved.
    """
    with tempfile.TemporaryDirectory() as folder, cli.stop_on_signal() as stopped:
        for point in todo:
            cli.print_note(f"{point.task}, {point.series} {point.value:g}")
            before = [
                row
                for row in done
                if (row["task"], row["series"]) == (point.task, point.series)
                and row["value"] < point.value
            ]
            record = {"task": point.task, "series": point.series, "value": point.value}
            try:
                reason = left_out(before, point, seconds)
                if reason is None:
                    record |= measure(point, seconds, Path(folder), lambda: bool(stopped(None)))
            except Failed as failure:
                reason = str(failure)
            if reason is not None:
                cli.print_note(f"  left out: {reason}")
                record["left_out"] = reason
            done.append(record)
            save()


def left_out(before: Sequence[Record], point: Point, seconds: float) -> str | None:
    """Why a point is not tried, by those before it in its line; None if it is to be.

    Args:
        before: records of the same task and series, ascending.
        point: that follows.
        seconds: that it may take.
    """
    last = before[-1] if before else None
    if last is None:
        return None
    if "left_out" in last:
        return last["left_out"]
    counted = point.series == "counts"
    if counted and not last["cut"]:
        return None  # Rates rise with the count: it may do.
    expected = last["seconds"] * (point.pictures if counted else point.value / last["value"])
    if expected <= seconds:
        return None
    return f"about {expected / 60:.0f} minutes, by the point before it"


def earlier(path: Path, arguments: BenchmarkArguments) -> list[Record]:
    """The points of an earlier run that this one goes on from.

    Raises:
        SettingsError: they were measured otherwise, or the file is damaged.
    """
    if arguments.overwrite or not path.exists():
        return []
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        seconds, where, found = report["seconds"], report["machine"], report["points"]
        found = [row for row in found if row["task"] in TASKS]
    except (OSError, ValueError, KeyError, TypeError):
        raise SettingsError(f"{path} is damaged; delete it or pass --overwrite") from None
    if (seconds, where) != (arguments.seconds, machine()):
        raise SettingsError(
            f"{path} was measured with --seconds {seconds:g} on {where}; choose another --out or "
            "pass --overwrite"
        )
    return found


@cli.command
def main(argv: Sequence[str]) -> int:
    arguments = cli.parse(BenchmarkArguments, argv, prog="python -m benchmarks.scale")
    path = arguments.out / "scale.json"
    done = earlier(path, arguments)
    known = {(row["task"], row["series"], row["value"]) for row in done}
    todo = [p for p in points(arguments) if (p.task, p.series, p.value) not in known]
    report = {"machine": machine(), "seconds": arguments.seconds, "points": done, "growth": []}

    def save() -> None:
        report["growth"] = list(growth(done))
        write_json(path, report)

    minutes = expected_seconds(todo, arguments.seconds) / 60
    cli.print_note(f"{len(todo)} points to measure, {len(done)} there: about {minutes:.0f} minutes")
    measure_all(todo, arguments.seconds, done, save)
    save()
    picture = arguments.plot or arguments.out / "scale.png"
    save_image(picture, plot(done))
    cli.print_note(str(path))
    cli.print_note(str(picture))
    if arguments.json:
        cli.print_json(report)
    else:
        print_report(report)
    return cli.DONE if all(row["flat"] for row in report["growth"]) else cli.SOME_FAILED


if __name__ == "__main__":
    sys.exit(main())
