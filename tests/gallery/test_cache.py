import os

import pytest

from gallery.web.cache import files_in, forget, sweep
from gallery.web.limits import Limits

NOW = 1_000_000.0


@pytest.fixture
def cache(tmp_path):
    """Makes a file of a number of bytes and an age in seconds, in a folder of its own."""

    def make(name: str, size: int, age: float):
        path = tmp_path / name / "photo.png"
        path.parent.mkdir()
        path.write_bytes(bytes(size))
        os.utime(path, (NOW - age, NOW - age))
        os.utime(path.parent, (NOW - age, NOW - age))
        return path

    return make


def test_old_files_go_with_their_folders_and_young_ones_stay(cache, tmp_path):
    old, young, example = cache("old", 5, 700), cache("young", 5, 500), cache("example", 5, 9999)
    sweep(tmp_path, Limits(keep_minutes=10), keep={example}, now=NOW)
    assert files_in(tmp_path) == {young, example}
    os.utime(old.parent, (NOW - 700, NOW - 700))
    sweep(tmp_path, Limits(keep_minutes=10), keep={example}, now=NOW)
    assert not old.parent.exists()
    assert tmp_path.exists()


def test_of_too_much_the_oldest_go_first(cache, tmp_path):
    files = [cache(str(age), 400_000, age) for age in (50, 40, 30, 20)]
    sweep(tmp_path, Limits(disk_megabytes=1), now=NOW)
    assert files_in(tmp_path) == set(files[2:])


def test_an_empty_folder_that_is_young_stays(tmp_path):
    (tmp_path / "new").mkdir()
    sweep(tmp_path, Limits())
    assert (tmp_path / "new").exists()


def test_gone_files_are_forgotten(tmp_path):
    here = tmp_path / "here"
    here.touch()
    names = {str(here), str(tmp_path / "gone")}
    forget([names])
    assert names == {str(here)}
