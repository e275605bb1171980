"""What every command does: flags, inputs, outputs, exit codes, one line for each mistake."""

import dataclasses
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import types
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
from atelier.images import load_image, save_image
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
        "from atelier.images import load_image\n"
        "@cli.command\n"
        "def main(argv):\n"
        "    (item,) = cli.find_inputs(['-'])\n"
        "    cli.say(str(load_image(item.source).shape))\n"
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


def test_flags_for_cards_do_not_tell_where_data_lay():
    given = Arguments(out=Path("/home/me/run"), inputs=("/secret/photos", "b"))
    assert cli.as_flags(given) == "--inputs photos b --out run"


# === Inputs ===


def test_files_are_taken_as_they_are():
    (item,) = cli.find_inputs(["some/where/missing.xyz"])
    assert item == cli.Input(
        "some/where/missing.xyz", Path("some/where/missing.xyz"), Path("missing.xyz")
    )
    assert cli.find_inputs([]) == []


def test_a_folder_gives_its_pictures_in_order(tmp_path):
    touch(tmp_path, "b.png", "a.JPG", "c/d.webp", "notes.txt", ".hidden.png", "c/.tmp-x.png")
    (tmp_path / "album.png").mkdir()
    touch(tmp_path, "album.png/x.gif")
    found = cli.find_inputs([tmp_path])
    assert [str(item.relative) for item in found] == [
        "a.JPG",
        "album.png/x.gif",
        "b.png",
        "c/d.webp",
    ]
    assert found[0].source == tmp_path / "a.JPG"
    assert found[0].name == str(tmp_path / "a.JPG")


def test_other_kinds_of_files_can_be_looked_for(tmp_path):
    touch(tmp_path, "a.png", "b.MP4", "c.txt")
    found = cli.find_inputs([tmp_path], (".txt", ".mp4"))
    assert [str(item.relative) for item in found] == ["b.MP4", "c.txt"]


@pytest.mark.parametrize("content", [[], ["notes.txt"], [".hidden.png"]])
def test_a_folder_without_pictures_is_refused_by_name(tmp_path, content):
    touch(tmp_path, *content)
    with pytest.raises(ImageError, match=f"^{tmp_path}: no pictures in this folder$"):
        cli.find_inputs([tmp_path])


def listed(folder: Path, *lines: str, end="\n") -> list[cli.Input]:
    (folder / "list.txt").write_text("".join(line + end for line in lines), encoding="utf-8")
    return cli.find_inputs([folder / "list.txt"])


def test_a_list_gives_the_files_that_it_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = listed(tmp_path, "./b.png", "", "a/x.png", "  ", "a/ö c.jpg", "missing.xyz")
    assert [item.name for item in found] == ["./b.png", "a/x.png", "a/ö c.jpg", "missing.xyz"]
    assert [str(item.relative) for item in found] == [
        "b.png",
        "a/x.png",
        "a/ö c.jpg",
        "missing.xyz",
    ]
    assert [item.source for item in found] == [Path(item.name) for item in found]
    assert listed(tmp_path, "./b.png", end="\r\n")[0].name == "./b.png"
    assert listed(tmp_path, "\ufeffb.png")[0].name == "b.png"


def test_listed_files_keep_their_places_below_the_folder_that_all_share(tmp_path):
    found = listed(tmp_path, "/x/y/a.png", "/x/y/z/b.png", "/x/c/../y/d.png")
    assert [str(item.relative) for item in found] == ["a.png", "z/b.png", "d.png"]
    assert [str(item.relative) for item in listed(tmp_path, "/x/y/a.png")] == ["a.png"]


@pytest.mark.parametrize(
    "lines",
    [
        ("../../a.png", "b.png"),
        ("/elsewhere/a.png", "a/../../b.png"),
        ("/../../a.png", "/b.png"),
        ("//a.png", "/b/c.png"),
        ("/", "a.png"),
        ("..", "."),
    ],
)
def test_no_listed_file_can_lead_out_of_the_results_folder(tmp_path, monkeypatch, lines):
    monkeypatch.chdir(tmp_path)
    for path in cli.output_paths(listed(tmp_path, *lines), tmp_path / "out"):
        assert tmp_path / "out" in Path(os.path.abspath(path)).parents


def test_a_file_that_is_listed_twice_is_taken_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (item,) = listed(tmp_path, "a.png", "./a.png", f"{tmp_path}/b/../a.png", "a.png")
    assert item.relative == Path("a.png")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no files in this list"),
        (b"\n \n\r\n", "no files in this list"),
        (b"a.png\0b.png\n", "it is no text in UTF-8"),
        (b"\x89PNG\r\n\x1a\n", "it is no text in UTF-8"),
        (None, "No such file or directory"),
    ],
)
def test_what_is_no_list_is_one_line(tmp_path, content, words):
    if content is not None:
        (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(ImageError, match=f"^{tmp_path}/list.txt: .*{words}"):
        cli.find_inputs([tmp_path / "list.txt"])


def test_a_dash_is_standard_input(monkeypatch, tmp_path, photo):
    save_image(tmp_path / "x.png", photo)
    content = io.TextIOWrapper(io.BytesIO((tmp_path / "x.png").read_bytes()))
    monkeypatch.setattr(sys, "stdin", content)
    (item,) = cli.find_inputs(["-"])
    assert item.name == "standard input"
    assert (load_image(item.source) == photo).all()
    assert cli.output_paths([item], Path("out")) == [Path("out/stdin.png")]


def test_bytes_of_standard_input_are_bounded(monkeypatch):
    monkeypatch.setattr(cli, "file_bound", lambda: 1000)
    content = io.BytesIO(bytes(2000))
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=content))
    with pytest.raises(ImageError, match="standard input: more than 1,000 bytes"):
        cli.find_inputs(["-"])
    assert content.tell() == 1001


