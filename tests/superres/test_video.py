"""Videos: frames enlarged as pictures are, all else as it was."""

import dataclasses
from fractions import Fraction

import av
import numpy as np
import pytest
from av.sidedata.sidedata import Type as SideData
from av.video.reformatter import ColorRange

from atelier.errors import ImageError, OutputError, SettingsError
from superres.frames import FrameEnlarger, interpolate, pixels
from superres.tiles import TiledNetwork
from superres.video import upscale_video


@dataclasses.dataclass(frozen=True)
class Content:
    """What is in a video file."""

    frames: list
    times: list[Fraction]
    sounds: list[list[tuple[Fraction, bytes]]]
    names: list[str]
    metadata: dict


def read(path) -> Content:
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        times = [frame.pts * frame.time_base for frame in frames]
        names = [stream.codec_context.name for stream in container.streams]
        audio, metadata = len(container.streams.audio), dict(container.metadata)
    sounds = []
    for number in range(audio):
        with av.open(str(path)) as container:
            packets = (p for p in container.demux(audio=number) if p.dts is not None)
            sounds.append([(p.pts * p.time_base, bytes(p)) for p in packets])
    return Content(frames, times, sounds, names, metadata)


def planes(frame) -> list[np.ndarray]:
    return [pixels(plane).astype(int) for plane in frame.planes]


@pytest.fixture
def enlarged(embedded, make_video, tmp_path):
    """Makes a video, enlarges it, and reads both."""

    def through(name="in.mp4", out="out.mp4", scale=2, **options):
        path = make_video(tmp_path / name, **options)
        result = upscale_video(path, tmp_path / out, scale)
        before, after = read(path), read(result.path)
        assert len(after.frames) == result.frames
        assert (after.frames[0].width, after.frames[0].height) == (result.width, result.height)
        return before, after, result

    return through


# === Frames ===


@pytest.mark.parametrize("scale", [2, 3])
def test_luma_goes_through_the_network_as_it_is_coded(embedded, make_video, tmp_path, scale):
    frame = read(make_video(tmp_path / "in.mp4")).frames[0]
    network = TiledNetwork(embedded("compressed", scale))
    result = FrameEnlarger(network)(frame)
    assert (result.format.name, result.width, result.height) == ("yuv420p", 48 * scale, 32 * scale)
    assert (pixels(result.planes[0]) == network(pixels(frame.planes[0]))).all()
    for before, after in zip(frame.planes[1:], result.planes[1:], strict=True):
        expected = interpolate(pixels(before), scale, 0.25 - 0.25 / scale)
        assert (pixels(after) == expected).all()


def test_frames_of_the_file_are_those_and_h264_loses_little(embedded, enlarged):
    before, after, result = enlarged()
    enlarger = FrameEnlarger(TiledNetwork(embedded("compressed")))
    assert (result.width, result.height, result.frames) == (96, 64, 5)
    assert (result.model, result.scale) == ("compressed", 2)
    assert after.names == ["h264"]
    for small, large in zip(before.frames, after.frames, strict=True):
        for expected, coded in zip(planes(enlarger(small)), planes(large), strict=True):
            assert np.abs(coded - expected).mean() < 3


@pytest.mark.parametrize(("scale", "centred"), [(2, False), (2, True), (3, False), (4, True)])
def test_chroma_stays_where_it_was(embedded, scale, centred):
    """A slope across chroma has the colours that the same slope across luma's grid would have."""
    enlarger = FrameEnlarger(TiledNetwork(embedded(scale=scale)), centred=centred)
    frame = av.VideoFrame(32, 8, "yuv420p")
    pixels(frame.planes[0])[:] = 0
    # Columns of chroma lie on luma's even columns, or half a column to their right.
    place = 2 * np.arange(16) + (1 if centred else 0.5)
    for plane in frame.planes[1:]:
        pixels(plane)[:] = 20 + 6 * place
    result = pixels(enlarger(frame).planes[1]).astype(float)
    expected = 20 + 6 * (2 * np.arange(16 * scale) + 0.5) / scale
    inner = slice(3 * scale, -3 * scale)
    assert np.abs(result[:, inner] - expected[inner]).max() <= 0.51


