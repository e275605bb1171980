"""Nothing of TensorFlow's greeting reaches a user."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PACKAGES = ("superres", "nst", "classify", "cartoon", "detection")
START = {
    "import of all packages": ["-c", f"import {', '.join(PACKAGES)}"],
    "python -m classify.run --help": ["-m", "classify.run", "--help"],
}
ALONE = {f"import {package}": ["-c", f"import {package}"] for package in PACKAGES}


@pytest.mark.parametrize(
    "commands", [START, pytest.param(ALONE, marks=pytest.mark.soak)], ids=["together", "alone"]
)
def test_packages_and_commands_start_without_a_word_on_standard_error(commands):
    """Each in a process of its own, as TensorFlow greets once; all at once, as it takes seconds."""
    quiet = {"TF_CPP_MIN_LOG_LEVEL", "TF_ENABLE_ONEDNN_OPTS", "CUDA_VISIBLE_DEVICES"}
    environment = {name: value for name, value in os.environ.items() if name not in quiet}
    running = {
        name: subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name, command in commands.items()
    }
    said = {name: process.communicate(timeout=240)[1] for name, process in running.items()}
    assert {name: process.returncode for name, process in running.items()} == dict.fromkeys(said, 0)
    assert said == dict.fromkeys(said, "")
