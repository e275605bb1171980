"""Two runs on one output folder: one of them is refused, or both end well; nothing is mixed."""

import contextlib
import os
import subprocess
import sys

import pytest

from atelier.errors import OutputError
from atelier.files import atomic_path, locked, remove_leftovers, write_text

HOLDER = (
    "import fcntl, os, sys, time\n"
    "handle = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)\n"
    "fcntl.flock(handle, fcntl.LOCK_EX)\n"
    "os.write(handle, b'process 7 on elsewhere')\n"
    "print('locked', flush=True)\n"
    "time.sleep(600)\n"
)
"""Has a file locked, as another command would."""


@pytest.fixture
def hold():
    """Lets another process lock a file, until it is killed with what this returns."""
    with contextlib.ExitStack() as stack:

        def start(file):
            command = [sys.executable, "-c", HOLDER, str(file)]
            process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE))
            stack.callback(process.kill)
            assert process.stdout.readline() == b"locked\n"

            def kill():
                process.kill()
                process.wait()

            return kill

        yield start


# === The lock ===


def test_a_folder_is_one_process_alone(tmp_path, hold):
    out = tmp_path / "new" / "out"
    with locked(out), locked(out):  # A sweep's training, say.
        assert os.listdir(out) == [".lock"]
    assert os.listdir(out) == []
    kill = hold(out / ".lock")
    with pytest.raises(OutputError) as caught, locked(out):
        pass
    assert str(caught.value) == (
        f"{out} is in use by another run (process 7 on elsewhere); wait for its end, or choose "
        "another --out"
    )
    kill()  # The file stays; the kernel knows better.
    assert (out / ".lock").exists()
    with locked(out):
        assert str(os.getpid()) in (out / ".lock").read_text()
    assert os.listdir(out) == []


def test_the_lock_goes_with_an_error_and_with_its_folder(tmp_path):
    with pytest.raises(RuntimeError), locked(tmp_path):
        raise RuntimeError
    with locked(tmp_path / "out"):
        (tmp_path / "out" / ".lock").unlink()
        (tmp_path / "out").rmdir()
    assert os.listdir(tmp_path) == []


def test_a_file_in_the_folders_place_is_one_line(tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(OutputError, match=r"cannot write into .*out is a file, not a folder"):
        locked(tmp_path / "out").__enter__()


def test_leftovers_go_and_living_files_stay(tmp_path, hold):
    mine = tmp_path / ".tmp-atelier-mine.png"
    with atomic_path(tmp_path / "x.png") as living:
        dead = living.with_name(f"{living.stem[:-8]}deadbeef.png")
        others = living.with_name(f"{living.stem[:-8]}0therrun.mp4")
        elsewhere = tmp_path / ".tmp-atelier-another.host-deadbeef.png"
        for file in (mine, dead, others, elsewhere):
            file.touch()
        hold(others)
        remove_leftovers(tmp_path)
        assert sorted(tmp_path.iterdir()) == sorted([mine, living, others, elsewhere])
    assert (tmp_path / "x.png").exists()


def test_the_first_file_written_beside_leftovers_removes_them(tmp_path):
    with atomic_path(tmp_path / "a" / "x") as path:
        name = path.name
    folder = tmp_path / "b"
    folder.mkdir()
    (folder / name).touch()
    write_text(folder / "y", "text")
    assert os.listdir(folder) == ["y"]


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path):
    target = tmp_path / "result.txt"

    def write_second():
        with atomic_path(target, overwrite=False) as path:
            path.write_text("second")
            write_text(target, "first")

    with pytest.raises(OutputError, match="exists; choose another --out or pass --overwrite"):
        write_second()
    assert target.read_text() == "first"
    assert os.listdir(tmp_path) == ["result.txt"]


# === The commands ===


@pytest.mark.parametrize("kind", ["training", "sweep"])
@pytest.mark.parametrize("task", ["classify", "superres", "cartoon", "detection", "nst"])
def test_the_second_run_is_refused_and_touches_nothing(kind, task, request, here, hold, tmp_path):
    command, out = request.getfixturevalue(kind), tmp_path / "out"
    out.mkdir()
    hold(out / ".lock")
    done = here(command(task, out))
    assert done.code == 2
    assert f"{out} is in use by another run (process 7 on elsewhere)" in done.error
    assert os.listdir(out) == [".lock"]


@pytest.mark.soak
def test_two_trainings_at_once_leave_one(training, launch, here, look, tmp_path):
    out, alone = tmp_path / "out", tmp_path / "alone"
    running = [launch(training("superres", out)) for _ in range(2)]
    first, second = sorted((process.end() for process in running), key=lambda done: done.code)
    assert (first.code, second.code) == (0, 2)
    assert "is in use by another run (process" in second.error
    assert here(training("superres", alone)).code == 0
    assert look.rows(out / "history.csv") == look.rows(alone / "history.csv")
    assert set(look.tree(out)) == set(look.tree(alone))


@pytest.mark.soak
def test_two_batches_into_one_folder_make_each_picture_once(batch, launch, here, look, tmp_path):
    out, alone = tmp_path / "out", tmp_path / "alone"
    running = [launch(batch("superres", out)) for _ in range(2)]
    ends = [process.end() for process in running]
    assert here(batch("superres", alone)).code == 0
    assert look.tree(out) == look.tree(alone)
    assert [end.code for end in ends] == [0, 0]
    told = [line for end in ends for line in end.err.splitlines() if line.startswith(str(out))]
    assert len(told) == 6, "each picture is made by one of the two"
