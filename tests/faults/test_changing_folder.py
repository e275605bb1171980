"""A folder that changes between the moment it is listed and the moment its files are read."""

import importlib
import os
import shutil
import threading

import pytest

from atelier.cli.inputs import find_inputs
from atelier.files import files_below

TASKS = ("classify", "superres", "cartoon", "detection", "nst")


def some(tasks, default=()):
    """The tasks as parameters, all but those of `default` left to `make soak`."""
    return [t if t in default else pytest.param(t, marks=pytest.mark.soak) for t in tasks]


@pytest.mark.parametrize("task", some(TASKS, default=["cartoon"]))
def test_what_changed_is_named_and_the_rest_done(
    task, batch, things, here, look, tmp_path, monkeypatch
):
    folder, out = tmp_path / "in", tmp_path / "out"
    shutil.copytree(things("pictures"), folder)
    run = importlib.import_module(f"{task}.work")
    find = run.find_inputs

    def find_and_change(*arguments, **options):
        found = find(*arguments, **options)
        (folder / "1.png").unlink()
        (folder / "2.png").write_bytes((folder / "2.png").read_bytes()[:200])
        (folder / "3.png").unlink()
        (folder / "3.png").mkdir()
        (folder / "4.png").write_text("replaced")
        shutil.copy(folder / "0.png", folder / "added.png")
        return found

    monkeypatch.setattr(run, "find_inputs", find_and_change)
    done = here(batch(task, out, folder))
    assert done.code == 1
    named = [os.path.basename(line.split(": ")[1]) for line in done.errors]
    assert sorted(named) == ["1.png", "2.png", "3.png", "4.png"]
    ending = ".gradcam.png" if task == "classify" else ".png"
    assert {"0", "5"} == {
        name.removesuffix(ending) for name in look.tree(out) if "sheet" not in name
    }


def test_a_folder_that_goes_while_it_is_walked_is_no_error(tmp_path):
    """`Path.rglob` ends with a traceback here."""
    for number in range(300):
        (tmp_path / f"{number:03d}").mkdir()
        (tmp_path / f"{number:03d}" / "x.png").touch()
    missed = []
    walk = files_below(tmp_path, on_error=missed.append)
    first = next(walk)
    for folder in tmp_path.iterdir():
        if folder != first.parent:
            shutil.rmtree(folder)
    assert list(walk) == []
    assert len(missed) == 299


def test_folders_come_and_go_as_they_are_listed(tmp_path):
    (tmp_path / "a.png").touch()
    stop = threading.Event()

    def change():
        while not stop.is_set():
            deep = tmp_path / "b" / "c" / "d"
            deep.mkdir(parents=True, exist_ok=True)
            (deep / "x.png").touch()
            shutil.rmtree(tmp_path / "b")

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(300):
            names = [item.relative.as_posix() for item in find_inputs([tmp_path])]
            assert names[0] == "a.png"
            assert set(names[1:]) <= {"b", "b/c", "b/c/d", "b/c/d/x.png"}
    finally:
        stop.set()
        thread.join()


@pytest.mark.soak
def test_a_folder_that_cannot_be_listed_is_named(things, launch, ordinary_user, look, tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    shutil.copytree(things("pictures"), folder)
    (folder / "locked").mkdir(mode=0)
    words = ["cartoon.run", folder, "--no-cut-out", "--out", out]
    done = launch(words, prefix=ordinary_user).end()
    assert done.code == 1
    assert done.error == f"error: {folder / 'locked'}: this folder cannot be read"
    assert len(look.tree(out)) == 6


@pytest.mark.soak
@pytest.mark.parametrize("task", ["nst", "cartoon", "detection", "superres"])
def test_a_picture_that_goes_while_a_training_reads_is_one_line(
    task, training, things, here, look, tmp_path, monkeypatch
):
    """Those that were read before the training began need them no more; the others say which."""
    from atelier.training import runs

    name = {"cartoon": "people", "detection": "shapes"}.get(task, "pictures")
    folder, out = tmp_path / "data", tmp_path / "out"
    shutil.copytree(things(name), folder)
    save = runs.RunFolder.save

    def save_and_remove(self, *arguments):
        save(self, *arguments)
        for picture in list(folder.rglob("*.png"))[::2]:
            picture.unlink()

    monkeypatch.setattr(runs.RunFolder, "save", save_and_remove)
    words = training(task, out, 3)
    words[words.index("--data") + 1] = str(folder)
    done = here(words)
    assert done.code in (0, 2)
    if done.code == 2:
        assert ".png" in done.error
        assert "no such file" in done.error
    assert look.rows(out / "history.csv")
    shutil.copytree(things(name), folder, dirs_exist_ok=True)
    monkeypatch.setattr(runs.RunFolder, "save", save)
    assert here(words).code == 0
    assert len(look.rows(out / "history.csv")) == 3
