"""How the web page holds under visitors: `python -m benchmarks.web`.

Starts the page's server, and lets 20 visitors at once use it over loopback for a minute: each
uploads a photo, asks what it shows or what objects are in it, waits for the answer and downloads
the picture in it, again and again. A visitor who is told that the server is busy counts as such,
and comes again a second later.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import io
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

# Run as a script, this file's folder comes first, and its neighbours would pass for the tasks.
sys.path = [folder for folder in sys.path if not folder.endswith("benchmarks")]

import httpx
import numpy as np
from PIL import Image

from atelier import cli
from atelier.errors import SettingsError
from atelier.media.images import load_image, resize, sample
from atelier.training.runs import machine
from detection import DetectConfig

CALLS = {"classify": ["squeeze"], "detect": [DetectConfig().model, 0.5]}
"""Endpoints by turns, and what they are given after the photo."""


@dataclasses.dataclass(frozen=True)
class BenchmarkArguments:
    """Measure latencies, failures and memory; prints a table, or with --json one JSON object."""

    users: int = 20
    """Visitors at once."""
    seconds: float = 60
    """For how long they come; requests begun by then are waited for."""
    side: int = 480
    """Longer side of the photos, pixels."""
    waiting: int = 16
    """The server's --waiting."""
    json: bool = False
    """Print the numbers as JSON on standard output instead."""

    def __post_init__(self):
        if min(self.users, self.waiting) < 1 or self.seconds <= 0 or self.side < 32:
            raise SettingsError("--users and --waiting are at least 1, --side at least 32")


@dataclasses.dataclass
class Seen:
    """What the visitors saw."""

    latencies: list[float] = dataclasses.field(default_factory=list)
    """Of answers, seconds, upload and download included."""
    busy: int = 0
    failures: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    health: list[float] = dataclasses.field(default_factory=list)
    """How long /healthz took meanwhile, seconds."""


class Failed(Exception):
    """An answer that is none."""


def start(waiting: int) -> tuple[subprocess.Popen, str]:
    """The server on a free port, and its address.

    Raises:
        SettingsError: it does not start; its own words stand on standard error.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "gallery.web", "--port", "0", "--waiting", str(waiting)],
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stderr:
        if found := re.match(r"http://\S+", line):
            return process, found[0]
        cli.print_note(line.rstrip())
    raise SettingsError("the server did not start")


def resident_megabytes(process: subprocess.Popen) -> float | None:
    """Memory that a process holds, or None where the system does not say."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
    except OSError:
        return None
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


def photos(side: int, number: int) -> list[bytes]:
    """JPEG files, no two alike."""
    astronaut = resize(load_image(sample("astronaut.png")), (side, side))
    files = []
    for shift in range(number):
        file = io.BytesIO()
        Image.fromarray(np.roll(astronaut, shift, axis=1)).save(file, "JPEG", quality=90)
        files.append(file.getvalue())
    return files


async def ask(client: httpx.AsyncClient, endpoint: str, photo: bytes, seen: Seen) -> None:
    """One request, from upload to download, as docs/web.md shows it for the REST interface."""
    begin = time.perf_counter()
    answer = await client.post("/gradio_api/upload", files={"files": ("photo.jpg", photo)})
    answer.raise_for_status()
    named = {"path": answer.json()[0], "meta": {"_type": "gradio.FileData"}}
    data = {"data": [named, *CALLS[endpoint]]}
    answer = await client.post(f"/gradio_api/call/{endpoint}", json=data)
    if answer.status_code == 503:
        seen.busy += 1
        await asyncio.sleep(1)
        return
    answer.raise_for_status()
    event = answer.json()["event_id"]
    answer = await client.get(f"/gradio_api/call/{endpoint}/{event}")
    kind, given = re.findall(r"event: (\w+)\ndata: (.*)\n", answer.text)[-1]
    if kind != "complete":
        raise Failed(given)
    (picture,) = (value["path"] for value in json.loads(given) if is_picture(value))
    (await client.get(f"/gradio_api/file={picture}")).raise_for_status()
    seen.latencies.append(time.perf_counter() - begin)


def is_picture(value: object) -> bool:
    """Whether a value of an answer is a file of the server's."""
    return isinstance(value, dict) and "path" in value


async def visit(url: str, number: int, files: Sequence[bytes], end: float, seen: Seen) -> None:
    """A visitor, until `end`."""
    endpoints = list(CALLS)
    async with httpx.AsyncClient(base_url=url, timeout=300, trust_env=False) as client:
        while time.perf_counter() < end:
            number += 1
            try:
                photo = files[number % len(files)]
                await ask(client, endpoints[number % len(endpoints)], photo, seen)
            except (httpx.HTTPError, Failed) as error:
                seen.failures[str(error) or type(error).__name__] += 1


async def watch(url: str, seen: Seen) -> None:
    """Asks each second whether the server lives."""
    async with httpx.AsyncClient(base_url=url, timeout=300, trust_env=False) as client:
        while True:
            begin = time.perf_counter()
            (await client.get("/healthz")).raise_for_status()
            seen.health.append(time.perf_counter() - begin)
            await asyncio.sleep(1)


async def measure(url: str, arguments: BenchmarkArguments, files: Sequence[bytes]) -> Seen:
    """What all visitors see."""
    seen = Seen()
    end = time.perf_counter() + arguments.seconds
    watching = asyncio.create_task(watch(url, seen))
    await asyncio.gather(
        *(visit(url, number, files, end, seen) for number in range(arguments.users))
    )
    watching.cancel()
    return seen


async def warm_up(url: str, files: Sequence[bytes]) -> None:
    """Has the models loaded."""
    seen = Seen()
    async with httpx.AsyncClient(base_url=url, timeout=300, trust_env=False) as client:
        for endpoint in CALLS:
            await ask(client, endpoint, files[0], seen)


@cli.command
def main(argv: Sequence[str]) -> int:
    arguments = cli.parse(BenchmarkArguments, argv, prog="python -m benchmarks.web")
    files = photos(arguments.side, 50)
    process, url = start(arguments.waiting)
    try:
        asyncio.run(warm_up(url, files))
        first = resident_megabytes(process)
        seen = asyncio.run(measure(url, arguments, files))
        last = resident_megabytes(process)
        begin = time.perf_counter()
        process.send_signal(signal.SIGTERM)
        code = process.wait(60)
        stop = time.perf_counter() - begin
    except (httpx.HTTPError, Failed) as error:
        raise SettingsError(f"the server gives no answers: {error}") from None
    finally:
        process.kill()
    numbers = {
        "machine": machine(),
        "users": arguments.users,
        "seconds": arguments.seconds,
        "answers": len(seen.latencies),
        "latency_median": percentile(seen.latencies, 50),
        "latency_95th": percentile(seen.latencies, 95),
        "busy": seen.busy,
        "failures": sum(seen.failures.values()),
        "healthz_95th": percentile(seen.health, 95),
        "megabytes_start": first and round(first),
        "megabytes_end": last and round(last),
        "stop_seconds": round(stop, 2),
        "exit_code": code,
    }
    for reason, count in seen.failures.most_common(5):
        cli.print_note(f"{count} failures: {reason}")
    if arguments.json:
        cli.print_json(numbers)
    else:
        for name, value in numbers.items():
            print(f"{name.replace('_', ' '):20} {value}")
    return cli.DONE if not seen.failures and code == 0 else cli.SOME_FAILED


def percentile(values: Sequence[float], share: float) -> float | None:
    """Seconds below which a share of the values lies, or None where there are none."""
    return round(float(np.percentile(values, share)), 3) if values else None


if __name__ == "__main__":
    sys.exit(main())
