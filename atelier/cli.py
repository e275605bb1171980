"""What the commands share: settings to flags, inputs, exit codes, one line for each mistake."""

from __future__ import annotations

import argparse
import collections
import contextlib
import dataclasses
import functools
import io
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import tyro
from tqdm import tqdm

from atelier.errors import (
    AtelierError,
    ImageError,
    OutputError,
    SettingsError,
    TrainingError,
    one_line,
)
from atelier.files import files_below, read_bounded, reason, write_stream
from atelier.images import READABLE, file_bound
from atelier.progress import OnStep, Step

DONE, SOME_FAILED, BAD_USAGE, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143
"""The exit codes of all commands; the last two after Ctrl-C and SIGTERM."""

Arguments = TypeVar("Arguments")


def command(main: Callable[[Sequence[str] | None], int]) -> Callable[..., int]:
    """Makes a `main(argv=None) -> int` that answers mistakes with a line and an exit code.

    `AtelierError` gives one line that starts `error:` and exit code 2; so does bad usage. A
    training that diverges gives 1, Ctrl-C 130, SIGTERM 143. No traceback for any of them.
    """

    @functools.wraps(main)
    def wrapped(argv: Sequence[str] | None = None) -> int:
        _stops.clear()
        try:
            with _sigterm_as_ctrl_c():
                return main(sys.argv[1:] if argv is None else argv)
        except TrainingError as error:
            report(str(error))
            return SOME_FAILED
        except AtelierError as error:
            report(str(error))
            return BAD_USAGE
        except KeyboardInterrupt:
            report("stopped; what was finished is kept")
            return TERMINATED if signal.SIGTERM in _stops else INTERRUPTED
        except BrokenPipeError:
            # Whoever read our output has gone: nothing is left to say, not even at exit.
            with contextlib.suppress(OSError, AttributeError):  # Notebooks' output has no number.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return SOME_FAILED

    return wrapped


_stops: list[int] = []
"""The signals that the command was asked to stop by."""


@contextlib.contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """SIGTERM, too, lets what is under way clean up after itself; a second one kills."""

    def handler(number, frame):
        _stops.append(number)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise KeyboardInterrupt

    # Others' handlers stay, as does nohup's ignoring; and only the main thread may set any.
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    ):
        yield
        return
    signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def parse(
    arguments: type[Arguments],
    argv: Sequence[str],
    *,
    prog: str = "",
    presets: Mapping[str, object] | None = None,
) -> Arguments:
    """Reads a command line into a dataclass, whose fields are the flags.

    Args:
        arguments: a dataclass with a docstring a field; its own docstring describes the command.
        argv: the command line, without the program's name.
        prog: the program's name, for the help text, to which errors point if it is given.
        presets: values of settings by preset name. If given, `arguments` has a field `preset`,
            and the fields of the preset that it names take the place of the defaults of the same
            name.

    Raises:
        SettingsError: what was typed makes no sense; one line. `--help` exits, as usual.
    """
    default = None
    if presets is not None:
        early = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
        early.add_argument("--preset", default=None)
        try:
            name = early.parse_known_args(argv)[0].preset
        except argparse.ArgumentError as error:
            raise SettingsError(str(error)) from None
        name = arguments.preset if name is None else name
        if name is not None and name not in presets:
            raise SettingsError(f"no preset {name!r}; choose one of {', '.join(presets)}")
        if name is not None:
            default = dataclasses.replace(arguments(), **shallow_dict(presets[name]))
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(
                arguments,
                prog=prog,
                args=list(argv),
                default=default,
                config=(tyro.conf.FlagCreatePairsOff,),
            )
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        hint = f" (see {prog} --help)" if prog else ""
        raise SettingsError(f"{_without_box(said.getvalue())}{hint}") from None


def settings(kind: type[Arguments], arguments: object) -> Arguments:
    """The fields of a settings dataclass `kind` out of a command's `arguments`."""
    return kind(**{f.name: getattr(arguments, f.name) for f in dataclasses.fields(kind)})


def as_flags(arguments: object) -> str:
    """The flags that differ from the defaults, for cards: `--epochs 3 --data photos`.

    Paths are given by their last part alone: where data lay is nobody's business.
    """
    flags = []
    for field in dataclasses.fields(arguments):
        value = getattr(arguments, field.name)
        if value == field.default:
            continue
        flag = field.name.replace("_", "-")
        if isinstance(value, bool):
            flags.append(f"--{flag}" if value else f"--no-{flag}")
            continue
        values = value if isinstance(value, tuple) else (value,)
        words = [Path(v).name if isinstance(v, Path) or "/" in str(v) else str(v) for v in values]
        flags.append(f"--{flag} {' '.join(words)}")
    return " ".join(flags)


