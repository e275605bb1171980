"""Searches for files that break what reads them: `python -m fuzz --seconds 60 [READER…]`.

Each reader runs in a process of its own, from files that the project itself has made. A finding is
an input on which it raises something else than an `AtelierError`, takes more than `--timeout`
seconds or more than `--memory` MB; it is kept in `--findings`, with what was raised.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import tyro

from atelier import cli
from atelier.errors import SettingsError

LARGEST = 65_536
"""Bytes of an input; larger ones find little more and take long."""


@dataclasses.dataclass(frozen=True)
class FuzzArguments:
    """Search for files that break what reads them."""

    readers: tyro.conf.Positional[tuple[str, ...]] = ()
    """Which ones; left out, all."""
    seconds: int = 60
    """For each reader."""
    timeout: int = 5
    """Seconds an input may take."""
    memory: int = 2000
    """MB that the process may take, with TensorFlow, which is a third of it."""
    findings: Path = Path("fuzz-findings")
    """The folder for what is found."""

    def __post_init__(self):
        for name in ("seconds", "timeout", "memory"):
            if getattr(self, name) < 1:
                raise SettingsError(f"--{name} is at least 1, not {getattr(self, name)}")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a search came to."""

    executions: int
    coverage: int
    """Edges of instrumented Python that were reached."""
    findings: tuple[Path, ...]


def search(name: str, arguments: FuzzArguments) -> Outcome:
    """Searches one reader; after a hang or a crash, goes on for the time that is left.

    Raises:
        SettingsError: the search cannot run.
    """
    arguments.findings.mkdir(parents=True, exist_ok=True)
    before = set(arguments.findings.iterdir())
    executions = coverage = 0
    left = float(arguments.seconds)
    while left >= 1:
        start = time.monotonic()
        # libFuzzer ends its process past Python, which leaves what it has made.
        with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
            done = subprocess.run(
                [sys.executable, "-m", "fuzz.worker", name, str(arguments.findings), scratch]
                + [f"-max_total_time={int(left)}", f"-timeout={arguments.timeout}"]
                + [f"-rss_limit_mb={arguments.memory}", f"-max_len={LARGEST}", "-detect_leaks=0"]
                + [f"-artifact_prefix={arguments.findings}/{name}-"],
                capture_output=True,
                text=True,
                errors="replace",
            )
        counts = re.findall(r"^#(\d+)\s", done.stderr, re.MULTILINE)
        if not counts:
            raise SettingsError(f"{name}: the search did not start ({done.stderr[-300:]})")
        executions += max(map(int, counts))
        coverage = max([coverage, *map(int, re.findall(r"cov: (\d+)", done.stderr))])
        if done.returncode == 0:
            break
        left -= time.monotonic() - start
    found = sorted(set(arguments.findings.iterdir()) - before)
    return Outcome(executions, coverage, tuple(f for f in found if f.suffix != ".txt"))


@cli.command
def main(argv: Sequence[str]) -> int:
    arguments = cli.parse(FuzzArguments, argv, prog="python -m fuzz")
    if importlib.util.find_spec("atheris") is None:
        raise SettingsError("atheris is not installed: pip install .[fuzz]")
    from fuzz.readers import READERS  # Slow to import, and not needed for --help.

    for name in arguments.readers:
        if name not in READERS:
            raise SettingsError(f"no reader {name!r}; there are {', '.join(READERS)}")
    failed = False
    for name in arguments.readers or READERS:
        outcome = search(name, arguments)
        failed |= bool(outcome.findings)
        cli.say(
            f"{name}: {outcome.executions:,} executions, coverage {outcome.coverage:,}, "
            f"{len(outcome.findings)} findings"
        )
        for path in outcome.findings:
            cli.report(f"{name}: {path}")
    return cli.SOME_FAILED if failed else cli.DONE


if __name__ == "__main__":
    sys.exit(main())
