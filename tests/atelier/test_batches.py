"""Batches: each input once, whatever dies; on a real cluster of several processes, too."""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from atelier.cli.begun import Begun
from atelier.cli.inputs import Input
from atelier.cli.jobs import Job, Outcome, one_by_one
from atelier.cli.ledger import Ledger
from atelier.cluster import batches
from atelier.cluster.batches import ATTEMPTS, BLOCK, Worker, split
from atelier.errors import ImageError, SettingsError, WeightsError

ROOT = Path(__file__).parent.parent.parent


@dataclasses.dataclass(frozen=True)
class Arguments(batches.ClusterSettings):
    """The least that a command has."""

    inputs: tuple[str, ...] = ()
    out: Path = Path("out")
    overwrite: bool = False
    json: bool = False
    colour: str = "red"
    csv: bool = False

    def __post_init__(self):
        self.check_cluster()


def job(name: str, out: Path, *others: Path) -> Job:
    (out / name).touch()
    return Job(Input(name, out / name, Path(name)), out / f"{name}.out", others)


def write(job: Job, on_step) -> Outcome:
    """Fails where it is to; says on disk how often it was called."""
    if "bad" in job.item.name:
        raise ImageError(f"{job.item.name}: not a picture")
    if "fault" in job.item.name:
        raise ZeroDivisionError("division by zero")
    assert job.overwrite or not job.path.exists()
    with open(job.path.with_suffix(".calls"), "a") as calls:
        calls.write("x")
    job.path.write_text(job.item.name)
    return Outcome({"input": job.item.name, "output": str(job.path)}, f"{job.path}: written")


def names(folder: Path, suffix: str = ".out") -> list[str]:
    return sorted(file.stem for file in folder.glob(f"*{suffix}"))


# === Workers ===


@pytest.fixture
def ledger(tmp_path):
    """That of a run with workers in `tmp_path`."""
    ledger = Ledger(tmp_path, "test", {"scale": 2})
    with ledger.working():
        yield ledger


@pytest.fixture
def work_through(ledger):
    """Gives a block of jobs to a new worker; returns what became of them, by name."""

    def run(jobs, *, work=write):
        answer = Worker(lambda: one_by_one(work), ledger, 3)(jobs)
        assert answer.error is None
        assert answer.known == []
        return dict(answer.ended)

    return run


class Killed(BaseException):
    """What ends a worker, as far as can be told within one process."""


def test_a_block_is_recorded_as_it_is_done(work_through, ledger, tmp_path):
    jobs = [job(name, tmp_path) for name in ("a", "bad", "c")]
    ended = work_through(jobs)
    assert ended["a"].record == {"input": "a", "output": str(tmp_path / "a.out")}
    assert ended["a"].line == f"{tmp_path / 'a.out'}: written"
    assert ended["bad"] == ("bad: not a picture", "")
    recorded = [ledger.find(job.item.source, job.wanted)[1] for job in jobs]
    assert recorded == [True, False, True]


def test_the_next_worker_does_the_rest(work_through, tmp_path):
    """The first one died after b was written, and before it was recorded."""

    def die_after_b(job, on_step):
        outcome = write(job, on_step)
        if job.item.name == "b":
            raise Killed
        return outcome

    jobs = [job(name, tmp_path) for name in ("a", "b", "c")]
    with pytest.raises(Killed):
        work_through(jobs, work=die_after_b)
    assert names(tmp_path) == ["a", "b"]
    ended = work_through(jobs)
    assert sorted(ended) == ["a", "b", "c"], "those that the dead one did are told, too"
    calls = {name: (tmp_path / f"{name}.calls").read_text() for name in "abc"}
    assert calls == {"a": "x", "b": "xx", "c": "x"}


def test_an_input_that_kills_its_workers_fails_and_the_others_are_done(
    work_through, tmp_path, monkeypatch
):
    monkeypatch.setattr(Begun, "abandon", Begun.leave)  # Who is killed tidies nothing.

    def deadly(job, on_step):
        if job.item.name == "b":
            raise Killed
        return write(job, on_step)

    jobs = [job(name, tmp_path) for name in ("a", "b", "c")]
    for _ in range(ATTEMPTS):
        with pytest.raises(Killed):
            work_through(jobs, work=deadly)
    ended = work_through(jobs, work=deadly)
    assert ended["b"].reason == "each of the 3 workers that tried it died"
    assert names(tmp_path) == ["a", "c"]
    assert [(tmp_path / f"{name}.calls").read_text() for name in "ac"] == ["x", "x"]


def test_a_fault_of_the_program_is_one_inputs_own(work_through, tmp_path):
    ended = work_through([job(name, tmp_path) for name in ("a", "fault", "c")])
    assert ended["fault"].reason == "failed unexpectedly: ZeroDivisionError: division by zero"
    assert "ZeroDivisionError: division by zero" in ended["fault"].trace
    assert "in write" in ended["fault"].trace
    assert names(tmp_path) == ["a", "c"]


