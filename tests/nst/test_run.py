"""`python -m nst.run`: files in, files out, exit codes, one line for each mistake."""

import csv
import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from PIL import Image

from atelier.cli.inputs import Input
from atelier.cli.jobs import Job
from atelier.media.images import load_image, save_image
from atelier.nets import precision
from nst.run import RunArguments, main
from nst.work import repaint

ADAM = ("--optimizer", "adam", "--epsilon", "1e-8")
QUICK = ("--size", "48", "--iterations", "2", "--coarsest", "0")
FIELDS = {
    *("input", "styles", "output", "height", "width", "features", "precision"),
    *("precision_reason", "steps"),
    *("loss", "content", "style", "variation", "seconds", "notes"),
}


def run(folder, *arguments):
    """Repaints photo.png in the style of painting.png; both lie in `folder`."""
    inputs = (str(folder / "photo.png"), str(folder / "painting.png"))
    return main([*inputs, "--out", str(folder / "out"), *QUICK, *map(str, arguments)])


def names(folder):
    files = (file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
    return sorted(str(file) for file in files if ".atelier" not in file.parts)


def records(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_photo_is_repainted_under_its_name(tiny_features, files, capsys):
    assert run(files) == 0
    assert names(files / "out") == ["photo.png"]
    image = load_image(files / "out" / "photo.png")
    assert image.shape == (48, 48, 3)
    said = capsys.readouterr()
    assert said.out == ""
    assert "photo.png" in said.err


def test_flags_change_settings(tiny_features, files, capsys):
    assert run(files, "--size", "64", "--iterations", "3", "--json") == 0
    (record,) = records(capsys)
    assert (record["height"], record["width"], record["steps"]) == (64, 64, 3)


def test_preset_is_taken_and_flags_come_on_top(tiny_features, files, capsys):
    assert run(files, "--preset", "report", "--history", "--json", "--content-weight", "0") == 0
    (record,) = records(capsys)
    assert record["features"] == "vgg19"
    assert record["content"] == 0
    assert record["loss"] > 1  # Not normalised.


def test_nothing_given_repaints_a_sample(tmp_path, capsys):
    """With the embedded network: what a new user sees."""
    out = tmp_path / "first.jpg"
    assert main(["--out", str(out), "--size", "64", "--iterations", "2", "--json"]) == 0
    assert load_image(out).shape == (64, 64, 3)
    (record,) = records(capsys)
    assert record["features"] == "vgg19-lite"
    assert record["styles"] == ["impasto"]
    assert record["loss"] > 0


@pytest.mark.parametrize("faster", ["float32", "bfloat16"])
def test_json_says_the_precision_and_why(tiny_features, files, capsys, monkeypatch, faster):
    times = {"float32": 0.02, "bfloat16": 0.01 if faster == "bfloat16" else 0.03}
    monkeypatch.setattr(precision, "measured", lambda work, machine: times)
    assert run(files, "--json") == 0
    (record,) = records(capsys)
    assert record["precision"] == faster
    assert record["precision_reason"].startswith("measured here: float32 20.0 ms, bfloat16 ")
    assert run(files, "--json", "--overwrite", "--precision", "float32") == 0
    (record,) = records(capsys)
    assert (record["precision"], record["precision_reason"]) == ("float32", "as asked")


def test_json_is_one_object_with_the_result(tiny_features, files, capsys):
    assert run(files, "--json") == 0
    (record,) = records(capsys)
    assert record.keys() == FIELDS
    assert record["input"] == str(files / "photo.png")
    assert record["output"] == str(files / "out" / "photo.png")
    assert record["styles"] == [str(files / "painting.png")]
    total = record["content"] + record["style"] + record["variation"]
    assert record["loss"] == pytest.approx(total)


def test_several_paintings_and_names(tiny_features, files):
    assert run(files, "--style-weights", "1", "2", "--style-scale", "0.8") == 2
    inputs = [str(files / "photo.png"), str(files / "painting.png"), "woodcut"]
    arguments = [*inputs, "--out", str(files / "two.png"), *QUICK, "--style-weights", "1", "2"]
    assert main(arguments) == 0
    assert load_image(files / "two.png").shape == (48, 48, 3)


def test_folder_with_a_broken_picture_does_the_others(tiny_features, files, photo, error_line):
    photos = files / "photos"
    for name in ("a.png", "deeper/b.png"):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        save_image(photos / name, photo)
    (photos / "broken.jpg").write_text("this is no picture")
    arguments = [str(photos), str(files / "painting.png"), "--out", str(files / "out"), *QUICK]
    assert main(arguments) == 1
    assert names(files / "out") == ["a.png", "deeper/b.png"]
    line = error_line()
    assert "broken.jpg" in line
    assert "not a picture" in line


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"text", "not a picture"),
        (b"\x89PNG\r\n\x1a\n", "picture"),
        (None, "no such file"),
    ],
)
def test_bad_photo_is_named_with_its_reason(tiny_features, files, error_line, content, message):
    (files / "photo.png").unlink()
    if content is not None:
        (files / "photo.png").write_bytes(content)
    assert run(files) == 1
    line = error_line()
    assert "photo.png" in line
    assert message in line
    assert not (files / "out").exists()


