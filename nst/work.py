"""What `python -m nst.run` does, once its arguments make sense."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from atelier import cli, jobs
from atelier.errors import SettingsError
from atelier.files import write_table
from atelier.images import load_picture, sample, save_image
from atelier.inputs import Input, find_inputs, output_paths
from atelier.jobs import Job, Outcome, Work
from atelier.progress import OnStep, notify_all
from atelier.records import identify
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
    for item, path in zip(inputs, output_paths(inputs, arguments.out), strict=True):
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


def execute(arguments: RunArguments) -> int:
    """Does what the command was asked for; returns its exit code."""
    if arguments.every < 0:
        raise SettingsError(f"--every must be 0 or more, not {arguments.every}")
    photo, *paintings = arguments.inputs or [sample("astronaut.png")]
    paintings = paintings or [DEFAULT_STYLE]
    for painting in paintings:
        styles.open_style(painting)  # A bad painting fails all photos: better at once.
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
