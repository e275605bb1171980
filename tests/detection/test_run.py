"""`python -m detection.run`: files in, files out, exit codes, one line for each mistake."""

import csv
import io
import json
import os
import signal
import sys
from fractions import Fraction
from types import SimpleNamespace

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from atelier.errors import WeightsError
from atelier.media.images import load_image, sample, save_image
from detection import predict
from detection.annotations import read_dataset
from detection.detections import Detections
from detection.draw import draw
from detection.run import main
from detection.work import crop_names

FIELDS = {"input", "output", "width", "height", "objects", "model", "seconds", "notes"}
CLASSES = ("red", "blue <&> thing")
RED, BLUE, GREY = (230, 30, 30), (30, 30, 230), (120, 120, 120)

NOTHING = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), ())


def find_squares(image: np.ndarray) -> Detections:
    """Parts that are red, surely, and blue, less so."""
    boxes, scores, labels = [], [], []
    for label, color, score in zip(CLASSES, (RED, BLUE), (0.9, 0.4), strict=True):
        near = (np.abs(image.astype(int) - color).max(axis=-1) < 60).astype(np.uint8)
        count, _, stats, _ = cv2.connectedComponentsWithStats(near)
        for x, y, width, height, _ in stats[1:count]:
            boxes.append((x, y, x + width, y + height))
            scores.append(score)
            labels.append(label)
    boxes = np.float32(boxes).reshape(-1, 4)
    return Detections(boxes, np.float32(scores), tuple(labels))


@pytest.fixture
def detector(monkeypatch):
    """What any model's name gives; it finds squares, or whatever its `detect` is set to."""
    detector = SimpleNamespace(classes=CLASSES, card={}, detect=find_squares)
    monkeypatch.setattr(predict, "load_detector", lambda config: detector)
    return detector


def squares(size=(120, 160)) -> np.ndarray:
    """Two red squares, and a blue one between them, on grey."""
    image = np.full((*size, 3), GREY, np.uint8)
    image[30:60, 10:40] = RED
    image[70:110, 100:150] = RED
    image[60:80, 60:80] = BLUE
    return image


BOXES = [[10.0, 30.0, 40.0, 60.0], [100.0, 70.0, 150.0, 110.0], [60.0, 60.0, 80.0, 80.0]]
"""Of `squares`."""


@pytest.fixture
def files(detector, tmp_path):
    """photo.png in `tmp_path`, which is given back."""
    save_image(tmp_path / "photo.png", squares())
    return tmp_path


