"""`make test` ends, and names the test, when a test ends its worker or hangs."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

BODIES = {
    "ends": "import os\n\ndef test_culprit():\n    os._exit(3)\n",
    "hangs": "import time\n\ndef test_culprit():\n    time.sleep(600)\n",
    "passes": "def test_one():\n    pass\n\ndef test_two():\n    pass\n",
}


def flags() -> list[str]:
    """Those of pytest in `make test`."""
    said = subprocess.run(
        ["make", "--dry-run", "test"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    line = next(line for line in said.splitlines() if "-m pytest" in line)
    return shlex.split(line.partition("-m pytest")[2])


@pytest.mark.parametrize(
    ("kind", "words"),
    [("ends", "crashed while running"), ("hangs", "test_culprit")],
)
def test_run_ends_with_the_name_of_the_test(kind, words, tmp_path):
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    folder = tmp_path / "tests"
    folder.mkdir()
    for name in "abcd":
        more = BODIES[kind] if name == "b" else ""
        (folder / f"test_{name}.py").write_text(more + BODIES["passes"])
    command = [sys.executable, "-m", "pytest", *flags(), "-o", "faulthandler_timeout=2"]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert process.returncode == 1, process.stdout + process.stderr
    assert "FAILED tests/test_b.py" in process.stdout
    assert "test_culprit" in process.stdout
    assert words in process.stdout