def shallow_dict(instance: object) -> dict[str, object]:
    """A dataclass's fields by name, their values as they are."""
    return {f.name: getattr(instance, f.name) for f in dataclasses.fields(instance)}


def report(message: str) -> None:
    """One line on standard error that starts `error:`."""
    print(f"error: {' '.join(one_line(message).split())}", file=sys.stderr)


def report_failure(name: str, error: Exception) -> None:
    """One line on standard error for an input that failed: its name, unless it is in the reason."""
    message, name = str(error), one_line(name)
    report(message if name in message else f"{name}: {message}")


def say(message: str) -> None:
    """One line on standard error, whatever names are in it."""
    print(one_line(message), file=sys.stderr)


def print_json(record: Mapping[str, object]) -> None:
    """One JSON object on a line of standard output.

    Raises:
        OutputError: it cannot be written, because the disk is full, say.
        BrokenPipeError: whoever reads it has gone.
    """
    text = json.dumps(record, default=str, ensure_ascii=False)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:  # A name that is not UTF-8, or an output that is not.
        text = json.dumps(record, default=str)
    stream = getattr(sys.stdout, "buffer", None)
    if stream is None:  # A notebook's.
        print(text, flush=True)
        return
    sys.stdout.flush()
    write_stream(stream, f"{text}\n".encode(sys.stdout.encoding))


# === Inputs and outputs ===

MAX_LIST = 1 << 30
"""Bytes of a list of files: ten million paths."""


@dataclasses.dataclass(frozen=True)
class Input:
    """One picture that a command was given."""

    name: str
    """What the user is told it is."""
    source: Path | bytes
    """What `load_image` takes."""
    relative: Path
    """Its place under the output folder, with the input's suffix."""


def find_inputs(
    paths: Sequence[str | os.PathLike], suffixes: Sequence[str] = READABLE
) -> list[Input]:
    """The pictures that a command line names: files, folders with all below them, lists, or `-`.

    Files are taken as they are, to be judged when they are read; of folders, the files with one of
    `suffixes`, which are lower case, sorted. A file whose suffix is .txt is a list of files, see
    `read_list`.

    Raises:
        ImageError: a folder without pictures, a list that is none, or `-` where there is no
            standard input.
    """
    inputs = []
    for given in map(os.fspath, paths):
        path = Path(given)
        if given == "-":
            inputs.append(Input("standard input", _standard_input(), Path("stdin.png")))
        elif path.is_dir():
            unread: list[OSError] = []
            files = [
                file
                for file in files_below(path, on_error=unread.append)
                if file.suffix.lower() in suffixes and not file.name.startswith(".")
            ]
            # A folder that cannot be listed is an input like the others: one that fails, by name.
            files = sorted([*files, *(Path(error.filename) for error in unread)])
            if path in files:
                raise ImageError(f"{path}: cannot be read ({reason(unread[0])})")
            if not files:
                raise ImageError(f"{path}: no pictures in this folder")
            inputs += [Input(str(file), file, file.relative_to(path)) for file in files]
        elif path.suffix.lower() == ".txt":
            inputs += read_list(path)
        else:
            inputs.append(Input(given, path, Path(path.name)))
    return inputs


def read_list(file: Path) -> list[Input]:
    """The files that a list names, a path a line in UTF-8, as `find … > list.txt` writes it.

    Relative paths start from the current folder; empty lines are skipped, and a file that is named
    twice is taken once. Each keeps its place below the longest folder that all share.

    Raises:
        ImageError: the list cannot be read, is empty, or is no text.
    """
    try:
        text = read_bounded(file, MAX_LIST).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        why = reason(error) if isinstance(error, OSError) else "it is no text in UTF-8"
        raise ImageError(f"{file}: not a list of files ({why})") from None
    if "\0" in text:
        raise ImageError(f"{file}: not a list of files (it is no text in UTF-8)")
    lines = (line.removesuffix("\r") for line in text.split("\n"))
    # Without `..`, so that no result can come to lie outside its folder.
    places = {os.path.abspath(line): line for line in lines if line.strip()}
    if not places:
        raise ImageError(f"{file}: no files in this list")
    shared = os.path.commonpath([os.path.dirname(place) for place in places])
    relative = ((line, os.path.relpath(place, shared)) for place, line in places.items())
    # The root of all is no file, but must have a name to be told so.
    return [Input(line, Path(line), Path(to if to != "." else "root")) for line, to in relative]