def make_video(path, *, frames=5, codec="libx264"):
    """A red square that moves to the right, on grey."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height = 96, 64
        stream.pix_fmt = "bgr0" if codec == "ffv1" else "yuv420p"
        for number in range(frames):
            picture = np.full((64, 96, 3), GREY, np.uint8)
            left = 10 * number % 60
            picture[30:54, left : left + 24] = RED
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def run(folder, *arguments, name="photo.png") -> int:
    return main([str(folder / name), "--out", str(folder / "out"), *map(str, arguments)])


def names(folder) -> list[str]:
    files = (file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
    return sorted(str(file) for file in files if ".atelier" not in file.parts)


def records(capsys) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def table(path) -> list[dict]:
    with open(path, encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines, strict=True))


# === Results ===


def test_boxes_are_drawn_under_the_pictures_name(files, capsys):
    assert run(files) == 0
    assert names(files / "out") == ["photo.png"]
    found = find_squares(squares()).select(0.5)
    expected = draw(squares(), found, classes=CLASSES)
    np.testing.assert_array_equal(load_image(files / "out" / "photo.png"), expected)
    said = capsys.readouterr()
    assert said.out == ""
    assert f"{files / 'out' / 'photo.png'}: 2 red, 0.0" in said.err


def test_json_tells_what_was_found(files, capsys):
    assert run(files, "--json", "--threshold", 0.3, "--model", "person") == 0
    said = capsys.readouterr()
    (record,) = [json.loads(line) for line in said.out.splitlines()]
    assert record.keys() == FIELDS
    assert record["input"] == str(files / "photo.png")
    assert record["output"] == str(files / "out" / "photo.png")
    assert (record["width"], record["height"], record["model"]) == (160, 120, "person")
    assert record["seconds"] >= 0
    labels = (CLASSES[0], CLASSES[0], CLASSES[1])
    assert record["objects"] == [
        {"label": label, "score": score, "box": box}
        for label, score, box in zip(labels, (0.9, 0.9, 0.4), BOXES, strict=True)
    ]
    assert "photo.png: 2 red, 1 blue <&> thing, " in said.err


@pytest.mark.parametrize(
    ("flags", "labels"),
    [
        ((), ["red", "red"]),
        (("--threshold", "0"), ["red", "red", CLASSES[1]]),
        (("--threshold", "0.95"), []),
        (("--threshold", "0.1", "--classes", CLASSES[1]), [CLASSES[1]]),
        (("--classes", CLASSES[1]), []),
        (("--classes", "red", CLASSES[1]), ["red", "red"]),
    ],
)
def test_threshold_and_classes(files, capsys, flags, labels):
    assert run(files, "--json", *flags) == 0
    said = capsys.readouterr()
    assert [found["label"] for found in json.loads(said.out)["objects"]] == labels
    if not labels:
        assert "photo.png: nothing found, 0.0" in said.err
        np.testing.assert_array_equal(load_image(files / "out" / "photo.png"), squares())


def test_nothing_given_searches_a_sample(files, detector, capsys):
    seen = []
    detector.detect = lambda image: seen.append(image) or NOTHING
    assert main(["--out", str(files / "out"), "--json"]) == 0
    (record,) = records(capsys)
    assert record["input"] == "astronaut.png"
    np.testing.assert_array_equal(seen[0], load_image(sample("astronaut.png")))
    assert names(files / "out") == ["astronaut.png"]


def test_settings_reach_the_model(files, monkeypatch):
    given = []

    def load(config):
        given.append((config.model, config.weights, config.threshold))
        return SimpleNamespace(classes=CLASSES, card={}, detect=find_squares)

    monkeypatch.setattr(predict, "load_detector", load)
    flags = ("--model", "runs/mine", "--weights", files / "w.pth", "--threshold", 0.7)
    assert run(files, *flags) == 0
    assert given == [("runs/mine", files / "w.pth", 0.7)]


@pytest.mark.parametrize("flags", [(), ("--no-draw",)])
def test_how_pixels_were_converted_is_said(files, capsys, flags):
    deep = files / "deep.png"
    Image.fromarray(np.full((64, 64), 3000, np.uint16)).save(deep)
    assert run(files, "--json", *flags, name="deep.png") == 0
    note = "its values end at 3,000: taken for 12 bits in 16"
    said = capsys.readouterr()
    assert json.loads(said.out)["notes"] == [note]
    assert f"; {note}\n" in said.err


# === Other forms ===


def test_all_forms_of_a_folder(files, capsys):
    save_image(files / "all" / "a.png", squares())
    save_image(files / "all" / "deeper" / "b.PNG", np.full((20, 30, 3), GREY, np.uint8))
    (files / "all" / "notes.txt").write_text("left out")
    made = files / "made"
    flags = ("--csv", made / "a.csv", "--coco", made / "a.json", "--voc", made / "xml")
    more = ("--crops", made / "crops", "--threshold", 0.3, "--json")
    assert run(files, *flags, *more, name="all") == 0
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 2
    assert f"\n{made / 'a.csv'}\n{made / 'a.json'}\n" in said.err
    assert names(files / "out") == ["a.png", "deeper/b.png"]
    assert names(made) == [
        *("a.csv", "a.json", "crops/a/01-red.png", "crops/a/02-red.png"),
        *("crops/a/03-blue ___ thing.png", "xml/Annotations/a.xml"),
        *("xml/Annotations/deeper/b.xml", "xml/ImageSets/Main/default.txt"),
    ]
    rows = table(made / "a.csv")
    assert list(rows[0]) == ["input", "label", "score", "x1", "y1", "x2", "y2"]
    assert {row["input"] for row in rows} == {str(files / "all" / "a.png")}
    assert [[float(row[s]) for s in ("x1", "y1", "x2", "y2")] for row in rows] == BOXES
    assert [(row["label"], row["score"]) for row in rows[1:]] == [
        *(("red", "0.9"), ("blue <&> thing", "0.4"))
    ]
    coco = read_dataset(made / "a.json", images=files / "all", strict=True)
    assert [item.name for item in coco.items] == ["a.png", "deeper/b.PNG"]
    voc = read_dataset(made / "xml", images=files / "all", strict=True)
    assert voc.classes == ("blue <&> thing", "red")
    assert coco.classes == CLASSES
    for dataset in (coco, voc):
        np.testing.assert_array_equal(dataset.items[0].boxes, BOXES)
    first = load_image(made / "crops" / "a" / "01-red.png")
    np.testing.assert_array_equal(first, np.full((30, 30, 3), RED))
    assert load_image(made / "crops" / "a" / "02-red.png").shape == (40, 50, 3)


def test_no_draw_writes_the_data_alone(files, capsys):
    assert run(files, "--no-draw", "--csv", files / "a.csv", "--json") == 0
    assert names(files) == ["a.csv", "photo.png"]
    said = capsys.readouterr()
    assert json.loads(said.out)["output"] is None
    assert f"{files / 'photo.png'}: 2 red, " in said.err
    assert len(table(files / "a.csv")) == 2


def test_no_draw_counts_same_names_apart(files, capsys):
    """They would clash as drawings, and in one COCO file."""
    for name in ("x", "y"):
        save_image(files / name / "photo.png", squares())
    inputs = [str(files / name / "photo.png") for name in ("x", "y")]
    out = ["--out", str(files / "out")]
    assert main([*inputs, *out, "--no-draw", "--csv", str(files / "a.csv")]) == 0
    assert len({row["input"] for row in table(files / "a.csv")}) == 2
    for flags, words in (
        ((), "two inputs would both be written to"),
        (("--no-draw", "--voc", str(files / "v")), "two inputs would both be written to"),
        (("--no-draw", "--coco", str(files / "c")), "two inputs would both be named photo.png"),
    ):
        capsys.readouterr()
        assert main([*inputs, *out, *flags]) == 2
        assert words in capsys.readouterr().err
    assert names(files / "out") == []


def test_crop_names_are_plain():
    labels = ("../../etc", "a/b\\c", "C:x", "two\nlines", "", "猫", "n" * 300, "..", "\x00")
    found = Detections(np.zeros((9, 4), np.float32), np.ones(9, np.float32), labels)
    assert crop_names(found) == [
        *("01-______etc.png", "02-a_b_c.png", "03-C_x.png", "04-two_lines.png", "05-.png"),
        *("06-猫.png", f"07-{'n' * 59}_.png", "08-__.png", "09-_.png"),
    ]


def test_crops_of_classes_that_are_paths_stay_in_their_folder(files, detector):
    box = Detections(np.float32([(1, 1, 9, 9)]), np.float32([0.9]), ("../../../x",))
    detector.detect = lambda image: box
    detector.classes = box.labels
    assert run(files, "--crops", files / "crops", "--no-draw") == 0
    assert names(files) == ["crops/photo/01-_________x.png", "photo.png"]


# === Files in and out ===


def test_a_broken_picture_fails_alone(files, error_line):
    save_image(files / "all" / "deeper" / "a.png", squares())
    (files / "all" / "b.png").write_text("this is no picture")
    make_video(files / "all" / "c.MP4")
    assert run(files, "--csv", files / "a.csv", name="all") == 1
    assert names(files / "out") == ["c.mp4", "deeper/a.png"]
    assert "b.png: not a picture" in error_line()
    assert [row["frame"] for row in table(files / "a.csv")] == ["1", "2", "3", "4", "5", "", ""]


def test_out_can_be_a_file(files):
    assert main([str(files / "photo.png"), "--out", str(files / "drawn.jpg")]) == 0
    assert load_image(files / "drawn.jpg").shape == (120, 160, 3)


def give_stdin(monkeypatch, data):
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(data)))


def test_standard_input_is_a_picture(files, monkeypatch, error_line, capsys):
    data = (files / "photo.png").read_bytes()
    give_stdin(monkeypatch, data)
    assert main(["-", "--out", str(files / "out"), "--json", "--voc", str(files / "v")]) == 0
    assert records(capsys)[0]["input"] == "standard input"
    assert names(files / "out") == ["stdin.png"]
    assert names(files / "v") == ["Annotations/stdin.xml", "ImageSets/Main/default.txt"]
    for data, message in ((b"", "the file is empty"), (b"text", "not a picture")):
        give_stdin(monkeypatch, data)
        assert main(["-", "--out", str(files / "bad")]) == 1
        line = error_line()
        assert "standard input" in line
        assert message in line


def test_standard_output_is_a_png_and_nothing_else(files, monkeypatch, capsysbinary):
    monkeypatch.chdir(files)
    assert main(["photo.png", "--out", "-", "--csv", "a.csv"]) == 0
    said = capsysbinary.readouterr()
    expected = draw(squares(), find_squares(squares()).select(0.5), classes=CLASSES)
    np.testing.assert_array_equal(load_image(said.out), expected)
    assert said.err.startswith(b"standard output: 2 red, 0.0")
    assert names(files) == ["a.csv", "photo.png"]


def test_no_standard_output_at_all(files, monkeypatch, error_line):
    """As in a notebook, whose own takes text alone."""
    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert main([str(files / "photo.png"), "--out", "-"]) == 1
    assert "no standard output for a picture" in error_line()


# === Videos ===


def test_a_video_is_drawn_under_its_name(files, capsys):
    make_video(files / "film.mov")
    assert run(files, "--json", "--csv", files / "a.csv", name="film.mov") == 0
    assert names(files / "out") == ["film.mov"]
    said = capsys.readouterr()
    record = json.loads(said.out)
    assert record.keys() == (FIELDS - {"objects"}) | {"frames", "most"}
    assert (record["width"], record["height"], record["frames"]) == (96, 64, 5)
    assert (record["most"], record["model"]) == ({"red": 1}, "person")
    assert "film.mov: 5 frames, at most 1 red, " in said.err
    rows = table(files / "a.csv")
    assert [row["frame"] for row in rows] == ["1", "2", "3", "4", "5"]
    for number, row in enumerate(rows):
        assert float(row["x1"]) == pytest.approx(10 * number, abs=2)
        assert float(row["x2"]) == pytest.approx(10 * number + 24, abs=2)
    with av.open(str(files / "out" / "film.mov")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 5
    # The lower line of the box is orange; without it, the square would be red.
    assert frames[2][52:54, 24:40, 1].mean() > 90


def test_a_video_of_nothing(files, detector, capsys):
    detector.detect = lambda image: NOTHING
    make_video(files / "film.mp4")
    assert run(files, name="film.mp4") == 0
    assert "film.mp4: 5 frames, nothing found, " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "out", "flags", "message"),
    [
        ("photo.png", "large.mp4", (), "photo.png is a picture: name it .png"),
        ("film.mp4", "large.png", (), "film.mp4 is a video: name it .mp4"),
        ("film.mp4", "large.webm", (), "videos are written as .mp4"),
        ("film.mp4", "x", ("--no-draw", "--json"), "those are drawn, without --no-draw"),
        ("film.mp4", "x", ("--voc", "v"), "film.mp4 is a video: only --csv"),
        ("film.mp4", "x", ("--coco", "c"), "not --coco"),
        ("film.mp4", "x", ("--crops", "c"), "not --crops"),
    ],
)
def test_results_that_their_files_cannot_hold(files, error_line, name, out, flags, message):
    make_video(files / "film.mp4")
    assert main([str(files / name), "--out", str(files / out), *flags]) == 2
    assert message in error_line()
    assert names(files) == ["film.mp4", "photo.png"]


def test_standard_output_takes_one_picture(files, error_line, monkeypatch):
    monkeypatch.chdir(files)
    make_video(files / "film.mp4")
    assert main(["photo.png", "photo.png", "--out", "-"]) == 2
    assert "--out - takes one picture, but there are 2 inputs" in error_line()
    assert main(["film.mp4", "--out", "-"]) == 2
    assert "film.mp4 is a video: name it .mp4, not --out -" in error_line()


# === Pictures of any kind ===


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_pictures_of_any_mode(files, detector, mode):
    seen = []
    detector.detect = lambda image: seen.append(image) or NOTHING
    picture = Image.fromarray(squares())
    if mode == "I;16":
        picture = Image.fromarray(np.uint16(257) * np.asarray(picture.convert("L")))
    else:
        picture = picture.convert(mode)
    picture.save(files / "x.tif")
    assert run(files, name="x.tif") == 0
    assert (seen[0].shape, seen[0].dtype) == ((120, 160, 3), np.uint8)
    np.testing.assert_array_equal(load_image(files / "out" / "x.png"), seen[0])


def test_exif_rotation_is_applied(files, capsys):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(squares()).save(files / "x.png", exif=exif)
    assert run(files, "--json", "--coco", files / "c.json", name="x.png") == 0
    (record,) = records(capsys)
    assert (record["width"], record["height"]) == (120, 160)
    # Turned by 90° clockwise: what was x is y, what was y is 120 less it.
    assert sorted(found["box"] for found in record["objects"]) == [
        *([10.0, 100.0, 50.0, 150.0], [60.0, 10.0, 90.0, 40.0])
    ]
    read_dataset(files / "c.json", strict=True)  # It judges sizes as we do.


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (16, 3000)])
def test_any_size(files, detector, size):
    height, width = size
    whole = Detections(np.float32([(0, 0, width, height)]), np.float32([0.9]), ("red",))
    detector.detect = lambda image: whole
    save_image(files / "x.png", np.zeros((*size, 3), np.uint8))
    flags = ("--voc", files / "v", "--crops", files / "c", "--coco", files / "c.json")
    assert run(files, *flags, name="x.png") == 0
    assert load_image(files / "out" / "x.png").shape == (*size, 3)
    assert load_image(files / "c" / "x" / "01-red.png").shape == (*size, 3)


# === Mistakes ===


def truncated():
    file = io.BytesIO()
    Image.fromarray(squares()).save(file, "JPEG")
    return file.getvalue()[:-800]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("photo.png", b"", "the file is empty"),
        ("photo.jpg", b"text", "not a picture"),
        ("photo.jpg", truncated, "damaged or truncated"),
        ("photo.png", None, "no such file"),
        ("film.mp4", b"text", "not a video"),
        ("film.mp4", None, "no such file"),
    ],
)
def test_bad_input_is_named_with_its_reason(files, error_line, name, content, message):
    (files / name).unlink(missing_ok=True)
    if content is not None:
        (files / name).write_bytes(content() if callable(content) else content)
    assert run(files, name=name) == 1
    line = error_line()
    assert name in line
    assert message in line
    assert not list(files.glob("out/*"))


def test_over_large_pictures_are_refused(files, error_line, monkeypatch):
    monkeypatch.setattr("atelier.media.images.MAX_PIXELS", 100)
    assert run(files) == 1
    assert "photo.png: " in (line := error_line())
    assert "more than 100 pixels" in line


@pytest.mark.parametrize(
    "existing", ["out/photo.png", "v/Annotations/photo.xml", "c/photo/01-red.png"]
)
def test_nothing_is_overwritten_unasked(files, detector, error_line, existing):
    (files / existing).parent.mkdir(parents=True)
    (files / existing).write_bytes(b"kept")
    detector.detect = lambda image: pytest.fail("refused before the work, not after it")
    flags = ("--voc", files / "v", "--crops", files / "c")
    assert run(files, *flags) == 1
    assert "pass --overwrite" in error_line()
    assert names(files) == sorted([existing, "photo.png"])
    assert (files / existing).read_bytes() == b"kept"
    detector.detect = find_squares
    assert run(files, *flags, "--overwrite") == 0
    assert (files / existing).read_bytes() != b"kept"


@pytest.mark.parametrize("flag", ["--csv", "--coco"])
def test_tables_are_not_overwritten_unasked(files, detector, error_line, flag):
    (files / "x").write_bytes(b"kept")
    detector.detect = lambda image: pytest.fail("refused before the work, not after it")
    assert run(files, flag, files / "x") == 2
    assert "pass --overwrite" in error_line()
    assert (files / "x").read_bytes() == b"kept"
    detector.detect = find_squares
    assert run(files, flag, files / "x", "--overwrite") == 0
    assert (files / "x").read_bytes() != b"kept"
    assert not list(files.glob(".tmp-*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--threshold", "1.5"), "--threshold is from 0 to 1, not 1.5"),
        (("--threshold", "nan"), "--threshold is from 0 to 1"),
        (("--no-draw",), "--no-draw leaves nothing to do: pass one of --csv, --coco"),
        (("--csv", "-"), "--csv takes a path"),
        (("--coco", "-"), "--coco takes a path"),
        (("--csv", "same", "--coco", "same"), "--csv and --coco would both write same"),
        (("--no-such-flag",), "--no-such-flag"),
    ],
)
def test_bad_usage_is_one_line_and_2(files, error_line, arguments, message):
    assert run(files, *arguments) == 2
    assert message in error_line()
    assert names(files) == ["photo.png"]


@pytest.mark.parametrize("flag", ["--json", "--no-draw"])
def test_standard_output_is_for_the_drawing(files, error_line, flag):
    flags = ["--out", "-", flag, "--csv", str(files / "a.csv")]
    assert main([str(files / "photo.png"), *flags]) == 2
    assert "--out -" in error_line()


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("rde", " (is it 'red'?)"),
        ("RED", " (is it 'red'?)"),
        ("Blue thing", " (is it 'blue <&> thing'?)"),
        ("zebra", ""),
        ("two\nlines", ""),
    ],
)
def test_unknown_classes_are_named_with_those_like_them(files, error_line, name, hint):
    assert run(files, "--classes", "red", name) == 2
    expected = f"--classes: no class {name!r}{hint}; there are red, blue <&> thing"
    assert error_line() == f"error: {expected}"
    assert names(files) == ["photo.png"]


def test_a_folder_that_cannot_be_made_is_named(files, error_line):
    (files / "out").write_text("a file where a folder should be")
    assert run(files) == 1
    assert str(files / "out") in error_line()
    for flag in ("--voc", "--crops"):
        assert run(files, "--no-draw", flag, files / "out") == 1
        assert str(files / "out") in error_line()
    assert run(files, "--no-draw", "--csv", files / "out" / "a.csv") == 2
    assert str(files / "out") in error_line()


def test_a_full_disk_leaves_what_was_done(files, monkeypatch, error_line):
    """The second of two drawings finds no room: no half of it, and no row."""
    save_image(files / "all" / "a.png", squares())
    save_image(files / "all" / "b.png", squares())
    save, calls = Image.Image.save, []

    def full(self, path, *arguments, **options):
        calls.append(path)
        save(self, path, *arguments, **options)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    assert run(files, "--csv", files / "a.csv", name="all") == 1
    line = error_line()
    assert "b.png: No space left on device" in line
    assert names(files / "out") == ["a.png"]
    assert {row["input"] for row in table(files / "a.csv")} == {str(files / "all" / "a.png")}


def test_missing_weights_end_the_command(files, monkeypatch, error_line):
    def missing(config):
        raise WeightsError("no embedded network 'person'")

    monkeypatch.setattr(predict, "load_detector", missing)
    assert run(files, "--csv", files / "a.csv") == 2
    assert "'person'" in error_line()
    assert names(files) == ["photo.png"]


def test_empty_folder_is_one_line(files, error_line):
    (files / "empty").mkdir()
    assert run(files, name="empty") == 2
    assert "no pictures in this folder" in error_line()


PROGRAM = """
import sys, types
import numpy as np
from detection import predict
from detection.detections import Detections
import detection.run
found = Detections(np.float32([(10, 30, 40, 60)]), np.float32([0.9]), ("red",))
detector = types.SimpleNamespace(classes=("red",), card={}, detect=lambda image: found)
predict.load_detector = lambda config: detector
sys.exit(detection.run.main())
"""


def test_ctrl_c_keeps_what_is_done(files, interrupt):
    (files / "many").mkdir()
    for number in range(1500):
        os.link(files / "photo.png", files / "many" / f"{number:04d}.png")
    command = [sys.executable, "-c", PROGRAM, "many", "--out", "out"]
    flags = ["--csv", "a.csv", "--coco", "a.json"]
    interrupt([*command, *flags], files, (files / "out" / "0003.png").exists)
    rows, content = table(files / "a.csv"), json.loads((files / "a.json").read_text())
    assert 4 <= len(rows) < 1500
    assert [row["input"] for row in rows] == [f"many/{n:04d}.png" for n in range(len(rows))]
    assert len(content["images"]) == len(content["annotations"]) == len(rows)
    assert names(files / "out") == [f"{n:04d}.png" for n in range(len(rows))]
    assert not list(files.glob(".tmp-*"))


def test_ctrl_c_leaves_no_half_of_a_video(files, detector, capsys):
    """The rows of its frames are kept, as they are right in themselves."""
    make_video(files / "film.mp4", frames=9)
    frames = []

    def detect(image):
        frames.append(image)
        if len(frames) == 3:
            signal.raise_signal(signal.SIGINT)
        return find_squares(image)

    detector.detect = detect
    assert run(files, "--csv", files / "a.csv", name="film.mp4") == 130
    assert "error: stopped; what was finished is kept" in capsys.readouterr().err
    assert names(files / "out") == []
    assert [row["frame"] for row in table(files / "a.csv")] == ["1", "2", "3"]


@pytest.mark.parametrize("strip", [False, True])
def test_results_say_what_the_photo_says_unless_stripped(files, tagged, strip):
    tagged.write(files / "photo.jpg")
    assert run(files, *["--strip"] * strip, name="photo.jpg") == 0
    said = tagged.read(files / "out" / "photo.png")
    assert said == (tagged.stripped if strip else tagged.kept)


def test_rows_of_a_video_that_was_done_before_come_from_its_record(files, detector, capsys):
    make_video(files / "film.mp4", frames=3)
    assert run(files, name="film.mp4") == 0
    detector.detect = lambda image: pytest.fail("searched again")
    assert run(files, "--csv", files / "a.csv", name="film.mp4") == 0
    assert "1 of 1 inputs are done already" in capsys.readouterr().err
    assert [row["frame"] for row in table(files / "a.csv")] == ["1", "2", "3"]


def test_of_an_animation_the_first_frame_is_searched_and_the_line_says_so(files, capsys):
    first, second = Image.fromarray(squares()), Image.new("RGB", (160, 120), GREY)
    first.save(files / "a.tif", save_all=True, append_images=[second])
    assert main([str(files / "a.tif"), "--out", str(files / "out"), "--json"]) == 0
    said = capsys.readouterr()
    assert "; only the first page is taken" in said.err
    record = json.loads(said.out)
    assert [found["box"] for found in record["objects"]] == BOXES[:2]
    assert record["notes"] == ["only the first page is taken"]
