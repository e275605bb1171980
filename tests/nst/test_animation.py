"""Animations and plots, read back from their files."""

import av
import numpy as np
import pytest
from PIL import Image

from atelier.errors import OutputError
from atelier.progress import Step
from nst.animation import FRAMES, Frames, Snapshots, plot_history
from nst.objective import Loss
from nst.stylize import Stylization


def step(number, total, side=40):
    """A step whose picture is a grey of its number."""
    return Step(number, total, {}, lambda: np.full((side, side, 3), number % 256, np.uint8))


def run(frames, total, side=40):
    for number in range(1, total + 1):
        frames(step(number, total, side))
    return frames


@pytest.mark.parametrize("total", [1, 2, 99, 100, 101, 150, 199, 1000, 7500])
def test_frames_are_bounded_and_spread(total):
    frames = run(Frames((2, 2)), total, side=2).frames
    assert min(total, FRAMES // 2) <= len(frames) <= FRAMES
    assert frames[0][0, 0, 0] == 1


def test_frames_of_coarser_levels_are_enlarged_and_lose_alpha():
    frames = Frames((50, 60))
    frames(Step(1, 1, {}, lambda: np.full((25, 30, 4), 9, np.uint8)))
    assert frames.frames[0].shape == (50, 60, 3)


def test_gif_reads_back(tmp_path):
    path = tmp_path / "way.gif"
    run(Frames((30, 44)), 10).save(path)
    with Image.open(path) as image:
        assert image.size == (44, 30)
        assert image.n_frames == 10
        assert image.info["loop"] == 0
        levels, durations = [], []
        for number in range(image.n_frames):
            image.seek(number)
            levels.append(image.convert("L").getpixel((5, 5)))
            durations.append(image.info["duration"])
    assert levels == pytest.approx(list(range(1, 11)), abs=2)
    assert durations == [500] * 9 + [1000]


def test_gif_of_one_frame(tmp_path):
    run(Frames((30, 44)), 1).save(tmp_path / "way.gif")
    with Image.open(tmp_path / "way.gif") as image:
        assert image.n_frames == 1


@pytest.mark.parametrize("size", [(48, 64), (49, 65)])
def test_mp4_reads_back(tmp_path, size):
    path = tmp_path / "way.mp4"
    frames = Frames(size)
    for number in range(1, 11):
        frames(Step(number, 10, {}, lambda n=number: np.full((*size, 3), 20 * n, np.uint8)))
    frames.save(path)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.height, stream.width) == (48, 64)
        assert stream.codec_context.name == "h264"
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert len(decoded) == 10 + 2  # The last one is held for a second, at two a second.
    levels = [frame.mean() for frame in decoded]
    assert levels == pytest.approx([*range(20, 201, 20), 200, 200], abs=6)


@pytest.mark.parametrize("suffix", [".gif", ".mp4"])
def test_animation_is_not_overwritten_unasked(tmp_path, suffix):
    path = tmp_path / f"way{suffix}"
    path.write_bytes(b"kept")
    frames = run(Frames((32, 32)), 2)
    with pytest.raises(OutputError, match="exists"):
        frames.save(path, overwrite=False)
    assert path.read_bytes() == b"kept"
    frames.save(path)
    assert path.read_bytes() != b"kept"
    assert list(tmp_path.iterdir()) == [path]


def test_snapshots_come_every_so_many_steps(tmp_path):
    run(Snapshots(tmp_path / "out.png", every=3), 8)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out.00003.png", "out.00006.png"]
    with Image.open(tmp_path / "out.00006.png") as image:
        assert image.getpixel((0, 0)) == (6, 6, 6)


def test_snapshots_are_not_overwritten_unasked(tmp_path):
    (tmp_path / "out.00003.png").write_bytes(b"kept")
    with pytest.raises(OutputError, match="exists"):
        run(Snapshots(tmp_path / "out.png", every=3, overwrite=False), 3)


@pytest.mark.parametrize("names", [["a"], ["a", "b"]])
def test_plot_of_losses_is_a_picture(tmp_path, names):
    rows = tuple({"step": i, "loss": 9 / i, "content": 0.0, "style": 9 / i} for i in (1, 2, 3))
    result = Stylization(np.zeros((2, 2, 3), np.uint8), Loss(0, 3, 0), rows, 1.0, "tiny")
    path = tmp_path / "plot.png"
    plot_history([result] * len(names), names, path)
    with Image.open(path) as image:
        assert image.size == (1050, 600)
        assert np.asarray(image.convert("L")).std() > 10
