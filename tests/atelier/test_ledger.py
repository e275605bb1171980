"""Records of results: exact contents, damage, names, full disks, and settings that name files."""

import dataclasses
import json
import os
from pathlib import Path

import pytest

from atelier.cli.begun import Begun
from atelier.cli.ledger import BusyError, Ledger
from atelier.cli.records import identify, read_record, results_known_in, settings_of
from atelier.errors import OutputError


@pytest.fixture
def source(tmp_path):
    """An input."""
    file = tmp_path / "in" / "a.png"
    file.parent.mkdir()
    file.write_text("an input")
    return file


def ledger(folder: Path, command="test", settings=None, **options) -> Ledger:
    return Ledger(folder / "out", command, settings or {"scale": 2}, **options)


def make(ledger: Ledger, source: Path, *names: str, text="made") -> None:
    """Makes the results `names` of an input: files, or folders if they end with a slash."""
    paths = [ledger.folder / name for name in names]
    begun = ledger.begin(source, paths)
    for path, name in zip(paths, names, strict=True):
        for file in [path / t for t in text.split()] if name.endswith("/") else [path]:
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)
    begun.finish({"input": str(source)}, "a.png done", {"rows": [1]})


def records(folder: Path) -> list[Path]:
    return sorted((folder / "out" / ".atelier").iterdir())


def test_a_record_says_how_a_result_came_to_be(source, tmp_path):
    own = ledger(tmp_path)
    make(own, source, "a.png", "crops/")
    (file,) = records(tmp_path)
    facts, result = source.stat(), (tmp_path / "out" / "a.png").stat()
    crop = (tmp_path / "out" / "crops" / "made").stat()
    assert json.loads(file.read_text()) == {
        "version": 1,
        "command": "test",
        "settings": {"scale": 2},
        "input": str(source),
        "state": [facts.st_size, facts.st_mtime_ns],
        "results": {
            "a.png": {"a.png": [result.st_size, result.st_mtime_ns]},
            "crops": {"crops/made": [crop.st_size, crop.st_mtime_ns]},
        },
        "run": own.run,
        "record": {"input": str(source)},
        "line": "a.png done",
        "more": {"rows": [1]},
        "earlier": {},
    }
    known = {str(tmp_path / "out" / name) for name in ("a.png", "crops/made")}
    assert results_known_in(tmp_path / "out") == known


@pytest.mark.parametrize("damage", ["", "[]", "{}", '{"version": 1}', "cut", "version", "results"])
def test_a_record_that_cannot_be_used_counts_as_none(source, tmp_path, damage):
    make(ledger(tmp_path), source, "a.png")
    (file,) = records(tmp_path)
    content = json.loads(file.read_text())
    kinds = {
        "cut": file.read_text()[:-9],
        "version": json.dumps({**content, "version": 2}),
        "results": json.dumps({**content, "results": {"a.png": {"a.png": 3}}}),
    }
    file.write_text(kinds.get(damage, damage))
    assert read_record(file) is None
    assert results_known_in(tmp_path / "out") == set()
    path = tmp_path / "out" / "a.png"
    with pytest.raises(OutputError, match=r"a\.png exists; choose another --out"):
        ledger(tmp_path).begin(source, (path,))
    assert path.read_text() == "made"


def test_names_need_not_be_utf_8(tmp_path):
    name = os.fsdecode(b"caf\xe9 \xe7\x8c\xab.png")
    (tmp_path / name).write_text("an input")
    make(ledger(tmp_path), tmp_path / name, name)
    (file,) = records(tmp_path)
    record = read_record(file)
    assert (record.input, list(record.results)) == (str(tmp_path / name), [name])
    assert "猫".encode() in file.read_bytes(), "what can be read is readable"
    assert ledger(tmp_path).find(tmp_path / name, (tmp_path / "out" / name,))[1]


def test_commands_have_records_of_their_own(source, tmp_path):
    make(ledger(tmp_path), source, "a.png")
    make(ledger(tmp_path, "other"), source, "b.png")
    with pytest.raises(OutputError, match=r"a\.png exists"):
        ledger(tmp_path, "other").begin(source, (tmp_path / "out" / "a.png",))
    assert len(records(tmp_path)) == 2


