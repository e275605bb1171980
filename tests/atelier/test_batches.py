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

from atelier import batches, cli
from atelier.batches import ATTEMPTS, BLOCK, Block, Job, Outcome, Worker, one_by_one, split
from atelier.errors import ImageError, OutputError, SettingsError, WeightsError
from atelier.manifest import Journal

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
    return Job(cli.Input(name, Path(name), Path(name)), out / f"{name}.out", others)


def write(job: Job, overwrite: bool) -> Outcome:
    """Fails where it is to; says on disk how often it was called."""
    if "bad" in job.item.name:
        raise ImageError(f"{job.item.name}: not a picture")
    if "fault" in job.item.name:
        raise ZeroDivisionError("division by zero")
    assert overwrite or not job.path.exists()
    with open(job.path.with_suffix(".calls"), "a") as calls:
        calls.write("x")
    job.path.write_text(job.item.name)
    return Outcome({"input": job.item.name, "output": str(job.path)}, f"{job.path}: written")


def names(folder: Path, suffix: str = ".out") -> list[str]:
    return sorted(file.stem for file in folder.glob(f"*{suffix}"))


# === Workers ===


@pytest.fixture
def journals(tmp_path):
    folder = tmp_path / "manifest" / "journal" / "run"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def work_through(journals):
    """Gives a block of jobs to a worker; returns its answer and the journal's entries."""

    def run(jobs, *, own=(), overwrite=False, work=write, number=7):
        block = Block(number, tuple((job, job.item.name in own) for job in jobs))
        answer = Worker(lambda: one_by_one(work), journals, overwrite, 3)(block)
        return answer, Journal(journals / f"{number:06d}.jsonl").read()

    return run


def test_a_block_is_journalled_as_it_is_done(work_through, tmp_path):
    jobs = [job(name, tmp_path) for name in ("a", "bad", "c")]
    answer, (ended, begun) = work_through(jobs)
    assert answer.error is None
    assert answer.entries == list(ended.values())
    assert ended["a"] == {
        "done": {"input": "a", "output": str(tmp_path / "a.out")},
        "line": f"{tmp_path / 'a.out'}: written",
    }
    assert ended["bad"] == {"failed": "bad", "reason": "bad: not a picture"}
    assert begun == {"a": 1, "bad": 1, "c": 1}


def test_the_next_worker_does_the_rest(work_through, journals, tmp_path):
    """The first one died after b was written, and before it was told."""

    class Killed(BaseException):
        pass

    def die_after_b(job, overwrite):
        outcome = write(job, overwrite)
        if job.item.name == "b":
            raise Killed
        return outcome

    jobs = [job(name, tmp_path) for name in ("a", "b", "c")]
    with pytest.raises(Killed):
        work_through(jobs, work=die_after_b)
    assert names(tmp_path) == ["a", "b"]
    answer, (ended, begun) = work_through(jobs)
    assert sorted(ended) == ["a", "b", "c"]
    assert len(answer.entries) == 3, "those that the dead one did are told, too"
    assert begun == {"a": 1, "b": 2, "c": 1}
    calls = {name: (tmp_path / f"{name}.calls").read_text() for name in "abc"}
    assert calls == {"a": "x", "b": "xx", "c": "x"}


def test_an_input_that_kills_its_workers_fails_and_the_others_are_done(work_through, tmp_path):
    class Killed(BaseException):
        pass

    def deadly(job, overwrite):
        if job.item.name == "b":
            raise Killed
        return write(job, overwrite)

    jobs = [job(name, tmp_path) for name in ("a", "b", "c")]
    for _ in range(ATTEMPTS):
        with pytest.raises(Killed):
            work_through(jobs, work=deadly)
    answer, (ended, _) = work_through(jobs, work=deadly)
    assert ended["b"] == {"failed": "b", "reason": "each of the 3 workers that tried it died"}
    assert names(tmp_path) == ["a", "c"]
    assert [(tmp_path / f"{name}.calls").read_text() for name in "ac"] == ["x", "x"]
    assert answer.error is None


