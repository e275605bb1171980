"""Cartoons of videos: frame by frame, without flicker, the sound kept."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path
from typing import Literal

import av
import numpy as np

from atelier.media.movies import change_movie, from_rgb, to_rgb
from atelier.progress import OnStep
from cartoon.config import CartoonConfig
from cartoon.drawing.backdrop import WHITE, Backdrop
from cartoon.drawing.cartoonizing import settings_of
from cartoon.drawing.steady import Flicker, Segment, SteadyCartoon


@dataclasses.dataclass(frozen=True)
class CartoonVideo:
    """A drawn video."""

    path: Path
    """The file."""
    width: int
    """Of the frames as they are stored, before any rotation that the file asks for."""
    height: int
    """Likewise."""
    frames: int
    """How many there are."""
    cuts: int
    """How often, after the first frame, tones were chosen anew."""
    flicker: float | None
    """Levels by which the drawing changes from frame to frame where the video does not, before it
    is coded: see `cartoon.drawing.steady.Flicker`. None if nothing stayed, or of one frame."""
    seconds: float
    """From opening the video to the end."""
    notes: tuple[str, ...] = ()
    """A line for each thing beside the pictures that is not as it was, such as a sound track that
    is left out."""


def cartoonize_video(
    source: str | os.PathLike,
    out: str | os.PathLike,
    preset: Literal["report", "fine"] = "fine",
    *,
    config: CartoonConfig | None = None,
    segment: Segment | None = None,
    backdrop: Backdrop = lambda photo: WHITE,
    deinterlace: bool = True,
    on_step: OnStep | None = None,
    overwrite: bool = True,
) -> CartoonVideo:
    """Draws a video into an H.264 file, whole or not at all.

    Times of frames, sound, tags of colours, pixel aspect and rotation stay as they are, as
    `atelier.media.movies.change_movie` says. Frames become 8-bit 4:2:0 with even sides: of odd ones
    the last row or column is left out.

    Args:
        source: a file that FFmpeg reads.
        out: a .mp4, .m4v, .mov or .mkv file.
        preset: "report" or "fine".
        config: settings, instead of a preset's.
        segment: if given, a person is cut out: called with each frame, upright, uint8 (H, W, 3);
            gives a mask, float32 (H, W) in [0, 1].
        backdrop: gives what a cut-out person is laid on, for each frame, upright; opaque.
        deinterlace: whether frames that are marked as interlaced become progressive.
        on_step: called after each frame; the total is the file's own count, or an estimate. If it
            returns True, the run ends.
        overwrite: whether an existing file may be replaced.

    Raises:
        ImageError: the file cannot be read, is damaged or has no picture, or frames are too large.
        OutputError: `out` exists or cannot be written.
        SettingsError: another preset, or a suffix that is no such format.
        KeyboardInterrupt: `on_step` ended the run; nothing is written.
    """
    begin = time.perf_counter()
    config = settings_of(preset, config)
    artist = SteadyCartoon(config, segment=segment, backdrop=backdrop)
    flicker = Flicker()

    size: tuple[int, int] | None = None

    def change(frame: av.VideoFrame) -> av.VideoFrame:
        nonlocal size
        size = size or (frame.width, frame.height)  # Later frames may be of another.
        if segment is not None:
            artist.segment = _upright(segment, frame.rotation)
            artist.backdrop = _upright(backdrop, frame.rotation)
        image = to_rgb(frame, size)
        drawn = artist(image)
        flicker.add(image, drawn)
        return from_rgb(drawn, frame)

    movie = change_movie(
        source, out, lambda _: change, deinterlace=deinterlace, on_step=on_step, overwrite=overwrite
    )
    return CartoonVideo(
        path=movie.path,
        width=movie.width,
        height=movie.height,
        frames=movie.frames,
        cuts=artist.centroids.chosen - 1,
        flicker=flicker.value,
        seconds=time.perf_counter() - begin,
        notes=movie.notes,
    )


def _upright(look: Segment | Backdrop, rotation: int) -> Segment | Backdrop:
    """The same for pictures that are to be shown rotated, by degrees counterclockwise."""
    turns = round(rotation / 90)

    def turned(image: np.ndarray) -> np.ndarray:
        found = look(np.ascontiguousarray(np.rot90(image, turns)))
        return found if found.ndim == 1 else np.rot90(found, -turns)

    return turned
