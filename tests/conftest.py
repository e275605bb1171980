"""What all tests share: small pictures, drawn here or from scikit-image; errors; Ctrl-C."""

import os
import signal
import subprocess
import time
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from atelier.images import load_image, resize, sample

matplotlib.use("Agg")

ROOT = Path(__file__).parent.parent


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


@pytest.fixture
def kill_after_an_epoch():
    """Runs a training's command in a process of its own, and kills it once it has a checkpoint."""

    def run(command, folder) -> None:
        process = subprocess.Popen(
            [str(word) for word in command],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            deadline = time.monotonic() + 120
            while not list((folder / "checkpoint").glob("epoch-*.npz")):
                assert process.poll() is None, process.stderr.read()
                assert time.monotonic() < deadline
                time.sleep(0.01)
        finally:
            process.kill()
            process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert not (folder / "card.json").exists()

    return run