def test_existing_results_are_refused_unless_they_are_the_batchs_own(work_through, tmp_path):
    for name in ("theirs.out", "ours.out", "other"):
        (tmp_path / name).write_text("kept")
    jobs = [
        *(job(name, tmp_path) for name in ("theirs", "ours")),
        job("third", tmp_path, tmp_path / "other"),
    ]
    _, (ended, begun) = work_through(jobs, own=("ours",))
    assert (
        "theirs.out exists; choose another --out or pass --overwrite" in ended["theirs"]["reason"]
    )
    assert "other exists" in ended["third"]["reason"]
    assert begun == {"ours": 1}, "what is refused was not begun: it does not come to be ours"
    assert (tmp_path / "theirs.out").read_text() == "kept"
    assert (tmp_path / "ours.out").read_text() == "ours"
    _, (ended, _) = work_through(jobs, overwrite=True, number=8)
    assert all("done" in entry for entry in ended.values())


def test_a_fault_of_the_program_is_one_inputs_own(work_through, tmp_path):
    _, (ended, _) = work_through([job(name, tmp_path) for name in ("a", "fault", "c")])
    reason = "a fault of the program: ZeroDivisionError: division by zero"
    assert ended["fault"] == {"failed": "fault", "reason": reason}
    assert names(tmp_path) == ["a", "c"]


@pytest.mark.parametrize("kind", [SettingsError, WeightsError])
def test_what_is_wrong_for_all_is_told_as_what_it_is(work_through, journals, tmp_path, kind):
    def wrong(*_):
        raise kind("the card is damaged")

    answer, _ = work_through([job("a", tmp_path)], work=wrong)
    assert answer == ([], (kind.__name__, "the card is damaged"))
    assert Worker(wrong, journals, False, 3)(Block(0, ())) == answer, "as it loads its model, too"


def test_a_worker_that_does_not_see_the_folder_says_so(tmp_path):
    worker = Worker(lambda: pytest.fail("loaded"), tmp_path / "out/manifest/journal/run", False, 3)
    (kind, text) = worker(Block(0, ())).error
    assert kind == "SettingsError"
    assert f"--out {tmp_path / 'out'}: a worker on " in text
    assert "all hosts of the cluster must share it" in text


