"""What goes wrong with one input is told in one line, and the others are done."""

from __future__ import annotations

import contextlib
import datetime
import tempfile
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from atelier import cli
from atelier.errors import AtelierError, ImageError, OutputError

FAULTS = "faults.log"
"""The file in the output folder that has the tracebacks of faults of the program."""


class Failure(NamedTuple):
    """Why a job did not go well."""

    reason: str
    trace: str = ""
    """The traceback of a fault of the program."""


def as_failure(error: Exception) -> Failure:
    """Why one input failed.

    Settings or weights that are wrong are wrong for all, and raised; anything else, also a fault
    of the program or a lack of memory, is the input's own.
    """
    if isinstance(error, (ImageError, OutputError)):
        return Failure(str(error))
    if isinstance(error, (AtelierError, BrokenPipeError)):
        raise error
    trace = "".join(traceback.format_exception(error))
    first = (str(error).strip().splitlines() or [""])[0][:300]
    kind = type(error).__name__
    return Failure(f"failed unexpectedly: {kind}{f': {first}' if first else ''}", trace)


class Faults:
    """Reports failures, and keeps the tracebacks of those that are the program's.

    Args:
        folder: for the log; None, or one that cannot be written, for a temporary folder.
    """

    def __init__(self, folder: Path | None):
        self.folder = folder

    def report(self, name: str, failure: Failure) -> None:
        """One line on standard error, which names the log if there is a traceback."""
        text = failure.reason
        if failure.trace:
            log = self._write(f"=== {datetime.datetime.now():%F %T} {name}\n{failure.trace}\n")
            text += f" (traceback in {log})" if log else " (its traceback cannot be written)"
        cli.print_failure(name, ImageError(text))

    def _write(self, text: str) -> Path | None:
        for make in (lambda: self.folder, lambda: Path(tempfile.mkdtemp(prefix="atelier-"))):
            with contextlib.suppress(OSError):
                folder = make()
                if folder is not None:
                    folder.mkdir(parents=True, exist_ok=True)
                    with open(folder / FAULTS, "a", encoding="utf-8", errors="replace") as log:
                        log.write(text)
                    self.folder = folder
                    return folder / FAULTS
        return None


def for_each(items: Iterable[tuple[str, Callable[[], object]]], *, out: Path | None = None) -> int:
    """Does each named piece of work; one that fails is named with its reason, the rest go on.

    Args:
        items: names and what to call.
        out: the folder for tracebacks, if there is one.

    Returns:
        The exit code: 0 all done, 1 some failed.

    Raises:
        AtelierError: settings or weights that are wrong for all.
    """
    faults, code = Faults(out), cli.DONE
    for name, work in items:
        try:
            work()
        except Exception as error:
            faults.report(name, as_failure(error))
            code = cli.SOME_FAILED
    return code
