"""Videos in and out: colours by their tags, and files whole or not at all.

What is said of times, sound, rotation and damaged files, tests/superres/test_video.py checks.
"""

from fractions import Fraction

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange

from atelier.errors import ImageError, SettingsError
from atelier.media import movies
from atelier.media.movies import change_movie, from_rgb, to_rgb

COLORS = np.uint8([[255, 255, 255], [0, 0, 0], [255, 0, 0], [90, 140, 200]])


@pytest.fixture
def picture() -> np.ndarray:
    """Bars 16 pixels wide, one of each colour: uint8 (16, 64, 3)."""
    return np.broadcast_to(COLORS.repeat(16, axis=0), (16, 64, 3)).copy()


def middles(image: np.ndarray) -> np.ndarray:
    return image[8, 8::16].astype(int)


def tagged(matrix: int, levels: ColorRange, size=(64, 16)) -> av.VideoFrame:
    frame = av.VideoFrame(*size, "yuv420p")
    frame.colorspace, frame.color_range = matrix, levels
    return frame


@pytest.fixture
def write(tmp_path):
    """Writes frames of RGB, losslessly; gives the path."""

    def write(pictures, name="in.mkv"):
        with av.open(str(tmp_path / name), "w") as container:
            stream = container.add_stream("ffv1", rate=25)
            stream.height, stream.width = pictures[0].shape[:2]
            stream.pix_fmt, stream.codec_context.time_base = "bgr0", Fraction(1, 25)
            for number, picture in enumerate(pictures):
                frame = av.VideoFrame.from_ndarray(picture, "rgb24")
                frame.pts, frame.time_base = number, Fraction(1, 25)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return tmp_path / name

    return write


# === Colours ===


@pytest.mark.parametrize(
    ("matrix", "size", "red"),
    [
        (1, (64, 16), 63),
        (6, (64, 16), 81),
        (9, (64, 16), 74),
        (2, (64, 16), 81),
        (2, (64, 720), 63),
    ],
)
def test_luma_is_that_of_the_matrix(matrix, size, red):
    """Of red: 16 + 219 · 0.2126 (BT.709), 0.299 (BT.601), 0.2627 (BT.2020)."""
    original = tagged(matrix, ColorRange.MPEG, size)
    image = np.full((size[1], size[0], 3), COLORS[2])
    luma = np.frombuffer(from_rgb(image, original).planes[0], np.uint8)
    assert abs(int(luma[0]) - red) <= 1


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        (ColorRange.MPEG, (235, 16)),
        (ColorRange.JPEG, (255, 0)),
        (ColorRange.UNSPECIFIED, (235, 16)),
    ],
)
def test_luma_has_the_range_of_the_source(picture, levels, expected):
    luma = np.frombuffer(from_rgb(picture, tagged(1, levels)).planes[0], np.uint8)
    assert (luma[8], luma[24]) == expected


@pytest.mark.parametrize("levels", [ColorRange.MPEG, ColorRange.JPEG])
@pytest.mark.parametrize("matrix", [1, 2, 4, 5, 6, 7, 9])
def test_what_is_coded_is_decoded(picture, matrix, levels):
    coded = from_rgb(picture, tagged(matrix, levels))
    coded.colorspace, coded.color_range = matrix, levels
    assert np.abs(middles(to_rgb(coded)) - COLORS).max() <= 3


@pytest.mark.parametrize("name", ["rgb24", "bgr0", "gbrp"])
def test_rgb_is_taken_as_it_is(picture, name):
    frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format=name)
    np.testing.assert_array_equal(to_rgb(frame), picture)


def test_sizes_of_pictures(picture):
    coded = from_rgb(picture[:15, :63], tagged(1, ColorRange.MPEG))
    assert (coded.format.name, coded.width, coded.height) == ("yuv420p", 62, 14)
    assert to_rgb(coded).shape == (14, 62, 3)
    assert to_rgb(coded, (30, 20)).shape == (20, 30, 3)