def test_truncated_photo_is_refused(tiny_features, files, photo, error_line):
    save_image(files / "whole.jpg", photo)
    (files / "photo.png").write_bytes((files / "whole.jpg").read_bytes()[:-800])
    assert run(files) == 1
    assert "damaged or truncated" in error_line()


@pytest.mark.parametrize("size", [(1, 1), (9, 300)])
def test_tiny_picture_is_refused(tiny_features, files, error_line, size):
    save_image(files / "photo.png", np.zeros((*size, 3), np.uint8))
    assert run(files) == 1
    assert "too small to stylize" in error_line()


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "I;16"])
def test_common_kinds_of_pictures_are_taken(tiny_features, files, mode):
    height, width = 40, 60
    path = files / ("photo.tif" if mode == "CMYK" else "photo.png")
    if mode == "I;16":
        Image.fromarray(np.full((height, width), 30000, np.uint16)).save(path)
    else:
        Image.new("RGB", (width, height), (200, 90, 20)).convert(mode).save(path)
    arguments = [str(path), str(files / "painting.png"), "--out", str(files / "x.png"), *QUICK]
    assert main(arguments) == 0
    expected = (32, 48)
    image = load_image(files / "x.png", alpha="keep")
    assert image.shape == (*expected, 4 if mode == "RGBA" else 3)


def test_standard_input_is_a_photo(tiny_features, files, monkeypatch):
    data = (files / "photo.png").read_bytes()
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(data)))
    arguments = ["-", str(files / "painting.png"), "--out", str(files / "out"), *QUICK]
    assert main(arguments) == 0
    assert names(files / "out") == ["stdin.png"]


def test_result_is_not_overwritten_unasked(tiny_features, files, error_line):
    (files / "out").mkdir()
    (files / "out" / "photo.png").write_bytes(b"kept")
    assert run(files) == 1
    assert "pass --overwrite" in error_line()
    assert (files / "out" / "photo.png").read_bytes() == b"kept"
    assert run(files, "--overwrite") == 0
    assert load_image(files / "out" / "photo.png").shape == (48, 48, 3)


@pytest.mark.parametrize("name", ["photo.csv", "photo.history.png", "photo.gif"])
def test_no_by_product_is_overwritten_unasked(tiny_features, files, error_line, name):
    (files / "out").mkdir()
    (files / "out" / name).write_bytes(b"kept")
    assert run(files, "--history", "--animation", "gif") == 1
    assert name in error_line()
    assert names(files / "out") == [name], "refused before the work, not after it"
    assert (files / "out" / name).read_bytes() == b"kept"


def test_animation_cannot_take_the_pictures_name(tiny_features, files, error_line):
    arguments = [str(files / "photo.png"), str(files / "painting.png"), *QUICK]
    out = files / "x.gif"
    assert main([*arguments, "--out", str(out), "--animation", "gif", "--overwrite"]) != 0
    assert "--animation" in error_line()
    assert not out.exists()


