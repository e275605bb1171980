"""Bounds on videos of unknown origin, and names that look like something else than files."""

import io
import os

import av
import numpy as np
import pytest

from atelier.errors import ImageError
from atelier.media import movies
from atelier.media.movies import change_movie, from_rgb, open_movie, to_rgb


def refusal(function, *arguments, **options) -> str:
    """The one line with which a video is refused."""
    with pytest.raises(ImageError) as caught:
        function(*arguments, **options)
    text = str(caught.value)
    assert text.isprintable(), repr(text)
    return text


def change(source, out):
    """Decodes and encodes all frames."""
    size = []

    def one(frame):
        size.append((frame.width, frame.height))
        return from_rgb(to_rgb(frame, size[0]), frame)

    return change_movie(source, out, lambda _: one)


def movie(kind: str, codec: str) -> bytes:
    """Four frames of 48×32."""
    file = io.BytesIO()
    with av.open(file, "w", format=kind) as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for level in range(4):
            picture = np.full((32, 48, 3), 50 * level, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())
    return file.getvalue()


def stills(*sizes: tuple[int, int]) -> bytes:
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


@pytest.mark.parametrize("sizes", [[(64, 48), (80, 60)], [(160, 120)] * 2], ids=["later", "first"])
def test_pixels_of_frames_are_bounded(tmp_path, monkeypatch, sizes):
    (tmp_path / "in.mp4").write_bytes(stills(*sizes))
    assert change(tmp_path / "in.mp4", tmp_path / "out.mp4").frames == len(sizes)
    (tmp_path / "out.mp4").unlink()
    monkeypatch.setattr(movies, "MAX_FRAME_PIXELS", 64 * 48)
    assert "damaged" in refusal(change, tmp_path / "in.mp4", tmp_path / "out.mp4")
    assert os.listdir(tmp_path) == ["in.mp4"]


def test_frames_of_other_sizes_are_brought_to_the_first(tmp_path):
    (tmp_path / "in.mp4").write_bytes(stills((64, 48), (80, 60), (16, 16)))
    result = change(tmp_path / "in.mp4", tmp_path / "out.mp4")
    assert (result.width, result.height) == (64, 48)
    with av.open(str(tmp_path / "out.mp4")) as container:
        for frame in container.decode(video=0):
            assert np.asarray(to_rgb(frame)).shape == (48, 64, 3)


def test_a_list_of_videos_is_no_video(tmp_path):
    (tmp_path / "a.mp4").write_bytes(movie("mp4", "libx264"))
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile a.mp4\n")
    assert "not a video" in refusal(change, tmp_path / "list.mp4", tmp_path / "out.mp4")


def test_files_alone_are_opened(tmp_path, monkeypatch):
    (tmp_path / "a.mp4").write_bytes(movie("mp4", "libx264"))
    opened, open_container = [], av.open

    def spy(name, **options):
        opened.append((name, options["options"]["protocol_whitelist"]))
        return open_container(name, **options)

    monkeypatch.setattr(av, "open", spy)
    open_movie(f"{tmp_path}/a.mp4").close()
    assert opened == [(f"file:{tmp_path}/a.mp4", "file")]


@pytest.mark.parametrize("name", ["http://localhost/a.mp4", "concat:a.mp4", "a.mp4\0"])
def test_an_address_is_no_file(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.mp4").write_bytes(movie("mp4", "libx264"))
    assert refusal(change, name, tmp_path / "out.mp4").endswith("no such file")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.mp4")
    assert "a pipe or a device" in refusal(change, tmp_path / "a.mp4", tmp_path / "out.mp4")


@pytest.mark.parametrize("name", ["a\nb.mp4", "-.mp4", "a%03d.mp4", "file:a.mp4", b"\xff\xfe.mp4"])
def test_odd_names_are_names(tmp_path, name):
    file = tmp_path / os.fsdecode(name)
    file.write_bytes(movie("mp4", "libx264"))
    with open_movie(str(file)) as container:
        assert container.streams.video[0].width == 48


def test_metadata_need_not_be_utf_8(tmp_path):
    data = movie("matroska", "libx264")
    assert b"Lavf" in data
    (tmp_path / "in.mkv").write_bytes(data.replace(b"Lavf", b"\xff\xfe\x80\x81"))
    assert change(tmp_path / "in.mkv", tmp_path / "out.mkv").frames == 4


def test_an_unknown_codec_is_one_line(tmp_path):
    data = movie("avi", "mpeg4")
    assert b"FMP4" in data
    (tmp_path / "in.avi").write_bytes(data.replace(b"FMP4", b"\xffyz\1"))
    with pytest.raises(ImageError, match=r"no picture in this file that can be decoded|damaged"):
        change(tmp_path / "in.avi", tmp_path / "out.mp4")
