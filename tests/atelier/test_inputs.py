"""Inputs of a command line, what is left out of folders, and where results go."""

import io
import os
import sys
import types
from pathlib import Path

import pytest

from atelier.cli import inputs
from atelier.cli.inputs import Input, find_inputs, output_paths
from atelier.cli.ledger import Ledger
from atelier.errors import ImageError, SettingsError
from atelier.media import images
from atelier.media.images import load_image, save_image
from atelier.media.movies import VIDEOS


def touch(folder: Path, *names: str) -> list[Path]:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return [folder / name for name in names]


# === Inputs ===


def test_files_are_taken_as_they_are():
    (item,) = find_inputs(["some/where/missing.xyz"])
    assert item == Input(
        "some/where/missing.xyz", Path("some/where/missing.xyz"), Path("missing.xyz")
    )
    assert find_inputs([]) == []


def test_a_folder_gives_its_pictures_in_order(tmp_path):
    touch(tmp_path, "b.png", "a.JPG", "c/d.webp", "notes.txt", ".hidden.png", "c/.tmp-x.png")
    (tmp_path / "album.png").mkdir()
    touch(tmp_path, "album.png/x.gif")
    found = find_inputs([tmp_path])
    assert [str(item.relative) for item in found] == [
        "a.JPG",
        "album.png/x.gif",
        "b.png",
        "c/d.webp",
    ]
    assert found[0].source == tmp_path / "a.JPG"
    assert found[0].name == str(tmp_path / "a.JPG")


def test_other_kinds_of_files_can_be_looked_for(tmp_path):
    touch(tmp_path, "a.png", "b.MP4", "c.txt")
    found = find_inputs([tmp_path], (".txt", ".mp4"))
    assert [str(item.relative) for item in found] == ["b.MP4", "c.txt"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ([], ""),
        (["notes.txt"], r" \(1 other file is passed over: 1 \.txt\)"),
        ([".hidden.png"], ""),
    ],
)
def test_a_folder_without_pictures_is_refused_by_name(tmp_path, content, told):
    touch(tmp_path, *content)
    with pytest.raises(ImageError, match=f"^{tmp_path}: no pictures in this folder{told}$"):
        find_inputs([tmp_path])


