"""Videos as cartoons: drawn steadily, all else as it was."""

from fractions import Fraction

import av
import numpy as np
import pytest
from av.sidedata.sidedata import Type as SideData

from atelier.errors import ImageError, OutputError, SettingsError
from atelier.media.movies import to_rgb
from cartoon import CartoonConfig, cartoonize
from cartoon.drawing.steady import SteadyCartoon, flicker
from cartoon.video import cartoonize_video

WIDTH, HEIGHT = 64, 48
TIMES = (0, 4, 8, 12, 20, 21, 30, 50)
"""In hundredths of a second."""


@pytest.fixture
def make_video(tmp_path, rng):
    """Writes a slope of colours and a block under noise, which do not move; gives its path."""

    def make(name="in.mp4", codec="libx264", times=TIMES, rotation=0, noise=4.0, size=None):
        width, height = size or (WIDTH, HEIGHT)
        y, x = np.mgrid[:height, :width]
        still = np.stack([60 + 2.2 * x, 70 + 2.2 * y, 200 - 2 * x], axis=-1)
        still[10:30, 30:50] = 200, 60, 50
        clock = Fraction(1, 100)
        with av.open(str(tmp_path / name), "w") as container:
            stream = container.add_stream(codec, rate=25, options={"crf": "1"})
            stream.width, stream.height = width, height
            stream.pix_fmt = "bgr0" if codec == "ffv1" else "yuv420p"
            stream.codec_context.time_base = clock
            stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
            if rotation:
                stream.set_display_rotation(rotation)
            sound = container.add_stream("aac", rate=8000, layout="mono")
            for time in times:
                noisy = still + rng.normal(0, noise, still.shape)
                picture = np.uint8(np.clip(np.rint(noisy), 0, 255))
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts, frame.time_base = time, clock
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
            wave = np.float32(0.3 * np.sin(np.arange(1024) / 5))[None]
            frame = av.AudioFrame.from_ndarray(wave, "fltp", "mono")
            frame.sample_rate = 8000
            container.mux(sound.encode(frame))
            container.mux(sound.encode())
        return tmp_path / name

    return make


def frames_of(path) -> list[av.VideoFrame]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def sound_of(path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.dts is not None]


@pytest.mark.parametrize("preset", ["report", "fine"])
def test_frames_are_drawn_steadily(make_video, tmp_path, preset):
    path = make_video()
    result = cartoonize_video(path, tmp_path / "out.mp4", preset)
    assert (result.width, result.height, result.frames, result.cuts) == (WIDTH, HEIGHT, 8, 0)
    assert result.path == tmp_path / "out.mp4"
    assert result.seconds > 0
    before = [to_rgb(frame) for frame in frames_of(path)]
    artist = SteadyCartoon(CartoonConfig(method=preset))
    expected = [artist(frame) for frame in before]
    found = [to_rgb(frame) for frame in frames_of(result.path)]
    for one, other in zip(expected, found, strict=True):
        # Of one-pixel outlines, 4:2:0 keeps less.
        assert np.abs(one.astype(int) - other).mean() < 9
    assert result.flicker == flicker(before, expected)
    plain = flicker(before, (cartoonize(frame, preset).image for frame in before))
    assert result.flicker < plain / 4
    # What is coded flickers little more.
    assert flicker(before, found) < plain / 3


