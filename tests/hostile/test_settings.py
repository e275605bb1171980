"""What is typed, and what files are called: any text gives one line, never a traceback."""

import asyncio
import contextlib
import dataclasses
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atelier import cli
from atelier.errors import AtelierError, one_line
from atelier.search import parse_grid
from cartoon.backdrop import color_backdrop
from cartoon.run import RunArguments as CartoonArguments
from classify.run import RunArguments as ClassifyArguments
from classify.run import main as classify_main
from detection.detections import Detections
from detection.formats import write_coco, write_csv, write_voc
from detection.run import RunArguments as DetectionArguments
from detection.run import crop_names
from fuzz.readers import _found, draw
from gallery.guard import Guard
from gallery.photo import save_result
from nst.config import StyleTransferConfig
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
        ["", "-", "--", "---", "=", "%s%d", "{}", "nan", "inf", "-1", "1e999", "9" * 5000, "\0"]
        + ["\x1b[31m", "a\nb", "\udcff", "‮gnp.x", "--help-", "None", "True", "[]", "@x", "x" * 9999]
    ),
)

NAMES = [
    "a\nb.png",
    "a\rerror: b.png",
    "\x1b[2J\x1b]0;x\x07.png",
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


@given(flag=st.sampled_from(FLAGS), words=st.lists(TEXTS, max_size=2), joined=st.booleans())
def test_any_text_after_any_flag(survives, flag, words, joined):
    arguments, name = flag
    argv = [f"{name}={words[0]}", *words[1:]] if joined and words else [name, *words]
    with contextlib.suppress(SystemExit):  # Of --help, which some of it is.
        survives(cli.parse, arguments, argv, prog="python -m x.run")


@given(axes=st.lists(TEXTS | st.builds("{}={}".format, st.sampled_from(["size", "seed"]), TEXTS)))
def test_any_grid(survives, axes):
    survives(parse_grid, axes, StyleTransferConfig())


@given(name=TEXTS)
def test_any_colour(survives, name):
    survives(color_backdrop, name)


# === Names ===


@given(text=st.text())
def test_a_line_is_a_line(text):
    shown = one_line(text)
    assert shown.isprintable()
    assert str(AtelierError(text)).isprintable()
    if text.isprintable():
        assert shown == text


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_names_stay_on_one_line(tmp_path, capsys, name):
    file = tmp_path / "in" / os.fsdecode(name)
    file.parent.mkdir()
    file.write_bytes(b"no picture")
    out = tmp_path / "out"
    for given_ in (str(file), str(file.parent)):
        assert superres_main([given_, "--out", str(out)]) == cli.SOME_FAILED
        said = capsys.readouterr().err.splitlines()
        assert len(said) == 1
        assert said[0].startswith("error: ")
        assert said[0].isprintable()
        assert said[0].endswith("not a picture in a format that can be read")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_odd_names_are_read_and_written(tmp_path, capsys):
    from PIL import Image

    (tmp_path / "in").mkdir()
    for name in NAMES:
        Image.fromarray(draw()).save(tmp_path / "in" / os.fsdecode(name), "PNG")
    argv = [str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--json"]
    assert superres_main(argv) == cli.DONE
    captured = capsys.readouterr()
    assert all(line.isprintable() for line in captured.err.splitlines())
    assert len(captured.err.splitlines()) == len(captured.out.splitlines()) == len(NAMES)
    written = {os.fsencode(path.name) for path in (tmp_path / "out").iterdir()}
    assert {os.fsencode(name) for name in NAMES} <= written


def test_a_table_of_odd_names_is_text(tmp_path, capsys):
    from PIL import Image

    (tmp_path / "in").mkdir()
    for name in NAMES:
        Image.fromarray(draw(32, 32)).save(tmp_path / "in" / os.fsdecode(name), "PNG")
    argv = [str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--csv", "--sheet", "0"]
    assert classify_main(argv) == cli.DONE
    rows = (tmp_path / "out" / "classes.csv").read_text(encoding="utf-8")
    assert rows.count("python") == 0
    assert "\\udcff" in rows


@given(data=st.binary(max_size=80))
def test_any_list_of_files(tmp_path_factory, survives, data):
    file = tmp_path_factory.getbasetemp() / "list.txt"
    file.write_bytes(data)
    survives(cli.find_inputs, [file])


# === What is written ===


@given(label=st.text(max_size=30), name=st.text(max_size=30))
def test_classes_of_any_name_stay_in_their_folder(tmp_path_factory, label, name):
    found = _found()
    found = Detections(found.boxes, found.scores, (label, "../../x"))
    assert all("/" not in file and file not in ("", ".", "..") for file in crop_names(found))
    folder = tmp_path_factory.mktemp("out")
    write_voc(folder / "a.xml", name, (8, 10), found)
    with write_csv(folder / "a.csv") as add:
        add(name, found)
    with write_coco(folder / "a.json", (label, "../../x", "more")) as add:
        add(name, (8, 10), found)
    assert sorted(path.name for path in folder.iterdir()) == ["a.csv", "a.json", "a.xml"]


@pytest.mark.parametrize("name", ["../../x", "/etc/x", "a\0b", "..", "", "\\x", "x" * 5000])
def test_results_of_any_name_stay_in_their_folder(name, monkeypatch, tmp_path):
    monkeypatch.setattr("gallery.photo.get_upload_folder", lambda: str(tmp_path))
    try:
        path = save_result(draw(), name)
    except AtelierError:
        return
    assert os.path.realpath(path).startswith(f"{tmp_path}/")


# === Requests ===


@given(
    name=st.sampled_from([b"content-length", b"origin", b"host"]),
    value=st.one_of(
        st.binary(max_size=20),
        st.sampled_from(
            [b"9" * 5000, b"\xb2", b"http://[", b"[", b"-1", b"1e9", b"\xff", b"http://a]"]
        ),
    ),
    body=st.one_of(
        st.binary(max_size=30), st.sampled_from([b"[" * 90_000, b'{"path": "\\u0000"}'])
    ),
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

    folder = tmp_path_factory.getbasetemp()
    guard = Guard(app, folder=folder, upload_bytes=1000, hosts=frozenset({"localhost"}))
    headers = {b"host": b"localhost", name: value}
    method = "GET" if path == "/" or "file=" in path else "POST"
    scope = {"type": "http", "method": method, "path": path, "headers": list(headers.items())}
    asyncio.run(guard(scope, receive, send))
    assert answers[0] in (200, 400, 403, 404, 413, 421)
