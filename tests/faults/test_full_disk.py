"""A disk that fills up at each write: one line, no half of a file, and on with room again."""

import contextlib
import fnmatch
import json
import os
import sys

import pytest

from atelier import cli
from atelier.files import atomic

TASKS = ("classify", "superres", "cartoon", "detection", "nst")


def some(tasks, default=()):
    """The tasks as parameters, all but those of `default` left to `make soak`."""
    return [t if t in default else pytest.param(t, marks=pytest.mark.soak) for t in tasks]


@pytest.fixture
def full_at(disk, monkeypatch):
    """full_at(PATTERN): a block in which the disk is full by the time that such a file's content
    is written, and has room again after it."""
    make = atomic._make_temporary

    @contextlib.contextmanager
    def block(pattern: str):
        met = []

        def made(target):
            found = make(target)
            if fnmatch.fnmatch(target.name, pattern):
                met.append(target)
                disk.fill()
            return found

        with monkeypatch.context() as patch:
            patch.setattr(atomic, "_make_temporary", made)
            yield
        assert met, f"no {pattern} was written"
        disk.empty()

    return block


def check(done, pattern: str, code: int) -> None:
    """That a command ended with one line about the file that did not fit."""
    assert done.code == code
    start, _, why = done.error.rpartition(": ")
    assert why == "No space left on device"
    assert "cannot write" in start
    assert fnmatch.fnmatch(os.path.basename(start), pattern)


# === Results ===


def quick_ones(rows):
    """The rows as parameters, those that take long left to `make soak`."""
    quick = ("t.csv", "t.json")
    return [
        pytest.param(
            *row,
            marks=[] if row[0] == "cartoon" or row[1] in quick else pytest.mark.soak,
            id=f"{row[0]}-{row[1]}",
        )
        for row in rows
    ]


RESULTS = [
    ("cartoon", "0.png", []),
    ("superres", "0.png", []),
    ("superres", "0.compare.png", ["--compare"]),
    ("nst", "0.png", []),
    ("nst", "0.gif", ["--animation", "gif"]),
    ("nst", "0.mp4", ["--animation", "mp4"]),
    ("nst", "0.csv", ["--history"]),
    ("nst", "0.history.png", ["--history"]),
    ("nst", "0.00002.png", ["--every", "2"]),
    ("classify", "0.gradcam.png", ["--sheet", "0"]),
    ("detection", "0.png", []),
    ("detection", "0.xml", ["--voc", "voc"]),
    ("detection", "01-*.png", ["--crops", "crops", "--threshold", "0.001"]),
]


@pytest.mark.parametrize(("task", "pattern", "more"), quick_ones(RESULTS))
def test_a_result_that_does_not_fit(task, pattern, more, batch, things, here, full_at, look, disk):
    out, photo = disk.folder / "out", things("pictures") / "0.png"
    more = [disk.folder / word if word in ("voc", "crops") else word for word in more]
    words = [*batch(task, out, photo), *more]
    with full_at(pattern):
        done = here(words)
        assert not look.temporaries(disk.folder)
    # An animation is open while its picture is written, which then finds no room either.
    check(done, "0.png" if pattern in ("0.gif", "0.mp4") else pattern, code=1)
    assert not [name for name in look.tree(disk.folder) if fnmatch.fnmatch(name, f"*/{pattern}")]
    assert here([*words, "--overwrite"]).code == 0
    assert [name for name in look.tree(disk.folder) if fnmatch.fnmatch(name, f"*/{pattern}")]


TABLES = [
    ("classify", "classes.csv", ["--csv"]),
    ("classify", "contact_sheet.png", []),
    ("detection", "t.csv", ["--csv"]),
    ("detection", "t.json", ["--coco"]),
]