def test_other_files_of_a_folder_are_counted_by_kind(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(images, "KINDS", 2)
    touch(
        tmp_path, "a.png", "1.txt", "b/2.TXT", "3.txt", "4.json", "b/5.json", "Makefile", ".x.txt"
    )
    assert len(find_inputs([tmp_path])) == 1
    told = "6 other files are passed over: 3 .txt, 2 .json, 1 of other kinds"
    assert capsys.readouterr().err == f"{tmp_path}: {told}\n"


def test_folders_give_videos_of_every_suffix_in_any_case(tmp_path):
    names = ["a.mts", "b.M2TS", "c.MPG", "d.mpeg", "e.3gp", "f.wmv", "g.flv", "h.ogv", "i.VOB"]
    touch(tmp_path, *names)
    assert [str(item.relative) for item in find_inputs([tmp_path], VIDEOS)] == names


def test_transport_streams_are_videos_and_typescript_is_not(tmp_path, capsys):
    packet = b"G" + bytes(187)
    (tmp_path / "a.ts").write_bytes(2 * packet)
    (tmp_path / "b.ts").write_text("export const a = 1;\n" * 20)
    (item,) = find_inputs([tmp_path], VIDEOS)
    assert str(item.relative) == "a.ts"
    assert "1 other file is passed over: 1 .ts" in capsys.readouterr().err


def listed(folder: Path, *lines: str, end="\n") -> list[Input]:
    (folder / "list.txt").write_text("".join(line + end for line in lines), encoding="utf-8")
    return find_inputs([folder / "list.txt"])


def test_a_list_gives_the_files_that_it_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = listed(tmp_path, "./b.png", "", "a/x.png", "  ", "a/ö c.jpg", "missing.xyz")
    assert [item.name for item in found] == ["./b.png", "a/x.png", "a/ö c.jpg", "missing.xyz"]
    assert [str(item.relative) for item in found] == [
        "b.png",
        "a/x.png",
        "a/ö c.jpg",
        "missing.xyz",
    ]
    assert [item.source for item in found] == [Path(item.name) for item in found]
    assert listed(tmp_path, "./b.png", end="\r\n")[0].name == "./b.png"
    assert listed(tmp_path, "\ufeffb.png")[0].name == "b.png"


def test_listed_files_keep_their_places_below_the_folder_that_all_share(tmp_path):
    found = listed(tmp_path, "/x/y/a.png", "/x/y/z/b.png", "/x/c/../y/d.png")
    assert [str(item.relative) for item in found] == ["a.png", "z/b.png", "d.png"]
    assert [str(item.relative) for item in listed(tmp_path, "/x/y/a.png")] == ["a.png"]


@pytest.mark.parametrize(
    "lines",
    [
        ("../../a.png", "b.png"),
        ("/elsewhere/a.png", "a/../../b.png"),
        ("/../../a.png", "/b.png"),
        ("//a.png", "/b/c.png"),
        ("/", "a.png"),
        ("..", "."),
    ],
)
def test_no_listed_file_can_lead_out_of_the_results_folder(tmp_path, monkeypatch, lines):
    monkeypatch.chdir(tmp_path)
    for path in output_paths(listed(tmp_path, *lines), tmp_path / "out"):
        assert tmp_path / "out" in Path(os.path.abspath(path)).parents


def test_a_file_that_is_listed_twice_is_taken_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (item,) = listed(tmp_path, "a.png", "./a.png", f"{tmp_path}/b/../a.png", "a.png")
    assert item.relative == Path("a.png")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no files in this list"),
        (b"\n \n\r\n", "no files in this list"),
        (b"a.png\0b.png\n", "it is no text in UTF-8"),
        (b"\x89PNG\r\n\x1a\n", "it is no text in UTF-8"),
        (None, "No such file or directory"),
    ],
)
def test_what_is_no_list_is_one_line(tmp_path, content, words):
    if content is not None:
        (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(ImageError, match=f"^{tmp_path}/list.txt: .*{words}"):
        find_inputs([tmp_path / "list.txt"])


def test_bytes_of_a_list_are_bounded(tmp_path, monkeypatch):
    (tmp_path / "list.txt").write_text("a.png\nb.png\n")
    assert len(find_inputs([tmp_path / "list.txt"])) == 2
    monkeypatch.setattr(inputs, "MAX_LIST", 10)
    with pytest.raises(ImageError, match=r"list\.txt: not a list of files \(larger than 10 bytes"):
        find_inputs([tmp_path / "list.txt"])


def test_a_dash_is_standard_input(monkeypatch, tmp_path, photo):
    save_image(tmp_path / "x.png", photo)
    content = io.TextIOWrapper(io.BytesIO((tmp_path / "x.png").read_bytes()))
    monkeypatch.setattr(sys, "stdin", content)
    (item,) = find_inputs(["-"])
    assert item.name == "standard input"
    assert (load_image(item.source) == photo).all()
    assert output_paths([item], Path("out")) == [Path("out/stdin.png")]


def test_bytes_of_standard_input_are_bounded(monkeypatch):
    monkeypatch.setattr(inputs, "file_bound", lambda: 1000)
    content = io.BytesIO(bytes(2000))
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=content))
    with pytest.raises(ImageError, match="standard input: more than 1,000 bytes"):
        find_inputs(["-"])
    assert content.tell() == 1001


@pytest.mark.parametrize("stdin", [None, io.StringIO("a notebook's")])
def test_no_standard_input_is_one_line(monkeypatch, stdin):
    monkeypatch.setattr(sys, "stdin", stdin)
    with pytest.raises(ImageError, match="no standard input"):
        find_inputs(["-"])


# === What is left out of folders ===


def made(folder: Path, *names: str) -> None:
    """Lets a command make results in a folder, of inputs elsewhere."""
    ledger = Ledger(folder, "test", {})
    for name in names:
        begun = ledger.begin(name.encode(), (folder / name,))
        touch(folder, name)
        begun.finish({}, "", {})


def test_the_folder_of_results_is_not_walked(tmp_path, monkeypatch, capsys):
    touch(tmp_path, "a.png", "out/b.png", "out/sub/c.png", "d/e.png")
    monkeypatch.chdir(tmp_path)
    for out in (Path("out"), tmp_path / "out", Path("d/../out")):
        found = find_inputs(["."], outs=[out, None])
        assert [str(item.relative) for item in found] == ["a.png", "d/e.png"]
        assert capsys.readouterr().err == "out: left out, as results go there\n"


