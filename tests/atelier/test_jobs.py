"""The loop of all commands: what is done is skipped, what goes wrong with one input is its own."""

import contextlib
import dataclasses
import json
import os
import signal
from pathlib import Path

import pytest

from atelier import cli
from atelier.cli import jobs
from atelier.cli.inputs import Input
from atelier.cli.jobs import Job, Outcome
from atelier.cli.ledger import Ledger
from atelier.cli.records import results_known_in, settings_of
from atelier.cluster import batches
from atelier.errors import ImageError, OutputError, SettingsError, WeightsError
from atelier.progress import Step


@dataclasses.dataclass(frozen=True)
class Arguments(batches.ClusterSettings):
    """The least that a command has."""

    inputs: tuple[str, ...] = ()
    out: Path = Path("out")
    overwrite: bool = False
    json: bool = False
    colour: str = "red"
    sheet: bool = False


def write(job: Job, on_step) -> Outcome:
    """Copies an input to its result; fails where it is to."""
    text = job.item.source.read_text()
    if text == "bad":
        raise ImageError(f"{job.item.name}: not a picture")
    if text == "fault":
        raise ZeroDivisionError("division by zero\nin the midst of it")
    for path in job.wanted:
        assert job.overwrite or not path.exists()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Outcome({"input": job.item.name, "output": str(job.path)}, f"{job.item.name} done")


@pytest.fixture(params=["here", "cluster"])
def place(request, monkeypatch):
    """Where jobs are done: what --cluster is. On a cluster, workers are of this process."""

    def map_rows(factory, rows, **limits):
        worker = factory()
        yield from map(worker, rows)

    monkeypatch.setattr(batches, "map_rows", map_rows)
    monkeypatch.setattr(batches, "connected", contextlib.nullcontext)
    monkeypatch.setattr(batches, "count_room", lambda user, **limits: 2)
    return None if request.param == "here" else "auto"


@pytest.fixture
def command(place, tmp_path, capsys):
    """Runs a command on the files of `in`, or on those that are named; `run.work` is what it does
    with each, `run.out` and `run.err` what it said."""

    def run(*names, folder="in", others=(), path=True, at_end=None, tables=(), **settings) -> int:
        names = names or sorted(os.listdir(tmp_path / "in"))
        arguments = Arguments(**{"out": tmp_path / "out", "cluster": place, **settings})
        todo = [
            Job(
                Input(name, tmp_path / folder / name, Path(name)),
                arguments.out / f"{name}.out" if path else None,
                tuple(arguments.out / f"{name}.{other}" for other in others),
            )
            for name in names
        ]
        try:
            return jobs.run(
                todo,
                lambda: jobs.one_by_one(run.work),
                arguments,
                command="test",
                place=arguments.place,
                at_end=at_end,
                tables=tables,
                neutral=("sheet",),
            )
        finally:
            run.out, run.err = (said.splitlines() for said in capsys.readouterr())

    (tmp_path / "in").mkdir()
    for name in "abc":
        (tmp_path / "in" / name).write_text(name)
    run.work = write
    return run


def results(folder: Path) -> dict[str, str]:
    found = (file for file in (folder / "out").rglob("*") if file.is_file())
    return {file.name: file.read_text() for file in found if ".atelier" not in file.parts}


def never(job, on_step):
    pytest.fail(f"{job.item.name} is done again")


# === What is done ===


def test_a_second_run_skips_what_is_done_and_ends_with_0(command, tmp_path):
    assert command() == 0
    assert command.err == ["a done", "b done", "c done"]
    command.work = never
    assert command() == 0
    assert (command.out, command.err) == ([], ["3 of 3 inputs are done already"])


def test_what_failed_is_tried_again_and_what_is_missing_made(command, tmp_path):
    (tmp_path / "in" / "b").write_text("bad")
    assert command() == 1
    assert command.err == ["a done", "error: b: not a picture", "c done"]
    (tmp_path / "out" / "c.out").unlink()
    (tmp_path / "in" / "b").write_text("good")
    assert command() == 0
    assert command.err == ["1 of 3 inputs are done already", "b done", "c done"]
    assert results(tmp_path) == {"a.out": "a", "b.out": "good", "c.out": "c"}


def test_json_tells_of_what_was_done_before_too(command):
    assert command("a", "b") == 0
    assert command(json=True) == 0
    assert [json.loads(line)["input"] for line in command.out] == ["a", "b", "c"]
    assert command.err == ["2 of 3 inputs are done already", "c done"]