@pytest.mark.parametrize(("task", "pattern", "more"), quick_ones(TABLES))
def test_a_table_that_does_not_fit(task, pattern, more, batch, things, here, full_at, look, disk):
    out, photo = disk.folder / "out", things("pictures") / "0.png"
    words = [
        *batch(task, out, photo),
        *more,
        *([disk.folder / pattern] if task == "detection" else []),
    ]
    with full_at(pattern):
        done = here(words)
        assert not look.temporaries(disk.folder)
    assert done.code in (1, 2)
    assert "No space left on device" in done.err
    assert not list(disk.folder.rglob(pattern))
    assert here([*words, "--overwrite"]).code == 0
    assert list(disk.folder.rglob(pattern))


@pytest.mark.parametrize("task", some(["superres", "cartoon", "detection"]))
def test_a_video_that_does_not_fit(task, video, here, full_at, look, disk):
    out = disk.folder / "out"
    with full_at("clip.mp4"):
        done = here(video(task, out))
        assert not look.temporaries(out)
    check(done, "clip.mp4", code=1)
    assert here(video(task, out)).code == 0
    assert list(look.tree(out)) == ["clip.mp4"]


def test_pictures_before_and_after_a_full_disk_are_kept(batch, here, full_at, look, disk):
    out = disk.folder / "out"
    with full_at("3.png"):
        done = here(batch("cartoon", out))
    assert done.code == 1
    assert len(done.errors) == 3  # 3.png, and what comes after it.
    assert sorted(look.tree(out)) == ["0.png", "1.png", "2.png"]


# === Training and sweeps ===


@pytest.mark.parametrize("task", some(TASKS, default=["superres"]))
def test_a_training_goes_on_after_each_full_disk(task, training, here, full_at, look, disk):
    out = disk.folder / "out"
    patterns = ["config.json", "history.csv", "epoch-*.npz", "model.keras", "card.json"]
    if task == "detection":
        patterns.insert(1, "epoch-*.png")  # Its contact sheets.
    words = training(task, out, 2)
    before: dict[str, bytes] = {}
    for pattern in patterns:
        with full_at(pattern):
            done = here(words)
            assert not look.temporaries(out)
        check(done, pattern, code=2)
        after = look.tree(out)
        assert {n: d for n, d in before.items() if n == "config.json"}.items() <= after.items()
        assert not (out / "card.json").exists()
        before = after
    assert here(words).code == 0
    assert [row["epoch"] for row in look.rows(out / "history.csv")] == ["1", "2"]
    assert {"config.json", "history.csv", "model.keras", "card.json"} <= set(look.tree(out))


@pytest.mark.parametrize("task", some(TASKS))
def test_a_sweep_goes_on_after_each_full_disk(task, sweep, here, full_at, look, disk):
    out, kept = disk.folder / "out", {}
    for pattern in ("sweep.json", "trial-000.png", "trials.csv", "trial-002.png", "contact_*.png"):
        with full_at(pattern):
            done = here(sweep(task, out))
            assert not look.temporaries(out)
        check(done, pattern, code=2)
        found = {name: data for name, data in look.tree(out).items() if "trial-00" in name}
        assert kept.items() <= found.items()
        kept = found
    assert here(sweep(task, out)).code == 0
    assert len(look.rows(out / "trials.csv")) == 4
    assert (out / "contact_sheet.png").exists()


# === Standard output ===


def test_json_onto_a_full_disk_is_one_line_a_result(batch, launch, look, tmp_path):
    out = tmp_path / "out"
    with open("/dev/full", "w") as full:
        done = launch([*batch("cartoon", out), "--no-cut-out", "--json"], stdout=full).end()
    assert done.code == 1
    assert len(done.errors) == 6
    assert all(
        line.endswith(": cannot write to standard output: No space left on device")
        for line in done.errors
    )
    assert "Exception" not in done.err
    assert len(look.tree(out)) == 6


@pytest.mark.parametrize("name", ["café.png", os.fsdecode(b"caf\xe9.png")])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_json_names_files_whatever_their_bytes(monkeypatch, tmp_path, name, encoding):
    with open(tmp_path / "out", "w", encoding=encoding) as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        cli.print_json({"input": name})
    assert json.loads((tmp_path / "out").read_text(encoding)) == {"input": name}