def test_workers_that_die_as_they_load_are_counted(journals):
    class Killed(BaseException):
        pass

    def deadly():
        raise Killed

    for _ in range(2):
        with pytest.raises(Killed):
            Worker(deadly, journals, False, 2)
    error = Worker(deadly, journals, False, 2)(Block(0, ())).error
    assert error[1].startswith("2 workers died as they loaded the model")
    for factory in (lambda: None, deadly):  # Once one has loaded it, the others are replaced.
        with contextlib.suppress(Killed):
            Worker(factory, journals, False, 3)
    with pytest.raises(Killed):
        Worker(deadly, journals, False, 3)


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


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Runs a batch with workers in this process; `run.work` is what they do."""

    def map_rows(factory, rows, **limits):
        worker = factory()
        yield from map(worker, rows)

    monkeypatch.setattr(batches, "map_rows", map_rows)
    monkeypatch.setattr(batches, "connected", contextlib.nullcontext)
    monkeypatch.setattr(batches, "count_room", lambda user, **limits: 2)
    told = []

    def run(*inputs, at_end=None, tables=(), **settings) -> int:
        told.clear()
        arguments = Arguments(out=tmp_path, cluster="auto", **settings)
        return batches.run(
            [job(name, tmp_path) for name in inputs],
            lambda: one_by_one(run.work),
            arguments,
            command="test",
            tell=lambda outcome: told.append(outcome.line.split("/")[-1]),
            at_end=at_end,
            tables=tables,
            afterwards=("csv",),
        )

    run.told, run.work = told, write
    return run


def listed(folder: Path, name: str) -> list[str]:
    lines = (folder / "manifest" / f"{name}.jsonl").read_text().splitlines()
    return [json.loads(line)["input"] for line in lines]


def test_a_second_run_does_what_is_missing_and_tries_again_what_failed(command, tmp_path, capsys):
    assert command("a", "bad", "c") == 1
    assert command.told == ["a.out: written", "c.out: written"]
    assert "error: bad: not a picture\n" in capsys.readouterr().err
    assert (listed(tmp_path, "done"), listed(tmp_path, "failed")) == (["a", "c"], ["bad"])
    (tmp_path / "c.out").unlink()
    command.work = lambda job, overwrite: Outcome({"input": job.item.name}, f"{job.item.name} now")
    assert command("a", "bad", "c", "new") == 0
    assert command.told == ["bad now", "c now", "new now"]
    assert "1 of 4 inputs are done already" in capsys.readouterr().err
    assert (listed(tmp_path, "done"), listed(tmp_path, "failed")) == (["a", "bad", "c", "new"], [])


def test_all_done_needs_no_cluster(command, monkeypatch):
    assert command("a", "b") == 0
    monkeypatch.setattr(batches, "connected", lambda address: pytest.fail("connected"))
    assert command("a", "b") == 0
    assert command.told == []


def test_ctrl_c_keeps_and_records_what_is_done(command, tmp_path):
    ends = []

    def stop_at_c(job, overwrite):
        if job.item.name == "c":
            raise KeyboardInterrupt
        return write(job, overwrite)

    def at_end(manifest):
        ends.append([record["input"] for _, record in manifest.records()])

    command.work = stop_at_c
    with pytest.raises(KeyboardInterrupt):
        command("a", "b", "c", "d", at_end=at_end)
    assert listed(tmp_path, "done") == ["a", "b"]
    command.work = write
    assert command("a", "b", "c", "d", at_end=at_end) == 0
    assert ends == [["a", "b"], ["a", "b", "c", "d"]]
    assert all((tmp_path / f"{name}.calls").read_text() == "x" for name in "abcd")


def test_what_is_wrong_for_all_ends_the_batch_and_keeps_what_was_done(command, tmp_path):
    def wrong_at_b(job, overwrite):
        if job.item.name == "b":
            raise WeightsError("damaged")
        return write(job, overwrite)

    command.work = wrong_at_b
    with pytest.raises(WeightsError, match=r"^damaged$"):
        command("a", "b", "c")
    assert listed(tmp_path, "done") == ["a"]
    assert names(tmp_path) == ["a"]


def test_settings_that_shape_results_bind_the_folder(command):
    assert command("a") == 0
    assert command("a", csv=True, worker_cpus=2, json=True) == 0
    with pytest.raises(SettingsError, match=r"other settings \(colour\)"):
        command("a", colour="blue")
    assert command("a", colour="blue", overwrite=True) == 0
    assert command.told == ["a.out: written"]


def test_tables_of_others_are_refused_before_the_work(command, tmp_path):
    (tmp_path / "t.csv").write_text("theirs")
    with pytest.raises(OutputError, match=r"t\.csv exists"):
        command("a", tables=[tmp_path / "t.csv"])
    assert names(tmp_path) == []


def test_an_input_that_is_named_twice_is_done_once(command, tmp_path):
    assert command("a", "a") == 0
    assert (tmp_path / "a.calls").read_text() == "x"


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

from atelier import batches, cli


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

    def work(job, overwrite):
        if job.item.name == arguments.kill and not (arguments.out / "died").exists():
            (arguments.out / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(arguments.pause)
        with open(arguments.out / "calls", "a") as calls:
            calls.write(f"{job.item.name} {os.getpid()}\\n")
        job.path.write_text(job.item.name)
        return batches.Outcome({"input": job.item.name, "output": str(job.path)}, job.item.name)

    return batches.one_by_one(work)


@cli.command
def main(argv):
    arguments = cli.parse(Arguments, argv)
    items = [cli.Input(name, Path(name), Path(name)) for name in arguments.inputs]
    jobs = [batches.Job(item, arguments.out / item.name) for item in items]
    return batches.run(jobs, functools.partial(worker, arguments), arguments, command="test")


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


def wait_for(ready, process) -> None:
    deadline = time.monotonic() + 400
    while not ready():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_worker_is_killed_and_each_input_is_done_once(start, tmp_path):
    code, out, said = end(start("--kill", "07", "--json"))
    assert code == 0
    assert (tmp_path / "out" / "died").exists()
    done = calls(tmp_path)
    assert sorted(name for name, _ in done) == NAMES, "nothing lost, nothing done twice"
    assert len({process for _, process in done}) >= 2
    assert listed(tmp_path / "out", "done") == NAMES
    assert listed(tmp_path / "out", "failed") == []
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
    assert listed(tmp_path / "out", "done") == NAMES


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
    recorded = listed(tmp_path / "out", "done")
    assert 6 <= len(recorded) < len(NAMES)
    assert end(start("--pause", 0.2))[0] == 0
    counts = [name for name, _ in calls(tmp_path)]
    assert set(counts) == set(NAMES)
    assert all(counts.count(name) == 1 for name in recorded)


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