def _standard_input() -> bytes:
    bound = file_bound()
    try:
        content = sys.stdin.buffer.read(bound + 1)
    except (OSError, AttributeError, ValueError):  # Closed, or a notebook's.
        raise ImageError("-: there is no standard input to read") from None
    if len(content) > bound:
        raise ImageError(f"standard input: more than {bound:,} bytes, which no picture takes")
    return content


def output_paths(
    inputs: Sequence[Input],
    out: Path,
    suffix: str | Callable[[Input], str] = ".png",
    files: Sequence[str] = READABLE,
) -> list[Path]:
    """Where each input's result goes: `out` itself if it is a file's name and there is one input,
    else a file in the folder `out` with the input's name.

    Inputs whose names differ by their suffixes alone keep them: a.jpg.png beside a.webp.png.

    Args:
        inputs: of the command.
        out: as it was given.
        suffix: of the results in a folder, or a function that gives that of an input's.
        files: the suffixes, in lower case, by which `out` is a file's name.

    Raises:
        SettingsError: `out` is a file's name, but there are several inputs; or two inputs would
            have the same output.
    """
    if out.suffix.lower() in files and not out.is_dir():
        if len(inputs) > 1:
            raise SettingsError(f"--out {out} is one file, but there are {len(inputs)} inputs")
        return [out]
    stems = [item.relative.with_suffix("") for item in inputs]
    times = collections.Counter(stems)
    paths = []
    for item, stem in zip(inputs, stems, strict=True):
        name = stem.name if times[stem] == 1 else item.relative.name
        ending = suffix if isinstance(suffix, str) else suffix(item)
        paths.append(out / stem.parent / f"{name}{ending}")
    twice = [path for path, count in collections.Counter(paths).items() if count > 1]
    if twice:
        raise SettingsError(f"two inputs would both be written to {twice[0]}; run them apart")
    return paths


def for_each(items: Iterable[tuple[str, Callable[[], object]]]) -> int:
    """Does each named piece of work; one that fails is named with its reason, the rest go on.

    Only what is wrong with one input or one output counts as such a failure. Settings or weights
    that are wrong are wrong for all, and end the command.

    Returns:
        The exit code: 0 all done, 1 some failed.
    """
    failed = False
    for name, work in items:
        try:
            work()
        except (ImageError, OutputError) as error:
            report_failure(name, error)
            failed = True
    return SOME_FAILED if failed else DONE


# === While it runs ===


@contextlib.contextmanager
def progress_bar(description: str) -> Iterator[OnStep]:
    """A tqdm bar on standard error, where that is a terminal, fed by steps."""
    with tqdm(desc=one_line(description), leave=False, disable=not sys.stderr.isatty()) as bar:

        def on_step(step: Step) -> None:
            bar.total = step.total
            bar.set_postfix({k: f"{v:.4g}" for k, v in step.metrics.items()}, refresh=False)
            bar.update(step.number - bar.n)

        yield on_step


@contextlib.contextmanager
def stop_on_signal() -> Iterator[OnStep]:
    """An `on_step` that ends the run after a first Ctrl-C or SIGTERM; a second one kills."""
    stopped = []

    def handler(number, frame):
        stopped.append(number)
        _stops.append(number)
        say("stopping after this step; once more to stop at once")
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    try:
        before = [(n, signal.signal(n, handler)) for n in (signal.SIGINT, signal.SIGTERM)]
    except ValueError:  # Not the main thread, as in a web server: nothing to catch.
        before = []
    try:
        yield lambda step: bool(stopped)
    finally:
        for number, previous in before:
            signal.signal(number, previous)


def _without_box(text: str) -> str:
    """What tyro says below its title, up to the next rule, as one line.

    The title stands in the box's upper edge; where standard output is not UTF-8, as in notebooks,
    there is no box, and it stands above a rule of hyphens.
    """
    sections = [[]]
    for line in text.splitlines():
        line = line.strip(" │╭╮╰╯")
        if "──" in line or (len(line) > 2 and set(line) == {"-"}):
            sections.append([])
        else:
            sections[-1].append(line)
    return " ".join(" ".join(sections[:2][-1]).split()) or "bad usage"
