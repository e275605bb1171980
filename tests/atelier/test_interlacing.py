"""Interlaced video made progressive, at the times that its frames have."""

from fractions import Fraction

import av
import av.filter
import numpy as np
import pytest

from atelier.media.movies import change_movie, from_rgb, to_rgb
from atelier.media.video.interlacing import Deinterlacer

CLOCK = Fraction(1, 25)


def moving_bar(number: int, *, fields: str | None) -> np.ndarray:
    """A bar that moves by 4 pixels a frame: uint8 (64, 64, 3). With `fields`, every other line is
    half a frame later: "tff" the lower, "bff" the upper."""
    picture = np.zeros((64, 64, 3), np.uint8)
    for line, own in ((0, "tff"), (1, "bff")):
        left = 4 * number + (2 if fields not in (None, own) else 0)
        picture[line::2, left : left + 12] = 255
    return picture


def marked(frame: av.VideoFrame, first: str) -> av.VideoFrame:
    """A frame that states that it is interlaced, and which field comes first."""
    graph = av.filter.Graph()
    source = graph.add_buffer(width=64, height=64, format=frame.format, time_base=CLOCK)
    field, sink = graph.add("setfield", f"mode={first}"), graph.add("buffersink")
    source.link_to(field)
    field.link_to(sink)
    graph.configure()
    graph.push(frame)
    return graph.pull()


@pytest.fixture
def write(tmp_path):
    """Writes ten frames of the bar, turned by 90 degrees for players; gives the path."""

    def write(name: str, codec: str, *, first: str | None = "tff"):
        options = {"flags": "+ildct+ilme"} if first else {}
        with av.open(str(tmp_path / name), "w") as container:
            stream = container.add_stream(codec, rate=25, options=options)
            stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
            if name.endswith(".mp4"):
                stream.set_display_rotation(90)
            for number in range(10):
                picture = moving_bar(number, fields=first)
                frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format="yuv420p")
                frame.pts, frame.time_base = number, CLOCK
                container.mux(stream.encode(marked(frame, first) if first else frame))
            container.mux(stream.encode())
        return tmp_path / name

    return write


def decoded(path) -> list[av.VideoFrame]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def combing(frame: av.VideoFrame) -> float:
    """How much neighbouring lines differ, in levels."""
    luma = to_rgb(frame)[..., 0].astype(int)
    return np.abs(luma[:-1] - luma[1:])[8:-8].mean()


def through(path, out, **options):
    return change_movie(path, out, lambda _: lambda f: from_rgb(to_rgb(f), f), **options)


@pytest.mark.parametrize("first", ["tff", "bff"])
@pytest.mark.parametrize(("name", "codec"), [("in.mp4", "libx264"), ("in.mpg", "mpeg2video")])
def test_interlaced_frames_lose_their_combs_and_keep_their_times(
    write, tmp_path, name, codec, first
):
    path = write(name, codec, first=first)
    before = decoded(path)
    assert all(frame.interlaced_frame for frame in before)
    result = through(path, tmp_path / "out.mkv")
    after = decoded(result.path)
    assert result.notes == ("10 frames deinterlaced",)
    assert not any(frame.interlaced_frame for frame in after)
    start = before[0].time
    times = [round(frame.time - start, 3) for frame in before]
    assert [round(frame.time - after[0].time, 3) for frame in after] == times
    for old, new in zip(before, after, strict=True):
        assert old.rotation == new.rotation
        assert combing(new) < 0.3 * combing(old)
    # It is where the frame's first field has it.
    middle = to_rgb(after[5])[32, :, 0] > 127
    assert abs(np.flatnonzero(middle).mean() - (4 * 5 + 5.5)) < 1


def test_interlaced_frames_are_left_if_so_asked(write, tmp_path):
    path = write("in.mp4", "libx264")
    result = through(path, tmp_path / "out.mp4", deinterlace=False)
    assert result.notes == ("10 frames interlaced, left so",)
    for old, new in zip(decoded(path), decoded(result.path), strict=True):
        assert combing(new) > 0.8 * combing(old)


def test_progressive_frames_do_not_pass_the_filter(write):
    frames = decoded(write("in.mp4", "libx264", first=None))
    fields = Deinterlacer()
    assert list(fields(frames)) == frames
    assert fields.notes == ()


def test_frames_of_another_size_start_the_filter_anew(write, tmp_path):
    frames = decoded(write("in.mp4", "libx264"))
    smaller = frames[6].reformat(32, 32)
    found = list(Deinterlacer()([*frames[:6], smaller]))
    assert [(frame.width, frame.pts) for frame in found] == [
        (frame.width, frame.pts) for frame in (*frames[:6], smaller)
    ]