@pytest.mark.parametrize(
    ("size", "scale", "expected"),
    [((45, 31), 2, (90, 62)), ((45, 31), 3, (134, 92)), ((2, 2), 2, (4, 4))],
)
def test_sides_become_even(enlarged, size, scale, expected):
    options = {"codec": "ffv1", "pixels": "yuv444p", "size": size}
    _, after, result = enlarged("in.mkv", scale=scale, **options)
    assert (result.width, result.height) == expected
    assert after.frames[0].format.name == "yuv420p"


@pytest.mark.parametrize("formatted", ["yuv420p10le", "yuv422p", "yuv444p", "bgr0"])
def test_other_formats_show_the_same(enlarged, formatted):
    _, expected, _ = enlarged("plain.mkv", codec="ffv1")
    _, after, _ = enlarged("in.mkv", codec="ffv1", pixels=formatted)
    for one, other in zip(expected.frames, after.frames, strict=True):
        one, other = (
            f.to_ndarray(format="rgb24", src_colorspace={1: "itu709", 6: "itu601"}[f.colorspace])
            for f in (one, other)
        )
        assert np.abs(one.astype(int) - other).mean() < 3


# === What stays as it was ===


@pytest.mark.parametrize("name", ["in.mp4", "in.mkv", "in.mov"])
@pytest.mark.parametrize("out", ["out.mp4", "out.mkv"])
def test_frames_are_shown_when_they_were(enlarged, name, out):
    """The rate varies."""
    before, after, _ = enlarged(name, out, times=(0, 4, 8, 20, 21, 30, 50, 90))
    assert after.times == before.times
    assert after.times[3] == Fraction(20, 100)


@pytest.mark.parametrize(
    ("name", "codec", "sound", "out"),
    [
        ("in.mp4", "libx264", "aac", "out.mp4"),
        ("in.mkv", "libx264", "flac", "out.mkv"),
        ("in.avi", "mpeg4", "pcm_s16le", "out.mp4"),
        ("in.avi", "mjpeg", "libmp3lame", "out.mov"),
    ],
)
def test_sound_is_copied_as_it_is(enlarged, name, codec, sound, out):
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    before, after, _ = enlarged(name, out, codec=codec, pixels=pixels, sound=sound)
    assert len(before.sounds) == 1
    assert after.names[1] == before.names[1]
    ((times, data), (copied_times, copied)) = (
        zip(*content.sounds[0], strict=True) for content in (before, after)
    )
    assert copied == data
    for time, copied_time in zip(times, copied_times, strict=True):
        assert abs(time - copied_time) < Fraction(1, 900)


def test_without_sound_there_is_none(enlarged):
    before, after, _ = enlarged()
    assert before.sounds == after.sounds == []


def test_rotation_is_kept(enlarged):
    before, after, _ = enlarged("in.mov", rotation=90)
    matrices = [
        np.frombuffer(content.frames[0].side_data[SideData.DISPLAYMATRIX], np.int32)
        for content in (before, after)
    ]
    assert after.frames[0].rotation == before.frames[0].rotation == 90
    assert (matrices[0] == matrices[1]).all()
    assert after.frames[0].width == 96


def test_tags_of_colors_are_kept(enlarged):
    tags = {"color_primaries": 9, "color_trc": 1, "colorspace": 9, "color_range": ColorRange.MPEG}
    before, after, _ = enlarged(**tags)
    for name, value in tags.items():
        assert getattr(before.frames[0], name) == getattr(after.frames[0], name) == value


def test_full_range_stays_full(enlarged):
    before, after, _ = enlarged(pixels="yuvj420p", color_range=ColorRange.JPEG)
    assert after.frames[0].color_range == ColorRange.JPEG
    small, large = (planes(content.frames[0])[0] for content in (before, after))
    assert abs(small.mean() - large.mean()) < 5


def test_small_videos_without_tags_keep_the_matrix_that_players_take(
    embedded, make_video, tmp_path
):
    """Of 576 lines and less that is BT.601, and BT.709 of what they become."""
    path = make_video(tmp_path / "in.mp4", size=(48, 32))
    assert read(path).frames[0].colorspace == 2  # Unspecified.
    upscale_video(path, tmp_path / "out.mp4")
    assert read(tmp_path / "out.mp4").frames[0].colorspace == 6


