"""The way to the picture: as a GIF or MP4, as single images, as a plot of the losses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av
import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from atelier.files import atomic_path
from atelier.images import resize, save_image
from atelier.metadata import Metadata
from atelier.progress import Step
from nst.stylize import Stylization

FRAMES = 100
"""An animation has at most so many frames, evenly spread over the steps."""


class Frames:
    """Collects pictures of a run, as its `on_step`, to be written as an animation.

    Args:
        size: (height, width) of the frames; pictures of coarser levels are enlarged.
    """

    def __init__(self, size: tuple[int, int]):
        self.size = size
        self.frames: list[np.ndarray] = []

    def __call__(self, step: Step) -> None:
        interval = -(-step.total // (FRAMES - 1))
        if step.number == 1 or step.number % interval == 0:
            self.frames.append(resize(step.image()[..., :3], self.size))

    def save(self, path: Path, *, seconds: float = 5.0, overwrite: bool = True) -> None:
        """Writes the frames as .gif or .mp4 (H.264), the last one held for a second.

        Raises:
            OutputError: the file exists or cannot be written.
        """
        rate = max(1, round(len(self.frames) / seconds))
        with atomic_path(path, overwrite=overwrite) as temporary:
            if path.suffix == ".gif":
                pictures = [Image.fromarray(frame) for frame in self.frames]
                durations = [1000 // rate] * (len(pictures) - 1) + [1000]
                pictures[0].save(
                    temporary,
                    save_all=True,
                    append_images=pictures[1:],
                    duration=durations,
                    loop=0,
                )
            else:
                self._save_mp4(temporary, rate)

    def _save_mp4(self, path: Path, rate: int) -> None:
        with av.open(str(path), "w", format="mp4") as container:
            stream = container.add_stream("h264", rate=rate)
            # Players want 4:2:0 colour, which wants even sides.
            stream.height, stream.width = (side // 2 * 2 for side in self.size)
            stream.pix_fmt = "yuv420p"
            for frame in [*self.frames, *[self.frames[-1]] * rate]:
                frame = np.ascontiguousarray(frame[: stream.height, : stream.width])
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode())


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
