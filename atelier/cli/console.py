"""What all commands share: exit codes, signals, progress, one line for each mistake."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from tqdm import tqdm

from atelier.errors import AtelierError, TrainingError, one_line
from atelier.files import write_stream
from atelier.progress import OnStep, Step

DONE, SOME_FAILED, BAD_USAGE, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143
"""The exit codes of all commands; the last two after Ctrl-C and SIGTERM."""


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
            print_error(str(error))
            return SOME_FAILED
        except AtelierError as error:
            print_error(str(error))
            return BAD_USAGE
        except KeyboardInterrupt:
            print_error("stopped; what was finished is kept")
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


def print_error(message: str) -> None:
    """One line on standard error that starts `error:`."""
    print(f"error: {' '.join(one_line(message).split())}", file=sys.stderr)


def print_failure(name: str, error: Exception) -> None:
    """One line on standard error for an input that failed: its name, unless it is in the reason."""
    message, name = str(error), one_line(name)
    # A file may be called "a": that is no name in the middle of a sentence.
    before = r"(?<![\w.-])" if "." in name else "^"
    known = re.search(rf"{before}{re.escape(name)}(?![\w./-])", message)
    print_error(message if known else f"{name}: {message}")


def print_note(message: str) -> None:
    """One line on standard error, whatever names are in it."""
    print(one_line(message), file=sys.stderr)


def print_notes(messages: Iterable[str]) -> None:
    """Each message on a line of standard error."""
    for message in messages:
        print_note(message)


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
    """An `on_step` that ends the run after a first Ctrl-C or SIGTERM; a second one kills.

    A signal that is ignored, as `nohup` and a shell's `&` have it, stays so.
    """
    stopped = []

    def handler(number, frame):
        stopped.append(number)
        _stops.append(number)
        print_note("stopping after this step; once more to stop at once")
        for heard, _ in before:
            signal.signal(heard, _HARDER[heard])

    before = []
    if threading.current_thread() is threading.main_thread():  # Others may set none.
        for number in _HARDER:
            earlier = signal.getsignal(number)
            # None is a handler that is not Python's, which could not be set again.
            if earlier is not None and earlier is not signal.SIG_IGN:
                before.append((number, earlier))
                signal.signal(number, handler)
    try:
        yield lambda step: bool(stopped)
    finally:
        for number, earlier in before:
            signal.signal(number, earlier)


_HARDER = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
"""What a second signal does."""
