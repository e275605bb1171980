"""Nothing of TensorFlow's greeting reaches a user, and it is imported where it is used alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

TOGETHER = "import superres, nst, classify, cartoon, detection; superres.upscale; nst.stylize; "
TOGETHER += "classify.classify; cartoon.cut_out; detection.detect"
PACKAGES = {
    "superres": "upscale",
    "nst": "stylize",
    "classify": "classify",
    "cartoon": "cut_out",
    "detection": "detect",
}
START = {"all packages": ["-c", TOGETHER], "Keras": ["-c", "import atelier, keras"]}
ALONE = {
    package: ["-c", f"import {package}; {package}.{name}"] for package, name in PACKAGES.items()
}


@pytest.mark.parametrize(
    "commands", [START, pytest.param(ALONE, marks=pytest.mark.soak)], ids=["together", "alone"]
)
def test_what_needs_tensorflow_loads_it_without_a_word_on_standard_error(commands):
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


def run(code: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=240
    )


def test_packages_are_imported_without_tensorflow():
    done = run(
        "import sys, atelier, cartoon, classify, detection, gallery, nst, superres\n"
        "from atelier import cli, errors, files\n"
        "from atelier.cli import jobs\n"
        "from atelier.media import images\n"
        "import cartoon.config, classify.config, detection.config, nst.config, superres.config\n"
        "print(*(name for name in ('tensorflow', 'keras', 'cv2') if name in sys.modules))"
    )
    assert (done.stdout, done.stderr) == ("\n", "")


@pytest.mark.parametrize("words", [["--help"], ["--no-such-flag"]])
def test_help_and_usage_errors_come_without_tensorflow(words):
    done = run(
        "import contextlib, importlib, io, sys\n"
        f"for task in {tuple(PACKAGES)}:\n"
        "    main = importlib.import_module(f'{task}.run').main\n"
        "    with contextlib.redirect_stdout(io.StringIO()):\n"
        "        try:\n"
        f"            code = main({words})\n"
        "        except SystemExit as stop:\n"
        "            code = stop.code\n"
        "    print(task, code, *(n for n in ('tensorflow', 'keras', 'cv2') if n in sys.modules))"
    )
    code = 0 if words == ["--help"] else 2
    assert done.stdout.splitlines() == [f"{task} {code}" for task in PACKAGES]


def test_what_tensorflow_said_is_shown_where_its_import_fails(tmp_path):
    (tmp_path / "tensorflow.py").write_text(
        "import os\nos.write(2, b'no such driver')\nraise OSError"
    )
    done = run(
        f"import sys, atelier\nsys.path.insert(0, {str(tmp_path)!r})\n"
        "try:\n    import tensorflow\nexcept OSError:\n    print('failed')"
    )
    assert (done.stdout, done.stderr) == ("failed\n", "no such driver")
