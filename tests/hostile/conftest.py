"""What the tests of hostile input share: quick and repeatable searches, and what no reader may do.

A reader of strangers' files raises nothing but an `AtelierError` of one line, ends within
`SECONDS`, and takes no more memory than it says.
"""

import contextlib
import os
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest

from atelier.errors import AtelierError

ROOT = Path(__file__).parent.parent.parent

SECONDS = 5
"""The most of the processor's time that an input of a few MB may take."""

hypothesis.settings.register_profile(
    "hostile",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=40,
    suppress_health_check=list(hypothesis.HealthCheck),
)
hypothesis.settings.load_profile("hostile")


@pytest.fixture
def refusal():
    """Calls a reader that must refuse its input: gives the one line; fails if it took long."""

    def refused(function: Callable, *arguments, **options) -> str:
        begin = time.process_time()
        with pytest.raises(AtelierError) as caught:
            function(*arguments, **options)
        assert time.process_time() - begin < SECONDS
        text = str(caught.value)
        assert text.isprintable(), repr(text)
        return text

    return refused


@pytest.fixture
def survives():
    """Calls a reader that may read or refuse its input; fails on anything else."""

    def tried(function: Callable, *arguments, **options):
        begin, result, said = time.process_time(), None, ""
        try:
            result = function(*arguments, **options)
        except AtelierError as error:
            said = str(error)
        assert said.isprintable(), repr(said)
        assert time.process_time() - begin < SECONDS
        return result

    return tried


@pytest.fixture
def traced_peak():
    """Calls a reader that must refuse its input: gives the bytes that Python and NumPy took."""

    def run(function: Callable, *arguments, **options) -> int:
        tracemalloc.start()
        try:
            with pytest.raises(Exception, match=r"."):
                function(*arguments, **options)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    return run


@pytest.fixture
def nothing_opened_outside(monkeypatch):
    """A context in which every file that Python opens must lie below a folder."""
    watched: list[Path] = []
    opened: list[str] = []

    def audit(event: str, arguments: tuple) -> None:
        if watched and event in ("open", "os.listdir", "os.scandir"):
            path = arguments[0]
            if isinstance(path, (str, bytes, os.PathLike)):
                opened.append(os.path.realpath(os.fsdecode(path)))

    sys.addaudithook(audit)

    @contextlib.contextmanager
    def watch(folder: Path):
        watched.append(folder)
        try:
            yield
        finally:
            watched.clear()
        code = (sys.prefix, sys.base_prefix, str(ROOT), "/proc", "/sys", "/dev/null")
        outside = [p for p in opened if not p.startswith((os.path.realpath(folder), *code))]
        opened.clear()
        assert not outside, outside

    return watch
