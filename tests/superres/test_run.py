"""`python -m superres.run`: files in, files out, exit codes, one line for each mistake."""

import importlib
import io
import json
import sys
from types import SimpleNamespace

import av
import numpy as np
import pytest
from PIL import Image

from atelier.errors import WeightsError
from atelier.media.images import load_image, save_image
from superres.run import main
from superres.upscaling import upscale

FIELDS = {"input", "output", "width", "height", "model", "scale", "seconds", "notes"}


@pytest.fixture
def files(embedded, tmp_path, photo):
    """photo.png in `tmp_path`, which is given back; networks are small ones."""
    save_image(tmp_path / "photo.png", photo)
    return tmp_path


def run(folder, *arguments, name="photo.png"):
    return main([str(folder / name), "--out", str(folder / "out"), *map(str, arguments)])


def names(folder):
    files = (file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
    return sorted(str(file) for file in files if ".atelier" not in file.parts)


def records(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


# === Results ===


def test_a_picture_is_enlarged_under_its_name(files, capsys):
    assert run(files) == 0
    assert names(files / "out") == ["photo.png"]
    assert (load_image(files / "out" / "photo.png") == upscale(files / "photo.png").image).all()
    said = capsys.readouterr()
    assert said.out == ""
    assert "photo.png: 192×192, clean (no compression shows)" in said.err


@pytest.mark.parametrize("scale", [3, 4])
def test_flags_change_settings(files, capsys, scale):
    assert run(files, "--scale", scale, "--model", "compressed", "--tile", "40", "--json") == 0
    (record,) = records(capsys)
    assert record.keys() == FIELDS
    assert record["input"] == str(files / "photo.png")
    assert record["output"] == str(files / "out" / "photo.png")
    assert (record["width"], record["height"]) == (96 * scale, 96 * scale)
    assert (record["model"], record["scale"]) == ("compressed", scale)
    result = load_image(files / "out" / "photo.png")
    assert (result == upscale(files / "photo.png", scale, "compressed").image).all()


def test_nothing_given_enlarges_a_compressed_sample(files, capsys):
    assert main(["--out", str(files / "first.png"), "--json"]) == 0
    (record,) = records(capsys)
    assert (record["input"], record["model"]) == ("astronaut.jpg", "compressed")
    assert (record["width"], record["height"]) == (512, 512)
    assert load_image(files / "first.png").shape == (512, 512, 3)


@pytest.mark.parametrize(
    ("mode", "expected"), [("L", "L"), ("RGB", "RGB"), ("RGBA", "RGBA"), ("P", "RGB")]
)
def test_files_keep_their_channels(files, photo, mode, expected):
    Image.fromarray(photo).convert(mode).save(files / "x.png")
    assert run(files, name="x.png") == 0
    with Image.open(files / "out" / "x.png") as image:
        assert (image.mode, image.size) == (expected, (192, 192))


def test_a_video_is_enlarged_under_its_name(files, make_video, capsys):
    make_video(files / "film.mov", sound="aac")
    assert run(files, "--json", name="film.mov") == 0
    assert names(files / "out") == ["film.mov"]
    said = capsys.readouterr()
    record = json.loads(said.out)
    assert record.keys() == FIELDS
    assert (record["width"], record["height"], record["model"]) == (96, 64, "compressed")
    assert "film.mov: 96×64, 5 frames, compressed" in said.err
    with av.open(str(files / "out" / "film.mov")) as container:
        assert [stream.codec_context.name for stream in container.streams] == ["h264", "aac"]
        assert len(list(container.decode(video=0))) == 5


def test_how_pixels_were_converted_is_said(files, capsys):
    Image.fromarray(np.full((32, 48), 3000, np.uint16)).save(files / "deep.png")
    assert run(files, "--json", name="deep.png") == 0
    note = "its values end at 3,000: taken for 12 bits in 16"
    said = capsys.readouterr()
    assert json.loads(said.out)["notes"] == [note]
    assert said.err.endswith(f"; {note}\n")
    assert load_image(files / "out" / "deep.png", grey="keep").mean() > 180


def test_sound_that_the_format_cannot_hold_is_named_in_the_line(files, make_video, capsys):
    make_video(files / "film.mov", sound="adpcm_ima_qt")
    assert run(files, "--json", "--out", files / "film.mp4", name="film.mov") == 0
    said = capsys.readouterr()
    note = "sound track is AAC now, as mp4 cannot hold adpcm_ima_qt"
    assert json.loads(said.out)["notes"] == [note]
    assert said.err.endswith(f" s; {note}\n")
    assert len(said.err.splitlines()) == 1


def test_folders_hold_pictures_and_videos_and_one_broken_fails_alone(
    files, photo, make_video, error_line
):
    folder = files / "all"
    save_image(folder / "deeper" / "a.jpg", photo)
    (folder / "b.png").write_text("this is no picture")
    make_video(folder / "c.MP4")
    (folder / "notes.txt").write_text("left out")
    make_video(folder / "deeper" / "e.avi", codec="mpeg4")
    assert main([str(folder), "--out", str(files / "out")]) == 1
    assert names(files / "out") == ["c.mp4", "deeper/a.png", "deeper/e.mp4"]
    assert "b.png: not a picture" in error_line()


def test_names_that_differ_by_their_suffix_keep_it(files, make_video):
    make_video(files / "photo.mp4")
    inputs = [str(files / name) for name in ("photo.png", "photo.mp4")]
    assert main([*inputs, "--out", str(files / "out")]) == 0
    assert names(files / "out") == ["photo.mp4.mp4", "photo.png.png"]


def test_out_can_be_a_file(files, make_video):
    make_video(files / "film.mp4")
    for name, out in (("photo.png", "large.jpg"), ("film.mp4", "large.mkv")):
        assert main([str(files / name), "--out", str(files / out)]) == 0
    assert load_image(files / "large.jpg").shape == (192, 192, 3)
    with av.open(str(files / "large.mkv")) as container:
        assert container.streams.video[0].width == 96


def test_standard_input_is_a_picture(files, monkeypatch):
    data = (files / "photo.png").read_bytes()
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(data)))
    assert main(["-", "--out", str(files / "out")]) == 0
    assert names(files / "out") == ["stdin.png"]


