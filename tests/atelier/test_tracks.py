"""What goes with a video's pictures: copied, encoded again, or left out and named."""

import io
from fractions import Fraction

import av
import numpy as np
import pytest
from av.stream import Disposition
from PIL import Image

from atelier.errors import ImageError
from atelier.media.movies import change_movie, from_rgb, movie_suffix, to_rgb
from atelier.media.video import tracks

COVER = io.BytesIO()
Image.new("RGB", (32, 32), (200, 30, 30)).save(COVER, "JPEG")
CHAPTERS = [
    {"id": n, "start": n * 200, "end": n * 200 + 200, "time_base": Fraction(1, 1000),
     "metadata": {"title": title}}
    for n, title in enumerate(("One", "Two"))
]  # fmt: skip


def wave(layout: str, rate: int, seconds: float = 0.4) -> list[av.AudioFrame]:
    """A tone of 440 Hz at half the full level, s16 in each channel, 4,800 samples a frame."""
    channels = av.AudioLayout(layout).nb_channels
    tone = np.int16(16384 * np.sin(2 * np.pi * 440 * np.arange(int(rate * seconds)) / rate))
    frames = []
    for start in range(0, len(tone), 4800):
        part = tone[start : start + 4800].repeat(channels)[None]
        frame = av.AudioFrame.from_ndarray(part, "s16", layout)
        frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), start
        frames.append(frame)
    return frames


@pytest.fixture
def write(tmp_path):
    """Writes a video of ten frames with sounds, each (codec, rate, layout), and more."""

    def write(name, *sounds, chapters=(), attached=(), metadata=(), languages=()):
        with av.open(str(tmp_path / name), "w") as container:
            picture = container.add_stream("mpeg4", rate=25)
            picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
            container.set_chapters(list(chapters))
            for key, value in metadata:
                container.metadata[key] = value
            for attachment in attached:
                container.add_attachment(*attachment)
            streams = [container.add_stream(c, rate=r, layout=at) for c, r, at in sounds]
            for stream, language in zip(streams, languages, strict=False):
                stream.metadata["language"] = language
            for number in range(10):
                image = np.full((48, 64, 3), 20 * number, np.uint8)
                frame = av.VideoFrame.from_ndarray(image, "rgb24")
                frame.pts, frame.time_base = number, Fraction(1, 25)
                container.mux(picture.encode(frame))
            container.mux(picture.encode())
            for stream, (_, rate, layout) in zip(streams, sounds, strict=True):
                for frame in [*wave(layout, rate), None]:
                    container.mux(stream.encode(frame))
        return tmp_path / name

    return write


def change(source, out):
    return change_movie(source, out, lambda _: lambda frame: from_rgb(to_rgb(frame), frame))


def codecs(path) -> list[str]:
    with av.open(str(path)) as container:
        return [stream.codec_context.name for stream in container.streams if stream.codec_context]


def heard(path, track: int = 0) -> np.ndarray:
    """The samples of a sound track, float (channels, n), full level 1."""
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="fltp")
        frames = [
            part
            for frame in container.decode(audio=track)
            for part in resampler.resample(frame)
        ]  # fmt: skip
    return np.concatenate([frame.to_ndarray() for frame in frames], axis=1)


# === Sound ===


@pytest.mark.parametrize(
    ("name", "sound", "out", "expected"),
    [
        ("in.mkv", "flac", "out.mp4", "flac"),
        ("in.mkv", "flac", "out.mov", "aac"),
        ("in.mkv", "libopus", "out.mov", "aac"),
        ("in.mkv", "libopus", "out.mp4", "opus"),
        ("in.mkv", "pcm_u8", "out.mov", "pcm_u8"),
        ("in.avi", "pcm_u8", "out.mp4", "aac"),
        ("in.avi", "adpcm_ms", "out.mkv", "aac"),
        ("in.avi", "adpcm_ima_wav", "out.mp4", "aac"),
        ("in.mov", "adpcm_ima_qt", "out.mp4", "aac"),
        ("in.mov", "adpcm_ima_qt", "out.mov", "adpcm_ima_qt"),
        ("in.mov", "pcm_mulaw", "out.mp4", "aac"),
        ("in.mkv", "wavpack", "out.mp4", "aac"),
    ],
)
def test_sound_is_copied_or_becomes_aac(write, tmp_path, name, sound, out, expected):
    source = write(name, (sound, 48000, "stereo"))
    was = codecs(source)[1]
    movie = change(source, tmp_path / out)
    assert codecs(movie.path) == ["h264", expected]
    assert movie.notes == (
        ()
        if was == expected
        else (f"sound track is AAC now, as {out[4:]} cannot hold {was}".replace("mkv", "matroska"),)
    )
    samples = heard(movie.path)
    assert samples.shape[0] == 2
    # A tone at half the full level, for as long as it was.
    middle = samples[:, 4096:-4096]
    assert middle.shape[1] > 5000
    assert np.abs(middle).max() == pytest.approx(0.5, abs=0.05)
    assert np.sqrt((middle**2).mean()) == pytest.approx(0.5 / 2**0.5, abs=0.03)