def test_a_cut_is_counted(make_video, tmp_path):
    with av.open(str(tmp_path / "cut.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "bgr0"
        for level in (40, 40, 40, 200, 200):
            picture = np.full((HEIGHT, WIDTH, 3), level, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())
    result = cartoonize_video(tmp_path / "cut.mkv", tmp_path / "out.mp4")
    assert result.cuts == 1
    assert result.flicker == 0
    found = [to_rgb(frame).mean() for frame in frames_of(result.path)]
    np.testing.assert_allclose(found, [40, 40, 40, 200, 200], atol=2)


def test_one_frame_has_no_flicker(make_video, tmp_path):
    result = cartoonize_video(make_video(times=(0,)), tmp_path / "out.mp4")
    assert (result.frames, result.flicker) == (1, None)


# === What stays as it was ===


@pytest.mark.parametrize("out", ["out.mp4", "out.mkv"])
def test_times_sound_and_pixel_aspect_stay(make_video, tmp_path, out):
    path = make_video()
    result = cartoonize_video(path, tmp_path / out)
    times = [frame.pts * frame.time_base for frame in frames_of(result.path)]
    assert times == [Fraction(time, 100) for time in TIMES]
    assert sound_of(result.path) == sound_of(path)
    with av.open(str(result.path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.sample_aspect_ratio == Fraction(4, 3)


def test_colors_are_those_of_the_drawing(make_video, tmp_path):
    """Of RGB too, which becomes BT.709 and says so."""
    path = make_video("in.mkv", codec="ffv1", noise=0)
    config = CartoonConfig(outline=0)
    result = cartoonize_video(path, tmp_path / "out.mp4", config=config)
    frame = frames_of(result.path)[0]
    assert frame.colorspace == 1
    expected = cartoonize(to_rgb(frames_of(path)[0]), config=config).image
    inner = (slice(15, 25), slice(35, 45))
    found = to_rgb(frame)[inner].reshape(-1, 3).mean(axis=0)
    np.testing.assert_allclose(found, expected[inner].reshape(-1, 3).mean(axis=0), atol=4)


def test_odd_sides_become_even(make_video, tmp_path):
    result = cartoonize_video(
        make_video("in.mkv", codec="ffv1", size=(65, 49)), tmp_path / "out.mp4"
    )
    assert (result.width, result.height) == (64, 48)


# === Cut-outs ===


def left_half(image: np.ndarray) -> np.ndarray:
    mask = np.zeros(image.shape[:2], np.float32)
    mask[:, : image.shape[1] // 2] = 1
    return mask


def test_a_person_is_laid_on_the_background(make_video, tmp_path):
    config = CartoonConfig(outline=0)
    for background in ((255, 255, 255), (0, 200, 0)):
        options = {} if background[0] else {"backdrop": lambda _: np.uint8((0, 200, 0))}
        result = cartoonize_video(
            make_video(), tmp_path / "out.mp4", config=config, segment=left_half, **options
        )
        for frame in frames_of(result.path):
            picture = to_rgb(frame).astype(int)
            assert np.abs(picture[:, 36:] - background).mean() < 4
            assert np.abs(picture[:, :28] - background).mean() > 60


@pytest.mark.parametrize("rotation", [90, -90, 180])
def test_people_are_found_upright_and_rotation_stays(make_video, tmp_path, rotation):
    """The left half as it is shown is another one as it is stored."""
    path, seen = make_video(rotation=rotation), []

    def segment(image):
        seen.append(image)
        return left_half(image)

    config = CartoonConfig(outline=0)
    result = cartoonize_video(path, tmp_path / "out.mp4", config=config, segment=segment)
    before, after = frames_of(path)[0], frames_of(result.path)[0]
    assert (result.width, result.height) == (WIDTH, HEIGHT)
    matrices = [
        np.frombuffer(frame.side_data[SideData.DISPLAYMATRIX], np.int32).reshape(3, 3)
        for frame in (before, after)
    ]
    np.testing.assert_array_equal(*matrices)
    # ISO 14496-12, 6.2.2: (x, y) is shown at (ax + cy, bx + dy).
    (a, b), (c, d) = matrices[0][:2, :2] >> 16
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    shown_x, shown_y = a * x + c * y, b * x + d * y
    shown_x, shown_y = shown_x - shown_x.min(), shown_y - shown_y.min()
    expected = np.zeros((shown_y.max() + 1, shown_x.max() + 1, 3), np.uint8)
    expected[shown_y, shown_x] = to_rgb(before)
    np.testing.assert_array_equal(seen[0], expected)
    white = to_rgb(after).min(axis=-1) > 240
    np.testing.assert_array_equal(white, shown_x >= expected.shape[1] // 2)


@pytest.mark.parametrize("rotation", [90, 180])
def test_backdrops_are_upright_too(make_video, tmp_path, rotation):
    """Red above and blue below, as it is shown."""
    path, seen = make_video(rotation=rotation), []

    def backdrop(photo):
        seen.append(photo)
        picture = np.zeros_like(photo)
        picture[: len(photo) // 2, :, 0] = picture[len(photo) // 2 :, :, 2] = 255
        return picture

    def nobody(image):
        seen.append(image)
        return np.zeros(image.shape[:2], np.float32)

    result = cartoonize_video(path, tmp_path / "out.mp4", segment=nobody, backdrop=backdrop)
    np.testing.assert_array_equal(seen[0], seen[1])
    stored = to_rgb(frames_of(result.path)[0])
    shown = np.rot90(stored, rotation // 90).astype(int)
    middle, edge = len(shown) // 2, 4
    assert np.abs(shown[: middle - edge] - (255, 0, 0)).mean() < 8
    assert np.abs(shown[middle + edge :] - (0, 0, 255)).mean() < 8


# === Steps and mistakes ===


def test_steps_are_frames(make_video, tmp_path):
    steps = []
    cartoonize_video(make_video(), tmp_path / "out.mp4", on_step=steps.append)
    assert [(step.number, step.total) for step in steps] == [(n, 8) for n in range(1, 9)]
    assert steps[0].image().shape == (HEIGHT, WIDTH, 3)


def test_a_step_can_end_the_run_and_nothing_is_left(make_video, tmp_path):
    path = make_video()
    with pytest.raises(KeyboardInterrupt):
        cartoonize_video(path, tmp_path / "out.mp4", on_step=lambda step: step.number == 2)
    assert list(tmp_path.iterdir()) == [path]


def test_mistakes_are_told(make_video, tmp_path):
    path, out = make_video(), tmp_path / "out.mp4"
    with pytest.raises(SettingsError, match="no preset 'oil'; choose one of report, fine"):
        cartoonize_video(path, out, "oil")
    with pytest.raises(SettingsError, match=r"videos are written as \.mp4"):
        cartoonize_video(path, tmp_path / "out.gif")
    with pytest.raises(ImageError, match=r"none\.mp4: no such file"):
        cartoonize_video(tmp_path / "none.mp4", out)
    assert not out.exists()
    out.write_bytes(b"kept")
    with pytest.raises(OutputError, match="exists"):
        cartoonize_video(path, out, overwrite=False)
    assert out.read_bytes() == b"kept"


def test_frames_that_are_too_large_are_refused_before_the_work(make_video, tmp_path, monkeypatch):
    monkeypatch.setattr("atelier.media.movies.MAX_FRAME_PIXELS", WIDTH * HEIGHT - 1)
    with pytest.raises(ImageError, match=r"in\.mp4: 64×48 is more than 3,071 pixels"):
        cartoonize_video(make_video(), tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()
