"""High dynamic range: light by its standards' tables, the roll-off, and files' tags."""

from fractions import Fraction

import av
import numpy as np
import pytest
from av.sidedata.sidedata import Type as SideData
from av.video.reformatter import ColorRange

from atelier.media.movies import change_movie, from_rgb, to_rgb
from atelier.media.video import hdr
from atelier.media.video.hdr import HLG, PQ

BT2020 = {"color_primaries": 9, "colorspace": 9, "color_range": ColorRange.MPEG}


def grey(code: int, curve: int, size=(64, 32)) -> av.VideoFrame:
    """A frame of one grey, of 10 bits, studio range."""
    frame = av.VideoFrame(*size, "yuv420p10le")
    for plane, level in zip(frame.planes, (code, 512, 512), strict=True):
        plane.update(np.full(plane.buffer_size // 2, level, np.uint16).tobytes())
    frame.color_trc = curve
    for name, value in BT2020.items():
        setattr(frame, name, value)
    return frame


@pytest.mark.parametrize(
    ("signal", "light"), [(0, 0), (0.508078, 100), (0.580689, 203), (0.751827, 1000), (1, 10_000)]
)
def test_pq_is_that_of_bt2100(signal, light):
    """Signals of BT.2408, table 1 (58 % and 75 %), and BT.2390 (50.8 %: 100 cd/m²)."""
    assert hdr.pq_to_light(np.float64(signal)) == pytest.approx(light, rel=1e-4)
    assert hdr.light_to_pq(np.float64(light)) == pytest.approx(signal, abs=2e-6)


def test_hlg_white_of_a_screen_is_that_of_pq():
    """BT.2408: at 75 % of HLG a screen of 1,000 cd/m² shows 203, which PQ has at 58 %."""
    scene = hdr.hlg_to_scene(np.float64([0.5, 0.75, 1]))
    assert scene == pytest.approx([1 / 12, 0.26496, 1], abs=1e-5)
    assert 1000 * scene[1] ** 1.2 == pytest.approx(203, abs=0.5)


def test_the_curve_leaves_the_dark_alone_and_ends_at_white():
    light = np.geomspace(0.01, 1000, 200)
    rolled = hdr.roll_off(light, 1000)
    np.testing.assert_allclose(rolled[light < 85], light[light < 85], rtol=1e-6)
    assert rolled[-1] == pytest.approx(hdr.WHITE)
    assert (np.diff(rolled) > 0).all()
    assert hdr.roll_off(np.float64([50, 300]), 203).tolist() == [50, 203]


@pytest.mark.parametrize(
    ("curve", "code", "level"),
    [
        (PQ, 64, 0),
        (PQ, 64 + round(876 * 0.508078), 189),  # 100 cd/m²: (99.4 / 203)^(1/2.4)
        (PQ, 64 + round(876 * 0.580689), 230),
        (PQ, 64 + round(876 * 0.751827), 255),
        (HLG, 64 + round(876 * 0.75), 230),
        (HLG, 940, 255),
    ],
)
def test_greys_of_both_curves_come_out_as_their_light(curve, code, level):
    picture = hdr.to_sdr(grey(code, curve), 1000)
    assert picture.shape == (32, 64, 3)
    assert np.abs(picture.astype(int) - level).max() <= 2


def test_primaries_become_those_of_bt709():
    """BT.709's red of 100 cd/m², which BT.2020 has as 62.7, 6.9 and 1.6 (BT.2087)."""
    light = np.float64([62.74, 6.91, 1.64])
    codes = np.uint16(np.rint(65535 * hdr.light_to_pq(light)))
    frame = av.VideoFrame.from_ndarray(np.broadcast_to(codes, (16, 16, 3)).copy(), "rgb48le")
    frame.color_trc, frame.color_primaries = PQ, 9
    red, green, blue = hdr.to_sdr(frame, 1000)[8, 8].astype(int)
    assert abs(red - 189) <= 3
    assert max(green, blue) <= 12


def write(path, frames, **tags) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "4"})
        stream.width, stream.height, stream.pix_fmt = (
            frames[0].width,
            frames[0].height,
            "yuv420p10le",
        )
        for name, value in (BT2020 | tags).items():
            setattr(stream.codec_context, name, value)
        stream.set_display_rotation(90)
        for number, frame in enumerate(frames):
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.mark.parametrize(("curve", "name"), [(PQ, "PQ"), (HLG, "HLG")])
def test_videos_are_mapped_and_tagged_for_what_they_are(tmp_path, curve, name):
    code = 64 + round(876 * (0.580689 if curve == PQ else 0.75))
    write(tmp_path / "in.mp4", [grey(code, curve) for _ in range(3)], color_trc=curve)
    seen = []

    def change(frame):
        seen.append(to_rgb(frame))
        assert frame.rotation == 90
        return from_rgb(seen[-1], frame)

    result = change_movie(tmp_path / "in.mp4", tmp_path / "out.mp4", lambda _: change)
    assert result.notes == (f"HDR ({name}) is mapped to standard range, BT.709",)
    assert np.abs(np.int16(seen) - 230).max() <= 3
    with av.open(str(result.path)) as container:
        context = container.streams.video[0].codec_context
        tags = context.color_primaries, context.color_trc, context.colorspace, context.color_range
        frames = list(container.decode(video=0))
    assert tags == (1, 1, 1, ColorRange.MPEG)
    assert [frame.rotation for frame in frames] == [90] * 3
    assert np.abs(to_rgb(frames[1]).astype(int) - 230).max() <= 4
    assert SideData.MASTERING_DISPLAY_METADATA not in [each.type for each in frames[0].side_data]


SCREEN = "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(40000000,50)"


@pytest.mark.parametrize(
    ("stated", "peak"),
    [("", 1000), (SCREEN, 4000), (f"{SCREEN}:max-cll=600,300", 600), ("max-cll=90,30", 1000)],
)
def test_the_peak_is_what_the_file_states_of_its_light(tmp_path, stated, peak):
    """The brightest pixel, else the screen on which it was mastered; 1,000 cd/m² if neither is
    said, or no such light can be."""
    with av.open(str(tmp_path / "in.mkv"), "w") as container:
        options = {
            "x265-params": ":".join(filter(None, ("log-level=none:repeat-headers=1", stated)))
        }
        stream = container.add_stream("libx265", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p10le"
        for name, value in (BT2020 | {"color_trc": PQ}).items():
            setattr(stream.codec_context, name, value)
        frame = grey(500, PQ, (64, 64))
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with av.open(str(tmp_path / "in.mkv")) as container:
        assert hdr.peak_of(next(container.decode(video=0))) == pytest.approx(peak)
    assert hdr.peak_of(grey(500, HLG)) == 1000


def test_standard_range_passes_unchanged():
    frame = grey(500, 1)
    tones = hdr.ToneMapper()
    assert tones(frame) is frame
    assert tones.notes == ()