def test_pixel_aspect_is_kept(enlarged, tmp_path):
    enlarged(sample_aspect_ratio=Fraction(4, 3))
    for name in ("in.mp4", "out.mp4"):
        with av.open(str(tmp_path / name)) as container:
            assert container.streams.video[0].sample_aspect_ratio == Fraction(4, 3)


# === Steps and mistakes ===


def test_steps_are_frames(embedded, make_video, tmp_path):
    steps, path = [], make_video(tmp_path / "in.mp4")
    upscale_video(path, tmp_path / "out.mp4", on_step=steps.append)
    assert [(step.number, step.total) for step in steps] == [(n, 5) for n in range(1, 6)]
    assert steps[0].image().shape == (64, 96, 3)


def test_a_step_can_end_the_run_and_nothing_is_left(embedded, make_video, tmp_path):
    path = make_video(tmp_path / "in.mp4")
    with pytest.raises(KeyboardInterrupt):
        upscale_video(path, tmp_path / "out.mp4", on_step=lambda step: step.number == 2)
    assert [file.name for file in tmp_path.iterdir()] == ["in.mp4"]


def damage(kind: str, data: bytes) -> bytes | None:
    return {
        "missing": None,
        "empty": b"",
        "text": b"this is no video",
        "truncated": data[: len(data) // 2],
        "overwritten": data[:300] + b"\xff" * 900 + data[1200:],
    }[kind]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "in.mp4: no such file"),
        ("empty", "damaged, or not a video"),
        ("text", "damaged, or not a video"),
        ("truncated", "damaged, or not a video"),
        ("overwritten", "damaged"),
    ],
)
def test_damaged_videos_are_named(embedded, make_video, tmp_path, kind, message):
    path = make_video(tmp_path / "in.mp4")
    data = damage(kind, path.read_bytes())
    path.unlink() if data is None else path.write_bytes(data)
    with pytest.raises(ImageError, match=message) as caught:
        upscale_video(path, tmp_path / "out.mp4")
    assert str(path) in str(caught.value)
    assert [file.name for file in tmp_path.iterdir() if file != path] == []


def test_a_truncated_matroska_file_is_named(embedded, make_video, tmp_path):
    path = make_video(tmp_path / "in.mkv", codec="ffv1", times=range(0, 1000, 25))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ImageError, match=r"in\.mkv: truncated after .* of 9.8 seconds"):
        upscale_video(path, tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()


def test_a_sound_is_no_video(embedded, make_video, tmp_path):
    with av.open(str(tmp_path / "in.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(ImageError, match="there is no picture in this file"):
        upscale_video(tmp_path / "in.mp4", tmp_path / "out.mp4")


def test_frames_beyond_h264_are_refused_before_the_work(embedded, make_video, tmp_path):
    path = make_video(tmp_path / "in.mkv", size=(48, 32))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("superres.video.MAX_FRAME_PIXELS", 6000)
        with pytest.raises(ImageError, match="48×32 at scale 2 is 96×64, more than 6,000 pixels"):
            upscale_video(path, tmp_path / "out.mp4")


def test_formats_that_cannot_be_written(embedded, make_video, tmp_path):
    path = make_video(tmp_path / "in.mp4")
    for name in ("out.webm", "out.avi", "out.png", "out"):
        with pytest.raises(SettingsError, match=r"videos are written as \.mp4"):
            upscale_video(path, tmp_path / name)


def test_sound_that_the_format_cannot_hold_is_encoded_and_named(embedded, make_video, tmp_path):
    path = make_video(tmp_path / "in.mov", sound="adpcm_ima_qt")
    result = upscale_video(path, tmp_path / "out.mp4")
    assert read(result.path).names == ["h264", "aac"]
    assert result.notes == ("sound track is AAC now, as mp4 cannot hold adpcm_ima_qt",)


def test_existing_files_and_bad_places(embedded, make_video, tmp_path):
    path = make_video(tmp_path / "in.mp4")
    (tmp_path / "out.mp4").write_bytes(b"kept")
    with pytest.raises(OutputError, match="exists"):
        upscale_video(path, tmp_path / "out.mp4", overwrite=False)
    with pytest.raises(OutputError, match="cannot write"):
        upscale_video(path, path / "out.mp4")
    assert (tmp_path / "out.mp4").read_bytes() == b"kept"