@pytest.mark.parametrize("place", ["here"], indirect=True)
def test_records_tell_of_inputs_by_the_names_of_this_run(command, tmp_path, monkeypatch, capsys):
    assert command("a", json=True) == 0
    monkeypatch.chdir(tmp_path / "in")
    todo = [Job(Input("./a", Path("a"), Path("a")), Path("../out/a.out"))]
    arguments = Arguments(out=Path("../out"), json=True)
    assert jobs.run(todo, never, arguments, command="test", neutral=("sheet",)) == 0
    record = json.loads(capsys.readouterr().out)
    assert record == {"input": "./a", "output": "../out/a.out"}


def test_answers_that_are_not_written_are_told_again(command, tmp_path):
    command.work = lambda job, on_step: Outcome({"input": job.item.name}, f"{job.item.name}: a cat")
    options = {"path": False, **lines_of(tmp_path / "out" / "table")}
    for done in ([], ["3 of 3 inputs are done already"]):
        assert command(**options) == 0
        assert command.err == ["a: a cat", "b: a cat", "c: a cat", *done]
        command.work = never


def test_a_changed_input_is_done_anew(command, tmp_path):
    assert command() == 0
    (tmp_path / "in" / "b").write_text("changed")
    assert command() == 0
    assert command.err == [
        "2 of 3 inputs are done already",
        "1 of 3 inputs have changed since; theirs are made anew",
        "b done",
    ]
    assert results(tmp_path) == {"a.out": "a", "b.out": "changed", "c.out": "c"}


def test_another_input_of_that_name_is_not_taken_for_the_first(command, tmp_path):
    assert command() == 0
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "a").write_text("another")
    assert command("a", folder="second") == 1
    (line,) = command.err
    assert f"out/a.out exists, made from {tmp_path}/in/a; choose" in line
    assert results(tmp_path)["a.out"] == "a"
    assert command("a", folder="second", overwrite=True) == 0
    assert results(tmp_path)["a.out"] == "another"


# === What is not replaced ===


def test_results_of_other_settings_are_named_and_kept(command, tmp_path):
    assert command() == 0
    (tmp_path / "in" / "new").write_text("new")
    assert command(colour="blue", json=True) == 1
    lines = [line for line in command.err if line.startswith("error:")]
    assert lines == [
        f"error: {name}: {tmp_path}/out/{name}.out exists, made with other settings (--colour); "
        "choose another --out or pass --overwrite"
        for name in "abc"
    ]
    assert command.err[-1] == "new done"
    assert command(colour="blue", overwrite=True) == 0
    assert command(colour="blue") == 0
    assert command.err == ["4 of 4 inputs are done already"]


def test_settings_that_shape_no_result_change_nothing(command):
    assert command() == 0
    command.work = never
    assert command(sheet=True, worker_cpus=2, json=True) == 0


def test_files_of_strangers_are_named_and_kept(command, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "b.out").write_text("theirs")
    (tmp_path / "out" / "c.more").write_text("theirs, too")
    assert command(others=["more"]) == 1
    assert [line.partition(" exists; choose")[0] for line in command.err] == [
        "a done",
        f"error: b: {tmp_path}/out/b.out",
        f"error: c: {tmp_path}/out/c.more",
    ]
    assert results(tmp_path)["b.out"] == "theirs"
    assert "c.out" not in results(tmp_path)
    assert command(others=["more"], overwrite=True) == 0
    assert results(tmp_path)["c.more"] == "c"


def test_a_result_that_was_changed_by_hand_is_kept(command, tmp_path):
    assert command() == 0
    (tmp_path / "out" / "b.out").write_text("better")
    assert command() == 0
    (tmp_path / "in" / "b").write_text("changed")
    assert command() == 1
    assert "b.out exists, and was changed since it was made; choose" in command.err[-1]
    assert results(tmp_path)["b.out"] == "better"


def test_more_results_of_the_same_settings_are_made(command, tmp_path):
    assert command() == 0
    assert command(others=["more"]) == 0
    assert command.err == ["a done", "b done", "c done"]
    assert command() == 0
    assert command.err == ["3 of 3 inputs are done already"]


def test_overwrite_makes_all_anew(command):
    assert command() == 0
    assert command(overwrite=True) == 0
    assert command.err == ["a done", "b done", "c done"]


# === What goes wrong with one input ===


@pytest.mark.parametrize("kind", [ZeroDivisionError, MemoryError, RecursionError])
def test_a_fault_of_the_program_is_one_inputs_own(command, tmp_path, kind):
    def fail_at_b(job, on_step):
        if job.item.name == "b":
            raise kind("of its own\nin two lines")
        return write(job, on_step)

    command.work = fail_at_b
    assert command() == 1
    log = tmp_path / "out" / "faults.log"
    assert command.err == [
        "a done",
        f"error: b: failed unexpectedly: {kind.__name__}: of its own (traceback in {log})",
        "c done",
    ]
    text = log.read_text()
    assert text.splitlines()[0].endswith(" b")
    assert "in fail_at_b" in text
    assert f"{kind.__name__}: of its own" in text
    assert sorted(results(tmp_path)) == ["a.out", "c.out", "faults.log"]