def test_what_earlier_runs_made_is_left_out_wherever_it_lies(tmp_path, capsys):
    touch(tmp_path, "a.png", "old/mine.png", "mine.png")
    made(tmp_path / "old", "b.png", "sub/c.png")
    made(tmp_path, "d.png")
    found = find_inputs([tmp_path], outs=[tmp_path / "out"])
    assert [str(item.relative) for item in found] == ["a.png", "mine.png", "old/mine.png"]
    assert capsys.readouterr().err == f"{tmp_path}: 3 results of earlier runs are left out\n"
    touch(tmp_path, "old/sub/mine.png")
    (item,) = find_inputs([tmp_path / "old" / "sub"])
    assert item.relative == Path("mine.png")
    assert "1 result of an earlier run is left out" in capsys.readouterr().err


def test_results_in_the_folder_of_their_inputs_are_left_out(tmp_path):
    touch(tmp_path, "a.jpg")
    made(tmp_path, "a.png")
    assert [item.name for item in find_inputs([tmp_path], outs=[tmp_path])] == [
        str(tmp_path / "a.jpg")
    ]


def test_a_folder_of_results_among_others_is_left_out(tmp_path):
    """As `photos/*` names it."""
    touch(tmp_path, "a.png")
    made(tmp_path / "out", "a.png")
    given = [tmp_path / "a.png", tmp_path / "out"]
    assert [item.source for item in find_inputs(given, outs=[tmp_path / "out"])] == given[:1]
    with pytest.raises(ImageError, match="no pictures in this folder"):
        find_inputs([tmp_path / "out"], outs=[tmp_path / "out"])


def test_a_result_that_is_named_is_taken(tmp_path):
    made(tmp_path, "a.png")
    assert len(find_inputs([tmp_path / "a.png"], outs=[tmp_path])) == 1


# === Outputs ===


def outputs(inputs: list, out: str | Path = "out", **options) -> list[str]:
    return [str(path) for path in output_paths(find_inputs(inputs), Path(out), **options)]


def test_results_keep_their_inputs_names():
    assert outputs(["x/a.jpg", "y/b.c.png"]) == ["out/a.png", "out/b.c.png"]
    assert outputs(["x/a.jpg"], suffix=".jpg") == ["out/a.jpg"]
    assert outputs([]) == []


def test_results_of_a_folder_keep_its_folders(tmp_path):
    touch(tmp_path, "a.jpg", "b/a.jpg")
    assert outputs([tmp_path]) == ["out/a.png", "out/b/a.png"]


def test_out_can_be_a_file_for_one_input(tmp_path):
    assert outputs(["a.jpg"], "x/result.WEBP") == ["x/result.WEBP"]
    with pytest.raises(SettingsError, match=r"--out r\.png is one file, but there are 2 inputs"):
        outputs(["a.jpg", "b.jpg"], "r.png")


def test_each_input_can_have_a_suffix_of_its_own():
    def suffix(item):
        return ".mp4" if item.relative.suffix == ".avi" else ".png"

    options = {"suffix": suffix, "files": (".mp4",)}
    assert outputs(["a.jpg", "b.avi"], **options) == ["out/a.png", "out/b.mp4"]
    assert outputs(["b.avi"], "x.mp4", **options) == ["x.mp4"]
    assert outputs(["b.avi"], "x.png", **options) == ["x.png/b.mp4"]


def test_a_folder_may_be_named_like_a_file(tmp_path):
    (tmp_path / "r.png").mkdir()
    assert outputs(["a.jpg", "b.jpg"], tmp_path / "r.png")[1] == str(tmp_path / "r.png/b.png")


def test_inputs_with_the_same_stem_keep_their_suffixes():
    assert outputs(["a.jpg", "b.png", "a.webp"]) == ["out/a.jpg.png", "out/b.png", "out/a.webp.png"]


@pytest.mark.parametrize("inputs", [["x/a.jpg", "y/a.jpg"], ["a.jpg", "a.jpg"]])
def test_two_results_never_go_to_one_file(inputs):
    with pytest.raises(SettingsError, match=r"both be written to out/a\.jpg\.png"):
        outputs(inputs)


def test_a_name_that_looks_like_anothers_result_is_not_overwritten():
    with pytest.raises(SettingsError, match=r"out/a\.jpg\.png"):
        outputs(["a.jpg", "a.webp", "a.jpg.tif"])
