"""`python -m cartoon.run`: files in, files out, exit codes, one line for each mistake."""

import io
import json
import os
import subprocess
import sys
import types
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from atelier.errors import WeightsError
from atelier.media.images import load_image, resize, sample, save_image
from atelier.media.saving import PNG_LEVEL
from cartoon import CartoonConfig, CutOutConfig, cartoonize, cut_out, portray
from cartoon.run import main

FIELDS = {"input", "output", "width", "height", "preset", "found", "segmenter", "seconds", "notes"}

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def ellipse(image: np.ndarray) -> np.ndarray:
    """A standing one in the middle, float32 (H, W), 0 or 1."""
    height, width = image.shape[:2]
    y, x = (np.mgrid[:height, :width] + 0.5) / np.array([height, width])[:, None, None] - 0.5
    return np.float32(x**2 / 0.09 + y**2 / 0.16 < 1)


@pytest.fixture
def network(monkeypatch):
    """The embedded network, which finds an ellipse, or whatever its `probability` is set to."""
    network = types.SimpleNamespace(probability=ellipse)
    monkeypatch.setattr("cartoon.people.person.embedded", lambda: network)
    return network


@pytest.fixture
def files(network, tmp_path, photo):
    """photo.png in `tmp_path`, which is given back."""
    save_image(tmp_path / "photo.png", photo)
    return tmp_path


@pytest.fixture
def nobody(network):
    network.probability = lambda image: np.zeros(image.shape[:2], np.float32)


