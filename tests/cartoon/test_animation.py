"""Animations and many-page TIFFs as cartoons: steadily drawn, all frames, alpha kept."""

import types

import numpy as np
import pytest
from PIL import Image

from atelier.media.animations import open_animation
from atelier.media.images import load_image
from cartoon import CutOutConfig, cartoonize
from cartoon.animation import cartoonize_animation
from cartoon.drawing.steady import flicker
from cartoon.run import main

SIZE = (64, 48)


def ellipse(image: np.ndarray) -> np.ndarray:
    """A standing one in the middle, float32 (H, W), 0 or 1."""
    height, width = image.shape[:2]
    y, x = (np.mgrid[:height, :width] + 0.5) / np.array([height, width])[:, None, None] - 0.5
    return np.float32(x**2 / 0.09 + y**2 / 0.16 < 1)


@pytest.fixture
def network(monkeypatch):
    """The embedded network, which finds an ellipse."""
    network = types.SimpleNamespace(probability=ellipse)
    monkeypatch.setattr("cartoon.people.person.embedded", lambda: network)
    return network


@pytest.fixture
def make(tmp_path, rng):
    """Writes a slope of colours under noise, which does not move, as four frames."""

    def make(name, alpha=False):
        y, x = np.mgrid[: SIZE[1], : SIZE[0]]
        still = np.stack([60 + 2.2 * x, 70 + 2.2 * y, 200 - 2 * x], axis=-1)
        still[10:30, 30:50] = 200, 60, 50
        frames = []
        for number in range(4):
            noisy = still + rng.normal(0, 4, still.shape)
            frame = Image.fromarray(np.uint8(np.clip(np.rint(noisy), 0, 255)))
            if alpha:
                hole = Image.new("L", SIZE, 255)
                hole.paste(0, (0, 0, 10 + number, 12))
                frame.putalpha(hole)
            frames.append(frame)
        options = {} if name.endswith("tif") else {"duration": [80, 40, 120, 60], "loop": 2}
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **options)
        return tmp_path / name

    return make


def frames_of(path) -> list[np.ndarray]:
    return [picture.image for picture in open_animation(path).frames()]


def test_frames_do_not_flicker_and_the_first_is_its_picture(make, tmp_path):
    path = make("a.png")
    result = cartoonize_animation(path, tmp_path / "out.png")
    assert (result.width, result.height, result.frames) == (*SIZE, 4)
    before, after = frames_of(path), frames_of(result.path)
    np.testing.assert_array_equal(after[0], cartoonize(before[0]).image)
    alone = [cartoonize(frame).image for frame in before]
    assert flicker(before, after) < 0.6 * flicker(before, alone)
    assert open_animation(result.path).durations == (80, 40, 120, 60)


def test_alpha_stays_frame_by_frame(make, tmp_path):
    path = make("a.png", alpha=True)
    result = cartoonize_animation(path, tmp_path / "out.png")
    for before, after in zip(frames_of(path), frames_of(result.path), strict=True):
        np.testing.assert_array_equal(before[..., 3], after[..., 3])


def test_pages_are_drawn_each_for_itself(make, tmp_path):
    path = make("a.tif")
    result = cartoonize_animation(path, tmp_path / "out.tif")
    for before, after in zip(frames_of(path), frames_of(result.path), strict=True):
        np.testing.assert_array_equal(after, cartoonize(before).image)


def test_people_are_cut_out_of_each_frame(make, tmp_path, network):
    path = make("a.gif")
    cutting = CutOutConfig(refine=False, feather=0)
    cartoonize_animation(path, tmp_path / "out.png", cutting=cutting)
    for frame in frames_of(tmp_path / "out.png"):
        assert (frame[:4, :4] == 255).all()
        assert frame[24, 32].tolist() != [255, 255, 255]


@pytest.mark.parametrize(
    ("flags", "channels"),
    [(("--background", "transparent"), 4), (("--only-mask",), 3), (("--no-draw",), 3)],
)
def test_the_command_treats_frames_as_pictures(make, tmp_path, network, capsys, flags, channels):
    for name in ("a.gif", "b.tif"):
        assert main([str(make(name)), "--out", str(tmp_path / "out"), *flags]) == 0
    assert "a.gif: 64×48, 4 frames" in capsys.readouterr().err
    frames = frames_of(tmp_path / "out" / "a.gif")
    assert len(frames) == 4
    for frame in frames:
        assert frame.shape == (48, 64, channels)
        corner, middle = frame[1, 1], frame[24, 32]
        if flags[0] == "--only-mask":
            assert (corner == 0).all()
            assert (middle == 255).all()
        elif channels == 4:
            assert (corner[3], middle[3]) == (0, 255)
        else:
            assert (corner == 255).all()
    assert len(frames_of(tmp_path / "out" / "b.tif")) == 4


def test_the_first_frame_alone(make, tmp_path, network, capsys):
    path = make("a.gif")
    assert main([str(path), "--out", str(tmp_path / "out"), "--first-frame"]) == 0
    assert "only the first" not in capsys.readouterr().err
    assert load_image(tmp_path / "out" / "a.png").shape == (48, 64, 3)
    assert main([str(path), "--out", str(tmp_path / "a.jpg")]) == 0
    assert "only the first frame is taken" in capsys.readouterr().err