def test_a_fault_without_a_folder_is_logged_in_a_temporary_one(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "a").write_text("fault")
    item, out = Input("a", tmp_path / "a", Path("a")), tmp_path / "a.png"
    arguments = Arguments(out=out)
    factory = lambda: jobs.one_by_one(write)  # noqa: E731
    assert jobs.run([Job(item, out)], factory, arguments, command="test") == 1
    (log,) = tmp_path.glob("atelier-*/faults.log")
    assert f"(traceback in {log})" in capsys.readouterr().err
    assert sorted(os.listdir(tmp_path)) == ["a", log.parent.name]


@pytest.mark.parametrize("kind", [SettingsError, WeightsError])
def test_what_is_wrong_for_all_ends_the_run_and_keeps_what_was_done(command, tmp_path, kind):
    def wrong_at_b(job, on_step):
        if job.item.name == "b":
            raise kind("damaged")
        return write(job, on_step)

    command.work = wrong_at_b
    with pytest.raises(kind, match=r"^damaged$"):
        command()
    assert results(tmp_path) == {"a.out": "a"}
    command.work = write
    assert command() == 0
    assert command.err[0] == "1 of 3 inputs are done already"


def test_a_record_that_cannot_be_told_is_its_inputs_failure(command, monkeypatch):
    def full(record):
        raise OutputError("cannot write to standard output: No space left on device")

    monkeypatch.setattr(cli, "print_json", full)
    assert command(json=True) == 1
    assert [line.startswith("error: ") for line in command.err] == [True] * 3


# === Ctrl-C ===


@pytest.fixture
def stop_at_b(command):
    """The signal comes while b is being made, which then ends as `run.end` has it."""

    def work(job, on_step):
        if job.item.name == "b":
            signal.raise_signal(work.number)
            return work.end(job, on_step)
        return write(job, on_step)

    work.number, command.work = signal.SIGINT, work
    return work


@cli.command
def main(argv):
    """Gives the exit code of what is called."""
    return argv[0]()


@pytest.mark.parametrize("place", ["here"], indirect=True)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_an_input_fails_ends_the_run(command, stop_at_b, tmp_path, number, code):
    def fail(job, on_step):
        raise ImageError("not a picture")

    stop_at_b.number, stop_at_b.end = number, fail
    assert main([command]) == code
    assert results(tmp_path) == {"a.out": "a"}
    assert "error: b: not a picture" in command.err


@pytest.mark.parametrize("place", ["here"], indirect=True)
def test_what_was_whole_when_the_signal_came_is_done(command, stop_at_b, tmp_path):
    stop_at_b.end = write
    with pytest.raises(KeyboardInterrupt):
        command()
    assert command.err[-1] == "b done"
    command.work = write
    assert command() == 0
    assert command.err == ["2 of 3 inputs are done already", "c done"]


@pytest.mark.parametrize("place", ["here"], indirect=True)
def test_what_was_stopped_in_the_middle_is_kept_and_made_anew_later(command, stop_at_b, tmp_path):
    def half(job, on_step):
        assert on_step(Step(1, 2, {})), "told to stop"
        job.path.write_text("half")
        return Outcome({"input": "b", "output": str(job.path)}, "b so far")

    stop_at_b.end = half
    with pytest.raises(KeyboardInterrupt):
        command()
    assert results(tmp_path) == {"a.out": "a", "b.out": "half"}
    known = {str(tmp_path / "out" / name) for name in ("a.out", "b.out")}
    assert results_known_in(tmp_path / "out") == known, "neither is an input of the next run"
    command.work = never
    with pytest.raises(KeyboardInterrupt):
        stop_now(command)
    command.work = write
    assert command("b", colour="blue") == 1, "it is kept from other settings"
    assert command() == 0
    assert command.err == ["1 of 3 inputs are done already", "b done", "c done"]
    assert results(tmp_path) == {"a.out": "a", "b.out": "b", "c.out": "c"}


def stop_now(command):
    """A second run that is stopped before it has done anything."""

    def work(job, on_step):
        raise KeyboardInterrupt

    command.work = work
    command()


@pytest.mark.parametrize("place", ["here"], indirect=True)
def test_a_kill_between_a_result_and_its_record_loses_nothing(command, tmp_path):
    """As `BaseException` leaves things, but for the tidying that a kill leaves undone."""

    class Killed(BaseException):
        pass

    def die_after_b(job, on_step):
        outcome = write(job, on_step)
        if job.item.name == "b":
            raise Killed
        return outcome

    command.work = die_after_b
    with pytest.raises(Killed):
        command()
    assert sorted(results(tmp_path)) == ["a.out", "b.out"]
    command.work = write
    assert command() == 0
    assert command.err == ["1 of 3 inputs are done already", "b done", "c done"]


