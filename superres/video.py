"""Super-resolution of videos: frame by frame, in flat memory, the sound kept."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path

import av

from atelier.media.movies import MAX_FRAME_PIXELS, change_movie
from atelier.progress import OnStep
from superres.frames import FrameEnlarger
from superres.networks import Network
from superres.tiles import TILE
from superres.upscaling import Model, Scale, UpscaleConfig, check_size, tiled_network


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
    notes: tuple[str, ...] = ()
    """A line for each thing beside the pictures that is not as it was, such as a sound track that
    is left out."""


def upscale_video(
    source: str | os.PathLike,
    out: str | os.PathLike,
    scale: Scale = 2,
    model: Model = "auto",
    *,
    tile: int = TILE,
    network: Network | None = None,
    deinterlace: bool = True,
    on_step: OnStep | None = None,
    overwrite: bool = True,
) -> UpscaledVideo:
    """Enlarges a video into an H.264 file, whole or not at all.

    Times of frames, sound, colours, pixel aspect and rotation stay as they are, as
    `atelier.media.movies.change_movie` says. Frames become 8-bit 4:2:0 with even sides: of odd ones
    the last row or column is left out.

    Args:
        source: a file that FFmpeg reads.
        out: a .mp4, .m4v, .mov or .mkv file.
        scale: how many times wider and higher: 2, 3 or 4.
        model: the embedded weights; auto takes videos as compressed.
        tile: the side of the squares that are worked on at once, pixels of the input.
        network: a network to use instead of the embedded one; its scale must be `scale`.
        deinterlace: whether frames that are marked as interlaced become progressive.
        on_step: called after each frame; the total is the file's own count, or an estimate. If it
            returns True, the run ends.
        overwrite: whether an existing file may be replaced.

    Raises:
        ImageError: the file cannot be read, is damaged or has no picture, or frames are too large.
        OutputError: `out` exists or cannot be written.
        SettingsError: settings out of range, or a suffix that is no such format.
        WeightsError: there is no embedded network for the scale.
        KeyboardInterrupt: `on_step` ended the run; nothing is written.
    """
    begin = time.perf_counter()
    config = UpscaleConfig(scale, model, tile)
    chosen = config.model if config.model != "auto" else "compressed"
    chosen = "given" if network is not None else chosen

    def start(stream: av.VideoStream) -> FrameEnlarger:
        check_size(stream.width, stream.height, config.scale, os.fspath(source), MAX_FRAME_PIXELS)
        centred = stream.codec_context.name in ("mjpeg", "mpeg1video")
        return FrameEnlarger(tiled_network(network, config, chosen), centred=centred)

    movie = change_movie(
        source, out, start, deinterlace=deinterlace, on_step=on_step, overwrite=overwrite
    )
    return UpscaledVideo(
        path=movie.path,
        width=movie.width,
        height=movie.height,
        frames=movie.frames,
        model=chosen,
        scale=config.scale,
        seconds=time.perf_counter() - begin,
        notes=movie.notes,
    )
