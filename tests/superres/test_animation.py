"""Animations and many-page TIFFs enlarged: all frames, in their format, by one network."""

import importlib
import json

import numpy as np
import pytest
from PIL import Image

from atelier.errors import ImageError
from atelier.media.animations import open_animation
from atelier.media.images import load_image
from superres.animation import upscale_animation
from superres.run import main
from superres.upscaling import upscale


@pytest.fixture
def make(tmp_path, photo, embedded):
    """Writes three parts of the photo as a file of three frames; gives its path."""

    def make(name, alpha=False, sizes=((32, 24),) * 3, **options):
        frames = [
            Image.fromarray(photo[8 * n : 8 * n + height, 4 * n : 4 * n + width])
            for n, (width, height) in enumerate(sizes)
        ]
        if alpha:
            for number, frame in enumerate(frames):
                hole = Image.new("L", frame.size, 255)
                hole.paste(0, (4 * number, 4, 4 * number + 8, 12))
                frame.putalpha(hole)
        if not name.endswith("tif"):
            options = {"duration": [80, 40, 120], "loop": 2} | options
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **options)
        return tmp_path / name

    return make


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif"])
def test_each_frame_is_what_its_picture_becomes(make, tmp_path, name, alpha):
    options = {"lossless": True} if name.endswith("webp") else {}
    path = make(name, alpha, **options)
    frames = [picture.image for picture in open_animation(path).frames()]
    out = tmp_path / f"out{path.suffix}"
    result = upscale_animation(path, out, model="clean")
    assert (result.width, result.height, result.frames, result.model) == (64, 48, 3, "clean")
    found = [picture.image for picture in open_animation(out).frames()]
    assert len(found) == 3
    for image, frame in zip(found, frames, strict=True):
        wanted = upscale(frame, model="clean").image.astype(int)
        assert image.shape == wanted.shape == (48, 64, 3 + alpha)
        seen = wanted[..., 3:] > 250 if alpha else np.ones((48, 64, 1), bool)
        assert (np.abs(image - wanted)[..., :3] * seen).mean() <= (4 if name == "a.webp" else 0)
        if alpha and name != "a.webp":
            np.testing.assert_array_equal(image[..., 3], wanted[..., 3])
    before, after = open_animation(path), open_animation(out)
    assert (before.durations, before.plays) == (after.durations, after.plays)


def test_pages_keep_their_sizes(make, tmp_path):
    sizes = ((32, 24), (20, 40), (17, 9))
    result = upscale_animation(make("a.tif", sizes=sizes), tmp_path / "out.tif", scale=3)
    with Image.open(result.path) as image:
        assert image.n_frames == 3
        for number, (width, height) in enumerate(sizes):
            image.seek(number)
            assert image.size == (3 * width, 3 * height)


def test_grey_pages_stay_grey(tmp_path, photo, embedded):
    pages = [Image.fromarray(photo[:20, :30]).convert("L"), Image.fromarray(photo[9:29, :30, 0])]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    upscale_animation(tmp_path / "a.tif", tmp_path / "out.tif")
    with Image.open(tmp_path / "out.tif") as image:
        for number in range(2):
            image.seek(number)
            assert (image.mode, image.size) == ("L", (60, 40))


def test_one_network_enlarges_all_frames(make, tmp_path, monkeypatch):
    """Which one, the first frame says: another one for single frames would flicker."""
    module = importlib.import_module("superres.animation")
    asked = []
    monkeypatch.setattr(module, "judge", lambda lossy, image: asked.append(1) or ("clean", "so"))
    result = upscale_animation(make("a.gif"), tmp_path / "out.gif")
    assert (result.model, result.reason, asked) == ("clean", "so", [1])


def test_frames_that_become_too_large_are_refused(make, tmp_path, monkeypatch):
    module = importlib.import_module("superres.upscaling")
    monkeypatch.setattr(module, "MAX_OUTPUT_PIXELS", 3000)
    with pytest.raises(ImageError, match=r"a\.gif: 32×24 at scale 2"):
        upscale_animation(make("a.gif"), tmp_path / "out.gif")
    assert not (tmp_path / "out.gif").exists()


# === The command ===


def test_a_folder_s_animations_keep_their_format(make, tmp_path, capsys):
    for name in ("a.gif", "b.png", "c.webp", "d.avif", "e.tif"):
        make(f"in-{name}")
    folder = tmp_path / "in"
    folder.mkdir()
    for file in tmp_path.glob("in-*"):
        file.rename(folder / file.name.removeprefix("in-"))
    Image.new("RGB", (32, 24)).save(folder / "still.gif")
    assert main([str(folder), "--out", str(tmp_path / "out"), "--json"]) == 0
    assert sorted(file.name for file in (tmp_path / "out").iterdir() if file.is_file()) == [
        *("a.gif", "b.png", "c.webp", "d.avif", "e.tif", "still.png")
    ]
    for name in ("a.gif", "b.png", "c.webp", "d.avif", "e.tif"):
        assert len(open_animation(tmp_path / "out" / name)) == 3
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 6
    assert "a.gif: 64×48, 3 frames, " in said.err
    assert main([str(folder), "--out", str(tmp_path / "out")]) == 0
    assert "6 of 6 inputs are done already" in capsys.readouterr().err


def test_the_first_frame_alone_is_taken_if_so_asked(make, tmp_path, capsys):
    path = make("a.gif")
    assert main([str(path), "--out", str(tmp_path / "out"), "--first-frame", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["notes"] == []
    assert load_image(tmp_path / "out" / "a.png").shape == (48, 64, 3)


def test_a_format_of_one_frame_takes_the_first_and_says_so(make, tmp_path, capsys):
    path = make("a.gif")
    assert main([str(path), "--out", str(tmp_path / "a.jpg")]) == 0
    assert "only the first frame is taken" in capsys.readouterr().err
    assert main([str(path), "--out", str(tmp_path / "a.webp")]) == 0
    assert open_animation(tmp_path / "a.webp").durations == (80, 40, 120)


def test_a_comparison_is_of_pictures_alone(make, tmp_path):
    path = make("a.gif")
    assert main([str(path), "--out", str(tmp_path / "out"), "--compare"]) == 0
    files = [file.name for file in (tmp_path / "out").iterdir() if file.is_file()]
    assert files == ["a.gif"]
