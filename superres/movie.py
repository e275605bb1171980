"""Video files out: H.264 pictures that keep all but their size from another file, and its sound."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from av.sidedata.sidedata import Type as SideData
from av.video.reformatter import ColorRange

from atelier.errors import OutputError
from superres.frames import is_full_range, is_rgb

WRITABLE = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
"""The formats, by suffix, that hold H.264 and the sound of most other files."""

CRF = 17
"""x264's constant rate factor: at 17 its losses are hardly seen."""

_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}

# ITU-T H.273, Table 4, as in FFmpeg's AVColorSpace.
_BT709, _UNSPECIFIED, _BT601 = 1, 2, 6


class MovieWriter:
    """Writes enlarged frames, with their times, and packets of sound, as they come.

    To be used in a `with` block, whose good end finishes the file.

    Args:
        path: the file, with one of the suffixes of `WRITABLE`.
        container: the file that frames and sound come from.
        stream: its stream of frames.
        name: what errors call the file.

    Raises:
        OutputError: from all methods, if the file cannot be written.
    """

    def __init__(self, path: Path, container, stream, *, name: str):
        self.name, self.frames = name, 0
        self._source, self._stream = container, stream
        self._video, self._sounds, self._waiting = None, {}, []
        self._last, self._after = None, 0
        format = WRITABLE[path.suffix.lower()]
        options = {} if format == "matroska" else {"movflags": "faststart"}
        with self._writing():
            self._container = av.open(os.fspath(path), "w", format=format, options=options)

    def __enter__(self) -> MovieWriter:
        return self

    def __exit__(self, kind, error, traceback) -> None:
        if kind is not None or self._video is None:
            with contextlib.suppress(av.FFmpegError, OSError, ValueError):
                self._container.close()
            return
        with self._writing():
            self._container.mux(self._video.encode())
            self._container.close()

    def copy(self, packet: av.Packet) -> None:
        """Adds a packet of sound."""
        if self._video is None:  # Streams are made from the first frame.
            self._waiting.append(packet)
            return
        with self._writing():
            packet.stream = self._sounds[packet.stream.index]
            self._container.mux(packet)

    def write(self, frame: av.VideoFrame, original: av.VideoFrame) -> None:
        """Adds an enlarged frame, to be shown when `original` is."""
        pts = self._after if original.pts is None else original.pts
        if self._last is not None and pts <= self._last:
            return  # Two frames for one instant: of these, players show one.
        if self._video is None:
            with self._writing():
                self._start(frame, original)
        self._last, self._after = pts, pts + max(1, original.duration or 0)
        frame.pts, frame.time_base, frame.duration = pts, original.time_base, original.duration
        frame.color_range = self._video.codec_context.color_range
        frame.colorspace = self._video.codec_context.colorspace
        with self._writing():
            self._container.mux(self._video.encode(frame))
        self.frames += 1
        while self._waiting:
            self.copy(self._waiting.pop(0))

    def _start(self, frame: av.VideoFrame, original: av.VideoFrame) -> None:
        """Makes the streams; what they say of colours, times and rotation is the source's."""
        source = self._stream
        rate = source.average_rate or source.guessed_rate or 25
        options = {"crf": str(CRF), "preset": "medium"}
        self._video = self._container.add_stream("libx264", rate=rate, options=options)
        context = self._video.codec_context
        context.width, context.height, context.pix_fmt = frame.width, frame.height, "yuv420p"
        context.time_base = original.time_base
        if source.sample_aspect_ratio:
            context.sample_aspect_ratio = source.sample_aspect_ratio
        full = is_full_range(original)
        context.color_range = ColorRange.JPEG if full else ColorRange.MPEG
        context.color_primaries = original.color_primaries
        context.color_trc = original.color_trc
        context.colorspace = _colorspace(original)
        matrix = original.side_data.get(SideData.DISPLAYMATRIX)
        if matrix is not None:
            self._video.set_display_matrix(np.frombuffer(matrix, np.int32).tolist())
        for sound in self._source.streams.audio:
            self._sounds[sound.index] = self._add_sound(sound)
        for key in ("title", "artist", "date", "creation_time", "comment", "location"):
            if key in self._source.metadata:
                self._container.metadata[key] = self._source.metadata[key]

    def _add_sound(self, sound: av.AudioStream) -> av.AudioStream:
        """A stream for copies of another file's packets."""
        try:
            copied = self._container.add_stream_from_template(sound)
        except ValueError:
            raise OutputError(
                f"cannot write {self.name}: this format cannot hold {sound.codec.name} sound; try "
                f".mkv or .mov"
            ) from None
        # AVI does not say which channel is which, and MP4 must.
        if sound.layout.name.endswith("channels") and sound.channels in _LAYOUTS:
            copied.codec_context.layout = _LAYOUTS[sound.channels]
        if "language" in sound.metadata:
            copied.metadata["language"] = sound.metadata["language"]
        return copied

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (av.FFmpegError, OSError) as error:
            reason = error.strerror or str(error)
            raise OutputError(f"cannot write {self.name}: {reason}") from None


def _colorspace(frame: av.VideoFrame) -> int:
    """The matrix of a frame's YCbCr, as H.273 numbers it.

    Players take untagged video of up to 576 lines for BT.601 and larger for BT.709. Enlarged, it
    must say what it was, or its colours would change.
    """
    if is_rgb(frame):
        return _BT709
    if frame.colorspace != _UNSPECIFIED:
        return frame.colorspace
    return _BT601 if frame.height <= 576 and frame.width < 1280 else _BT709