def test_compare_writes_both_side_by_side(files, photo, make_video):
    Image.fromarray(photo).convert("LA").save(files / "photo.png")
    assert run(files, "--compare") == 0
    assert names(files / "out") == ["photo.compare.png", "photo.png"]
    sheet = load_image(files / "out" / "photo.compare.png")
    assert sheet.shape == (686, 1316, 3)
    assert (sheet[34:674, 12:652] != sheet[34:674, 664:1304]).any()
    make_video(files / "film.mp4")
    assert run(files, "--compare", name="film.mp4") == 0, "of pictures alone"
    assert names(files / "out") == ["film.mp4", "photo.compare.png", "photo.png"]


# === Mistakes ===


@pytest.mark.parametrize("name", ["photo.png", "photo.compare.png"])
def test_nothing_is_overwritten_unasked(files, error_line, name):
    (files / "out").mkdir()
    (files / "out" / name).write_bytes(b"kept")
    assert run(files, "--compare") == 1
    assert "pass --overwrite" in error_line()
    assert names(files / "out") == [name], "refused before the work, not after it"
    assert (files / "out" / name).read_bytes() == b"kept"
    assert run(files, "--compare", "--overwrite") == 0
    assert names(files / "out") == ["photo.compare.png", "photo.png"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("photo.png", b"", "the file is empty"),
        ("photo.png", b"text", "not a picture"),
        ("photo.png", None, "no such file"),
        ("film.mp4", b"text", "not a video"),
        ("film.mp4", None, "no such file"),
    ],
)
def test_bad_input_is_named_with_its_reason(files, error_line, name, content, message):
    (files / name).unlink(missing_ok=True)
    if content is not None:
        (files / name).write_bytes(content)
    assert run(files, name=name) == 1
    line = error_line()
    assert name in line
    assert message in line
    assert not list(files.glob("out/*"))


def test_large_results_are_refused(files, error_line, monkeypatch):
    module = importlib.import_module("superres.upscaling")
    monkeypatch.setattr(module, "MAX_OUTPUT_PIXELS", 400)
    Image.new("1", (9, 6)).save(files / "photo.png")
    assert run(files, "--scale", "3") == 1
    assert "at scale 3 is 27×18, more than 400 pixels" in error_line()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--scale", "5"), "--scale"),
        (("--model", "best"), "'best'"),
        (("--tile", "8"), "--tile must be from 32 to 4096, not 8"),
        (("--no-such-flag",), "--no-such-flag"),
    ],
)
def test_bad_usage_is_one_line_and_2(files, error_line, arguments, message):
    assert run(files, *arguments) == 2
    assert message in error_line()
    assert not (files / "out").exists()


@pytest.mark.parametrize(
    ("name", "out", "message"),
    [
        ("photo.png", "large.mp4", "photo.png is a picture"),
        ("film.mp4", "large.png", "film.mp4 is a video"),
        ("film.mp4", "large.webm", "videos are written as .mp4"),
    ],
)
def test_results_that_are_named_as_something_else(
    files, make_video, error_line, name, out, message
):
    make_video(files / "film.mp4")
    assert main([str(files / name), "--out", str(files / out)]) == 2
    assert message in error_line()
    assert not (files / out).exists()


def test_a_folder_that_cannot_be_made_is_named(files, error_line):
    (files / "out").write_text("a file where a folder should be")
    assert run(files) == 1
    assert str(files / "out") in error_line()


def test_missing_weights_end_the_command(files, monkeypatch, error_line):
    def missing(model, scale):
        raise WeightsError(f"no embedded network '{model}-x{scale}'")

    monkeypatch.setattr(sys.modules["superres.upscaling"], "load_network", missing)
    assert run(files, "--scale", "4") == 2
    assert "clean-x4" in error_line()


PROGRAM = """
import sys
from pathlib import Path
from superres.networks import Network
from superres import run, upscaling
upscaling.load_network = lambda *name: Network.load(Path("network"))
sys.exit(run.main())
"""


@pytest.mark.parametrize("name", ["film.mkv", "film.gif"])
def test_ctrl_c_leaves_nothing_half_written(files, embedded, make_video, interrupt, photo, name):
    network = embedded("compressed")
    (files / "network").mkdir()
    network.model.save(files / "network" / "model.keras")
    (files / "network" / "card.json").write_text(json.dumps(network.card))
    if name == "film.mkv":
        make_video(files / name, codec="ffv1", times=range(2000))
    else:
        first, *others = [Image.fromarray(photo).rotate(angle) for angle in range(300)]
        first.save(files / name, save_all=True, append_images=others, duration=20)
    command = [sys.executable, "-c", PROGRAM, "photo.png", name, "--out", "out"]
    interrupt(command, files, lambda: any(files.glob(f"out/.tmp-*{name[-4:]}")))
    assert names(files / "out") == ["photo.png"]


@pytest.mark.parametrize("strip", [False, True])
def test_results_say_what_the_photo_says_unless_stripped(files, tagged, strip):
    tagged.write(files / "photo.jpg")
    assert run(files, *["--strip"] * strip, name="photo.jpg") == 0
    said = tagged.read(files / "out" / "photo.png")
    assert said == (tagged.stripped if strip else tagged.kept)