def test_a_folder_that_was_moved_keeps_its_records(source, tmp_path):
    make(ledger(tmp_path), source, "a.png")
    (tmp_path / "out").rename(tmp_path / "moved")
    moved = Ledger(tmp_path / "moved", "test", {"scale": 2})
    assert moved.find(source, (tmp_path / "moved" / "a.png",))[1]


def test_bytes_are_known_by_their_content(tmp_path):
    assert identify(b"a")[0] != identify(b"b")[0]
    make(ledger(tmp_path), b"a", "stdin.png")
    path = tmp_path / "out" / "stdin.png"
    assert ledger(tmp_path).find(b"a", (path,))[1]
    with pytest.raises(OutputError, match=r"stdin\.png exists, made from sha256:"):
        ledger(tmp_path).begin(b"b", (path,))


def test_parts_of_an_earlier_state_go_and_those_changed_by_hand_stay(source, tmp_path):
    make(ledger(tmp_path), source, "a.png", "crops/", text="one two three")
    source.write_text("changed since")
    make(ledger(tmp_path), source, "a.png", "crops/", text="one")
    assert os.listdir(tmp_path / "out" / "crops") == ["one"]
    source.write_text("changed once more")
    (tmp_path / "out" / "crops" / "mine").write_text("mine")
    with pytest.raises(OutputError, match=r"crops/mine exists; choose"):
        make(ledger(tmp_path), source, "a.png", "crops/")
    assert sorted(os.listdir(tmp_path / "out" / "crops")) == ["mine", "one"]


def test_what_an_earlier_run_made_besides_is_still_known(source, tmp_path):
    make(ledger(tmp_path), source, "a.png", "more.png")
    source.write_text("changed since")
    make(ledger(tmp_path), source, "a.png")
    known = {str(tmp_path / "out" / name) for name in ("a.png", "more.png")}
    assert results_known_in(tmp_path / "out") == known
    paths = [tmp_path / "out" / name for name in ("a.png", "more.png")]
    assert not ledger(tmp_path).find(source, paths)[1], "it is of the earlier state"
    make(ledger(tmp_path), source, "a.png", "more.png", text="new")
    assert (tmp_path / "out" / "more.png").read_text() == "new"


def test_one_process_at_a_time_makes_a_result(source, tmp_path):
    paths = (tmp_path / "out" / "a.png",)
    begun = ledger(tmp_path).begin(source, paths)
    assert isinstance(begun, Begun)
    with pytest.raises(BusyError):
        ledger(tmp_path).begin(source, paths)
    begun.abandon()
    assert records(tmp_path) == []
    assert isinstance(ledger(tmp_path).begin(source, paths), Begun)


def test_a_full_disk_is_one_line_and_the_result_is_made_anew(source, tmp_path, monkeypatch):
    def full(path, **options):
        raise OutputError(f"cannot write {path}: No space left on device")

    monkeypatch.setattr("atelier.cli.begun.atomic_path", full)
    with pytest.raises(OutputError, match=r"No space left on device; it was made"):
        make(ledger(tmp_path), source, "a.png")
    monkeypatch.undo()
    begun = ledger(tmp_path).begin(source, (tmp_path / "out" / "a.png",))
    assert begun.replace


# === Settings ===


@dataclasses.dataclass(frozen=True)
class Settings:
    scale: int = 2
    background: str = "white"
    network: Path | None = None
    out: Path = Path("out")


def test_settings_are_compared_as_json_has_them():
    assert settings_of(Settings(), {"out"}) == {
        "scale": 2,
        "background": "white",
        "network": None,
    }


def test_settings_that_name_files_count_with_their_state(source, tmp_path):
    arguments = Settings(background=str(source), network=source.parent)
    before = settings_of(arguments, {"out"})
    assert before["background"]["value"] == str(source)
    assert settings_of(arguments, {"out"}) == before
    source.write_text("another background")
    after = settings_of(arguments, {"out"})
    assert after["background"] != before["background"]
    assert after["network"] != before["network"]