def test_tags_of_the_file_say_how_it_is_coded(picture, write, tmp_path):
    def change(frame):
        return from_rgb(to_rgb(frame), frame)

    result = change_movie(write([picture] * 3), tmp_path / "out.mp4", lambda stream: change)
    assert (result.width, result.height, result.frames) == (64, 16, 3)
    with av.open(str(result.path)) as container:
        frames = list(container.decode(video=0))
    for frame in frames:
        assert (frame.colorspace, frame.color_range) == (1, ColorRange.MPEG)
        assert np.abs(middles(to_rgb(frame)) - COLORS).max() <= 8


# === Files ===


def test_start_sees_the_stream_and_its_change_each_frame(picture, write, tmp_path):
    sizes, seen = [], []

    def start(stream):
        sizes.append((stream.width, stream.height))

        def change(frame):
            seen.append(to_rgb(frame))
            return from_rgb(255 - seen[-1], frame)

        return change

    path = write([picture, picture[:, ::-1]])
    result = change_movie(path, tmp_path / "out.mov", start)
    assert sizes == [(64, 16)]
    np.testing.assert_array_equal(seen, [picture, picture[:, ::-1]])
    with av.open(str(result.path)) as container:
        found = to_rgb(next(container.decode(video=0)))
    assert np.abs(middles(found) - (255 - COLORS.astype(int))).max() <= 8


KINDS = {
    **{".qt": ("mov", "libx264"), ".3gp": ("3gp", "h263"), ".f4v": ("f4v", "libx264")},
    **{".avi": ("avi", "mpeg4"), ".flv": ("flv", "flv"), ".wmv": ("asf", "wmv2")},
    **{".webm": ("webm", "libvpx"), ".nut": ("nut", "mpeg4"), ".ivf": ("ivf", "libvpx")},
    **{".mts": ("mpegts", "libx264"), ".ts": ("mpegts", "mpeg2video")},
    **{".mpg": ("mpeg", "mpeg1video"), ".vob": ("vob", "mpeg2video"), ".dv": ("dv", "dvvideo")},
    **{
        ".m2v": ("mpeg2video", "mpeg2video"),
        ".264": ("h264", "libx264"),
        ".mjpg": ("mjpeg", "mjpeg"),
    },
}


@pytest.mark.parametrize("suffix", KINDS)
def test_videos_of_each_kind_keep_their_frames_and_rate(tmp_path, suffix):
    (format, codec), path = KINDS[suffix], tmp_path / f"in{suffix}"
    assert suffix in movies.VIDEOS
    with av.open(str(path), "w", format=format) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height = (720, 576) if codec == "dvvideo" else (176, 144)
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for number in range(6):
            picture = np.full((stream.height, stream.width, 3), 40 * number, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format=stream.pix_fmt)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    totals = []
    result = change_movie(
        path,
        tmp_path / "out.mp4",
        lambda _: lambda frame: from_rgb(to_rgb(frame), frame),
        on_step=lambda step: totals.append(step.total),
    )
    with av.open(str(result.path)) as container:
        times = [frame.time for frame in container.decode(video=0)]
    assert len(times) == result.frames == 6
    assert max(totals) <= 12
    assert times[-1] - times[0] == pytest.approx(0.2, abs=0.03)


def test_an_error_of_a_change_leaves_nothing(picture, write, tmp_path):
    def change(frame):
        raise ValueError("of the change")

    path = write([picture])
    with pytest.raises(ValueError, match="of the change"):
        change_movie(path, tmp_path / "out.mp4", lambda stream: change)
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_done_is_refused_before_the_start(picture, write, tmp_path, monkeypatch):
    def start(stream):
        raise AssertionError

    path = write([picture])
    with pytest.raises(SettingsError, match=r"out\.gif: videos are written as \.mp4"):
        change_movie(path, tmp_path / "out.gif", start)
    with pytest.raises(ImageError, match="no such file"):
        change_movie(tmp_path / "none.mp4", tmp_path / "out.mp4", start)
    monkeypatch.setattr(movies, "MAX_FRAME_PIXELS", 1000)
    with pytest.raises(ImageError, match=r"in\.mkv: 64×16 is more than 1,000 pixels"):
        change_movie(path, tmp_path / "out.mp4", start)
