"""What `python -m nst.run` does, once its arguments make sense."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from atelier import cli
from atelier.cli import jobs
from atelier.cli.inputs import Input, find_inputs, output_paths
from atelier.cli.jobs import Job, Outcome, Work
from atelier.cli.records import identify
from atelier.errors import SettingsError
from atelier.files import write_table
from atelier.media.animations import (
    change_animation,
    channels_of,
    first_only,
    open_animation,
    result_suffix,
    takes_all,
    with_channels,
)
from atelier.media.images import Picture, load_picture, sample, save_image
from atelier.progress import OnStep, Step, notify_all
from nst import styles
from nst.animation import Frames, Snapshots, plot_history
from nst.config import StyleTransferConfig
from nst.run import DEFAULT_STYLE, RunArguments
from nst.transfer import output_size, stylize


def plan(inputs: Sequence[Input], arguments: RunArguments) -> list[Job]:
    """Where the results of each photo go.

    Raises:
        SettingsError: two would have the same place.
    """
    planned = []
    paths = output_paths(
        inputs, arguments.out, suffix=lambda item: result_suffix(item.source, arguments.first_frame)
    )
    way = [flag for flag in ("every", "history") if getattr(arguments, flag)]
    way += ["animation"] if arguments.animation != "none" else []
    for item, path in zip(inputs, paths, strict=True):
        if way and takes_all(item.source, path, arguments.first_frame):
            raise SettingsError(
                f"--{way[0]} shows the way to one picture, and {item.name} has several: add "
                f"--first-frame"
            )
        animation, others = path.with_suffix(f".{arguments.animation}"), []
        if animation == path:
            raise SettingsError(
                f"--animation would replace the picture {path}; choose another --out"
            )
        if arguments.animation != "none":
            others.append(animation)
        if arguments.history:
            others += history_files(path)
        planned.append(Job(item, path, tuple(others)))
    return planned


def history_files(path: Path) -> tuple[Path, Path]:
    """The table and the plot of losses beside a result."""
    return path.with_suffix(".csv"), path.with_name(f"{path.stem}.history.png")


def repaint(
    job: Job, paintings: Sequence[str], arguments: RunArguments, on_step: OnStep
) -> Outcome:
    """Repaints one photo, and writes all that was asked for."""
    if takes_all(job.item.source, job.path, arguments.first_frame):
        return _repaint_all(job, paintings, arguments, on_step)
    config, path = cli.settings(StyleTransferConfig, arguments), job.path
    content = load_picture(job.item.source, alpha="keep")
    metadata = content.metadata.stripped() if arguments.strip else content.metadata
    frames = snapshots = None
    if arguments.animation != "none":
        file, size = path.with_suffix(f".{arguments.animation}"), output_size(content.image, config)
        frames = Frames(size, file, overwrite=job.overwrite)
    if arguments.every:
        snapshots = Snapshots(path, arguments.every, job.overwrite, metadata)
    with frames or contextlib.nullcontext():
        with cli.progress_bar(path.name) as bar:
            listener = notify_all(bar, on_step, frames, snapshots)
            result = stylize(content, paintings, config, on_step=listener)
        notes = save_image(path, result.image, overwrite=job.overwrite, metadata=metadata)
    if not arguments.first_frame:
        notes = (*notes, *first_only(job.item.source))
    if arguments.history and result.history:
        table, plot = history_files(path)
        write_table(table, result.history)
        plot_history([result], [path.stem], plot)
    record = {
        "input": job.item.name,
        "styles": list(paintings),
        "output": str(path),
        "height": result.image.shape[0],
        "width": result.image.shape[1],
        "features": result.features,
        "precision": result.precision,
        "precision_reason": result.precision_reason,
        "steps": len(result.history),
        "loss": result.loss.total,
        **dataclasses.asdict(result.loss),
        "seconds": round(result.seconds, 2),
        "notes": notes,
    }
    network = f"{result.features} in {result.precision}"
    line = f"{path}: {result.seconds:.1f} s, {network}, loss {result.loss.total:.4g}"
    line = "; ".join((line, *notes))
    return Outcome(record, line, also=tuple(snapshots.written) if snapshots else ())


def _repaint_all(
    job: Job, paintings: Sequence[str], arguments: RunArguments, on_step: OnStep
) -> Outcome:
    """Repaints all frames of an animation, or all pages of a TIFF file, each for itself."""
    config, path = cli.settings(StyleTransferConfig, arguments), job.path
    start, results = time.perf_counter(), []
    animation = open_animation(job.item.source)
    stopped = False
    with cli.progress_bar(path.name) as bar:
        tell = notify_all(bar, on_step)

        def repaint_one(picture: Picture) -> np.ndarray:
            done = len(results)

            def on_own(step: Step) -> bool:
                nonlocal stopped
                number, total = done * step.total + step.number, len(animation) * step.total
                stopped = bool(tell(dataclasses.replace(step, number=number, total=total)))
                return stopped

            image = with_channels(picture.image, channels_of(picture.image))
            content = dataclasses.replace(picture, image=image)
            result = stylize(content, paintings, config, on_step=on_own)
            if stopped:  # A part of an animation is no result.
                raise KeyboardInterrupt
            results.append(dataclasses.replace(result, image=None, history=()))
            return result.image

        written = change_animation(
            animation, path, repaint_one, strip=arguments.strip, overwrite=job.overwrite
        )
    seconds, last = time.perf_counter() - start, results[-1]
    loss = sum(result.loss.total for result in results) / len(results)
    record = {
        "input": job.item.name,
        "styles": list(paintings),
        "output": str(path),
        "height": written.height,
        "width": written.width,
        "frames": written.frames,
        "features": last.features,
        "precision": last.precision,
        "precision_reason": last.precision_reason,
        "loss": loss,
        "seconds": round(seconds, 2),
        "notes": written.notes,
    }
    network = f"{last.features} in {last.precision}"
    frames = f"{written.frames} {animation.unit}s"
    line = f"{path}: {frames}, {seconds:.1f} s, {network}, mean loss {loss:.4g}"
    return Outcome(record, "; ".join((line, *written.notes)))


def execute(arguments: RunArguments) -> int:
    """Does what the command was asked for; returns its exit code."""
    if arguments.every < 0:
        raise SettingsError(f"--every must be 0 or more, not {arguments.every}")
    photo, *paintings = arguments.inputs or [sample("astronaut.png")]
    paintings = paintings or [DEFAULT_STYLE]
    for painting in paintings:
        styles.open_style(painting)  # A bad painting fails all photos: better at once.
        if painting not in styles.names():
            notes = load_picture(painting).metadata.stripped().notes
            cli.print_notes(f"{painting}: {note}" for note in notes)
    inputs = find_inputs([photo], outs=[arguments.out])

    def worker() -> Work:
        return jobs.one_by_one(lambda job, step: repaint(job, paintings, arguments, step))

    return jobs.run(
        plan(inputs, arguments),
        worker,
        arguments,
        command="nst.run",
        neutral=("preset", "animation", "history"),
        more={"styles": [p if p in styles.names() else identify(Path(p)) for p in paintings]},
    )
