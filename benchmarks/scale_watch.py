"""A command that goes through a folder of pictures, in a process of its own, watched.

The process runs `python -m MODULE ARGUMENTS` as it is, but for an audit hook (PEP 578) that stamps
each picture's opening with the time and the memory held till then. None of the tasks starts
processes of its own, so the memory is all that the command takes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import resource
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]

PATIENCE = 60.0
"""Seconds that a command has to end after it was asked to, and then that it may take to begin."""


class Failed(Exception):
    """A command that did not do what it was watched for; its text says why."""


@dataclasses.dataclass(frozen=True)
class Watched:
    """What was seen of a command."""

    start: float
    """Seconds to the opening of the first picture that counts: Python, TensorFlow, the network,
    and the pictures before it."""
    pictures: int
    """That were done, of those that count."""
    seconds: float
    """That these took."""
    peaks: tuple[int, ...]
    """The largest memory that was held till each of them was opened, and at last: bytes."""
    cut: bool
    """Whether it was stopped before it was done with all."""


def watch(
    module: str,
    arguments: Sequence[str],
    folder: Path,
    *,
    warm: int,
    pictures: int,
    seconds: float,
    stopped: Callable[[], bool] = lambda: False,
) -> Watched:
    """Runs a command on a folder, and stops it when it takes too long.

    Args:
        module: what `python -m` takes.
        arguments: of the command, the folder among them.
        folder: where its pictures are.
        warm: pictures that it reads first and that do not count.
        pictures: that follow.
        seconds: for those that count, till it is stopped. A picture that is unfinished then does
            not count; one that takes as long again is not waited for.
        stopped: asked often; True ends the command.

    Raises:
        Failed: it ended with an error, did none of the pictures in time, or hung.
        KeyboardInterrupt: `stopped` ended it.
    """
    stamps, log = folder.with_suffix(".stamps"), folder.with_suffix(".log")
    stamps.write_text("", encoding="ascii")
    begin, cut = time.monotonic(), None
    with open(log, "wb") as said, _process(module, arguments, folder, stamps, said) as process:
        while process.poll() is None:
            if stopped():
                raise KeyboardInterrupt
            now, first = time.monotonic(), _nth(stamps, warm)
            if cut is None and first is not None and now > first + seconds:
                cut = now
                process.send_signal(signal.SIGTERM)
            last = begin + PATIENCE * (1 + warm / 60) if first is None else cut and cut + PATIENCE
            if last is not None and now > last:
                process.kill()
                cut = cut or now
            time.sleep(0.1)
    times, peaks, ended = _read(stamps)
    counted = times[warm:]
    if cut is None and (process.returncode != 0 or not ended):
        words = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["?"]
        raise Failed(f"python -m {module} ended with {process.returncode}: {words[-1]}")
    if cut is None and len(counted) != pictures + 1:
        raise Failed(f"python -m {module} opened {len(times) - 1} pictures, not {warm + pictures}")
    if cut is not None and ended:
        counted.pop()  # What was made of the last one is half of it, perhaps.
    if len(counted) < 2:
        raise Failed(f"no picture in {seconds:.0f} s")
    return Watched(
        start=counted[0] - begin,
        pictures=len(counted) - 1,
        seconds=counted[-1] - counted[0],
        peaks=tuple(peaks[warm : warm + len(counted)]),
        cut=cut is not None,
    )


@contextlib.contextmanager
def _process(module, arguments, folder, stamps, said) -> Iterator[subprocess.Popen]:
    """The watched process; it does not outlive the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.scale_watch", stamps, folder, module, *arguments],
        stdout=said,
        stderr=said,
        stdin=subprocess.DEVNULL,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder.parent)},  # Killed, it leaves files of its own.
        start_new_session=True,  # Ctrl-C is for who watches.
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _nth(stamps: Path, number: int) -> float | None:
    """When the picture of a number, from 0, was opened."""
    with open(stamps, encoding="ascii") as lines:
        for place, line in enumerate(lines):
            if place == number and line.endswith("\n"):
                return float(line.split()[0])
    return None


def _read(stamps: Path) -> tuple[list[float], list[int], bool]:
    """Times, bytes, and whether the last of them is of the command's end."""
    lines = stamps.read_text(encoding="ascii").splitlines(keepends=True)
    rows = [line.split() for line in lines if line.endswith("\n")]
    ended = bool(rows) and rows[-1][-1] == "end"
    return [float(row[0]) for row in rows], [int(row[1]) for row in rows], ended


# === In the watched process ===


def peak_memory() -> int:
    """The largest memory that this process has held: bytes."""
    with contextlib.suppress(OSError, TypeError):
        # What the process was before `exec` counts in `getrusage`, and does not here.
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return 1024 * int(re.search(r"VmHWM:\s+(\d+)", status)[1])
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main(stamps: str, folder: str, module: str, *arguments: str) -> None:
    """Runs a module as `python -m` does, and stamps the opening of each picture in a folder."""
    inside, last = folder + os.sep, None
    with open(stamps, "w", encoding="ascii", buffering=1) as file:

        def stamp(what: str) -> None:
            file.write(f"{time.monotonic():.6f} {peak_memory()} {what}\n")

        def hook(event: str, values: tuple) -> None:
            nonlocal last
            if event != "open" or not isinstance(values[0], (str, os.PathLike)) or file.closed:
                return
            path = os.fspath(values[0])
            # Some look at a file's head first. To keep all names would be memory that grows.
            if path != last and isinstance(path, str) and path.startswith(inside):
                last = path
                stamp("picture")

        sys.addaudithook(hook)
        sys.argv = [module, *arguments]
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        finally:
            stamp("end")


if __name__ == "__main__":
    main(*sys.argv[1:])
