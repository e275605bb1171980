"""Folders that may not be written, and file systems that take nothing: one line, nothing else."""

import re

import pytest

from atelier.files import atomic

TASKS = ("classify", "superres", "cartoon", "detection", "nst")


def some(tasks, default=()):
    """The tasks as parameters, all but those of `default` left to `make soak`."""
    return [t if t in default else pytest.param(t, marks=pytest.mark.soak) for t in tasks]


@pytest.mark.parametrize("kind", some(["batch", "training", "sweep"], default=["batch"]))
@pytest.mark.parametrize("task", some(TASKS, default=["cartoon"]))
def test_a_folder_of_others_is_one_line_for_each_result(
    kind, task, request, ordinary_user, launch, things, tmp_path
):
    out = tmp_path / "out"
    out.mkdir(mode=0o555)
    words = request.getfixturevalue(kind)(task, out)
    if kind == "batch":
        words = [words[0], str(things("pictures") / "0.png"), *words[2:]]
    if task == "classify":
        words += ["--sheet", "0"] if kind == "batch" else []
    done = launch(words, prefix=ordinary_user).end()
    assert done.code == (1 if kind == "batch" else 2)
    assert re.search(
        rf"cannot write (into )?{re.escape(str(out))}.*: Permission denied$", done.error
    )
    assert not list(out.iterdir())


@pytest.mark.parametrize("kind", ["batch", "training", "sweep", "video"])
@pytest.mark.parametrize("task", some(TASKS, default=["cartoon"]))
def test_a_file_system_that_takes_nothing(kind, task, request, here, things, look, disk):
    if kind == "video" and task in ("classify", "nst"):
        pytest.skip("no such command")
    out = disk.folder / "out"
    words = request.getfixturevalue(kind)(task, out)
    if kind == "batch":
        words = [words[0], str(things("pictures") / "0.png"), *words[2:]]
    if (kind, task) == ("batch", "classify"):
        words += ["--sheet", "0"]
    disk.read_only()
    try:
        done = here(words)
    finally:
        disk.read_only(False)
    assert done.code == (1 if kind in ("batch", "video") else 2)
    assert done.error.endswith(": Read-only file system")
    assert str(disk.folder) in done.error
    assert look.tree(disk.folder) == {}


@pytest.mark.soak
def test_what_is_finished_may_lie_where_nothing_can_be_written(training, here, disk, look):
    out = disk.folder / "out"
    assert here(training("superres", out, 1)).code == 0
    before = look.tree(out)
    disk.read_only()
    try:
        assert here(training("superres", out, 1)).code == 0
    finally:
        disk.read_only(False)
    assert look.tree(out) == before


def test_a_file_system_that_turns_read_only_in_the_middle(batch, here, disk, look, monkeypatch):
    """As a failing disk is remounted by the kernel."""
    publish = atomic._publish

    def publish_and_fail(temporary, target, overwrite):
        publish(temporary, target, overwrite)
        if target.name == "2.png":
            monkeypatch.setattr(atomic, "_publish", publish)
            disk.read_only()

    monkeypatch.setattr(atomic, "_publish", publish_and_fail)
    out = disk.folder / "out"
    try:
        done = here(batch("cartoon", out))
    finally:
        disk.read_only(False)
    assert done.code == 1
    assert len(done.errors) == 3
    assert all(line.endswith(": Read-only file system") for line in done.errors)
    assert {"0.png", "1.png", "2.png"} == {n for n in look.tree(out) if not n.startswith(".")}
