"""Videos in, frame by frame; and out as H.264, with all but the pictures as it was."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.sidedata.sidedata import Type as SideData
from av.video.reformatter import ColorRange

from atelier.errors import ImageError, OutputError, SettingsError
from atelier.files import atomic_path
from atelier.media.video.frame_colors import color_matrix, is_full_range
from atelier.media.video.frame_colors import from_rgb as from_rgb
from atelier.media.video.frame_colors import is_rgb as is_rgb
from atelier.media.video.frame_colors import to_rgb as to_rgb
from atelier.media.video.hdr import ToneMapper
from atelier.media.video.interlacing import Deinterlacer
from atelier.media.video.tracks import (
    Track,
    TrackWriter,
    is_cover,
    keep_names,
    plan_tracks,
    timecode,
)
from atelier.progress import OnStep, Step

VIDEOS = (
    *(".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3gpp", ".3g2", ".f4v"),  # "mov"
    *(".mkv", ".webm", ".avi", ".divx", ".flv", ".wmv", ".asf", ".ogv", ".nut", ".ivf", ".dv"),
    *(".ts", ".mts", ".m2ts", ".m2t"),  # "mpegts"
    *(".mpg", ".mpeg", ".mpe", ".m2p", ".vob", ".mod"),  # "mpeg"
    *(".m1v", ".m2v", ".h264", ".264", ".h265", ".265", ".hevc", ".mjpg", ".mjpeg"),  # no container
)
"""The suffixes by which videos are found: those of the formats of `DEMUXERS`."""

WRITABLE = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
"""The formats, by suffix, that hold H.264 and the sound of most other files."""

_SUFFIXES = {".m4v": ".m4v", ".mov": ".mov", ".qt": ".mov", ".mkv": ".mkv", ".webm": ".mkv"}
"""For a video of each suffix, that of what is made of it, if it is not .mp4."""

MAX_FRAME_PIXELS = 8192 * 4320
"""The largest frames that H.264 has a level for."""

DEMUXERS = (
    *("mov", "matroska", "avi", "mpegts", "mpeg", "flv", "asf", "ogg", "gif", "nut", "ivf", "dv"),
    *("h264", "hevc", "mpegvideo", "m4v", "mjpeg"),
)
"""FFmpeg's names of the formats that are read, whatever a file's suffix."""

MAX_RATE = 1000
"""More frames a second are taken for a mistake."""

CRF = 17
"""x264's constant rate factor: at 17 its losses are hardly seen."""

Change = Callable[[av.VideoFrame], av.VideoFrame]
"""Makes of a decoded frame the one to be written: yuv420p with even sides, all of one size."""


@dataclasses.dataclass(frozen=True)
class Movie:
    """A video that was written."""

    path: Path
    """The file."""
    width: int
    """Of the frames as they are stored, before any rotation that the file asks for."""
    height: int
    """Likewise."""
    frames: int
    """How many there are."""
    notes: tuple[str, ...] = ()
    """A line for each thing beside the pictures that is not as it was, such as a sound track that
    is left out."""


def movie_suffix(source: str | os.PathLike) -> str:
    """The suffix of the format that holds most of what a video has: its own if it can be written,
    .mkv for .webm, .mp4 for others."""
    return _SUFFIXES.get(Path(source).suffix.lower(), ".mp4")


