"""Faults that happen to everybody some day, done for real to the real commands.

| fault | where | by default | all tasks by `make soak` |
|---|---|---|---|
| kill -9, then the same command | test_kill.py | batch | training, sweep, batch, video |
| SIGTERM | test_sigterm.py | video | training, sweep, batch, video |
| a full disk | test_full_disk.py | batch, tables, training, --json | every kind of file |
| a read-only folder or file system | test_read_only.py | batch, training | all commands |
| a folder that changes as it is read | test_changing_folder.py | batch | batch, training |
| two runs on one folder | test_two_runs.py | training, sweep | batch; two real trainings |
| a corrupt embedded weight file | test_weight_files.py | tests/atelier/test_weights.py | all |
| a cached download cut or replaced | test_downloads.py | all that is fetched | |
| a clock that jumps | test_clock.py | training, sweep, video, web page | |

Trainings that are killed and resumed are also in each task's own tests/TASK/test_train.py. What
stays within Python is run here by the command's `main`; what kills is a process of its own.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import importlib
import os
import pickle
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from atelier.media.images import save_image

ROOT = Path(__file__).parents[2]

PATIENCE = 400
"""Seconds for what takes some: a dozen for TensorFlow alone, on a machine that is not busy."""


# === Commands ===


@dataclasses.dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """The lines on standard error that start `error:`; there is no traceback among the rest."""
        assert "Traceback" not in self.err, self.err
        return [line for line in self.err.splitlines() if line.startswith("error:")]

    @property
    def error(self) -> str:
        """The one such line."""
        (line,) = self.errors
        return line


class Running:
    """A command in a process of its own."""

    def __init__(self, words: Sequence[object], *, env=None, prefix: Sequence[str] = (), **options):
        self._files = [tempfile.TemporaryFile() for _ in range(2)]  # noqa: SIM115 - Pipes fill up.
        options.setdefault("stdout", self._files[0])
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-m", *map(str, words)],
            env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
            stderr=self._files[1],
            **options,
        )

    def wait_until(self, ready: Callable[[], object]) -> None:
        """Waits until `ready()` is true; fails if the process ends before."""
        deadline = time.monotonic() + PATIENCE
        while not ready():
            assert self.process.poll() is None, self._read(1)
            assert time.monotonic() < deadline, self._read(1)
            time.sleep(0.005)

    def kill(self) -> None:
        """Ends it with kill -9; fails if it has ended by itself."""
        self.process.kill()
        assert self.end().code == -signal.SIGKILL

    def end(self, patience: float = PATIENCE) -> Done:
        """Waits for its end."""
        code = self.process.wait(patience)
        return Done(code, self._read(0), self._read(1))

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for file in self._files:
            file.close()

    def _read(self, number: int) -> str:
        self._files[number].seek(0)
        return self._files[number].read().decode("utf-8", "replace")


@pytest.fixture
def launch():
    """Starts `python -m WORDS…` in a process of its own, which does not outlive the test."""
    with contextlib.ExitStack() as stack:

        def start(words: Sequence[object], **options) -> Running:
            running = Running(words, **options)
            stack.callback(running.close)
            return running

        yield start


@pytest.fixture
def here(capfd):
    """Runs `python -m WORDS…` within this process: TensorFlow is imported already."""

    def run(words: Sequence[object]) -> Done:
        capfd.readouterr()
        code = importlib.import_module(words[0]).main([str(word) for word in words[1:]])
        return Done(code, *capfd.readouterr())

    return run


# === Disks and rights ===


def _root_may(*command: str) -> None:
    if os.geteuid() != 0 or shutil.which(command[0]) is None:
        pytest.skip(f"only root may {command[0]}")
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip(f"this machine lets nobody {command[0]}")


@dataclasses.dataclass(frozen=True)
class Disk:
    """A disk of its own, which can be full."""

    folder: Path

    def fill(self) -> None:
        """Leaves no room."""
        with open(self.folder / ".filler", "ab", buffering=0) as file:
            for size in (2**20, 2**12):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(size))

    def empty(self) -> None:
        """Makes room again."""
        (self.folder / ".filler").unlink()

    def read_only(self, yes: bool = True) -> None:
        """Lets nothing be written to it any more, or again."""
        _root_may("mount", "-o", f"remount,{'ro' if yes else 'rw'}", str(self.folder))


@pytest.fixture
def disk(tmp_path) -> Iterator[Disk]:
    """A disk of 512 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    _root_may("mount", "-t", "tmpfs", "-o", "size=512m", "none", str(folder))
    yield Disk(folder)
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="session")
def ordinary_user() -> list[str]:
    """What to put before a command so that modes of files hold for it, as they do not for root."""
    if os.geteuid() != 0:
        return []
    prefix = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    _root_may(*prefix, "true")
    return prefix


