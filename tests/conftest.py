"""What all tests share: small pictures, drawn here or from scikit-image; errors; Ctrl-C."""

import contextlib
import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
from PIL import ExifTags, Image

from atelier.media.images import load_image, resize, sample, save_image

matplotlib.use("Agg")

ROOT = Path(__file__).parent.parent

# In a shell's background Ctrl-C is ignored, also by all that is started there; not by these tests.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items) -> None:
    """The file that takes longest comes first, so that no process is left alone with it."""
    items.sort(key=lambda item: item.path.name != "test_notebooks.py")


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """The astronaut, uint8 (96, 96, 3)."""
    return resize(load_image(sample("astronaut.png")), (96, 96))


@pytest.fixture(scope="session")
def painting() -> np.ndarray:
    """Stripes and dots in strong colours, uint8 (80, 100, 3)."""
    y, x = np.mgrid[:80, :100]
    stripes = (np.sin(x / 3 + y / 5) > 0) * 160
    dots = (np.sin(x / 4) * np.cos(y / 4) > 0.5) * 90
    return np.stack([stripes, dots + 40, 200 - stripes + dots // 2], axis=-1).astype(np.uint8)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def error_line(capsys):
    """Gives the one `error:` line on standard error; fails if there is another, or a traceback."""

    def read() -> str:
        said = capsys.readouterr().err
        assert "Traceback" not in said
        (line,) = [line for line in said.splitlines() if line.startswith("error:")]
        return line

    return read


@pytest.fixture
def interrupt():
    """Runs a command in a folder, presses Ctrl-C once `ready()`, and checks how it then ends."""

    def run(command, folder, ready) -> None:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            deadline = time.monotonic() + 120
            while not ready():
                assert process.poll() is None, process.stderr.read()
                assert time.monotonic() < deadline
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=60)[1]
        finally:
            process.kill()
        assert process.returncode == 130
        assert "Traceback" not in said
        assert "error: stopped; what was finished is kept" in said

    return run


@pytest.fixture(scope="session")
def assert_same_run():
    """Fails unless two run folders have the same numbers in each epoch, and came to the same state,
    within `tolerance`; for a metric that is named, or for the `state`, within another."""

    def check(one: Path, other: Path, tolerance: float = 1e-5, **tolerances: float) -> None:
        tables = []
        for folder in (one, other):
            with open(folder / "history.csv", newline="") as lines:
                tables.append(list(csv.DictReader(lines)))
        assert len(tables[0]) == len(tables[1])
        for a, b in zip(*tables, strict=True):
            assert list(a) == list(b)
            for name in a.keys() - {"seconds"}:
                allowed = tolerances.get(name, tolerance)
                expected = pytest.approx(float(a[name]), rel=allowed, abs=allowed, nan_ok=True)
                assert float(b[name]) == expected, name
        (first,), (second,) = ((folder / "checkpoint").iterdir() for folder in (one, other))
        assert first.name == second.name
        allowed = tolerances.get("state", tolerance)
        with np.load(first) as a, np.load(second) as b:
            assert a.keys() == b.keys()
            for key in a.files:
                np.testing.assert_allclose(b[key], a[key], rtol=0, atol=allowed)

    return check


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The cache of fetched files, empty."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    return tmp_path / "models"


@pytest.fixture(scope="session")
def free_ports():
    """Gives numbers of ports that nobody listens on."""

    def find(count: int) -> list[int]:
        with contextlib.ExitStack() as held:
            sockets = [held.enter_context(socket.create_server(("", 0))) for _ in range(count)]
            return [listener.getsockname()[1] for listener in sockets]

    return find


class Workers:
    """Processes that train together; what they say goes to one text each."""

    def __init__(self, commands, ports):
        addresses = [f"127.0.0.1:{port}" for port in ports]
        self.processes = []
        for place, command in enumerate(commands):
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            if addresses:
                task = {"type": "worker", "index": place}
                environment["TF_CONFIG"] = json.dumps(
                    {"cluster": {"worker": addresses}, "task": task}
                )
            self.processes.append(
                subprocess.Popen(
                    [str(word) for word in command],
                    env=environment,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            )

    def wait_for(self, ready, seconds: float = 300) -> None:
        """Until `ready()`; fails if a process ends before."""
        deadline = time.monotonic() + seconds
        while not ready():
            for process in self.processes:
                assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def finish(self, seconds: float = 900) -> list[str]:
        """Until all have ended well; returns what each has said."""
        said = [process.communicate(timeout=seconds)[0] for process in self.processes]
        assert all(process.returncode == 0 for process in self.processes), "\n".join(said)
        return said

    def kill(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
            process.stdout.close()


@pytest.fixture
def on_workers(free_ports):
    """Starts a training's command on two workers, each a process; `alone`, in one by itself.

    The command is a list of words, or a function that gives that of a worker by its place.
    """
    with contextlib.ExitStack() as started:

        def run(command, alone: bool = False) -> Workers:
            places = range(1 if alone else 2)
            commands = [command(place) if callable(command) else command for place in places]
            workers = Workers(commands, [] if alone else free_ports(2))
            started.callback(workers.kill)
            return workers

        yield run


@pytest.fixture
def same_on_a_cluster(tmp_path):
    """Runs a command on pictures here and on a cluster of this machine's cores, and compares.

    Of the five pictures in `all`, one is none. Records and files must be the same but for times;
    so must they after a second run, which has one result to make anew. OUT in a flag stands for the
    folder of results; the function gives that of the cluster.
    """
    photo = load_image(sample("astronaut.png"))
    for number, name in enumerate(("a.png", "deep/b.jpg", "c.webp", "deep/d.png")):
        part = photo[: 300 + 40 * number, 100:400]
        save_image(tmp_path / "all" / name, resize(part, (96 + 8 * number, 120)))
    (tmp_path / "all" / "bad.jpg").write_text("text")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_ADDRESS": "local"}

    def run(module: str, *flags: str, place: str, code: int) -> list[dict]:
        placed = [flag.replace("OUT", place) for flag in flags]
        command = [sys.executable, "-m", module, "all", "--json", "--out", place, *placed]
        process = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=500
        )
        assert process.returncode == code, process.stderr
        assert "Traceback" not in process.stderr
        lines = [line for line in process.stderr.splitlines() if line.startswith("error:")]
        assert ["all/bad.jpg: not a picture" in line for line in lines] == [True]
        records = [json.loads(line) for line in process.stdout.splitlines()]
        for record in records:
            record.pop("seconds", None)
            record["output"] = str(record.get("output")).replace(place, "out")
        return sorted(records, key=lambda record: record["input"])

    def files(place: str) -> dict[str, bytes]:
        found = {str(p.relative_to(tmp_path / place)): p for p in (tmp_path / place).rglob("*.*")}
        return {
            name: path.read_bytes()
            for name, path in found.items()
            if path.is_file() and not name.startswith(".atelier")
        }

    def assert_same(files: dict[str, bytes], others: dict[str, bytes]) -> None:
        assert files.keys() == others.keys()
        for name, content in files.items():
            if name.endswith(".gradcam.png"):  # Sums of floats, in the order of so many threads.
                pictures = [np.int16(load_image(data)) for data in (content, others[name])]
                np.testing.assert_allclose(*pictures, atol=3)
            else:
                assert content == others[name], name

    def compare(module: str, *flags: str) -> Path:
        expected = run(module, *flags, place="here", code=1)
        assert len(expected) == 4
        assert run(module, *flags, "--cluster", "auto", place="there", code=1) == expected
        assert_same(files("there"), files("here"))
        lost = tmp_path / "there" / "deep" / "d.png"
        lost.unlink(missing_ok=True)
        assert run(module, *flags, "--cluster", "auto", place="there", code=1) == expected
        assert_same(files("there"), files("here"))
        before = {path: path.stat().st_mtime_ns for path in (tmp_path / "there").rglob("*.png")}
        assert run(module, *flags, place="there", code=1) == expected
        assert all(
            path.stat().st_mtime_ns == time
            for path, time in before.items()
            if path.name != "contact_sheet.png"
        ), "what the cluster has done is done here, too"
        return tmp_path / "there"

    return compare


@pytest.fixture
def tagged(photo):
    """Writes the photo as a JPEG file as a telephone does; and reads from any file the place, the
    camera, EXIF's orientation and whether there is XMP data."""

    def write(path):
        exif = Image.Exif()
        exif[ExifTags.Base.Make], exif[ExifTags.Base.Orientation] = "Telephone", 1
        exif.get_ifd(ExifTags.IFD.GPSInfo).update({1: "N", 2: (52.0, 31.0, 12.0)})
        Image.fromarray(photo).save(path, exif=exif, xmp=b"<x:xmpmeta/>", dpi=(300, 300))

    def read(path):
        with Image.open(path) as image:
            exif, xmp = image.getexif(), "xmp" in image.info
        place = exif.get_ifd(ExifTags.IFD.GPSInfo).get(2)
        return place, exif.get(ExifTags.Base.Make), exif.get(ExifTags.Base.Orientation, 1), xmp

    return SimpleNamespace(
        write=write,
        read=read,
        kept=((52.0, 31.0, 12.0), "Telephone", 1, True),
        stripped=(None, None, 1, False),
    )