def make_video(path, photo, *, frames=5, codec="libx264"):
    """The photo, as it moves to the left; with the sound of a sine."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height = 48, 32
        stream.pix_fmt = "bgr0" if codec == "ffv1" else "yuv420p"
        for number in range(frames):
            left = number % 48
            picture = np.ascontiguousarray(photo[20:52, left : left + 48])
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def run(folder, *arguments, name="photo.png"):
    return main([str(folder / name), "--out", str(folder / "out"), *map(str, arguments)])


def names(folder):
    files = (file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
    return sorted(str(file) for file in files if ".atelier" not in file.parts)


def records(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def result(folder, name="photo.png"):
    return load_image(folder / "out" / name, alpha="keep", grey="keep")


# === Results ===


def test_a_person_is_drawn_under_the_pictures_name(files, photo, capsys):
    assert run(files) == 0
    assert names(files / "out") == ["photo.png"]
    np.testing.assert_array_equal(result(files), portray(photo).image)
    said = capsys.readouterr()
    assert said.out == ""
    assert "photo.png: 96×96, " in said.err
    assert "nobody" not in said.err


def test_nothing_given_draws_a_sample(files, capsys):
    assert main(["--out", str(files / "out"), "--json"]) == 0
    (record,) = records(capsys)
    assert record["input"] == "astronaut.png"
    expected = portray(sample("astronaut.png")).image
    np.testing.assert_array_equal(result(files, "astronaut.png"), expected)


def test_json_tells_what_was_done(files, capsys):
    assert run(files, "--json", "--preset", "report") == 0
    (record,) = records(capsys)
    assert record.keys() == FIELDS
    assert record["input"] == str(files / "photo.png")
    assert record["output"] == str(files / "out" / "photo.png")
    assert (record["width"], record["height"], record["preset"]) == (96, 96, "report")
    assert (record["found"], record["segmenter"]) == (True, "person")
    assert record["seconds"] >= 0
    assert run(files, "--json", "--no-cut-out", "--overwrite") == 0
    (record,) = records(capsys)
    assert record.keys() == FIELDS - {"found", "segmenter"}


def test_flags_change_settings(files, photo):
    assert run(files, "--preset", "report", "--canny", 20, 60, "--no-refine", "--feather", 4) == 0
    config = CartoonConfig(method="report", canny=(20, 60))
    cutting = CutOutConfig(refine=False, feather=4)
    expected = portray(photo, config=config, cutting=cutting).image
    np.testing.assert_array_equal(result(files), expected)
    assert (expected != portray(photo, "report").image).any()


@pytest.mark.parametrize("flag", ["--only-mask", "-om"])
def test_the_mask_alone(files, photo, flag):
    assert run(files, flag) == 0
    expected = np.rint(255 * cut_out(photo).mask)
    np.testing.assert_array_equal(result(files), expected)
    with Image.open(files / "out" / "photo.png") as image:
        assert image.mode == "L"


def test_no_draw_leaves_a_photo(files, photo):
    assert run(files, "--no-draw", "--background", "transparent", "--no-refine") == 0
    cut = cut_out(photo, config=CutOutConfig(refine=False))
    inside = cut.mask == 1
    np.testing.assert_array_equal(result(files)[..., 3], cut.image[..., 3])
    np.testing.assert_array_equal(result(files)[inside][:, :3], photo[inside])
    assert run(files, "--no-draw", "--no-refine", "--overwrite") == 0
    np.testing.assert_array_equal(result(files), np.where(inside[..., None], photo, 255))


def test_no_cut_out_draws_all(files, photo):
    assert run(files, "--no-cut-out") == 0
    np.testing.assert_array_equal(result(files), cartoonize(photo).image)


@pytest.mark.parametrize(
    ("flags", "corner"),
    [
        (("--background", "#102030"), (16, 32, 48)),
        (("--background", "#10203040"), (16, 32, 48, 64)),
        (("--background", "transparent"), (255, 255, 255, 0)),
        (("--background", "navy"), (0, 0, 128)),
        (("--bgcolor", 1, 2, 3, 255), (1, 2, 3)),
        (("--bgcolor", 0, 255, 0, 128), (0, 255, 0, 128)),
        (("--preset", "report", "--background", "#102030"), (16, 32, 48)),
    ],
)
def test_backgrounds_of_one_colour(files, flags, corner):
    assert run(files, *flags) == 0
    found = result(files)
    np.testing.assert_array_equal(found[0, 0], corner)
    np.testing.assert_array_equal(found[-1, -1], corner)
    assert (found[48, 48, :3] != corner[:3]).any()
    if found.shape[-1] == 4:
        assert found[48, 48, 3] == 255


def test_backgrounds_that_are_pictures(files, photo, painting):
    assert run(files, "--background", "photo") == 0
    np.testing.assert_array_equal(result(files)[:8], photo[:8])
    save_image(files / "behind.png", resize(painting, (96, 96)))
    assert run(files, "--background", files / "behind.png", "--overwrite") == 0
    np.testing.assert_array_equal(result(files)[:8], load_image(files / "behind.png")[:8])
    for name in ("photo", "behind"):
        background = name if name == "photo" else str(files / "behind.png")
        assert run(files, "--no-draw", "--background", background, "--overwrite") == 0
        expected = photo if name == "photo" else load_image(files / "behind.png")
        np.testing.assert_array_equal(result(files)[:8], expected[:8])


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ((), "nobody found: all of it is drawn"),
        (("--background", "transparent"), "nobody found: all of it is drawn"),
        (("--only-mask",), "nobody found, "),
        (("--no-draw",), "nobody found, "),
    ],
)
def test_a_picture_without_anybody(files, nobody, photo, capsys, flags, told):
    assert run(files, *flags, "--json") == 0
    said = capsys.readouterr()
    assert told in said.err
    assert json.loads(said.out)["found"] is False
    if "--only-mask" in flags:
        assert not result(files).any()
    elif "--no-draw" not in flags:
        np.testing.assert_array_equal(result(files), cartoonize(photo).image)


@pytest.mark.parametrize("flags", [("--no-cut-out",), ("--background", "photo")])
def test_alpha_is_kept(files, photo, flags):
    alpha = 2 * np.arange(96, dtype=np.uint8).repeat(96).reshape(96, 96)
    save_image(files / "photo.png", np.dstack([photo, alpha]))
    assert run(files, *flags) == 0
    np.testing.assert_array_equal(result(files)[..., 3], alpha)


def test_cut_outs_of_transparent_pictures(files, photo):
    alpha = np.full((96, 96), 255, np.uint8)
    alpha[:, :48] = 0
    save_image(files / "photo.png", np.dstack([photo, alpha]))
    assert run(files, "--background", "transparent", "--no-refine") == 0
    np.testing.assert_array_equal(result(files)[..., 3], ellipse(photo) * alpha)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_pictures_of_any_mode(files, photo, mode):
    picture = Image.fromarray(photo)
    if mode == "I;16":
        picture = Image.fromarray(np.uint16(257) * np.asarray(picture.convert("L")))
    else:
        picture = picture.convert(mode)
    name = "x.tif"
    picture.save(files / name)
    assert run(files, name=name) == 0
    found = result(files, "x.png")
    assert found.shape == (96, 96, 3)
    np.testing.assert_array_equal(found, portray(load_image(files / name)).image)


def test_exif_rotation_is_applied(files, photo):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photo[:, :60]).save(files / "x.png", exif=exif)
    assert run(files, name="x.png") == 0
    found = result(files, "x.png")
    assert found.shape == (60, 96, 3)
    np.testing.assert_array_equal(found, portray(np.rot90(photo[:, :60], -1)).image)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (16, 4000)])
@pytest.mark.parametrize("flags", [(), ("--preset", "report"), ("--no-draw",)])
def test_any_size(files, rng, size, flags):
    save_image(files / "x.png", rng.integers(0, 256, (*size, 3)).astype(np.uint8))
    assert run(files, *flags, name="x.png") == 0
    assert result(files, "x.png").shape == (*size, 3)


# === Files in and out ===


def test_folders_hold_pictures_and_videos_and_one_broken_fails_alone(files, photo, error_line):
    folder = files / "all"
    save_image(folder / "deeper" / "a.jpg", photo)
    (folder / "b.png").write_text("this is no picture")
    make_video(folder / "c.MP4", photo)
    (folder / "notes.txt").write_text("left out")
    assert main([str(folder), "--out", str(files / "out")]) == 1
    assert names(files / "out") == ["c.mp4", "deeper/a.png"]
    assert "b.png: not a picture" in error_line()


def test_out_can_be_a_file(files):
    assert main([str(files / "photo.png"), "--out", str(files / "drawn.jpg")]) == 0
    assert load_image(files / "drawn.jpg").shape == (96, 96, 3)


def give_stdin(monkeypatch, data):
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=io.BytesIO(data)))


def test_standard_input_is_a_picture(files, photo, monkeypatch, error_line):
    give_stdin(monkeypatch, (files / "photo.png").read_bytes())
    assert main(["-", "--out", str(files / "out")]) == 0
    np.testing.assert_array_equal(result(files, "stdin.png"), portray(photo).image)
    for data, message in ((b"", "the file is empty"), (b"text", "not a picture")):
        give_stdin(monkeypatch, data)
        assert main(["-", "--out", str(files / "bad")]) == 1
        line = error_line()
        assert "standard input" in line
        assert message in line


@pytest.mark.parametrize("background", ["white", "transparent"])
def test_standard_output_is_a_png_and_nothing_else(
    files, photo, monkeypatch, capsysbinary, background
):
    monkeypatch.chdir(files)
    give_stdin(monkeypatch, (files / "photo.png").read_bytes())
    assert main(["-", "--out", "-", "--background", background]) == 0
    said = capsysbinary.readouterr()
    expected = portray(photo, background=background).image
    np.testing.assert_array_equal(load_image(said.out, alpha="keep"), expected)
    file = io.BytesIO()
    Image.fromarray(expected).save(file, "PNG", compress_level=PNG_LEVEL)
    assert said.out == file.getvalue()
    assert said.err.startswith(b"standard output: 96")
    assert names(files) == ["photo.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("photo.png", "--json"), "--json and --out -"),
        (("photo.png", "photo.png"), "--out - takes one picture, but there are 2 inputs"),
        (("film.mp4",), "film.mp4 is a video: name it .mp4, not --out -"),
    ],
)
def test_what_standard_output_cannot_take(files, photo, monkeypatch, capsys, arguments, message):
    make_video(files / "film.mp4", photo)
    monkeypatch.chdir(files)
    assert main([*arguments, "--out", "-"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert line.startswith("error: ")
    assert message in line


def test_no_standard_output_at_all(files, monkeypatch, error_line):
    """As in a notebook, whose own takes text alone."""
    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert main([str(files / "photo.png"), "--out", "-"]) == 1
    assert "no standard output for a picture" in error_line()


def test_a_full_standard_output(files):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    command = [sys.executable, "-m", "cartoon.run", "photo.png", "--no-cut-out", "--out", "-"]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            command,
            cwd=files,
            env={**os.environ, "PYTHONPATH": ROOT},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert "error: photo.png: cannot write" in done.stderr
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == 1


# === Videos ===


def test_a_video_is_drawn_under_its_name(files, photo, capsys):
    make_video(files / "film.mov", photo)
    assert run(files, "--json", "--background", "#0000ff", name="film.mov") == 0
    assert names(files / "out") == ["film.mov"]
    said = capsys.readouterr()
    record = json.loads(said.out)
    assert record.keys() == (FIELDS - {"found"}) | {"frames", "flicker"}
    assert (record["width"], record["height"], record["frames"]) == (48, 32, 5)
    assert "film.mov: 48×32, 5 frames, " in said.err
    with av.open(str(files / "out" / "film.mov")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 5
    for frame in frames:
        np.testing.assert_allclose(frame[:3, :3].reshape(-1, 3).mean(axis=0), (0, 0, 255), atol=25)
        assert frame[16, 24, 2] < 230


def test_a_video_without_a_cut_out(files, photo, capsys, nobody):
    make_video(files / "film.mp4", photo)
    assert run(files, "--json", "--no-cut-out", "--background", "#ff000000", name="film.mp4") == 0
    (record,) = records(capsys)
    assert "segmenter" not in record
    with av.open(str(files / "out" / "film.mp4")) as container:
        frame = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert frame.std() > 20


@pytest.mark.parametrize(
    ("name", "out", "flags", "message"),
    [
        ("photo.png", "large.mp4", (), "photo.png is a picture: name it .png"),
        ("film.mp4", "large.png", (), "film.mp4 is a video: name it .mp4"),
        ("film.mp4", "large.webm", (), "videos are written as .mp4"),
        ("film.mp4", "x.mp4", ("--only-mask",), "those are drawn, without --only-mask"),
        ("film.mp4", "x.mp4", ("--no-draw",), "those are drawn, without --no-draw"),
        ("film.mp4", "x.mp4", ("--background", "transparent"), "than transparent"),
        ("film.mp4", "x.mp4", ("--bgcolor", "0", "0", "0", "9"), "than #00000009"),
    ],
)
def test_results_that_their_files_cannot_hold(files, photo, error_line, name, out, flags, message):
    make_video(files / "film.mp4", photo)
    assert main([str(files / name), "--out", str(files / out), *flags]) == 2
    assert message in error_line()
    assert not (files / out).exists()


# === Mistakes ===


def truncated(photo):
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "JPEG")
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
def test_bad_input_is_named_with_its_reason(files, photo, error_line, name, content, message):
    (files / name).unlink(missing_ok=True)
    if content is not None:
        (files / name).write_bytes(content(photo) if callable(content) else content)
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


def test_nothing_is_overwritten_unasked(files, network, error_line):
    (files / "out").mkdir()
    (files / "out" / "photo.png").write_bytes(b"kept")
    network.probability = lambda image: pytest.fail("refused before the work, not after it")
    assert run(files) == 1
    assert "pass --overwrite" in error_line()
    assert (files / "out" / "photo.png").read_bytes() == b"kept"
    network.probability = ellipse
    assert run(files, "--overwrite") == 0
    assert names(files / "out") == ["photo.png"]
    assert result(files).shape == (96, 96, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--background", "nonsense"), "no background 'nonsense'"),
        (("--background", "none.png"), "none.png: no such file"),
        (("--bgcolor", "1", "2", "3", "256"), "--bgcolor takes four numbers from 0 to 255"),
        (("--bgcolor", "1", "2", "3"), "--bgcolor"),
        (("--no-cut-out", "--only-mask"), "--no-cut-out leaves nothing to do"),
        (("--no-cut-out", "--no-draw"), "--no-cut-out leaves nothing to do"),
        (("--feather", "-1"), "--feather is from 0 to 1000"),
        (("--feather", "inf"), "--feather is from 0 to 1000"),
        (("--outline", "99"), "--outline is from 0 to 10"),
        (("--segmenter", "sam"), "--segmenter"),
        (("--preset", "oil"), "no preset 'oil'"),
        (("--no-such-flag",), "--no-such-flag"),
    ],
)
def test_bad_usage_is_one_line_and_2(files, error_line, arguments, message):
    assert run(files, *arguments) == 2
    assert message in error_line()
    assert not (files / "out").exists()


def test_a_folder_that_cannot_be_made_is_named(files, error_line):
    (files / "out").write_text("a file where a folder should be")
    assert run(files) == 1
    assert str(files / "out") in error_line()


def test_missing_weights_end_the_command(files, monkeypatch, error_line):
    def missing():
        raise WeightsError("no embedded network 'person'")

    monkeypatch.setattr("cartoon.people.person.embedded", missing)
    assert run(files) == 2
    assert "'person'" in error_line()


PROGRAM = """
import sys, types
import numpy as np
import cartoon.people.person
import cartoon.run
half = types.SimpleNamespace(probability=lambda image: np.ones(image.shape[:2], np.float32) / 2)
cartoon.people.person.embedded = lambda: half
sys.exit(cartoon.run.main())
"""


def test_ctrl_c_leaves_nothing_half_written(files, photo, interrupt):
    make_video(files / "film.mkv", photo, codec="ffv1", frames=2000)
    command = [sys.executable, "-c", PROGRAM, "photo.png", "film.mkv", "--out", "out"]
    interrupt(command, files, lambda: any(files.glob("out/.tmp-*.mkv")))
    assert names(files / "out") == ["photo.png"]


@pytest.mark.parametrize("strip", [False, True])
def test_results_say_what_the_photo_says_unless_stripped(files, tagged, strip):
    tagged.write(files / "photo.jpg")
    assert run(files, *["--strip"] * strip, name="photo.jpg") == 0
    said = tagged.read(files / "out" / "photo.png")
    assert said == (tagged.stripped if strip else tagged.kept)
