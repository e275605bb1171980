"""Journals and manifests: exact contents, kills at each moment, other settings, two runs."""

import fcntl
import json
import os

import pytest

from atelier.errors import OutputError, SettingsError
from atelier.manifest import Journal, Manifest, entries

NAMES = ["a.png", "b.png", "c.png"]


def done(name, **facts):
    return {"done": {"input": name, "output": f"out/{name}", **facts}, "line": f"{name} done"}


@pytest.fixture
def opened(tmp_path):
    """Opens the manifest of `tmp_path`; closed at the end of the test, or before the next."""
    manifests = []

    def open_manifest(settings=None, names=NAMES, **options) -> Manifest:
        if manifests:
            manifests.pop().close()
        settings = {"scale": 2} if settings is None else settings
        manifests.append(Manifest(tmp_path, settings, names, **options))
        return manifests[-1]

    yield open_manifest
    for manifest in manifests:
        manifest.close()


def write(manifest, number, *lines) -> None:
    journal = Journal(manifest.journals / f"{number:06d}.jsonl")
    for line in lines:
        journal.append(line)


def lines(folder, name) -> list:
    return [json.loads(line) for line in (folder / "manifest" / name).read_text().splitlines()]


# === Journals ===


def test_a_journal_tells_what_ended_and_how_often_each_was_begun(tmp_path):
    journal = Journal(tmp_path / "0.jsonl")
    assert journal.read() == ({}, {})
    journal.append({"begin": "a"}, sync=False)
    journal.append({"begin": "b"})
    journal.append(done("b", found=True))
    journal.append({"begin": "a"})
    journal.append({"failed": "c", "reason": "not a picture"})
    ended, begun = Journal(tmp_path / "0.jsonl").read()
    assert ended == {"b": done("b", found=True), "c": {"failed": "c", "reason": "not a picture"}}
    assert begun == {"a": 2, "b": 1}


def test_half_a_line_spoils_no_other(tmp_path):
    """A kill in the middle of a write."""
    Journal(tmp_path / "0.jsonl").append(done("a"))
    with open(tmp_path / "0.jsonl", "a") as file:
        file.write('{"done": {"input": "b", "out')
    Journal(tmp_path / "0.jsonl").append(done("c"))
    journal = Journal(tmp_path / "0.jsonl")
    assert list(journal.read()[0]) == ["a", "c"]
    journal.append(done("d"))
    assert list(journal.read()[0]) == ["a", "c", "d"]


def test_names_need_not_be_utf_8(tmp_path):
    name = b"caf\xe9 \xe7\x8c\xab.png".decode("utf-8", "surrogateescape")
    journal = Journal(tmp_path / "0.jsonl")
    journal.append(done(name))
    assert list(journal.read()[0]) == [name]
    assert "猫".encode() in (tmp_path / "0.jsonl").read_bytes(), "what can be read is readable"


def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
    """It may take a part of a line; what comes once there is room again stands on its own."""
    journal, write = Journal(tmp_path / "0.jsonl"), os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, data[:9]))
    with pytest.raises(OutputError, match=r"^cannot write .*0\.jsonl: No space left on device$"):
        journal.append(done("a"))
    monkeypatch.undo()
    journal.append(done("b"))
    assert list(journal.read()[0]) == ["b"]


# === Manifests ===


def test_lists_are_made_of_journals_in_the_order_of_the_inputs(opened, tmp_path):
    manifest = opened()
    write(manifest, 0, {"begin": "c.png"}, done("c.png", width=3))
    write(
        manifest, 1, {"begin": "a.png"}, done("a.png", width=1), {"failed": "b.png", "reason": "x"}
    )
    manifest.collect(finished=True)
    expected = [done(name, width=width)["done"] for name, width in (("a.png", 1), ("c.png", 3))]
    assert lines(tmp_path, "done.jsonl") == expected
    assert lines(tmp_path, "failed.jsonl") == [{"input": "b.png", "reason": "x"}]
    assert list(manifest.records()) == [(0, expected[0]), (2, expected[1])]
    assert manifest.failed == {"b.png": "x"}
    assert json.loads((tmp_path / "manifest" / "batch.json").read_text()) == {
        "version": 1,
        "finished": True,
        "tables": [],
        "settings": {"scale": 2},
    }
    assert not list((tmp_path / "manifest" / "journal").iterdir())


def test_the_next_run_takes_up_what_a_killed_one_left(opened, tmp_path):
    manifest = opened()
    write(manifest, 0, {"begin": "a.png"}, done("a.png"), {"begin": "b.png"})
    manifest = opened()
    assert list(manifest.done) == ["a.png"]
    assert manifest.begun == {"b.png"}, "its result may lie there, and is the batch's own"
    manifest = opened()
    assert manifest.begun == {"b.png"}, "still, after another kill"
    write(manifest, 0, {"begin": "b.png"}, done("b.png"))
    manifest.collect()
    assert list(manifest.done) == ["a.png", "b.png"]
    assert manifest.begun == set()