def change_movie(
    source: str | os.PathLike,
    out: str | os.PathLike,
    start: Callable[[av.VideoStream], Change],
    *,
    deinterlace: bool = True,
    on_step: OnStep | None = None,
    overwrite: bool = True,
) -> Movie:
    """Changes each frame of a video and writes an H.264 file, whole or not at all.

    Interlaced frames are deinterlaced first, and frames of high dynamic range are mapped to
    standard range; the result's notes say so. Times of frames, other colours, pixel aspect and
    rotation stay as they are. Sound, subtitles, chapters, the time code, cover pictures and
    attached files are copied; sound that the output's format cannot hold becomes AAC, and what
    cannot be kept is left out and named in the result's notes. One frame is held at a time.

    Args:
        source: a file that FFmpeg reads.
        out: a .mp4, .m4v, .mov or .mkv file.
        start: called once, with the stream of pictures; gives what is then called for each frame.
        deinterlace: whether frames that are marked as interlaced become progressive.
        on_step: called after each frame; the total is the file's own count, or an estimate. If it
            returns True, the run ends.
        overwrite: whether an existing file may be replaced.

    Raises:
        ImageError: the file cannot be read, is damaged or has no picture, or frames are too large.
        OutputError: `out` exists or cannot be written.
        SettingsError: a suffix that is no such format.
        KeyboardInterrupt: `on_step` ended the run; nothing is written.
    """
    out, name = Path(out), os.fspath(source)
    if out.suffix.lower() not in WRITABLE:
        raise SettingsError(f"{out}: videos are written as {', '.join(WRITABLE)}")
    with open_movie(name) as container, atomic_path(out, overwrite=overwrite) as temporary:
        stream = container.streams.best("video")
        if stream is None or stream.codec_context is None or is_cover(stream):
            raise ImageError(f"{name}: there is no picture in this file that can be decoded")
        if not stream.width:  # What is too large is not decoded to find out how large it is.
            raise ImageError(
                f"{name}: damaged, or its frames have more than {MAX_FRAME_PIXELS:,} pixels"
            )
        if stream.width * stream.height > MAX_FRAME_PIXELS:
            size = f"{stream.width}×{stream.height}"
            raise ImageError(f"{name}: {size} is more than {MAX_FRAME_PIXELS:,} pixels")
        change = start(stream)
        with reading(name), open_movie(name) as second:
            plan = plan_tracks(second, stream.index, WRITABLE[out.suffix.lower()])
        kept = [container.streams[track.index] for track in plan.tracks if track.way != "attach"]
        fields, tones = Deinterlacer(deinterlace), ToneMapper()
        with MovieWriter(temporary, container, stream, plan.tracks, name=str(out)) as writer:
            for item in fields(read_movie(name, container, stream, kept)):
                if isinstance(item, av.Packet):
                    writer.copy(item)
                    continue
                item = tones(item)
                frame = change(item)
                writer.write(frame, item)
                total = max(writer.frames, frames_in(container, stream))
                step = Step(writer.frames, total, {}, lambda f=frame: to_rgb(f))
                if on_step is not None and on_step(step):
                    raise KeyboardInterrupt
            if not writer.frames:
                raise ImageError(f"{name}: damaged or empty: there is not one whole frame")
    notes = (*fields.notes, *tones.notes, *plan.notes, *writer.notes)
    return Movie(out, frame.width, frame.height, writer.frames, notes)


# === Reading ===


@contextlib.contextmanager
def reading(name: str) -> Iterator[None]:
    """What FFmpeg says of a file that cannot be read, as an `ImageError`."""
    try:
        yield
    except av.error.FileNotFoundError:
        raise ImageError(f"{name}: no such file") from None
    except av.FFmpegError as error:
        known = isinstance(error, OSError)
        reason = f"cannot be read ({error.strerror})" if known else "damaged, or not a video"
        raise ImageError(f"{name}: {reason}") from None


def open_movie(name: str) -> av.container.InputContainer:
    """Opens a video: a file of one of `DEMUXERS`, never an address; raises `ImageError` if that
    fails."""
    if not os.path.exists(name):
        raise ImageError(f"{name}: no such file")
    if not os.path.isfile(name):
        kind = "a folder" if os.path.isdir(name) else "a pipe or a device"
        raise ImageError(f"{name}: {kind}, not a video")
    options = {
        "format_whitelist": ",".join(DEMUXERS),
        "protocol_whitelist": "file",
        # Of what is decoded to find out how large it is.
        "max_pixels": str(4 * MAX_FRAME_PIXELS),
    }
    with reading(name):
        container = av.open(f"file:{name}", options=options, metadata_errors="replace")
        for stream in container.streams.video:
            if stream.codec_context is not None:  # Else it is of a codec that is unknown.
                # Frames may be larger than their file's head says.
                stream.codec_context.options = {"max_pixels": str(MAX_FRAME_PIXELS)}
        return container


