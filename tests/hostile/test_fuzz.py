"""The coverage-guided search itself: what it starts from is read, and what it finds is kept."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from atelier import cli
from atelier.errors import AtelierError, ImageError
from fuzz.__main__ import main
from fuzz.readers import READERS, Reader

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("name", READERS)
def test_seeds_are_read(tmp_path, name):
    reader = READERS[name]
    for seed in reader.seeds():
        reader.read(seed, tmp_path)


LENIENT = ("cards", "settings", "lists", "manifests", "sweeps")
"""What reads damaged files, too, or hands the judgement on."""


@pytest.mark.parametrize("name", [name for name in READERS if name not in LENIENT])
def test_damage_is_an_error(tmp_path, name):
    reader = READERS[name]

    def read_halves() -> None:
        for seed in reader.seeds():
            reader.read(seed[: len(seed) // 2], tmp_path)

    with pytest.raises((AtelierError, reader.refuses)):
        read_halves()


def test_readers_that_there_are_not_are_named(error_line):
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not installed")
    assert main(["none"]) == cli.BAD_USAGE
    assert "no reader 'none'; there are pictures, videos" in error_line()
    assert main(["--seconds", "0"]) == cli.BAD_USAGE


def test_what_is_found_is_kept_once_for_each_place(tmp_path):
    pytest.importorskip("atheris")
    from fuzz.worker import Search

    def read(data: bytes, folder: Path) -> None:
        if data.startswith(b"a"):
            raise ImageError("as it may")
        {b"k": 1}[data[:1]]

    search = Search(Reader("own", list, read), tmp_path, tmp_path)
    for data in (b"a", b"k", b"x1", b"x2", b"y"):
        search(data)
    (text,) = tmp_path.glob("own-*.txt")
    assert "KeyError: b'x'" in text.read_text()
    assert text.with_suffix("").read_bytes() == b"x1"


@pytest.mark.soak
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed")
def test_a_search_ends_with_what_it_found(tmp_path):
    command = [sys.executable, "-m", "fuzz", "--seconds", "3", "--findings", str(tmp_path), "coco"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == cli.DONE, done.stderr
    assert "coco: " in done.stderr
    assert "0 findings" in done.stderr