def test_what_failed_is_forgotten_once_it_is_done(opened, tmp_path):
    manifest = opened()
    write(manifest, 0, {"failed": "a.png", "reason": "x"}, {"failed": "b.png", "reason": "y"})
    manifest = opened()
    assert manifest.failed == {"a.png": "x", "b.png": "y"}
    write(manifest, 0, done("a.png"), {"failed": "b.png", "reason": "z"})
    manifest.collect()
    assert lines(tmp_path, "failed.jsonl") == [{"input": "b.png", "reason": "z"}]
    assert [record["input"] for record in lines(tmp_path, "done.jsonl")] == ["a.png"]


def test_inputs_of_an_earlier_run_are_kept_though_they_are_not_among_these(opened, tmp_path):
    write(opened(), 0, done("b.png"), done("a.png"))
    manifest = opened(names=["new.png", "a.png"])
    write(manifest, 0, done("new.png"))
    manifest.collect()
    names = [record["input"] for record in lines(tmp_path, "done.jsonl")]
    assert names == ["new.png", "a.png", "b.png"]
    assert [record["input"] for _, record in manifest.records()] == ["new.png", "a.png"]


def test_a_kill_between_the_lists_and_the_journals_end_changes_nothing(
    opened, tmp_path, monkeypatch
):
    manifest = opened()
    write(manifest, 0, done("a.png"), {"failed": "b.png", "reason": "x"}, {"begin": "c.png"})
    monkeypatch.setattr("shutil.rmtree", lambda path: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        manifest.collect()
    monkeypatch.undo()
    before = lines(tmp_path, "done.jsonl")
    manifest = opened()
    assert lines(tmp_path, "done.jsonl") == before == [done("a.png")["done"]]
    assert (manifest.failed, manifest.begun) == ({"b.png": "x"}, {"c.png"})


def test_who_was_taken_over_can_add_nothing(opened):
    """As workers of a killed run find, that live for a moment longer."""
    journal = Journal(opened().journals / "000000.jsonl")
    journal.append({"begin": "a.png"})
    opened()
    with pytest.raises(SettingsError, match="another run has taken this batch over"):
        journal.append(done("a.png"))


def test_other_settings_are_refused_by_name_unless_nothing_was_done(opened, tmp_path):
    opened({"scale": 3, "model": "auto"})
    manifest = opened({"scale": 2, "model": "auto"})
    write(manifest, 0, done("a.png"))
    with pytest.raises(
        SettingsError, match=r"other settings \(model, scale\); choose another --out"
    ):
        opened({"scale": 4})
    assert list(opened({"scale": 2, "model": "auto"}).done) == ["a.png"]


def test_overwrite_begins_anew_but_goes_on_after_a_stop(opened):
    write(opened(), 0, done("a.png"))
    assert list(opened(overwrite=True).done) == ["a.png"], "stopped, and the same settings"
    opened().collect(finished=True)
    assert not opened(overwrite=True).done
    write(opened(), 0, done("a.png"))
    assert not opened({"scale": 3}, overwrite=True).done


def test_a_table_is_this_batchs_once_it_was_claimed(opened, tmp_path):
    (tmp_path / "theirs.csv").write_text("kept")
    manifest = opened()
    with pytest.raises(OutputError, match=r"theirs\.csv exists"):
        manifest.claim(tmp_path / "theirs.csv", overwrite=False)
    manifest.claim(tmp_path / "ours.csv", overwrite=False)
    (tmp_path / "ours.csv").write_text("by this run")
    opened().claim(tmp_path / "ours.csv", overwrite=False)


@pytest.mark.parametrize("content", ["", "[]", '{"version": 1}', "nonsense"])
def test_a_damaged_batch_is_one_line(opened, tmp_path, content):
    (tmp_path / "manifest").mkdir()
    (tmp_path / "manifest" / "batch.json").write_text(content)
    with pytest.raises(OutputError, match=r"batch\.json is damaged; choose another --out"):
        opened()


@pytest.mark.parametrize("name", ["done.jsonl", "failed.jsonl", "begun.jsonl"])
@pytest.mark.parametrize("content", ["nonsense\n", "[]\n", "{}\n", '"a"\n'])
def test_a_damaged_list_is_one_line(opened, tmp_path, name, content):
    opened().collect()
    (tmp_path / "manifest" / name).write_text(content)
    with pytest.raises(OutputError, match=f"{name} is damaged; mend or delete it"):
        opened()


def test_a_later_version_is_refused(opened, tmp_path):
    opened()
    file = tmp_path / "manifest" / "batch.json"
    file.write_text(file.read_text().replace('"version": 1', '"version": 2'))
    with pytest.raises(SettingsError, match="another version"):
        opened()


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file"):
        Manifest(tmp_path / "file", {}, [])


def test_a_second_command_on_the_folder_is_refused(opened, tmp_path):
    with open(tmp_path / ".lock", "w") as theirs:
        fcntl.flock(theirs, fcntl.LOCK_EX)
        with pytest.raises(OutputError, match="is in use by another run"):
            opened()
    assert not (tmp_path / "manifest").exists()
    opened()


def test_no_file_has_no_entries(tmp_path):
    assert list(entries(tmp_path / "none.jsonl")) == []