# === What there is to see in folders ===


class Look:
    """What there is to see."""

    @staticmethod
    def tree(folder: Path) -> dict[str, bytes]:
        """All files below a folder with what is in them, but for records, which tell of times."""
        return {
            str(file.relative_to(folder)): file.read_bytes()
            for file in sorted(folder.rglob("*"))
            if stat.S_ISREG(file.lstat().st_mode) and ".atelier" not in file.parts
        }

    @staticmethod
    def temporaries(folder: Path) -> list[Path]:
        """Files that are being written, or that a killed process was writing."""
        return [file for file in folder.rglob(".tmp-*") if file.is_file()]

    @staticmethod
    def rows(table: Path) -> list[dict[str, str]]:
        """A table's rows without the times, which differ from run to run."""
        with open(table, encoding="utf-8", newline="") as lines:
            rows = csv.DictReader(lines)
            return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


@pytest.fixture(scope="session")
def look() -> type[Look]:
    return Look


# === Small things to work on ===


def _picture(seed: int, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    image = rng.integers(90, 130, (*size, 3), np.uint8)
    cv2.circle(image, (16 + seed % 24, 24), 12, (220, 60, 50), -1)
    image[8:24, 40:56] = (30, 60, 220)
    return image


@pytest.fixture(scope="session")
def things(tmp_path_factory):
    """Gives a folder or file of tiny inputs by its name, made when it is first asked for: pictures,
    clip (a video), cifar, people, shapes (pictures with boxes), teacher."""
    top = tmp_path_factory.mktemp("things")
    makers = {
        "pictures": _make_pictures,
        "clip": _make_clip,
        "cifar": _make_cifar,
        "people": _make_people,
        "shapes": _make_shapes,
        "teacher": _make_teacher,
    }

    def get(name: str) -> Path:
        path = top / {"clip": "clip.mp4", "teacher": "teacher.npz"}.get(name, name)
        if not path.exists():
            makers[name](path)
        return path

    return get


def _make_pictures(folder: Path) -> None:
    for number in range(6):
        save_image(folder / f"{number}.png", _picture(number))


def _make_clip(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(40):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(_picture(number), "rgb24")))
        container.mux(stream.encode())


def _make_cifar(folder: Path) -> None:
    """The official form: 200 pictures to train on and 40 to test, each class a colour."""
    rng, top = np.random.default_rng(0), folder / "cifar-10-batches-py"
    top.mkdir(parents=True)
    colours = rng.integers(0, 256, (10, 3, 1))
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        labels = np.arange(40) % 10
        images = colours[labels] + rng.normal(0, 30, (40, 3, 1024))
        content = {
            b"data": np.uint8(np.clip(images, 0, 255)).reshape(40, 3072),
            b"labels": labels.tolist(),
        }
        (top / name).write_bytes(pickle.dumps(content))


def _make_people(folder: Path) -> None:
    for number in range(12):
        mask = np.zeros((48, 64), np.uint8)
        cv2.circle(mask, (16 + number % 24, 24), 12, 255, -1)
        save_image(folder / "images" / f"{number:02d}.png", _picture(number))
        save_image(folder / "masks" / f"{number:02d}.png", mask)


def _make_shapes(folder: Path) -> None:
    (folder / "Annotations").mkdir(parents=True)
    for number in range(7):
        save_image(folder / "JPEGImages" / f"{number}.png", _picture(number, (64, 64)))
        (folder / "Annotations" / f"{number}.xml").write_text(
            f"<annotation><filename>{number}.png</filename><size><width>64</width>"
            "<height>64</height><depth>3</depth></size><object><name>square</name><bndbox>"
            "<xmin>41</xmin><ymin>9</ymin><xmax>56</xmax><ymax>24</ymax></bndbox></object>"
            "</annotation>"
        )


