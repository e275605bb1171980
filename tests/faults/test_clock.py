"""A clock that is set back and forth while commands run, as by a machine that finds the network."""

import csv
import json
import os
import re
import time
from pathlib import Path

import pytest

from gallery.web import cache, jobs
from gallery.web.limits import Limits


@pytest.fixture
def jumping(monkeypatch):
    """`time.time` is an hour ahead or behind by turns, or years."""
    real, calls = time.time, []

    def jump() -> float:
        calls.append(1)
        return real() + (3600, -3600, -1.7e9, 1e8)[len(calls) % 4]

    monkeypatch.setattr(time, "time", jump)
    monkeypatch.setattr(time, "time_ns", lambda: int(1e9 * jump()))
    return calls


def seconds(table) -> list[float]:
    with open(table, newline="") as lines:
        return [float(row["seconds"]) for row in csv.DictReader(lines)]


def test_a_training_counts_its_seconds_all_the_same(training, here, tmp_path, jumping):
    assert here(training("superres", tmp_path / "out", 3)).code == 0
    assert jumping  # Keras asked it.
    found = seconds(tmp_path / "out" / "history.csv")
    assert len(found) == 3
    assert all(0 <= value < 60 for value in found)
    assert 0 <= json.loads((tmp_path / "out" / "card.json").read_text())["seconds"] < 120


@pytest.mark.parametrize("task", [pytest.param("nst", marks=pytest.mark.soak), "cartoon"])
def test_a_sweep_counts_its_seconds_all_the_same(task, sweep, here, tmp_path, jumping):
    assert here(sweep(task, tmp_path / "out")).code == 0
    found = seconds(tmp_path / "out" / "trials.csv")
    assert len(found) == 4
    assert all(0 <= value < 60 for value in found)


def test_a_video_counts_its_seconds_all_the_same(video, here, tmp_path, jumping):
    done = here([*video("cartoon", tmp_path / "out"), "--no-cut-out", "--json"])
    assert done.code == 0
    assert 0 <= json.loads(done.out)["seconds"] < 120
    assert json.loads(done.out)["frames"] == 40


@pytest.mark.soak
def test_files_from_the_future_stop_no_training(training, here, look, tmp_path):
    """As after a clock that was set back: checkpoints are chosen by their number, not by age."""
    out = tmp_path / "out"
    assert here(training("superres", out, 2)).code == 0
    (out / "card.json").unlink()
    for file in out.rglob("*"):
        os.utime(file, (4e9, 4e9))
    assert here(training("superres", out, 2)).code == 0
    assert [row["epoch"] for row in look.rows(out / "history.csv")] == ["1", "2"]


# === The web page ===


def test_the_time_of_a_request_does_not_follow_the_clock(jumping):
    def work() -> str:
        for _ in range(20):
            jobs.check_time()
        return "done"

    assert jobs.job(work)() == "done"


def test_uploads_with_any_date_neither_stop_the_cleaning_nor_stay_for_ever(tmp_path):
    limits = Limits(keep_minutes=10, disk_megabytes=0.001)
    for number, date in enumerate((0, 1e9, time.time(), 4e9)):
        file = tmp_path / f"{number}.png"
        file.write_bytes(bytes(400))
        os.utime(file, (date, date))
    cache.sweep(tmp_path, limits)
    # Those past their time go, and of the others the oldest while there is too much.
    assert sorted(file.name for file in tmp_path.iterdir()) == ["2.png", "3.png"]
    cache.sweep(tmp_path, Limits(keep_minutes=10, disk_megabytes=0.0005), now=1e9)
    assert [file.name for file in tmp_path.iterdir()] == ["3.png"]


# === The whole source ===


def test_no_duration_is_taken_from_the_clock_of_the_wall():
    """Ages of files are, and the dates in a log: those have no other."""
    root, found = Path(__file__).parents[2], []
    for package in ("atelier", "nst", "cartoon", "superres", "classify", "detection", "gallery"):
        for file in (root / package).rglob("*.py"):
            if re.search(r"\btime\.time(_ns)?\(|datetime\.(now|utcnow)", file.read_text("utf-8")):
                found.append(file.relative_to(root).as_posix())
    assert sorted(found) == ["atelier/cli/failures.py", "gallery/web/cache.py"]