@pytest.mark.parametrize("kind", [SettingsError, WeightsError])
def test_what_is_wrong_for_all_is_told_as_what_it_is(ledger, tmp_path, kind):
    def wrong(*_):
        raise kind("the card is damaged")

    answer = Worker(lambda: one_by_one(wrong), ledger, 3)([job("a", tmp_path)])
    assert answer == ([], [], (kind.__name__, "the card is damaged"))
    assert Worker(wrong, ledger, 3)([]) == answer, "as it loads its model, too"


def test_a_worker_that_does_not_see_the_folder_says_so(tmp_path):
    ledger = Ledger(tmp_path / "out", "test", {})
    (kind, text) = Worker(lambda: pytest.fail("loaded"), ledger, 3)([]).error
    assert kind == "SettingsError"
    assert f"--out {tmp_path / 'out'}: a worker on " in text
    assert "all hosts of the cluster must share it" in text


def test_a_worker_of_a_run_that_was_taken_over_stops(ledger, tmp_path):
    """As those of a killed command find, which live for a moment longer."""

    def replace_run(job, on_step):
        with Ledger(tmp_path, "test", {}).working():
            return write(job, on_step)

    jobs = [job(name, tmp_path) for name in ("a", "b")]
    answer = Worker(lambda: one_by_one(replace_run), ledger, 3)(jobs)
    assert [name for name, _ in answer.ended] == ["a"]
    assert answer.error == ("SettingsError", f"{tmp_path}: another run has taken this batch over")
    assert names(tmp_path) == ["a"]


def test_workers_that_die_as_they_load_are_counted(ledger):
    def deadly():
        raise Killed

    for _ in range(2):
        with pytest.raises(Killed):
            Worker(deadly, ledger, 2)
    error = Worker(deadly, ledger, 2)([]).error
    assert error[1].startswith("2 workers died as they loaded the model")
    for factory in (lambda: None, deadly):  # Once one has loaded it, the others are replaced.
        with contextlib.suppress(Killed):
            Worker(factory, ledger, 3)
    with pytest.raises(Killed):
        Worker(deadly, ledger, 3)


# === The command ===


def test_blocks_are_bounded_and_videos_alone(tmp_path):
    jobs = [job(f"{number}.png", tmp_path) for number in range(10_000)]
    sizes = [len(block) for block in split(jobs, 2)]
    assert sum(sizes) == 10_000
    assert max(sizes) == BLOCK
    assert [len(block) for block in split(jobs[:16], 2)] == [2] * 8
    assert [len(block) for block in split(jobs[:3], 8)] == [1] * 3
    mixed = [*jobs[:4], job("film.MP4", tmp_path), *jobs[4:9]]
    blocks = [[job.item.name for job in block] for block in split(mixed, 1)]
    assert ["film.MP4"] in blocks
    names = sorted(name for block in blocks for name in block)
    assert names == sorted(job.item.name for job in mixed)
    assert list(split([], 2)) == []


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"cluster": "here"}, "--cluster is auto or ray://HOST:PORT, not 'here'"),
        ({"cluster": "auto", "inputs": ("-",)}, "no - for standard input"),
        ({"cluster": "auto", "out": Path("-")}, "no - for standard input or output"),
        ({"cluster": "auto", "out": Path("x.png")}, "takes a folder for --out, not the file x.png"),
        ({"worker_cpus": 0}, "--worker-cpus is at least 1, not 0"),
        ({"worker_gpus": 1.5}, "--worker-gpus is a part of one, or whole, not 1.5"),
        ({"worker_gpus": -1}, "--worker-gpus"),
    ],
)
def test_settings_that_make_no_sense_are_one_line(settings, words):
    with pytest.raises(SettingsError, match=words):
        Arguments(**settings)


# === On a real cluster ===

PROGRAM = """
import dataclasses, functools, os, signal, sys, time
from pathlib import Path

from atelier import batches, cli, jobs
from atelier.cli.inputs import Input


@dataclasses.dataclass(frozen=True)
class Arguments(batches.ClusterSettings):
    inputs: tuple[str, ...] = ()
    out: Path = Path("out")
    overwrite: bool = False
    json: bool = False
    kill: str = ""
    pause: float = 0.05
    die_at_start: bool = False


def worker(arguments):
    if arguments.die_at_start:
        os.kill(os.getpid(), signal.SIGKILL)

    def work(job, on_step):
        if job.item.name == arguments.kill and not (arguments.out / "died").exists():
            (arguments.out / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(arguments.pause)
        with open(arguments.out / "calls", "a") as calls:
            calls.write(f"{job.item.name} {os.getpid()}\\n")
        job.path.write_text(job.item.name)
        return jobs.Outcome({"input": job.item.name, "output": str(job.path)}, job.item.name)

    return jobs.one_by_one(work)


@cli.command
def main(argv):
    arguments = cli.parse(Arguments, argv)
    items = [Input(name, name.encode(), Path(name)) for name in arguments.inputs]
    todo = [jobs.Job(item, arguments.out / item.name) for item in items]
    factory, place = functools.partial(worker, arguments), arguments.place
    neutral = ("kill", "pause")
    return jobs.run(todo, factory, arguments, command="test", place=place, neutral=neutral)


if __name__ == "__main__":
    sys.exit(main())
"""

