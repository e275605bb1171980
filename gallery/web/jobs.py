"""The web page's work: one job at a time, each within its time, each mistake told in one line."""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import functools
import html
import inspect
import queue
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Literal

import gradio as gr

from atelier.errors import AtelierError
from gallery.web.limits import Limits, limits, set_limits

__all__ = [
    "JOB",
    "Limits",
    "check_time",
    "job",
    "limits",
    "refusal",
    "set_limits",
    "show",
    "stop_jobs",
]

JOB: dict[str, object] = {"concurrency_id": "job", "concurrency_limit": 1}
"""Keyword arguments of every event listener whose handler is a `job`."""

UNEXPECTED = "Something went wrong on the server; its log says what. Other requests still work."
"""What a visitor reads when it is not a mistake of theirs."""

_GRACE = 0.5  # Seconds past the deadline in which `check_time` may say so itself.


@dataclasses.dataclass(eq=False)
class _Run:
    """A job under way, and the channel by which its values reach the page."""

    deadline: float
    live: bool
    stopped: bool = False
    channel: queue.Queue = dataclasses.field(default_factory=lambda: queue.Queue(maxsize=1))

    def check(self) -> None:
        if self.stopped or _closing.is_set():
            raise _Stopped("the request was stopped")
        if time.monotonic() > self.deadline:
            raise _too_slow()

    def put(self, kind: Literal["value", "error", "end"], value: object = None) -> None:
        """Waits until the page has taken the one before; given up when the page has gone."""
        while True:
            self.check()
            with contextlib.suppress(queue.Full):
                return self.channel.put((kind, value), timeout=0.1)


class _Stopped(AtelierError):
    """Nobody waits for this job's answer any more."""


_turn = threading.Lock()
_closing = threading.Event()
_running: _Run | None = None


def job(function: Callable, *, live: bool = False) -> Callable:
    """Makes an event handler of a function, or a generator function, that works.

    It runs in a thread of its own, after the job before it has ended, and has `limits().seconds`
    for it: past them the visitor gets a line, and the work itself ends at its next `check_time`
    or when it yields. An `AtelierError` reaches the visitor as its one line, a `gr.Error` as it
    is, any other exception as one calm line, with the traceback on standard error. A visitor who
    leaves, or cancels, stops a generator.

    Args:
        function: with the arguments that Gradio gives, `gr.Progress` and `gr.Request` included.
        live: `function` is a plain one that calls `show` while it works. The handler is then a
            generator, for Gradio, which ends with what `function` returns.
    """

    @functools.wraps(function)
    def generate(*args, **kwargs):
        yield from _answers(function, args, kwargs, live)

    @functools.wraps(function)
    def call(*args, **kwargs):
        (value,) = _answers(function, args, kwargs, live)
        return value

    return generate if live or inspect.isgeneratorfunction(function) else call


def show(*values: object) -> None:
    """Sends the outputs as they are so far, from within a `live` job, such as from an `on_step`.

    Values that come faster than the page takes them are left out. Checks the time, too.
    """
    check_time()
    run = _running
    if run is not None and run.live:
        with contextlib.suppress(queue.Full):
            run.channel.put_nowait(("value", values[0] if len(values) == 1 else values))


def check_time() -> None:
    """To be called from within a job's work as often as is easy, such as from an `on_step`.

    Any thread that works for the job may call it; outside of a job it does nothing.

    Raises:
        AtelierError: the job's time is up, its visitor has gone, or the server is stopping. Let
            it through.
    """
    run = _running
    if run is not None:
        run.check()


def stop_jobs(seconds: float) -> bool:
    """Tells the job under way, and those that wait, to stop; for when the server stops.

    Args:
        seconds: how long to wait for it.

    Returns:
        Whether no job is under way any more.
    """
    _closing.set()
    stopped = _turn.acquire(timeout=seconds)
    if stopped:
        _turn.release()
    return stopped


def refusal(message: str) -> gr.Error:
    """The exception by which a handler tells a visitor of a mistake: one line, no traceback.

    Gradio takes messages as HTML; this one is text.
    """
    return gr.Error(html.escape(" ".join(message.split()), quote=False), print_exception=False)


def _answers(function: Callable, args: tuple, kwargs: dict, live: bool) -> Iterator[object]:
    """The values of a job, as its thread gives them."""
    run = _Run(time.monotonic() + limits().seconds, live)
    context = contextvars.copy_context()  # In which Gradio keeps whom progress is for.
    work = functools.partial(context.run, _work, run, function, args, kwargs)
    threading.Thread(target=work, name="job", daemon=True).start()
    try:
        while True:
            remaining = run.deadline + _GRACE - time.monotonic()
            kind, value = run.channel.get(timeout=max(0, remaining))
            if kind == "error":
                raise value
            if kind == "end":
                return
            yield value
    except queue.Empty:
        raise refusal(str(_too_slow())) from None
    finally:
        run.stopped = True


def _work(run: _Run, function: Callable, args: tuple, kwargs: dict) -> None:
    """A job's thread: waits for its turn, works, and tells how it ended."""
    global _running
    if not _turn.acquire(timeout=max(0, run.deadline - time.monotonic())):
        return  # The page has been told meanwhile that its time is up.
    _running = run
    try:
        run.check()
        if inspect.isgeneratorfunction(function):
            with contextlib.closing(function(*args, **kwargs)) as values:
                for value in values:
                    run.put("value", value)
        else:
            run.put("value", function(*args, **kwargs))
        run.put("end")
    except BaseException as error:
        _tell(run, error)
    finally:
        _running = None
        _turn.release()


def _tell(run: _Run, error: BaseException) -> None:
    if isinstance(error, AtelierError):
        error = refusal(str(error))
    elif not isinstance(error, gr.Error):
        traceback.print_exception(error)
        error = refusal(UNEXPECTED)
    while not run.stopped:  # By the page, which has gone or told of the time itself.
        with contextlib.suppress(queue.Full):
            return run.channel.put(("error", error), timeout=0.1)


def _too_slow() -> AtelierError:
    seconds = f"{limits().seconds:g} s"
    return AtelierError(f"this took longer than the {seconds} a request has; try a smaller picture")
