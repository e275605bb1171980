"""Objects found in videos: frame by frame, drawn, the sound kept."""

from __future__ import annotations

import collections
import dataclasses
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import av
import numpy as np

from atelier.media.movies import change_movie, from_rgb, to_rgb
from atelier.progress import OnStep
from detection import predict
from detection.config import DetectConfig
from detection.detections import Detections
from detection.draw import draw

DEFAULT = DetectConfig()


@dataclasses.dataclass(frozen=True)
class DetectionVideo:
    """A video with boxes."""

    path: Path
    """The file."""
    width: int
    """Of the frames as they are shown, in which boxes are stated: rotated as the file asks for."""
    height: int
    """Likewise."""
    frames: int
    """How many there are."""
    most: Mapping[str, int]
    """The most objects of each class that one frame shows, for the classes found."""
    seconds: float
    """From opening the video to the end."""
    notes: tuple[str, ...] = ()
    """A line for each thing beside the pictures that is not as it was, such as a sound track that
    is left out."""


def detect_video(
    source: str | os.PathLike,
    out: str | os.PathLike,
    *,
    config: DetectConfig = DEFAULT,
    on_found: Callable[[int, Detections], object] | None = None,
    deinterlace: bool = True,
    on_step: OnStep | None = None,
    overwrite: bool = True,
) -> DetectionVideo:
    """Draws what is found on each frame of a video into an H.264 file, whole or not at all.

    Times of frames, sound, tags of colours, pixel aspect and rotation stay as they are, as
    `atelier.media.movies.change_movie` says. Frames become 8-bit 4:2:0 with even sides: of odd ones
    the last row or column is left out.

    Args:
        source: a file that FFmpeg reads.
        out: a .mp4, .m4v, .mov or .mkv file.
        config: by what objects are found, and what is kept.
        on_found: called with the number of each frame, from 1, and what was found on it, in pixels
            of the frame as it is shown.
        deinterlace: whether frames that are marked as interlaced become progressive.
        on_step: called after each frame; the total is the file's own count, or an estimate. If it
            returns True, the run ends.
        overwrite: whether an existing file may be replaced.

    Raises:
        ImageError: the file cannot be read, is damaged or has no picture, or frames are too large.
        OutputError: `out` exists or cannot be written.
        SettingsError: no such model, or a suffix that is no such format.
        WeightsError: weights that are missing or damaged.
        KeyboardInterrupt: `on_step` ended the run; nothing is written.
    """
    begin = time.perf_counter()
    detector = predict.load_detector(config)
    most: collections.Counter[str] = collections.Counter()
    size: tuple[int, int] | None = None
    number = turns = 0

    def change(frame: av.VideoFrame) -> av.VideoFrame:
        nonlocal size, number, turns
        size, number = size or (frame.width, frame.height), number + 1  # Later ones may differ.
        turns = round(frame.rotation / 90)
        image = np.ascontiguousarray(np.rot90(to_rgb(frame, size), turns))
        found = predict.choose(detector.detect(image), config, detector.card)
        for label, count in collections.Counter(found.labels).items():
            most[label] = max(most[label], count)
        if on_found is not None:
            on_found(number, found)
        drawn = draw(image, found, classes=detector.classes)
        return from_rgb(np.rot90(drawn, -turns), frame)

    movie = change_movie(
        source, out, lambda _: change, deinterlace=deinterlace, on_step=on_step, overwrite=overwrite
    )
    stored = movie.width, movie.height
    width, height = stored[::-1] if turns % 2 else stored
    return DetectionVideo(
        path=movie.path,
        width=width,
        height=height,
        frames=movie.frames,
        most=dict(most.most_common()),
        seconds=time.perf_counter() - begin,
        notes=movie.notes,
    )