@pytest.mark.parametrize(
    ("rate", "layout", "expected"),
    [
        (8000, "mono", (8000, "mono")),
        (44100, "stereo", (44100, "stereo")),
        (48000, "5.1", (48000, "5.1")),
        (96000, "mono", (96000, "mono")),
        (192000, "stereo", (96000, "stereo")),
        (5512, "mono", (7350, "mono")),
    ],
)
def test_encoded_sound_keeps_its_channels_and_its_rate(write, tmp_path, rate, layout, expected):
    source = write("in.mkv", ("pcm_u8", rate, layout))
    movie = change(source, tmp_path / "out.mp4")
    with av.open(str(movie.path)) as container:
        sound = container.streams.audio[0]
        assert (sound.rate, sound.layout.name) == expected
        assert float(sound.duration * sound.time_base) == pytest.approx(0.4, abs=0.15)


@pytest.mark.parametrize("channels", ["mono", "stereo", "5.1"])
def test_avi_says_no_layout_and_its_sound_is_kept(write, tmp_path, channels):
    movie = change(write("in.avi", ("pcm_u8", 48000, channels)), tmp_path / "out.mp4")
    assert movie.notes == ("sound track is AAC now, as mp4 cannot hold pcm_u8",)
    with av.open(str(movie.path)) as container:
        assert container.streams.audio[0].layout.name == channels


@pytest.mark.parametrize("language", sorted(tracks.MOV_LANGUAGES))
def test_languages_with_two_codes_stay_in_mov(write, tmp_path, language):
    path = write("in.mkv", ("aac", 48_000, "mono"), languages=(language,))
    movie = change(path, tmp_path / "out.mov")
    with av.open(str(movie.path)) as container:
        found = container.streams.audio[0].metadata["language"]
    assert found == tracks.MOV_LANGUAGES[language]


@pytest.mark.parametrize("name", ["in.mkv", "in.mp4"])
@pytest.mark.parametrize("out", ["out.mkv", "out.mp4", "out.mov"])
def test_tracks_of_pictures_and_sound_keep_title_and_language(tmp_path, name, out):
    with av.open(str(tmp_path / name), "w") as container:
        picture = container.add_stream("mpeg4", rate=25)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream("aac", rate=48_000, layout="mono")
        container.set_chapters(CHAPTERS)
        for stream, title, language in ((picture, "Left", "ita"), (sound, "Remarks", "fra")):
            stream.metadata["title"], stream.metadata["language"] = title, language
        for number in range(10):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 * number, np.uint8), "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(picture.encode(frame))
        container.mux(picture.encode())
        for frame in wave("mono", 48_000):
            container.mux(sound.encode(frame))
        container.mux(sound.encode())
    movie = change(tmp_path / name, tmp_path / out)
    assert movie.notes == ()  # The track of MP4's chapters is written anew, and not lost.
    with av.open(str(movie.path)) as container:
        assert [c["metadata"]["title"] for c in container.chapters()] == ["One", "Two"]
        for stream, title, language in zip(
            list(container.streams)[:2], ("Left", "Remarks"), ("ita", "fra"), strict=True
        ):
            assert stream.metadata.get("title", stream.metadata.get("name")) == title
            assert stream.metadata["language"] == language


