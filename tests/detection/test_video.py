"""Objects found in videos: where the square is, frame by frame; all else as it was."""

from fractions import Fraction
from types import SimpleNamespace

import av
import numpy as np
import pytest
from av.sidedata.sidedata import Type as SideData

from atelier.errors import ImageError, OutputError, SettingsError
from atelier.media.movies import to_rgb
from detection import predict
from detection.config import DetectConfig
from detection.detections import Detections
from detection.draw import PALETTE
from detection.video import detect_video

WIDTH, HEIGHT, SIDE = 160, 120, 30
TIMES = (0, 4, 8, 12, 20, 30)
"""In hundredths of a second."""


def find_square(image: np.ndarray) -> Detections:
    """The box of what is red, as a "square", and its left half as a "half", which is unsure."""
    red = (image[..., 0] > 160) & (image[..., 1] < 90)
    ys, xs = np.nonzero(red)
    if not len(ys):
        return Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), ())
    box = np.float32([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
    half = np.float32([box[0], box[1], (box[0] + box[2]) / 2, box[3]])
    return Detections(np.stack([box, half]), np.float32([0.9, 0.4]), ("square", "half"))


@pytest.fixture(autouse=True)
def detector(monkeypatch):
    detector = SimpleNamespace(classes=("half", "square"), card={}, detect=find_square)
    monkeypatch.setattr(predict, "load_detector", lambda config: detector)
    return detector


def left(number: int) -> int:
    """Where the square is on a frame, from 0."""
    return 10 + 20 * number


@pytest.fixture
def make_video(tmp_path):
    """Writes a red square on grey, which moves to the right; with the sound of a sine."""

    def make(name="in.mp4", rotation=0, size=(WIDTH, HEIGHT), codec="libx264"):
        clock = Fraction(1, 100)
        with av.open(str(tmp_path / name), "w") as container:
            stream = container.add_stream(codec, rate=25, options={"crf": "1"})
            stream.width, stream.height = size
            stream.pix_fmt = "bgr0" if codec == "ffv1" else "yuv420p"
            stream.codec_context.time_base = clock
            if rotation:
                stream.set_display_rotation(rotation)
            sound = container.add_stream("aac", rate=8000, layout="mono")
            for number, time in enumerate(TIMES):
                picture = np.full((size[1], size[0], 3), 128, np.uint8)
                picture[70:100, left(number) : left(number) + SIDE] = (220, 30, 30)
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


def test_boxes_follow_the_square(make_video, tmp_path):
    path, found = make_video(), []
    result = detect_video(path, tmp_path / "out.mp4", on_found=lambda *pair: found.append(pair))
    assert (result.path, result.width, result.height) == (tmp_path / "out.mp4", WIDTH, HEIGHT)
    assert (result.frames, result.most) == (6, {"square": 1})
    assert result.seconds > 0
    assert [number for number, _ in found] == [1, 2, 3, 4, 5, 6]
    for number, detections in found:
        assert detections.labels == ("square",)
        x = left(number - 1)
        np.testing.assert_allclose(detections.boxes, [(x, 70, x + SIDE, 100)], atol=1.5)
    frames = [to_rgb(frame).astype(int) for frame in frames_of(result.path)]
    for number, frame in enumerate(frames):
        x = left(number)
        # The lower line, two pixels wide, of the second class's colour; 4:2:0 halves its colour.
        line = frame[98:100, x + 4 : x + SIDE - 4].reshape(-1, 3).mean(axis=0)
        np.testing.assert_allclose(line, PALETTE[1], atol=40)
        np.testing.assert_allclose(
            frame[80:90, x + 10 : x + 20].mean(axis=(0, 1)), (220, 30, 30), atol=8
        )
        np.testing.assert_allclose(frame[5:40].mean(axis=(0, 1)), 128, atol=3)


def test_threshold_and_classes_are_heeded(make_video, tmp_path):
    path = make_video()
    config = DetectConfig(threshold=0.3)
    result = detect_video(path, tmp_path / "out.mp4", config=config)
    assert result.most == {"square": 1, "half": 1}
    config = DetectConfig(threshold=0.3, classes=("half",))
    assert detect_video(path, tmp_path / "out.mp4", config=config).most == {"half": 1}
    config = DetectConfig(threshold=0.95)
    result = detect_video(path, tmp_path / "out.mp4", config=config)
    assert result.most == {}
    for before, after in zip(frames_of(path), frames_of(result.path), strict=True):
        assert np.abs(to_rgb(before).astype(int) - to_rgb(after)).max() < 40
        assert np.abs(to_rgb(before).astype(int) - to_rgb(after)).mean() < 2


def test_most_is_of_one_frame(make_video, tmp_path, detector):
    counts = iter((1, 3, 0, 2, 2, 1))

    def several(image):
        count = next(counts)
        boxes = np.float32([(9 * n, 9, 9 * n + 8, 30) for n in range(count)]).reshape(-1, 4)
        return Detections(boxes, np.full(count, 0.9, np.float32), ("square",) * count)

    detector.detect = several
    assert detect_video(make_video(), tmp_path / "out.mp4").most == {"square": 3}


def test_times_and_sound_stay(make_video, tmp_path):
    path = make_video()
    result = detect_video(path, tmp_path / "out.mkv")
    times = [frame.pts * frame.time_base for frame in frames_of(result.path)]
    assert times == [Fraction(time, 100) for time in TIMES]
    assert sound_of(result.path) == sound_of(path)


@pytest.mark.parametrize("rotation", [90, -90, 180])
def test_objects_are_found_upright_and_rotation_stays(make_video, tmp_path, detector, rotation):
    """Frames come as they are shown; the plate's text is thus upright too."""
    path, seen, found = make_video(rotation=rotation), [], []

    def look(image):
        seen.append(image)
        return find_square(image)

    detector.detect = look
    result = detect_video(path, tmp_path / "out.mp4", on_found=lambda n, f: found.append(f))
    assert (result.height, result.width) == seen[0].shape[:2], "the size in which boxes are stated"
    assert (result.width, result.height) == (
        (WIDTH, HEIGHT) if rotation == 180 else (HEIGHT, WIDTH)
    )
    before, after = frames_of(path)[0], frames_of(result.path)[0]
    matrices = [bytes(frame.side_data[SideData.DISPLAYMATRIX]) for frame in (before, after)]
    assert matrices[0] == matrices[1]
    turns = round(before.rotation / 90)
    assert turns % 4 == rotation // 90 % 4
    np.testing.assert_array_equal(seen[0], np.rot90(to_rgb(before), turns))
    # A square at x 10 to 40 and y 70 to 100, turned counterclockwise in a frame of 160×120.
    expected = {90: (70, 120, 100, 150), -90: (20, 10, 50, 40), 180: (120, 20, 150, 50)}[rotation]
    np.testing.assert_allclose(found[0].boxes, [expected], atol=1.5)
    stored = to_rgb(after).astype(int)
    for line in (stored[70:72, 14:36], stored[98:100, 14:36]):
        assert np.abs(line.reshape(-1, 3).mean(axis=0) - (220, 30, 30)).max() > 60, "it is drawn"


def test_odd_sides_become_even(make_video, tmp_path):
    path = make_video("in.mkv", size=(WIDTH + 1, HEIGHT + 1), codec="ffv1")
    result = detect_video(path, tmp_path / "out.mp4")
    assert (result.width, result.height, result.most) == (WIDTH, HEIGHT, {"square": 1})


def test_a_step_can_end_the_run_and_nothing_is_left(make_video, tmp_path):
    path, steps = make_video(), []

    def on_step(step):
        steps.append((step.number, step.total))
        return step.number == 2

    with pytest.raises(KeyboardInterrupt):
        detect_video(path, tmp_path / "out.mp4", on_step=on_step)
    assert steps == [(1, 6), (2, 6)]
    assert list(tmp_path.iterdir()) == [path]


def test_mistakes_are_told(make_video, tmp_path, detector):
    path, out = make_video(), tmp_path / "out.mp4"
    detector.detect = lambda image: pytest.fail("refused before the work")
    with pytest.raises(SettingsError, match=r"videos are written as \.mp4"):
        detect_video(path, tmp_path / "out.gif")
    with pytest.raises(ImageError, match=r"none\.mp4: no such file"):
        detect_video(tmp_path / "none.mp4", out)
    assert not out.exists()
    out.write_bytes(b"kept")
    with pytest.raises(OutputError, match="exists"):
        detect_video(path, out, overwrite=False)
    assert out.read_bytes() == b"kept"
