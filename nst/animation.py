"""The way to the picture: as a GIF or MP4, as single images, as a plot of the losses."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import av
import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from atelier.files import atomic_path
from atelier.media.formats.metadata import Metadata
from atelier.media.images import fit_size, resize, save_image
from atelier.progress import Step
from nst.transfer import Stylization

FRAMES = 100
"""An animation has at most so many frames, evenly spread over the steps."""

LOOKAHEAD = 8
"""Frames that the H.264 encoder holds back to plan ahead; its usual 40 take much memory."""

GIF_SIDE, MP4_SIDE = 720, 1920
"""The longest side of an animation's frames, pixels."""


class Frames:
    """Writes pictures of a run as an animation, as its `on_step`, the last one held for a second.

    To be used in a `with` block, whose good end finishes the file; without a picture there is none.
    Of an MP4 file each frame is coded as it comes, of a GIF file it is kept with 256 colours.

    Args:
        size: (height, width) of the result; frames are at most `GIF_SIDE` or `MP4_SIDE` large, and
            pictures of coarser levels are enlarged.
        path: the file, .gif or .mp4 (H.264).
        seconds: the length of the animation.
        overwrite: whether an existing file may be replaced.

    Raises:
        OutputError: the file exists or cannot be written.
    """

    def __init__(
        self, size: tuple[int, int], path: Path, *, seconds: float = 5.0, overwrite: bool = True
    ):
        self.path, self.seconds, self.overwrite = path, seconds, overwrite
        self.gif = path.suffix == ".gif"
        self.size = fit_size(size, min(GIF_SIDE if self.gif else MP4_SIDE, max(size)))
        if not self.gif:  # Players want 4:2:0 colour, which wants even sides.
            self.size = tuple(max(2, side // 2 * 2) for side in self.size)
        self.count = 0
        """Of the frames so far."""
        self._files = contextlib.ExitStack()
        self._writer: _Gif | _Mp4 | None = None

    def __enter__(self) -> Frames:
        return self

    def __exit__(self, *error) -> bool | None:
        if error[0] is None and self._writer is not None:
            with self._files:
                self._writer.finish()
            return None
        return self._files.__exit__(*error)

    def __call__(self, step: Step) -> None:
        interval = -(-step.total // (FRAMES - 1))
        if step.number != 1 and step.number % interval:
            return
        if self._writer is None:
            # As atomic as all files, though it takes shape from the first step on.
            file = self._files.enter_context(atomic_path(self.path, overwrite=self.overwrite))
            expected = step.total // interval + (interval > 1)
            rate = max(1, round(expected / self.seconds))
            self._writer = _Gif(file, rate) if self.gif else _Mp4(file, self.size, rate)
        self._writer.add(resize(step.image()[..., :3], self.size))
        self.count += 1


class _Gif:
    """Keeps frames with 256 colours each, and writes them at the end."""

    def __init__(self, file: Path, rate: int):
        self.file, self.rate, self.frames = file, rate, []

    def add(self, frame: np.ndarray) -> None:
        colours = Image.Palette.ADAPTIVE
        self.frames.append(Image.fromarray(frame).convert("P", palette=colours))

    def finish(self) -> None:
        first, *others = self.frames
        durations = [1000 // self.rate] * len(others) + [1000]
        options = {"append_images": others, "duration": durations, "loop": 0}
        first.save(self.file, "GIF", save_all=True, **options)


class _Mp4:
    """Codes frames as they come."""

    def __init__(self, file: Path, size: tuple[int, int], rate: int):
        self.rate, self.last = rate, None
        self.container = av.open(str(file), "w", format="mp4")
        options = {"rc-lookahead": str(LOOKAHEAD)}
        self.stream = self.container.add_stream("h264", rate=rate, options=options)
        self.stream.height, self.stream.width = size
        self.stream.pix_fmt = "yuv420p"

    def add(self, frame: np.ndarray) -> None:
        self.last = np.ascontiguousarray(frame)
        coded = av.VideoFrame.from_ndarray(self.last, format="rgb24")
        self.container.mux(self.stream.encode(coded))

    def finish(self) -> None:
        with self.container:
            for _ in range(self.rate):
                self.add(self.last)
            self.container.mux(self.stream.encode())


class Snapshots:
    """Writes the picture every so many steps, as a run's `on_step`.

    Args:
        path: of the final result; snapshots get the step's number appended to the stem.
        every: steps between snapshots.
        overwrite: whether existing snapshots may be replaced.
        metadata: of the photo.
    """

    def __init__(
        self, path: Path, every: int, overwrite: bool = True, metadata: Metadata | None = None
    ):
        self.path, self.every, self.overwrite = path, every, overwrite
        self.metadata = metadata
        self.written: list[Path] = []
        """The snapshots so far."""

    def __call__(self, step: Step) -> None:
        if step.number % self.every == 0:
            path = self.path.with_name(f"{self.path.stem}.{step.number:05d}{self.path.suffix}")
            save_image(path, step.image(), overwrite=self.overwrite, metadata=self.metadata)
            self.written.append(path)


def plot_history(results: Sequence[Stylization], names: Sequence[str], path: Path) -> None:
    """Draws the losses of runs by step, on a logarithmic scale, into a .png or .svg file."""
    with matplotlib.rc_context({"font.size": 9}):
        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.subplots()
        for result, name in zip(results, names, strict=True):
            steps = [row["step"] for row in result.history]
            (line,) = axes.plot(steps, [row["loss"] for row in result.history], label=name)
            for term, style in (("content", "--"), ("style", ":")):
                values = [row[term] for row in result.history]
                if any(values):
                    label = f"{name}, {term}" if len(results) == 1 else None
                    axes.plot(steps, values, style, color=line.get_color(), lw=1, label=label)
        axes.set(xlabel="step", ylabel="loss", yscale="log")
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
        with atomic_path(path) as temporary:
            figure.savefig(temporary, dpi=150)
