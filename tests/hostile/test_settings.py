"""What is typed, sent, and what files are called: any text gives one line, never a traceback."""

import asyncio
import dataclasses
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from atelier import cli
from atelier.errors import AtelierError, SettingsError, one_line
from cartoon.run import RunArguments as CartoonArguments
from classify.run import RunArguments as ClassifyArguments
from classify.run import main as classify_main
from detection.annotations.write import write_coco, write_csv, write_voc
from detection.detections import Detections
from detection.run import RunArguments as DetectionArguments
from detection.work import crop_names
from gallery.web.guard import Guard
from gallery.web.photo import save_result
from superres.run import RunArguments as SuperresArguments
from superres.run import main as superres_main

COMMANDS = (CartoonArguments, ClassifyArguments, DetectionArguments, SuperresArguments)

FLAGS = [
    (arguments, f"--{field.name.replace('_', '-')}")
    for arguments in COMMANDS
    for field in dataclasses.fields(arguments)
    if field.name != "inputs"
]

TEXTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["", "-", "--", "---", "=", "%s%d", "{}", "nan", "inf", "-1", "1e9", "9" * 20, "\0"]
        + ["\x1b[31m", "a\nb", "\udcff", "‮gnp.x", "--help-", "None", "True", "[]", "@x", "x" * 99]
    ),
)

NAMES = [
    "a\nb.png",
    "a\rerror: b.png",
    "\x1b[31m.png",
    "‮gpj.exe.png",
    "\x9b31m.png",
    "-rf.png",
    "--out.png",
    "%s%n.png",
    "{0}.png",
    "a" * 250 + ".png",
    "=1+1.png",
    b"\xff\xfe.png",
]


def save_pictures(folder) -> None:
    folder.mkdir()
    for name in NAMES:
        Image.new("RGB", (32, 32), (90, 120, 30)).save(folder / os.fsdecode(name), "PNG")


@given(flag=st.sampled_from(FLAGS), words=st.lists(TEXTS, max_size=2), joined=st.booleans())
def test_any_text_after_a_flag_is_a_setting_or_one_line(flag, words, joined):
    arguments, name = flag
    argv = [f"{name}={words[0]}", *words[1:]] if joined and words else [name, *words]
    try:
        found = cli.parse(arguments, argv, prog="python -m x.run")
    except SettingsError as error:
        found = error
    except SystemExit as end:
        found = end
    if isinstance(found, SettingsError):
        assert str(found).isprintable()
    elif isinstance(found, SystemExit):  # Some of it asks for help.
        assert not found.code
    else:
        assert isinstance(found, arguments)


# === Names ===


@given(text=st.text())
def test_a_message_is_one_printable_line(text):
    shown = one_line(text)
    assert shown.isprintable()
    assert str(AtelierError(text)).isprintable()
    if text.isprintable():
        assert shown == text


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_a_file_of_an_odd_name_that_is_no_picture_is_one_line(tmp_path, capsys, name):
    file = tmp_path / "in" / os.fsdecode(name)
    file.parent.mkdir()
    file.write_bytes(b"no picture")
    for source in (file, file.parent):
        assert superres_main([str(source), "--out", str(tmp_path / "out")]) == cli.SOME_FAILED
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ")
        assert line.isprintable()
        assert line.endswith("not a picture in a format that can be read")


def test_pictures_of_odd_names_are_read_and_written(tmp_path, capsys):
    save_pictures(tmp_path / "in")
    argv = [str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--json"]
    assert superres_main(argv) == cli.DONE
    captured = capsys.readouterr()
    assert all(line.isprintable() for line in captured.err.splitlines())
    assert len(captured.out.splitlines()) == len(NAMES)
    written = {os.fsencode(path.name) for path in (tmp_path / "out").iterdir()}
    assert {os.fsencode(name) for name in NAMES} <= written


def test_a_table_of_odd_names_is_utf_8(tmp_path, capsys):
    save_pictures(tmp_path / "in")
    argv = [str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--csv", "--sheet", "0"]
    assert classify_main(argv) == cli.DONE
    assert "\\udcff" in (tmp_path / "out" / "classes.csv").read_text(encoding="utf-8")


# === What is written ===


@given(label=st.text(max_size=30), name=st.text(max_size=30))
def test_results_of_classes_of_any_name_stay_in_their_folder(tmp_path_factory, label, name):
    boxes = np.array([[1, 1, 5, 6], [0, 2, 9, 7]], np.float32)
    found = Detections(boxes, np.array([0.9, 0.8], np.float32), (label, "../x"))
    files = crop_names(found)
    assert len(files) == 2
    assert all("/" not in file and file not in ("", ".", "..") for file in files)
    folder = tmp_path_factory.mktemp("out")
    write_voc(folder / "a.xml", name, (8, 10), found)
    with write_csv(folder / "a.csv") as add:
        add(name, found)
    with write_coco(folder / "a.json", (label, "../x", "more")) as add:
        add(name, (8, 10), found)
    assert sorted(path.name for path in folder.iterdir()) == ["a.csv", "a.json", "a.xml"]


@pytest.mark.parametrize("name", ["../x", "/x", "..", "", "\\x", "x" * 99])
def test_a_result_of_the_page_stays_in_its_folder(name, monkeypatch, tmp_path):
    monkeypatch.setattr("gallery.web.photo.get_upload_folder", lambda: str(tmp_path))
    path = save_result(np.zeros((8, 10, 3), np.uint8), name)
    assert os.path.realpath(path).startswith(f"{tmp_path}/")


# === Requests ===


@given(
    name=st.sampled_from([b"content-length", b"origin", b"host"]),
    value=st.one_of(
        st.binary(max_size=20),
        st.sampled_from([b"9" * 20, b"\xb2", b"http://[", b"[", b"-1", b"1e9", b"http://a]"]),
    ),
    body=st.one_of(st.binary(max_size=30), st.sampled_from([b"[[[1]]]", b'{"path": "\\u0000"}'])),
    path=st.sampled_from(["/gradio_api/call/x", "/gradio_api/upload", "/", "/gradio_api/file=\0"]),
)
def test_any_request_is_answered(tmp_path_factory, name, value, body, path):
    answers = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message):
        answers.append(message.get("status"))

    folder = tmp_path_factory.mktemp("uploads")
    guard = Guard(
        app, folder=folder, upload_bytes=1000, folder_bytes=10**6, hosts=frozenset({"localhost"})
    )
    headers = {b"host": b"localhost", name: value}
    method = "GET" if path == "/" or "file=" in path else "POST"
    scope = {"type": "http", "method": method, "path": path, "headers": list(headers.items())}
    asyncio.run(guard(scope, receive, send))
    assert answers[0] in (200, 400, 403, 404, 413, 421)
