"""What every command does: flags, inputs, outputs, exit codes, one line for each mistake."""

import dataclasses
import io
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Literal

import pytest

from atelier import cli
from atelier.errors import (
    AtelierError,
    ImageError,
    OutputError,
    SettingsError,
    TrainingError,
    WeightsError,
)
from atelier.media.images import load_image, save_image
from atelier.progress import Step


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Does something to pictures."""

    inputs: tuple[str, ...] = ()
    """The pictures."""
    preset: str = "plain"
    """Named settings."""
    learning_rate: float = 0.5
    """How fast."""
    steps: int = 10
    """How many."""
    kind: Literal["max", "average"] = "max"
    """Of pooling."""
    seed: int | None = 3
    """Of the noise."""
    out: Path = Path("out")
    """Where to."""
    keep: bool = False
    """Whether to keep it."""
    fine: bool = True
    """Whether it is fine."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """The part of the arguments that presets set."""

    learning_rate: float = 0.5
    steps: int = 10
    kind: str = "max"


PRESETS = {"plain": Settings(), "slow": Settings(0.01, 1000, "average")}


def parse(*argv: str) -> Arguments:
    return cli.parse(Arguments, argv, prog="python -m x", presets=PRESETS)


def refusal(*argv: str) -> str:
    """The one line that a command line is answered with."""
    with pytest.raises(SettingsError) as caught:
        parse(*argv)
    text = str(caught.value)
    assert "\n" not in text
    assert "─" not in text
    assert "---" not in text
    assert text.count("help") <= 1
    return text


def touch(folder: Path, *names: str) -> list[Path]:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return [folder / name for name in names]


# === Exit codes ===


@pytest.mark.parametrize(
    "error", [AtelierError, ImageError, OutputError, SettingsError, WeightsError]
)
def test_a_mistake_is_one_line_and_exit_2(capsys, error):
    @cli.command
    def main(argv):
        raise error("this is\n  wrong; do that")

    assert main([]) == 2
    said = capsys.readouterr()
    assert said.err == "error: this is wrong; do that\n"
    assert said.out == ""


def test_a_training_that_diverges_is_one_line_and_exit_1(capsys):
    @cli.command
    def main(argv):
        raise TrainingError("the loss is nan")

    assert main([]) == 1
    assert capsys.readouterr().err == "error: the loss is nan\n"


def test_ctrl_c_is_130_without_a_traceback(capsys):
    @cli.command
    def main(argv):
        raise KeyboardInterrupt

    assert main([]) == 130
    assert capsys.readouterr().err == "error: stopped; what was finished is kept\n"


def test_mistakes_of_the_program_keep_their_traceback():
    @cli.command
    def main(argv):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        main([])


@pytest.mark.parametrize("code", [0, 1])
def test_a_command_takes_its_arguments_or_those_of_the_process(monkeypatch, code):
    @cli.command
    def main(argv):
        return argv.index("--x")

    monkeypatch.setattr(sys, "argv", ["prog", "--x"])
    assert main() == 0
    assert main(["a"] * code + ["--x"]) == code


@pytest.mark.parametrize("stream", ["none", "without a number"])
def test_a_reader_that_has_gone_ends_a_command_quietly(capsys, monkeypatch, stream):
    monkeypatch.setattr(sys, "stdout", None if stream == "none" else io.StringIO())

    @cli.command
    def main(argv):
        raise BrokenPipeError

    assert main([]) == 1
    assert capsys.readouterr().err == ""


def test_in_a_process_of_its_own(tmp_path):
    """A pipe that closes early, Ctrl-C, and standard input, as a shell has them."""
    program = tmp_path / "program.py"
    program.write_text(
        "import os, signal, sys\n"
        "from atelier import cli\n"
        "from atelier.cli.inputs import find_inputs\n"
        "from atelier.media.images import load_image\n"
        "@cli.command\n"
        "def main(argv):\n"
        "    (item,) = find_inputs(['-'])\n"
        "    cli.print_note(str(load_image(item.source).shape))\n"
        # Whatever started the tests may have had Ctrl-C ignored.
        "    signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.exit(main())\n"
    )
    save_image(tmp_path / "x.png", load_image(b"P5 2 1 255\n\0\0"))
    with open(tmp_path / "x.png", "rb") as file:
        done = subprocess.run(
            [sys.executable, program], stdin=file, capture_output=True, text=True, cwd=os.getcwd()
        )
    assert done.returncode == 130
    # TensorFlow's own lines are not among these.
    assert done.stderr == "(1, 2, 3)\nerror: stopped; what was finished is kept\n"

    program.write_text(
        "import sys\n"
        "from atelier import cli\n"
        "@cli.command\n"
        "def main(argv):\n"
        "    while True:\n"
        "        cli.print_json({'a': 1})\n"
        "sys.exit(main())\n"
    )
    with subprocess.Popen(
        [sys.executable, program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout.readline() == '{"a": 1}\n'
        running.stdout.close()
        assert running.stderr.read() == ""
        assert running.wait(30) == 1


def test_a_closed_standard_error_stops_nothing():
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import os; os.close(2); import sys; sys.stderr = None; import atelier",
        ],
        stdout=subprocess.PIPE,
    )
    assert done.returncode == 0


# === parse ===


def test_fields_are_flags():
    assert parse() == Arguments()
    assert parse("--learning-rate", "-1e-3", "--steps=7", "--kind", "average", "--keep") == (
        Arguments(learning_rate=-0.001, steps=7, kind="average", keep=True)
    )
    assert parse("--inputs", "a.png", "b c.png").inputs == ("a.png", "b c.png")
    assert parse("--seed", "None").seed is None
    assert parse("--no-fine").fine is False
    assert parse("--out", "a/b").out == Path("a/b")


def test_a_preset_takes_the_place_of_defaults_and_flags_of_a_preset():
    slow = parse("--preset", "slow")
    assert (slow.preset, slow.learning_rate, slow.steps, slow.kind) == (
        "slow",
        0.01,
        1000,
        "average",
    )
    assert slow.seed == Arguments().seed
    assert parse("--steps", "5", "--preset=slow") == dataclasses.replace(slow, steps=5)


def test_settings_are_the_fields_of_arguments():
    assert cli.settings(Settings, parse("--preset", "slow")) == PRESETS["slow"]


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--preset", "fast"], ["'fast'", "choose one of plain, slow"]),
        (["--preset"], ["--preset", "expected one argument"]),
        (["--nonsense"], ["--nonsense"]),
        (["stray"], ["stray"]),
        (["--steps", "many"], ["--steps", "'many'"]),
        (["--steps", "1.5"], ["--steps", "'1.5'"]),
        (["--steps"], ["--steps", "value"]),
        (["--kind", "min"], ["--kind", "'min'", "'max', 'average'"]),
        (["--keep", "perhaps"], ["perhaps"]),
    ],
)
def test_bad_usage_is_one_line(monkeypatch, encoding, argv, words):
    terminal = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", terminal)
    said = refusal(*argv)
    for word in words:
        assert word in said


def test_bad_usage_points_to_help_and_leaves_the_screen_alone(capsys):
    assert refusal("--nonsense").endswith("(see python -m x --help)")
    with pytest.raises(SettingsError, match=r"^Unrecognized options: --nonsense$"):
        cli.parse(Arguments, ["--nonsense"])
    said = capsys.readouterr()
    assert said.out == said.err == ""


@pytest.mark.parametrize("argv", [["--help"], ["-h"], ["--preset", "slow", "--help"]])
def test_help_exits_0_and_tells_every_flag(capsys, argv):
    @cli.command
    def main(argv):
        return parse(*argv).steps

    with pytest.raises(SystemExit) as stop:
        main(argv)
    assert stop.value.code in (0, None)
    said = capsys.readouterr().out
    assert "Does something to pictures." in said
    for field in dataclasses.fields(Arguments):
        assert f"--{field.name.replace('_', '-')}" in said.replace("--no-fine", "--fine")
    assert "How fast." in said
    assert ("1000" in said) == ("slow" in argv)


def test_flags_of_arguments_can_be_typed_again():
    assert cli.as_flags(Arguments()) == ""
    given = Arguments(steps=7, keep=True, fine=False, kind="average", inputs=("a", "b"))
    flags = cli.as_flags(given)
    assert flags == "--inputs a b --steps 7 --kind average --keep --no-fine"
    assert parse(*flags.split()) == given


def test_flags_are_quoted_for_a_shell():
    given = Arguments(out=Path("my run"), inputs=("it's", "$b"))
    flags = cli.as_flags(given)
    assert flags == """--inputs 'it'"'"'s' '$b' --out 'my run'"""
    assert parse(*shlex.split(flags)) == given


def test_help_shows_both_ways_of_a_switch(capsys):
    """A text that says what a flag does must not stand beside its opposite alone."""
    with pytest.raises(SystemExit):
        parse("--help")
    said = capsys.readouterr().out
    assert "--fine, --no-fine" in said
    assert "--keep, --no-keep" in said


def test_flags_for_cards_do_not_tell_where_data_lay():
    given = Arguments(out=Path("/home/me/run"), inputs=("/secret/photos", "b"))
    assert cli.as_flags(given) == "--inputs photos b --out run"


# === Output lines ===


def test_json_is_a_line_on_standard_output(capsys):
    cli.print_json({"path": Path("a/b"), "name": "画\n"})
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.count("\n") == 1
    assert json.loads(said.out) == {"path": "a/b", "name": "画\n"}


def test_say_and_report_use_standard_error(capsys):
    cli.print_note("done")
    cli.print_error("two\nlines")
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "done\nerror: two lines\n")


# === While it runs ===


def test_no_bar_where_there_is_no_terminal(capsys):
    with cli.progress_bar("work") as on_step:
        for number in (1, 2):
            assert not on_step(Step(number, 2, {"loss": 0.1}))
    assert capsys.readouterr().err == ""


def test_a_bar_follows_the_steps_on_a_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with cli.progress_bar("work") as on_step:
        on_step(Step(5, 8, {"loss": 0.123456}))
        time.sleep(0.15)  # tqdm draws ten times a second at most.
        on_step(Step(8, 8, {"loss": 0.1}))
    assert "work" in terminal.getvalue()
    assert "8/8" in terminal.getvalue()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_after_its_step(capsys, number):
    before = signal.getsignal(number)
    with cli.stop_on_signal() as on_step:
        assert on_step(Step(1, 9, {})) is False
        signal.raise_signal(number)
        assert on_step(Step(2, 9, {})) is True
    assert signal.getsignal(number) is before
    assert capsys.readouterr().err == "stopping after this step; once more to stop at once\n"


def test_a_second_ctrl_c_stops_at_once(capsys):
    before = signal.getsignal(signal.SIGINT)

    def run():
        with cli.stop_on_signal():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run()
    assert signal.getsignal(signal.SIGINT) is before
    capsys.readouterr()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_is_ignored_stays_so(number):
    """As `nohup` and a shell's `&` leave it."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with cli.stop_on_signal() as on_step:
            signal.raise_signal(number)
            assert on_step(Step(1, 1, {})) is False
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


def test_a_handler_that_is_not_pythons_stays(monkeypatch):
    """It is None to Python, which cannot set it again."""
    real = signal.getsignal
    monkeypatch.setattr(signal, "getsignal", lambda n: None if n == signal.SIGTERM else real(n))
    before = real(signal.SIGTERM)
    with cli.stop_on_signal():
        assert real(signal.SIGTERM) is before
    assert real(signal.SIGTERM) is before


def test_other_threads_run_without_signals():
    answers = []

    def run():
        with cli.stop_on_signal() as on_step:
            answers.append(on_step(Step(1, 1, {})))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert answers == [False]
