"""Animations and plots, read back from their files."""

import tracemalloc

import av
import numpy as np
import pytest
from PIL import Image

from atelier.errors import OutputError
from atelier.progress import Step
from nst.animation import FRAMES, Frames, Snapshots, plot_history
from nst.descent.objective import Loss
from nst.transfer import Stylization


def step(number, total, side=40):
    """A step whose picture is a grey of its number."""
    return Step(number, total, {}, lambda: np.full((side, side, 3), number % 256, np.uint8))


def run(frames, total, side=40):
    for number in range(1, total + 1):
        frames(step(number, total, side))
    return frames


def write(path, size, total, **options) -> Frames:
    """An animation of so many steps."""
    with Frames(size, path, **options) as frames:
        return run(frames, total)


@pytest.mark.parametrize("total", [1, 2, 99, 100, 101, 150, 199, 1000, 7500])
def test_frames_are_bounded_and_spread(tmp_path, total):
    frames = write(tmp_path / "way.gif", (2, 2), total)
    assert min(total, FRAMES // 2) <= frames.count <= FRAMES
    with Image.open(tmp_path / "way.gif") as image:
        assert image.n_frames == frames.count
        assert image.convert("RGB").getpixel((0, 0)) == (1, 1, 1)


def test_frames_of_coarser_levels_are_enlarged_and_lose_alpha(tmp_path):
    with Frames((50, 60), tmp_path / "way.gif") as frames:
        frames(Step(1, 1, {}, lambda: np.full((25, 30, 4), 9, np.uint8)))
    with Image.open(tmp_path / "way.gif") as image:
        assert image.size == (60, 50)
        assert image.convert("RGB").getpixel((3, 3)) == (9, 9, 9)


def test_gif_reads_back(tmp_path):
    path = tmp_path / "way.gif"
    write(path, (30, 44), 10)
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


@pytest.mark.parametrize("name", ["way.gif", "way.mp4"])
def test_without_a_frame_there_is_no_file(tmp_path, name):
    write(tmp_path / name, (30, 44), 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["way.gif", "way.mp4"])
def test_an_error_of_the_run_leaves_no_file(tmp_path, name):
    def fail():
        with Frames((30, 44), tmp_path / name) as frames:
            run(frames, 3)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [(48, 64), (49, 65)])
def test_mp4_reads_back(tmp_path, size):
    path = tmp_path / "way.mp4"
    with Frames(size, path) as frames:
        for number in range(1, 11):
            frames(Step(number, 10, {}, lambda n=number: np.full((*size, 3), 20 * n, np.uint8)))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.height, stream.width) == (48, 64)
        assert stream.codec_context.name == "h264"
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert len(decoded) == 10 + 2  # The last one is held for a second, at two a second.
    levels = [frame.mean() for frame in decoded]
    assert levels == pytest.approx([*range(20, 201, 20), 200, 200], abs=6)


@pytest.mark.parametrize(("name", "sides"), [("way.gif", (720, 540)), ("way.mp4", (1920, 1440))])
def test_large_results_are_animated_in_bounded_memory(tmp_path, name, sides):
    tracemalloc.start()
    try:
        with Frames((4000, 3000), tmp_path / name) as frames:
            for number in range(1, 101 if name == "way.gif" else 9):
                frames(step(number, 100, side=10))
        assert tracemalloc.get_traced_memory()[1] < 100_000_000
    finally:
        tracemalloc.stop()
    with av.open(str(tmp_path / name)) as container:
        stream = container.streams.video[0]
        assert (stream.height, stream.width) == sides


@pytest.mark.parametrize("suffix", [".gif", ".mp4"])
def test_animation_is_not_overwritten_unasked(tmp_path, suffix):
    path = tmp_path / f"way{suffix}"
    path.write_bytes(b"kept")
    with pytest.raises(OutputError, match="exists"):
        write(path, (32, 32), 2, overwrite=False)
    assert path.read_bytes() == b"kept"
    write(path, (32, 32), 2)
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