def test_pictures_on_the_way(tiny_features, files):
    assert run(files, "--every", "2", "--iterations", "5", *ADAM) == 0
    assert names(files / "out") == ["photo.00002.png", "photo.00004.png", "photo.png"]
    early, late = (load_image(files / "out" / f"photo.0000{n}.png") for n in (2, 4))
    assert early.shape == late.shape == (48, 48, 3)
    assert (early != late).any()


def test_gif_of_the_way(tiny_features, files):
    assert run(files, "--animation", "gif", "--iterations", "4", *ADAM) == 0
    with Image.open(files / "out" / "photo.gif") as image:
        assert image.size == (48, 48)
        assert image.n_frames == 4


def test_mp4_of_the_way(tiny_features, files):
    arguments = ("--iterations", "4", *ADAM, "--coarsest", "32")
    assert run(files, "--animation", "mp4", *arguments) == 0
    with av.open(str(files / "out" / "photo.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert {frame.shape for frame in frames} == {(48, 48, 3)}
    assert len(frames) >= 10


def test_history_is_a_table_and_a_plot(tiny_features, files):
    assert run(files, "--history", "--iterations", "3", *ADAM) == 0
    assert names(files / "out") == ["photo.csv", "photo.history.png", "photo.png"]
    with open(files / "out" / "photo.csv", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["step"] for row in rows] == ["1", "2", "3"]
    for row in rows:
        assert list(row)[:4] == ["step", "height", "width", "loss"]
        parts = sum(float(row[name]) for name in ("content", "style", "variation"))
        assert float(row["loss"]) == pytest.approx(parts)
    assert load_image(files / "out" / "photo.history.png").shape[2] == 3


# === Mistakes ===


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--size", "10"), "--size must be 0 or at least 32"),
        (("--size", "big"), "--size"),
        (("--no-such-flag",), "--no-such-flag"),
        (("--preset", "slow"), "fast, report"),
        (("--every", "-1"), "--every must be 0 or more"),
        (("--tile", "100"), "--tile must be a multiple of 16"),
        (("--content-layers", "block4_conv1:x"), "must be a positive number"),
    ],
)
def test_bad_usage_is_one_line_and_2(files, error_line, arguments, message):
    assert run(files, *arguments) == 2
    assert message in error_line()
    assert not (files / "out").exists()


def test_unknown_layer_is_one_line_with_the_known(tiny_features, files, error_line):
    assert run(files, "--content-layers", "relu4_2") != 0
    line = error_line()
    assert "relu4_2" in line
    assert "block5_conv2" in line


@pytest.mark.parametrize("name", ["starry", "gone.png"])
def test_missing_painting_ends_before_any_photo(files, error_line, name):
    arguments = [str(files / "photo.png"), name, "--out", str(files / "out")]
    assert main(arguments) == 2
    assert "no such file" in error_line()
    assert not (files / "out").exists()


def test_folder_that_cannot_be_made_is_named(tiny_features, files, error_line):
    (files / "out").write_text("a file where a folder should be")
    assert run(files) == 1
    assert str(files / "out") in error_line()


def test_one_file_cannot_hold_several_results(files, photo, error_line):
    photos = files / "photos"
    for name in ("a.png", "b.png"):
        photos.mkdir(exist_ok=True)
        save_image(photos / name, photo)
    assert main([str(photos), "ink", "--out", str(files / "one.png")]) == 2
    assert "2 inputs" in error_line()


def test_missing_vgg19_names_both_ways_out(files, error_line, monkeypatch):
    monkeypatch.setattr("atelier.nets.features.VGG19_URL", "http://127.0.0.1:9/absent_vgg19.h5")
    monkeypatch.setenv("KERAS_HOME", str(files))
    assert run(files, "--features", "vgg19") != 0
    line = error_line()
    assert "connect to the network once" in line
    assert "--vgg19-weights FILE" in line
    assert not (files / "out").exists()


def test_vgg19_file_that_is_none_is_named(files, error_line):
    weights = files / "painting.png"
    assert run(files, "--features", "vgg19", "--vgg19-weights", weights) != 0
    assert str(weights) in error_line()


