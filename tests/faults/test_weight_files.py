"""Embedded weight files that are damaged: one line names the file, and the other tasks go on."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# What reads them has its own tests, which take less: tests/atelier/test_weights.py.
pytestmark = pytest.mark.soak

ROOT = Path(__file__).parents[2]

# The damaged file comes first: what has been loaded once is not read again.
PROGRAM = """
import contextlib, importlib, io, json, sys
import numpy as np
from pathlib import Path

task, neighbour, *places = sys.argv[1:]
top, photo, out = map(Path, places)
files = {
    "classify": "classify/weights/strong.npz",
    "superres": "superres/weights/clean-x2.npz",
    "cartoon": "cartoon/weights/person.npz",
    "detection": "detection/weights/person.npz",
    "nst": "atelier/nets/weights/vgg19_lite.npz",
}
flags = {
    "classify": ["--json"],
    "superres": ["--model", "clean"],
    "nst": ["--size", "48", "--coarsest", "0", "--iterations", "2"],
}


def run(task, name):
    said = io.StringIO()
    words = [str(photo), "--out", str(out / f"{task}-{name}"), *flags.get(task, [])]
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code = importlib.import_module(f"{task}.run").main(words)
    return code, said.getvalue()


file = top / files[task]
whole = file.read_bytes()
middle = len(whole) // 2
pickled = io.BytesIO()
np.savez(pickled, **{"first/kernel": np.array([{}], object)})
damages = {
    "flipped": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
    "cut": whole[: middle],
    "empty": b"",
    "text": b"no weights",
    "pickle": pickled.getvalue(),
    "another network's": (top / files[neighbour]).read_bytes(),
}
ends = {}
for damage, content in damages.items():
    file.write_bytes(content)
    ends[damage] = run(task, damage)
ends["neighbour"] = run(neighbour, "neighbour")
file.write_bytes(whole)
ends["whole"] = run(task, "whole")
print(json.dumps(ends))
"""

FILES = {
    "classify": "strong.npz",
    "superres": "clean-x2.npz",
    "cartoon": "person.npz",
    "detection": "person.npz",
    "nst": "vgg19_lite.npz",
}


@pytest.fixture(scope="module", params=FILES)
def ends(request, things, tmp_path_factory) -> tuple[str, dict[str, tuple[int, str]]]:
    """A task, and how its command ended with each damage, in a copy of the packages."""
    task, neighbour = request.param, "superres" if request.param != "superres" else "cartoon"
    top, out = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("out")
    for package in ("atelier", *FILES):
        skipped = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, top / package, ignore=skipped)
    photo = things("pictures") / "0.png"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, task, neighbour, str(top), str(photo), str(out)],
        env={**os.environ, "PYTHONPATH": str(top)},
        cwd=top,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return task, json.loads(done.stdout)


def error(task: str, end: tuple[int, str]) -> str:
    """What is said of the task's file, before what is to be done."""
    code, said = end
    assert code == 2
    assert "Traceback" not in said
    (line,) = [line for line in said.splitlines() if line.startswith("error:")]
    _, _, reason = line.partition(f"/weights/{FILES[task]} ")
    assert reason.endswith("; install the package anew")
    return reason.removesuffix("; install the package anew")


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "text", "pickle"])
def test_a_damaged_file_is_one_line_that_says_what_to_do(ends, damage):
    task, found = ends
    assert error(task, found[damage]).startswith("is damaged (")


def test_a_file_of_another_network_is_one_line(ends):
    task, found = ends
    assert error(task, found["another network's"]) == "holds the weights of another network"


def test_the_other_tasks_go_on_and_so_does_this_with_its_file_again(ends):
    _, found = ends
    assert found["neighbour"][0] == 0
    assert found["whole"][0] == 0