NAMES = [f"{number:02d}" for number in range(36)]


@pytest.fixture
def start(tmp_path):
    """Starts the program in `tmp_path`, on a cluster of its own unless another is named."""
    (tmp_path / "program.py").write_text(PROGRAM)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_ADDRESS": "local"}
    processes = []

    def start(*flags, cluster="auto", inputs=NAMES) -> subprocess.Popen:
        command = [sys.executable, "program.py", "--inputs", *inputs, "--cluster", cluster]
        process = subprocess.Popen(
            [*command, *map(str, flags)],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def end(process: subprocess.Popen) -> tuple[int, str, str]:
    said = process.communicate(timeout=500)
    assert "Traceback" not in said[1], said[1]
    return (process.returncode, *said)


def calls(folder: Path) -> list[list[str]]:
    """Input and process of each call, from what the calls themselves wrote."""
    return [line.split() for line in (folder / "out" / "calls").read_text().splitlines()]


def recorded(folder: Path) -> list[str]:
    """The inputs that are done by the records."""
    files = (folder / "out" / ".atelier").glob("*.json")
    return sorted(json.loads(file.read_text())["record"]["input"] for file in files)


def wait_for(ready, process) -> None:
    deadline = time.monotonic() + 400
    while not ready():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.soak
def test_a_worker_is_killed_and_each_input_is_done_once(start, tmp_path):
    code, out, said = end(start("--kill", "07", "--json"))
    assert code == 0
    assert (tmp_path / "out" / "died").exists()
    done = calls(tmp_path)
    assert sorted(name for name, _ in done) == NAMES, "nothing lost, nothing done twice"
    assert len({process for _, process in done}) >= 2
    assert recorded(tmp_path) == NAMES
    records = [json.loads(line) for line in out.splitlines()]
    assert sorted(record["input"] for record in records) == NAMES, "and nothing else is said there"
    assert sorted(said.splitlines()) == NAMES, "Ray's own words reach nobody"


@pytest.mark.soak
def test_the_command_is_killed_and_goes_on(start, tmp_path):
    first = start("--pause", 0.2)
    wait_for(lambda: (tmp_path / "out/calls").exists() and len(calls(tmp_path)) >= 8, first)
    first.kill()
    first.communicate()
    time.sleep(3)  # Its cluster ends with it.
    before = len(calls(tmp_path))
    assert before < len(NAMES)
    code, _, said = end(start("--pause", 0.2))
    assert code == 0
    assert "of 36 inputs are done already" in said
    names = [name for name, _ in calls(tmp_path)]
    assert set(names) == set(NAMES)
    # One a worker may have been written and not yet recorded.
    assert len(names) <= len(NAMES) + 2
    assert recorded(tmp_path) == NAMES


@pytest.mark.soak
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_and_the_next_run_goes_on(start, tmp_path, number, code):
    first = start("--pause", 0.2)
    wait_for(lambda: (tmp_path / "out/calls").exists() and len(calls(tmp_path)) >= 8, first)
    first.send_signal(number)
    begin = time.monotonic()
    got, _, said = end(first)
    assert time.monotonic() - begin < 30
    assert got == code
    assert "error: stopped; what was finished is kept" in said
    done = recorded(tmp_path)
    assert 6 <= len(done) < len(NAMES)
    assert end(start("--pause", 0.2))[0] == 0
    counts = [name for name, _ in calls(tmp_path)]
    assert set(counts) == set(NAMES)
    assert all(counts.count(name) == 1 for name in done)


@pytest.mark.soak
def test_workers_that_cannot_start_end_the_command(start, tmp_path):
    code, _, said = end(start("--die-at-start"))
    assert code == 2
    (line,) = said.splitlines()
    assert "workers died as they loaded the model" in line


@pytest.mark.soak
def test_a_cluster_that_runs_is_used_and_goes_on(start, head, tmp_path):
    assert end(start("--kill", "07", cluster=head.address))[0] == 0
    names = [name for name, _ in calls(tmp_path)]
    assert sorted(names) == NAMES
    code, _, said = end(start("--kill", "07", cluster=head.address, inputs=[*NAMES, "new"]))
    assert code == 0
    assert "36 of 37 inputs are done already" in said
    assert [name for name, _ in calls(tmp_path)][len(NAMES) :] == ["new"]