def test_several_tracks_keep_their_order_language_and_default(write, tmp_path):
    sounds = (("aac", 48000, "stereo"), ("pcm_u8", 48000, "mono"), ("libmp3lame", 48000, "mono"))
    movie = change(write("in.mkv", *sounds, languages=("ger", "eng")), tmp_path / "out.mp4")
    assert codecs(movie.path) == ["h264", "aac", "aac", "mp3float"]
    assert movie.notes == ("sound track 2 is AAC now, as mp4 cannot hold pcm_u8",)
    with av.open(str(movie.path)) as container:
        assert [s.language for s in container.streams.audio] == ["ger", "eng", "und"]


def rename_codec(path) -> None:
    """Gives a sound track a format that no program knows."""
    path.write_bytes(path.read_bytes().replace(b"alac", b"zzzz"))


def test_a_track_in_an_unknown_format_is_left_out_and_named(write, tmp_path):
    source = write("in.mov", ("aac", 48000, "mono"), ("alac", 48000, "mono"))
    rename_codec(source)
    movie = change(source, tmp_path / "out.mov")
    assert movie.frames == 10
    assert codecs(movie.path) == ["h264", "aac"]
    assert movie.notes == (
        "sound track 2 is left out: it is in a format that FFmpeg does not know",
    )


def test_without_a_track_that_is_known_the_pictures_are_done(write, tmp_path):
    source = write("in.mov", ("alac", 48000, "mono"))
    rename_codec(source)
    movie = change(source, tmp_path / "out.mp4")
    assert (codecs(movie.path), movie.frames) == (["h264"], 10)
    assert movie.notes == ("sound track is left out: it is in a format that FFmpeg does not know",)


def test_a_track_that_cannot_be_decoded_is_left_out(write, tmp_path, monkeypatch):
    source = write("in.mkv", ("wavpack", 48000, "mono"))

    def fails(*_):
        raise av.error.InvalidDataError(1, "no")

    monkeypatch.setattr(tracks._Encoded, "packets", fails)
    movie = change(source, tmp_path / "out.mp4")
    assert (codecs(movie.path), movie.frames) == (["h264"], 10)
    assert movie.notes == (
        "sound track is left out: mp4 cannot hold wavpack, and it cannot be decoded",
    )


def test_damage_behind_the_first_packets_costs_what_is_damaged(write, tmp_path, monkeypatch):
    source = write("in.mkv", ("pcm_u8", 48000, "mono"))
    monkeypatch.setattr(tracks, "TRIAL_PACKETS", 1)
    packets, calls = tracks._Encoded.packets, []

    def second_fails(self, packet):
        calls.append(packet)
        if len(calls) == 3:  # The first is the trial's.
            raise av.error.InvalidDataError(1, "no")
        return packets(self, packet)

    monkeypatch.setattr(tracks._Encoded, "packets", second_fails)
    movie = change(source, tmp_path / "out.mp4")
    assert (codecs(movie.path), movie.frames) == (["h264", "aac"], 10)
    assert movie.notes[-1] == "sound track is damaged, 1 part left out"


def test_a_track_without_packets_costs_no_picture(write, tmp_path):
    with av.open(str(write("a.mkv", ("aac", 48000, "mono")))) as source:
        path = tmp_path / "in.mkv"
        with av.open(str(path), "w") as container:
            copies = [container.add_stream_from_template(s, opaque=True) for s in source.streams]
            for packet in source.demux(source.streams.video):
                if packet.size:
                    packet.stream = copies[0]
                    container.mux(packet)
    for name in ("out.mp4", "out.mkv"):
        assert change(path, tmp_path / name).frames == 10


# === All else ===


@pytest.mark.parametrize("name", ["in.mp4", "in.mov", "in.mkv"])
@pytest.mark.parametrize("out", ["out.mp4", "out.mov", "out.mkv"])
def test_chapters_and_the_time_code_are_kept(write, tmp_path, name, out):
    facts = [("timecode", "01:02:03:04"), ("title", "A day")]
    movie = change(write(name, chapters=CHAPTERS, metadata=facts), tmp_path / out)
    assert movie.notes == ()
    with av.open(str(movie.path)) as container:
        chapters = [
            (float(c["start"] * c["time_base"]), c["metadata"]["title"])
            for c in container.chapters()
        ]
        assert chapters == [(0, "One"), (pytest.approx(0.2), "Two")]
        assert tracks.timecode(container) == "01:02:03:04"
        assert container.metadata["title"] == "A day"
        shown = [s for s in container.streams.subtitles if s.disposition & Disposition.default]
        assert not shown


