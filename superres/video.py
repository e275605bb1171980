"""Super-resolution of videos: frame by frame, in flat memory, the sound copied as it is."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Iterator
from pathlib import Path

import av

from atelier.errors import ImageError, SettingsError
from atelier.files import atomic_path
from atelier.progress import OnStep, Step
from superres.frames import MAX_FRAME_PIXELS, FrameEnlarger
from superres.movie import WRITABLE, MovieWriter
from superres.networks import Network
from superres.tiles import TILE
from superres.upscale import Model, Scale, UpscaleConfig, check_size, tiled_network

VIDEOS = (".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v")
"""The suffixes by which videos are found."""


@dataclasses.dataclass(frozen=True)
class UpscaledVideo:
    """A video enlarged."""

    path: Path
    """The file."""
    width: int
    """Of the frames as they are stored, before any rotation that the file asks for."""
    height: int
    """Likewise."""
    frames: int
    """How many there are."""
    model: str
    """The network that was used: clean, compressed, or given."""
    scale: int
    """Pixels a side that each pixel became."""
    seconds: float
    """From opening the video to the end."""


def upscale_video(
    source: str | os.PathLike,
    out: str | os.PathLike,
    scale: Scale = 2,
    model: Model = "auto",
    *,
    tile: int = TILE,
    network: Network | None = None,
    on_step: OnStep | None = None,
    overwrite: bool = True,
) -> UpscaledVideo:
    """Enlarges a video into an H.264 file, whole or not at all.

    Times of frames, sound, colours, pixel aspect and rotation stay as they are. Frames become
    8-bit 4:2:0 with even sides: of odd ones the last row or column is left out.

    Args:
        source: a file that FFmpeg reads.
        out: a .mp4, .m4v, .mov or .mkv file.
        scale, model, tile: see `UpscaleConfig`.
        network: a network to use instead of the embedded one; its scale must be `scale`.
        on_step: called after each frame; the total is the file's own count, or an estimate. If it
            returns True, the run ends.
        overwrite: whether an existing file may be replaced.

    Raises:
        ImageError: the file cannot be read, is damaged or has no picture, or frames are too large.
        OutputError: `out` exists, cannot be written, or cannot hold this sound.
        SettingsError: settings out of range, or a suffix that is no such format.
        WeightsError: there is no embedded network for the scale.
        KeyboardInterrupt: `on_step` ended the run; nothing is written.
    """
    start = time.perf_counter()
    config = UpscaleConfig(scale, model, tile)
    out, name = Path(out), os.fspath(source)
    if out.suffix.lower() not in WRITABLE:
        raise SettingsError(f"{out}: videos are written as {', '.join(WRITABLE)}")
    chosen = config.model if config.model != "auto" else "compressed"
    chosen = "given" if network is not None else chosen
    tiled = tiled_network(network, config, chosen)
    with _open(name) as container, atomic_path(out, overwrite=overwrite) as temporary:
        stream = container.streams.best("video")
        if stream is None:
            raise ImageError(f"{name}: there is no picture in this file")
        check_size(stream.width, stream.height, config.scale, name, MAX_FRAME_PIXELS)
        centred = stream.codec_context.name in ("mjpeg", "mpeg1video")
        enlarger = FrameEnlarger(tiled, centred=centred)
        with MovieWriter(temporary, container, stream, name=str(out)) as writer:
            for item in _demuxed(name, container, stream):
                if isinstance(item, av.Packet):
                    writer.copy(item)
                    continue
                frame = enlarger(item)
                writer.write(frame, item)
                total = max(writer.frames, _frames_in(container, stream))
                step = Step(writer.frames, total, {}, lambda f=frame: f.to_ndarray(format="rgb24"))
                if on_step is not None and on_step(step):
                    raise KeyboardInterrupt
            if not writer.frames:
                raise ImageError(f"{name}: damaged or empty: there is not one whole frame")
    return UpscaledVideo(
        path=out,
        width=frame.width,
        height=frame.height,
        frames=writer.frames,
        model=chosen,
        scale=config.scale,
        seconds=time.perf_counter() - start,
    )


@contextlib.contextmanager
def _reading(name: str) -> Iterator[None]:
    """What FFmpeg says of a file that cannot be read, as an `ImageError`."""
    try:
        yield
    except av.error.FileNotFoundError:
        raise ImageError(f"{name}: no such file") from None
    except av.FFmpegError as error:
        known = isinstance(error, OSError)
        reason = f"cannot be read ({error.strerror})" if known else "damaged, or not a video"
        raise ImageError(f"{name}: {reason}") from None


def _open(name: str):
    with _reading(name):
        return av.open(name)


def _demuxed(name: str, container, stream) -> Iterator[av.VideoFrame | av.Packet]:
    """The decoded frames of the video and the packets of all sounds, as they come in the file."""
    stream.thread_type, end = "AUTO", 0.0
    with _reading(name):
        for packet in container.demux(stream, *container.streams.audio):
            if packet.pts is not None:
                end = max(end, float(packet.pts * packet.time_base))
            if packet.stream.index == stream.index:
                yield from packet.decode()
            elif packet.dts is not None:  # Else it marks the end.
                yield packet
    # Of the formats that people have, this one alone can end anywhere without an error.
    seconds = (container.duration or 0) / av.time_base
    if "matroska" in container.format.name and end < 0.9 * seconds - 1:
        raise ImageError(f"{name}: truncated after {end:.1f} of {seconds:.1f} seconds")


def _frames_in(container, stream) -> int:
    """The number of frames that a file says it has, or about how many its length makes."""
    seconds = (container.duration or 0) / av.time_base
    return stream.frames or round(seconds * (stream.average_rate or 0))