def _make_teacher(path: Path) -> None:
    """Random weights in the form of `nst.distillation.teacher.SmallTeacher`."""
    rng, arrays, inner = np.random.default_rng(0), {}, 3

    def add(name: str, out: int, side: int = 3) -> None:
        shape = (out, inner, side, side)
        arrays[f"{name}.weight"] = rng.normal(0, (2 / inner) ** 0.5 / side, shape)
        arrays[f"{name}.bias"] = rng.normal(0, 0.1, out)

    for block, (width, depth) in enumerate([(16, 2), (32, 2), (64, 4), (128, 4), (128, 1)], 1):
        for layer in range(1, depth + 1):
            add(f"conv{block}{layer}", width)
            inner = width
        add(f"conv{block}1_aux", 4 * width, 1)
    arrays["conv11.weight"] /= 60  # Of pictures' levels; the rest is of the order of 1.
    np.savez(path, **{name: np.float32(array) for name, array in arrays.items()})


# === The commands of each task, on tiny things ===

TASKS = ("classify", "superres", "cartoon", "detection", "nst")
VIDEO_TASKS = ("superres", "cartoon", "detection")

_NETWORK = "--widths 6 5 --kernels 3x3 1x3 --residuals --crop 16 --steps 4 --learning-rate 1e-3"
_SETTINGS = {
    "classify": "--preset report --batch 40",
    "superres": _NETWORK,
    "cartoon": "--steps 4 --batch 2 --side 64",
    "detection": "--batch 2 --side 64 --min-size 64 --validate-every 3",
    "nst": "--steps 2 --batch 1 --crop 32 --improvised 0",
}
EPOCHS = {"classify": 12, "superres": 60, "cartoon": 6, "detection": 6, "nst": 6}
"""So many that a kill after the first comes before the last."""


@pytest.fixture(scope="session")
def training(things):
    """(task, out, epochs=None) -> the words of a training's command."""

    def words(task: str, out: Path, epochs: int | None = None) -> list[str]:
        epochs = EPOCHS[task] if epochs is None else epochs
        settings = _SETTINGS[task].split()
        return [f"{task}.train", *_data(things, task), "--out", out, "--epochs", epochs, *settings]

    return lambda *arguments, **options: list(map(str, words(*arguments, **options)))


def _data(things, task: str) -> list[object]:
    name = {"classify": "cifar", "cartoon": "people", "detection": "shapes"}.get(task, "pictures")
    more = ["--teacher", things("teacher")] if task == "nst" else []
    return ["--data", things(name), *more]


@pytest.fixture(scope="session")
def sweep(things):
    """(task, out) -> the words of the command of a sweep of four trials."""

    def words(task: str, out: Path) -> list[object]:
        to, photo = [f"{task}.sweep", "--out", out], things("pictures") / "0.png"
        if task == "nst":
            settings = ["--size", 48, "--coarsest", 0, "--iterations", 4]
            return [to[0], photo, "ink", *to[1:], *settings, "--grid", "seed=1,2,3,4"]
        if task == "cartoon":
            return [to[0], photo, *to[1:], "--no-cut-out", "--grid", "smallest=8,10,20,40"]
        more = ["--validation", things("pictures"), "--preset", "report"]
        settings = ["--epochs", 2, *_SETTINGS[task].split(), "--grid", "seed=1,2,3,4"]
        return [*to, *_data(things, task), *(more if task == "superres" else ()), *settings]

    return lambda *arguments: list(map(str, words(*arguments)))


_BATCH = {
    "classify": "--gradcam",
    "superres": "",
    "cartoon": "",
    "detection": "",
    "nst": "--size 48 --coarsest 0 --iterations 3",
}


@pytest.fixture(scope="session")
def batch(things):
    """(task, out, folder=None) -> the words of the command for a folder of pictures."""

    def words(task: str, out: Path, folder: Path | None = None) -> list[object]:
        folder = things("pictures") if folder is None else folder
        return [f"{task}.run", folder, "--out", out, *_BATCH[task].split()]

    return lambda *arguments: list(map(str, words(*arguments)))


RESULT = {"classify": ".gradcam.png"}
"""What a result's name ends with, if not with .png."""


@pytest.fixture(scope="session")
def video(things):
    """(task, out) -> the words of the command for a video."""

    def words(task: str, out: Path) -> list[object]:
        return [f"{task}.run", things("clip"), "--out", out]

    return lambda *arguments: list(map(str, words(*arguments)))