@pytest.mark.parametrize("stdin", [None, io.StringIO("a notebook's")])
def test_no_standard_input_is_one_line(monkeypatch, stdin):
    monkeypatch.setattr(sys, "stdin", stdin)
    with pytest.raises(ImageError, match="no standard input"):
        cli.find_inputs(["-"])


# === Outputs ===


def outputs(inputs: list, out: str | Path = "out", **options) -> list[str]:
    return [str(path) for path in cli.output_paths(cli.find_inputs(inputs), Path(out), **options)]


def test_results_keep_their_inputs_names():
    assert outputs(["x/a.jpg", "y/b.c.png"]) == ["out/a.png", "out/b.c.png"]
    assert outputs(["x/a.jpg"], suffix=".jpg") == ["out/a.jpg"]
    assert outputs([]) == []


def test_results_of_a_folder_keep_its_folders(tmp_path):
    touch(tmp_path, "a.jpg", "b/a.jpg")
    assert outputs([tmp_path]) == ["out/a.png", "out/b/a.png"]


def test_out_can_be_a_file_for_one_input(tmp_path):
    assert outputs(["a.jpg"], "x/result.WEBP") == ["x/result.WEBP"]
    with pytest.raises(SettingsError, match=r"--out r\.png is one file, but there are 2 inputs"):
        outputs(["a.jpg", "b.jpg"], "r.png")


def test_each_input_can_have_a_suffix_of_its_own():
    def suffix(item):
        return ".mp4" if item.relative.suffix == ".avi" else ".png"

    options = {"suffix": suffix, "files": (".mp4",)}
    assert outputs(["a.jpg", "b.avi"], **options) == ["out/a.png", "out/b.mp4"]
    assert outputs(["b.avi"], "x.mp4", **options) == ["x.mp4"]
    assert outputs(["b.avi"], "x.png", **options) == ["x.png/b.mp4"]


def test_a_folder_may_be_named_like_a_file(tmp_path):
    (tmp_path / "r.png").mkdir()
    assert outputs(["a.jpg", "b.jpg"], tmp_path / "r.png")[1] == str(tmp_path / "r.png/b.png")


def test_inputs_with_the_same_stem_keep_their_suffixes():
    assert outputs(["a.jpg", "b.png", "a.webp"]) == ["out/a.jpg.png", "out/b.png", "out/a.webp.png"]


@pytest.mark.parametrize("inputs", [["x/a.jpg", "y/a.jpg"], ["a.jpg", "a.jpg"]])
def test_two_results_never_go_to_one_file(inputs):
    with pytest.raises(SettingsError, match=r"both be written to out/a\.jpg\.png"):
        outputs(inputs)


def test_a_name_that_looks_like_anothers_result_is_not_overwritten():
    with pytest.raises(SettingsError, match=r"out/a\.jpg\.png"):
        outputs(["a.jpg", "a.webp", "a.jpg.tif"])


# === for_each ===


def test_one_bad_file_in_a_folder_fails_alone(tmp_path, photo, capsys):
    for name in ("a.png", "c.png"):
        save_image(tmp_path / name, photo)
    (tmp_path / "b.png").write_text("not a picture")
    done = []

    @cli.command
    def main(argv):
        return cli.for_each(
            (item.name, lambda item=item: done.append(load_image(item.source)))
            for item in cli.find_inputs(argv)
        )

    assert main([str(tmp_path)]) == 1
    assert len(done) == 2
    # The name is said once, although both the reader and the loop know it.
    assert capsys.readouterr().err == (
        f"error: {tmp_path / 'b.png'}: not a picture in a format that can be read\n"
    )
    (tmp_path / "b.png").unlink()
    assert main([str(tmp_path)]) == 0


def test_a_reason_without_the_name_gets_it(capsys):
    def fail():
        raise OutputError("the disk is full")

    assert cli.for_each([("a.png", fail), ("b.png", lambda: None)]) == 1
    assert capsys.readouterr().err == "error: a.png: the disk is full\n"
    assert cli.for_each([]) == 0


def test_ctrl_c_ends_the_loop():
    def stop():
        raise KeyboardInterrupt

    done = []
    with pytest.raises(KeyboardInterrupt):
        cli.for_each([("a", stop), ("b", lambda: done.append(1))])
    assert not done


# === Output lines ===


def test_json_is_a_line_on_standard_output(capsys):
    cli.print_json({"path": Path("a/b"), "name": "画\n"})
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.count("\n") == 1
    assert json.loads(said.out) == {"path": "a/b", "name": "画\n"}


def test_say_and_report_use_standard_error(capsys):
    cli.say("done")
    cli.report("two\nlines")
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


def test_other_threads_run_without_signals():
    answers = []

    def run():
        with cli.stop_on_signal() as on_step:
            answers.append(on_step(Step(1, 1, {})))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert answers == [False]