def test_ctrl_c_keeps_the_picture_so_far(files, interrupt):
    command = [sys.executable, "-m", "nst.run", "photo.png", "painting.png", "--out", "out"]
    settings = ["--size", "64", "--iterations", "100000", "--optimizer", "adam", "--every", "2"]
    interrupt([*command, *settings], files, (files / "out" / "photo.00004.png").exists)
    assert load_image(files / "out" / "photo.png").shape == (64, 64, 3)
    assert not list((files / "out").glob(".tmp-*"))


@pytest.mark.parametrize("strip", [False, True])
def test_results_say_what_the_photo_says_unless_stripped(tiny_features, files, tagged, strip):
    tagged.write(files / "photo.jpg")
    out = str(files / "out.webp")
    inputs = [str(files / "photo.jpg"), str(files / "painting.png")]
    assert main([*inputs, "--out", out, *QUICK, *["--strip"] * strip]) == 0
    said = tagged.read(out)
    assert said == (tagged.stripped if strip else tagged.kept)


# === Animations ===


def test_how_pixels_of_photo_and_painting_were_converted_is_said(files, capsys):
    for name, most in (("photo", 3000), ("painting", 900)):
        values = np.linspace(0, most, 48 * 48).astype(np.uint16).reshape(48, 48)
        Image.fromarray(values).save(files / f"{name}.png")
    assert run(files, "--json") == 0
    said = capsys.readouterr()
    note = "its values end at 3,000: taken for 12 bits in 16"
    assert json.loads(said.out)["notes"] == [note]
    lines = said.err.splitlines()
    painting = files / "painting.png"
    assert f"{painting}: its values end at 900: taken for 10 bits in 16" in lines
    assert any(line.endswith(f"; {note}") for line in lines)


@pytest.fixture
def animation(files):
    """A GIF of three frames, and a TIFF of three pages, of the photo."""
    photo = Image.open(files / "photo.png").convert("RGB").resize((64, 48))
    frames = [photo.rotate(90 * number) for number in range(3)]
    times = {"duration": [80, 40, 120], "loop": 1}
    frames[0].save(files / "a.gif", save_all=True, append_images=frames[1:], **times)
    frames[0].convert("L").save(files / "a.tif", save_all=True, append_images=frames[1:])
    return files / "a.gif"


@pytest.mark.parametrize("suffix", [".gif", ".tif"])
def test_all_frames_are_repainted(tiny_features, files, animation, capsys, suffix):
    path, painting, out = animation.with_suffix(suffix), files / "painting.png", files / "out"
    assert main([str(path), str(painting), "--out", str(out), *QUICK, "--json"]) == 0
    assert names(out) == [f"a{suffix}"]
    (record,) = records(capsys)
    assert record["frames"] == 3
    with Image.open(out / f"a{suffix}") as result:
        assert (result.n_frames, result.size) == (3, (48, 36))
        if suffix == ".gif":
            assert (result.info["loop"], result.info["duration"]) == (1, 80)


def test_the_way_is_that_of_one_picture(tiny_features, files, animation, error_line):
    command = [str(animation), str(files / "painting.png"), "--out", str(files / "out"), *QUICK]
    assert main([*command, "--animation", "mp4"]) == 2
    assert "--animation shows the way to one picture" in error_line()
    assert main([*command, "--animation", "mp4", "--first-frame"]) == 0
    assert names(files / "out") == ["a.mp4", "a.png"]


def test_an_animation_that_is_stopped_is_no_result(tiny_features, files, animation):
    """Steps are counted over all frames, and half of the frames are no animation."""
    settings = RunArguments(size=48, iterations=2, coarsest=0)
    job = Job(Input("a.gif", animation, Path("a.gif")), files / "out.gif")
    seen = []

    def stop(step) -> bool:
        seen.append((step.number, step.total))
        return step.number == 3

    with pytest.raises(KeyboardInterrupt):
        repaint(job, [str(files / "painting.png")], settings, stop)
    assert seen == [(1, 6), (2, 6), (3, 6)]
    assert not (files / "out.gif").exists()
