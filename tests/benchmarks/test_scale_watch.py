"""Tests of `benchmarks.scale_watch`, on a command that reads pictures and nothing more."""

import os
import time

import pytest

from benchmarks import scale_watch
from benchmarks.scale_watch import Failed, watch

READER = """
import pathlib, signal, sys, time

folder, wait, kept, how = sys.argv[1], float(sys.argv[2]), [], sys.argv[3:]
if "deaf" in how:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("pid", __import__("os").getpid(), flush=True)
for number, path in enumerate(sorted(pathlib.Path(folder).iterdir())):
    path.read_bytes()
    kept.append(path.read_bytes() * (1_000_000 if "keep" in how else 0))
    time.sleep(wait)
    if "fail" in how and number == 3:
        sys.exit("error: no more of this")
    if "skip" in how and number == 3:
        break
"""


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Watches a reader of six pictures, the first of which does not count."""
    (tmp_path / "a_reader.py").write_text(READER, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(6):
        (folder / f"{number}.jpg").write_bytes(b"a")

    def run(wait, *how, seconds=30, **options):
        flags = [str(folder), str(wait), *how]
        return watch("a_reader", flags, folder, warm=1, pictures=5, seconds=seconds, **options)

    run.log = tmp_path / "pictures.log"
    return run


def is_running(log) -> bool:
    pid = int(log.read_text(encoding="utf-8").split()[1])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_pictures_that_count_and_their_time(command):
    seen = command(0.1)
    assert (seen.pictures, seen.cut) == (5, False)
    assert 0.5 <= seen.seconds < 5
    assert 0.1 <= seen.start < 20
    assert len(seen.peaks) == 6


def test_memory_that_is_kept_shows(command):
    kept, given_back = command(0, "keep").peaks, command(0).peaks
    assert list(kept) == sorted(kept)
    assert kept[-1] - kept[0] > 4e6
    assert given_back[-1] - given_back[0] < 2e6
    assert 1e6 < given_back[0] < 2e8  # Of the process itself, not of this one.


def test_is_stopped_when_its_time_is_up(command):
    begin = time.monotonic()
    seen = command(0.5, seconds=1.2)
    assert seen.cut
    assert 1 <= seen.pictures < 5
    assert seen.seconds / seen.pictures > 0.45
    assert time.monotonic() - begin < 20
    assert not is_running(command.log)


def test_a_command_that_is_deaf_is_killed(command, monkeypatch):
    monkeypatch.setattr(scale_watch, "PATIENCE", 1.0)
    with pytest.raises(Failed, match="no picture in 1 s"):
        command(600, "deaf", seconds=1)
    assert not is_running(command.log)


def test_a_command_that_fails_is_no_measurement(command):
    with pytest.raises(Failed, match="ended with 1: error: no more of this"):
        command(0, "fail")


def test_a_command_that_leaves_pictures_out_is_no_measurement(command):
    with pytest.raises(Failed, match="opened 4 pictures, not 6"):
        command(0, "skip")


def test_stopping_the_watch_ends_the_command(command):
    with pytest.raises(KeyboardInterrupt):
        command(600, stopped=lambda: "pid" in command.log.read_text(encoding="utf-8"))
    assert not is_running(command.log)
