"""Nothing of TensorFlow's greeting reaches a user."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

COMMANDS = {
    "import superres": ["-c", "import superres"],
    "import nst": ["-c", "import nst"],
    "import classify": ["-c", "import classify"],
    "import cartoon": ["-c", "import cartoon"],
    "import detection": ["-c", "import detection"],
    "python -m classify.run --help": ["-m", "classify.run", "--help"],
}


def test_packages_and_commands_start_without_a_word_on_standard_error():
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
        for name, command in COMMANDS.items()
    }
    said = {name: process.communicate(timeout=240)[1] for name, process in running.items()}
    assert {name: process.returncode for name, process in running.items()} == dict.fromkeys(said, 0)
    assert said == dict.fromkeys(said, "")