def test_attached_files_and_cover_pictures_are_kept(write, tmp_path):
    attached = (("cover.jpg", "image/jpeg", COVER.getvalue()), ("a.ttf", "font/ttf", b"letters"))
    source = write("in.mkv", attached=attached)
    movie = change(source, tmp_path / "out.mkv")
    assert (movie.frames, movie.notes) == (10, ())
    with av.open(str(movie.path)) as container:
        assert container.streams.attachments[0].data == b"letters"
        cover = container.streams.video[1]
        assert tracks.is_cover(cover)
        assert cover.metadata["filename"] == "cover.jpg"
        assert bytes(next(p for p in container.demux(cover) if p.size)) == COVER.getvalue()
    movie = change(source, tmp_path / "out.mp4")
    assert movie.notes == ("attached file is left out",)
    with av.open(str(movie.path)) as container:
        assert tracks.is_cover(container.streams.video[1])


def test_sound_with_a_cover_picture_is_no_video(write, tmp_path):
    path = tmp_path / "song.mkv"
    with av.open(str(path), "w") as container:
        container.add_attachment("cover.jpg", "image/jpeg", COVER.getvalue())
        sound = container.add_stream("aac", rate=48000, layout="mono")
        for frame in [*wave("mono", 48000), None]:
            container.mux(sound.encode(frame))
    with pytest.raises(ImageError, match="there is no picture in this file"):
        change(path, tmp_path / "out.mp4")


def test_subtitles_are_copied_or_become_those_of_mp4(tmp_path, write):
    text = tmp_path / "a.srt"
    text.write_text(
        "1\n00:00:00,000 --> 00:00:00,200\n<i>Hello</i>\nyou\n\n"
        "2\n00:00:00,250 --> 00:00:00,350\nörtlich, überall\n\n"
    )
    source = tmp_path / "in.mkv"
    with (
        av.open(str(write("a.mkv"))) as pictures,
        av.open(str(text)) as lines,
        av.open(str(source), "w") as container,
    ):
        both = (pictures.streams[0], lines.streams[0])
        copies = [container.add_stream_from_template(stream, opaque=True) for stream in both]
        for given, copied in zip((pictures, lines), copies, strict=True):
            for packet in given.demux():
                if packet.size:
                    packet.stream = copied
                    container.mux(packet)
    movie = change(source, tmp_path / "out.mkv")
    assert movie.notes == ()
    with av.open(str(movie.path)) as container:
        packets = [bytes(p) for p in container.demux(container.streams.subtitles[0]) if p.size]
    assert packets == [b"<i>Hello</i>\nyou", "örtlich, überall".encode()]
    for format in ("mp4", "mov"):
        movie = change(source, tmp_path / f"out.{format}")
        assert movie.notes == (f"subtitle track is plain text now, as {format} cannot hold srt",)
        with av.open(str(movie.path)) as container:
            (stream,) = container.streams.subtitles
            assert stream.codec_context.name == "mov_text"
            found = [p for p in container.demux(stream) if p.size > 2]  # Others are pauses.
            times = [(float(p.pts * p.time_base), float(p.duration * p.time_base)) for p in found]
            texts = [bytes(p)[2 : 2 + int.from_bytes(bytes(p)[:2], "big")] for p in found]
        assert [text.decode() for text in texts] == ["Hello\nyou", "örtlich, überall"]
        assert times == [(0, pytest.approx(0.2)), (0.25, pytest.approx(0.1))]


def test_what_is_made_of_a_video_has_a_format_that_fits():
    names = ("a.MOV", "a.mkv", "a.webm", "a.m4v", "a.mp4", "a.avi")
    assert [movie_suffix(name) for name in names] == [
        ".mov", ".mkv", ".mkv", ".m4v", ".mp4", ".mp4"
    ]  # fmt: skip