# === Tables ===


def lines_of(table: Path):
    """Writes the names of all that is done, a line each."""

    def at_end(finished):
        lines = [f"{outcome.record['input']}\n" for _, outcome in finished]
        table.write_text("".join(lines))

    return {"at_end": at_end, "tables": [table]}


def test_a_table_has_what_this_run_and_earlier_ones_have_done(command, tmp_path):
    table = tmp_path / "out" / "table"
    assert command("a", "b", **lines_of(table)) == 0
    (tmp_path / "in" / "bad").write_text("bad")
    assert command(**lines_of(table)) == 1
    assert table.read_text() == "a\nb\nc\n"


def test_a_table_is_written_after_ctrl_c_too(command, tmp_path):
    def stop_at_c(job, on_step):
        if job.item.name == "c":
            raise KeyboardInterrupt
        return write(job, on_step)

    table = tmp_path / "table"
    command.work = stop_at_c
    with pytest.raises(KeyboardInterrupt):
        command(**lines_of(table))
    assert table.read_text() == "a\nb\n"
    command.work = write
    assert command(**lines_of(table)) == 0
    assert table.read_text() == "a\nb\nc\n"


@pytest.mark.parametrize("change", ["a stranger's", "other settings", "other inputs", "by hand"])
def test_a_table_that_would_lose_something_is_refused_before_the_work(command, tmp_path, change):
    table = tmp_path / "table"
    words = {
        "a stranger's": "table exists; choose",
        "other settings": r"made with other settings \(--colour\)",
        "other inputs": r"holds inputs that are not among these \(1\)",
        "by hand": "was changed since it was made",
    }
    if change != "a stranger's":
        assert command(**lines_of(table)) == 0
    if change in ("a stranger's", "by hand"):
        table.write_text("mine")
    before = table.read_text()
    names = ["a", "b"] if change == "other inputs" else []
    settings = {"colour": "blue"} if change == "other settings" else {}
    command.work = never
    with pytest.raises(OutputError, match=words[change]):
        command(*names, **settings, **lines_of(table))
    assert table.read_text() == before
    command.work = write
    assert command(*names, **settings, overwrite=True, **lines_of(table)) == 0
    assert table.read_text() == "".join(f"{name}\n" for name in names or "abc")


# === Other commands and other runs ===


def test_all_done_loads_no_model(command, monkeypatch, tmp_path):
    assert command() == 0
    todo = [Job(Input("a", tmp_path / "in" / "a", Path("a")), tmp_path / "out" / "a.out")]
    arguments = Arguments(out=tmp_path / "out")
    factory = lambda: pytest.fail("loaded")  # noqa: E731
    assert jobs.run(todo, factory, arguments, command="test", neutral=("sheet",)) == 0


def test_an_input_that_is_named_twice_is_done_once(command):
    assert command("a", "a") == 0
    assert command.err == ["a done"]


def test_nothing_is_left_where_nothing_was_made(command, tmp_path):
    for name in "abc":
        (tmp_path / "in" / name).write_text("bad")
    assert command() == 1
    assert not (tmp_path / "out").exists()


def test_a_result_that_is_named_by_its_file_has_no_records_beside_it(tmp_path):
    (tmp_path / "a").write_text("a")
    out = tmp_path / "x.png"
    factory = lambda: jobs.one_by_one(write)  # noqa: E731
    todo = [Job(Input("a", tmp_path / "a", Path("a")), out)]
    assert jobs.run(todo, factory, Arguments(out=out), command="test") == 0
    assert sorted(os.listdir(tmp_path)) == ["a", "x.png"]
    assert jobs.run(todo, factory, Arguments(out=out), command="test") == 1


def test_what_another_run_is_making_is_waited_for(command, tmp_path, monkeypatch):
    """It makes b while a is made here; the other's end lets this one see that b is done."""
    arguments = Arguments(out=tmp_path / "out")
    settings = settings_of(arguments, jobs.NEUTRAL | {"sheet"})
    other = Ledger(tmp_path / "out", "test", settings)
    path = tmp_path / "out" / "b.out"
    begun = other.begin(tmp_path / "in" / "b", (path,))
    waits = []

    def finish(seconds):
        waits.append(seconds)
        path.write_text("by the other")
        begun.finish({"input": "b", "output": str(path)}, "b done", {})

    monkeypatch.setattr("time.sleep", finish)
    assert command() == 0
    assert len(waits) == 1
    assert command.err == ["a done", "c done"]
    assert results(tmp_path)["b.out"] == "by the other"