def read_movie(
    name: str, container, stream, others: Sequence[av.stream.Stream] = ()
) -> Iterator[av.VideoFrame | av.Packet]:
    """The decoded frames of a stream and the packets of others, as they come in the file.

    Raises:
        ImageError: the file is damaged or truncated.
    """
    stream.thread_type, end = "AUTO", 0.0
    with reading(name):
        for packet in container.demux(stream, *others):
            if packet.pts is not None and packet.time_base is not None:
                end = max(end, float(packet.pts * packet.time_base))
            if packet.stream.index == stream.index:
                yield from packet.decode()
            elif packet.size and (packet.dts is not None or is_cover(packet.stream)):
                yield packet  # One without bytes marks the end.
    # Of the formats that people have, this one alone can end anywhere without an error.
    seconds = (container.duration or 0) / av.time_base
    if "matroska" in container.format.name and end < 0.9 * seconds - 1:
        raise ImageError(f"{name}: truncated after {end:.1f} of {seconds:.1f} seconds")


def frames_in(container, stream) -> int:
    """The number of frames that a file says it has, or about how many its length makes."""
    seconds = (container.duration or 0) / av.time_base
    return stream.frames or round(seconds * frame_rate(stream))


def frame_rate(stream: av.VideoStream) -> Fraction:
    """Frames a second, on average, or about so many; 25 if nobody knows.

    Of DV's files FFmpeg gives the rate of its clock as the average, 60,000.
    """
    rates = (stream.average_rate, stream.guessed_rate, stream.base_rate)
    return next((rate for rate in rates if rate and rate <= MAX_RATE), Fraction(25))


# === Writing ===


class MovieWriter:
    """Writes changed frames, with their times, and packets of other tracks, as they come.

    To be used in a `with` block, whose good end finishes the file.

    Args:
        path: the file, with one of the suffixes of `WRITABLE`.
        container: the file that frames and packets come from.
        stream: its stream of frames.
        tracks: what becomes of its other streams.
        name: what errors call the file.

    Raises:
        OutputError: from all methods, if the file cannot be written.
    """

    def __init__(self, path: Path, container, stream, tracks: Sequence[Track], *, name: str):
        self.name, self.frames = name, 0
        self._source, self._stream, self._tracks = container, stream, tracks
        self._video, self._others, self._waiting = None, None, []
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
            self._others.finish()
            self._container.close()

    @property
    def notes(self) -> tuple[str, ...]:
        """A line for each other track of which something is damaged."""
        return self._others.notes

    def copy(self, packet: av.Packet) -> None:
        """Adds a packet of another track."""
        if self._video is None:  # Streams are made from the first frame.
            self._waiting.append(packet)
            return
        with self._writing():
            self._others.write(packet)

    def write(self, frame: av.VideoFrame, original: av.VideoFrame) -> None:
        """Adds a changed frame, to be shown when `original` is."""
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
        """Makes the streams; what they say of colours, times and rotation is the source's.

        The matrix is always said: untagged, enlarged frames would be taken for another.
        """
        source = self._stream
        rate = frame_rate(source)
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
        context.colorspace = color_matrix(original)
        matrix = original.side_data.get(SideData.DISPLAYMATRIX)
        if matrix is not None:
            self._video.set_display_matrix(np.frombuffer(matrix, np.int32).tolist())
        keep_names(source, self._video)
        self._others = TrackWriter(self._container, self._source, self._tracks)
        self._container.set_chapters(self._source.chapters())
        for key in ("title", "artist", "date", "creation_time", "comment", "location"):
            if key in self._source.metadata:
                self._container.metadata[key] = self._source.metadata[key]
        if (code := timecode(self._source)) is not None:
            self._container.metadata["timecode"] = code

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (av.FFmpegError, OSError) as error:
            reason = error.strerror or str(error)
            raise OutputError(f"cannot write {self.name}: {reason}") from None
