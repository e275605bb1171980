"""Videos of strangers: damaged, lying, and lists of other files and addresses."""

import io
import os
import socket
import tracemalloc

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atelier.errors import ImageError
from atelier.movies import MAX_FRAME_PIXELS, change_movie, from_rgb, open_movie, to_rgb
from fuzz.readers import movies

SEEDS = movies()


def change(source, out):
    """Decodes and encodes all frames."""
    size = []

    def one(frame):
        size.append((frame.width, frame.height))
        return from_rgb(to_rgb(frame, size[0]), frame)

    return change_movie(source, out, lambda _: one)


@settings(max_examples=40)
@given(
    seed=st.sampled_from(SEEDS),
    changes=st.lists(st.tuples(st.integers(0, 1500), st.integers(0, 255)), max_size=8),
    kept=st.floats(0.1, 1),
)
def test_damage_gives_a_video_or_one_line(tmp_path_factory, survives, seed, changes, kept):
    folder = tmp_path_factory.getbasetemp()
    data = bytearray(seed)
    for place, value in changes:
        data[place % len(data)] = value
    (folder / "in.mp4").write_bytes(data[: int(len(data) * kept)])
    movie = survives(change, folder / "in.mp4", folder / "out.mp4")
    assert (movie is not None) == (folder / "out.mp4").exists()
    (folder / "out.mp4").unlink(missing_ok=True)


def test_what_is_in_a_file_need_not_be_text(tmp_path):
    """Names of streams and the like, not in UTF-8."""
    data = SEEDS[1].replace(b"Lavf", b"\xff\xfe\x80\x81")
    assert data != SEEDS[1]
    (tmp_path / "in.mkv").write_bytes(data)
    assert change(tmp_path / "in.mkv", tmp_path / "out.mkv").frames == 4


@pytest.mark.parametrize(
    "text",
    [
        "ffconcat version 1.0\nfile a.mp4\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{folder}/a.mp4\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:{port}/\n#EXT-X-ENDLIST\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
        "a=rtpmap:96 H264/90000\n",
        "RTSPtext\nrtsp://127.0.0.1:{port}/\n",
    ],
    ids=["concat", "hls", "hls address", "sdp", "rtsp"],
)
def test_lists_of_other_files_are_not_followed(tmp_path, refusal, text):
    (tmp_path / "a.mp4").write_bytes(SEEDS[0])
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        port = server.getsockname()[1]
        (tmp_path / "list.mp4").write_text(text.format(folder=tmp_path, port=port))
        assert "not a video" in refusal(change, tmp_path / "list.mp4", tmp_path / "out.mp4")
        with pytest.raises(BlockingIOError):
            server.accept()


def test_addresses_are_no_files(tmp_path, monkeypatch, refusal):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.mp4").write_bytes(SEEDS[0])
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        for name in (
            f"http://127.0.0.1:{server.getsockname()[1]}/a.mp4",
            f"tcp://127.0.0.1:{server.getsockname()[1]}?a.mp4",
            "concat:a.mp4|a.mp4",
            "subfile,,start,0,end,0,,:a.mp4",
            "pipe:a.mp4",
            "a.mp4\0.mp4",
        ):
            assert refusal(change, name, tmp_path / "out.mp4").endswith("no such file")
        with pytest.raises(BlockingIOError):
            server.accept()


def test_pipes_are_not_waited_for(tmp_path, refusal):
    os.mkfifo(tmp_path / "a.mp4")
    assert "a pipe or a device" in refusal(change, tmp_path / "a.mp4", tmp_path / "out.mp4")


@pytest.mark.parametrize("name", ["a\nb.mp4", "-.mp4", "a%03d.mp4", "file:a.mp4", b"\xff\xfe.mp4"])
def test_odd_names_are_names(tmp_path, name):
    file = tmp_path / os.fsdecode(name)
    file.write_bytes(SEEDS[0])
    with open_movie(str(file)) as container:
        assert container.streams.video[0].width == 48


def stills(*sizes) -> bytes:
    """JPEG files one after another, which are a video."""
    files = []
    for width, height in sizes:
        file = io.BytesIO()
        with av.open(file, "w", format="mjpeg") as container:
            stream = container.add_stream("mjpeg", rate=10)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuvj420p"
            frame = av.VideoFrame(width, height, "yuvj420p")
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            container.mux(stream.encode(frame))
            container.mux(stream.encode())
        files.append(file.getvalue())
    return b"".join(files)


def test_frames_larger_than_the_first_say_so(tmp_path, refusal):
    """A head of 64×48, and then a frame beyond the bound: it is not decoded."""
    side = int(MAX_FRAME_PIXELS**0.5) + 200
    (tmp_path / "in.mp4").write_bytes(stills((64, 48), (side, side)))
    tracemalloc.start()
    try:
        assert "damaged" in refusal(change, tmp_path / "in.mp4", tmp_path / "out.mp4")
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
    assert not (tmp_path / "out.mp4").exists()


def test_a_stream_of_an_unknown_codec_is_one_line(tmp_path):
    data = SEEDS[3].replace(b"FMP4", b"\xffyz\1")
    assert data != SEEDS[3]
    (tmp_path / "in.avi").write_bytes(data)
    with pytest.raises(ImageError, match=r"no picture in this file that can be decoded|damaged"):
        change(tmp_path / "in.avi", tmp_path / "out.mp4")


def test_frames_of_other_sizes_are_brought_to_the_first(tmp_path):
    (tmp_path / "in.mp4").write_bytes(stills((64, 48), (640, 480), (16, 16)))
    movie = change(tmp_path / "in.mp4", tmp_path / "out.mp4")
    assert (movie.width, movie.height) == (64, 48)
    with av.open(str(tmp_path / "out.mp4")) as container:
        for frame in container.decode(video=0):
            assert np.asarray(to_rgb(frame)).shape == (48, 64, 3)
