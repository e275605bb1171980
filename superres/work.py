"""What `python -m superres.run` does, once its arguments make sense."""

from __future__ import annotations

import dataclasses
import functools
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from atelier import cli
from atelier.cli import jobs
from atelier.cli.inputs import Input, find_inputs, output_paths
from atelier.cli.jobs import Job, Outcome, Work
from atelier.errors import SettingsError
from atelier.media.animations import first_only, result_suffix, takes_all
from atelier.media.images import READABLE, load_image, resize, sample, save_image
from atelier.media.movies import VIDEOS, movie_suffix
from atelier.progress import OnStep, notify_all
from superres.animation import upscale_animation
from superres.compare import comparison
from superres.networks import load_network
from superres.run import RunArguments
from superres.upscaling import UpscaleConfig, upscale
from superres.video import upscale_video


def enlarge(job: Job, arguments: RunArguments, on_step: OnStep) -> Outcome:
    """Enlarges one input."""
    make = _enlarge_video if is_video(job.item) else _enlarge_picture
    if is_animation(job.item, job.path, arguments):
        make = _enlarge_animation
    with cli.progress_bar(job.path.name) as bar:
        (width, height), result, why, notes = make(job, arguments, notify_all(bar, on_step))
    record = {
        "input": job.item.name,
        "output": str(job.path),
        "width": width,
        "height": height,
        "model": result.model,
        "scale": result.scale,
        "seconds": round(result.seconds, 2),
        "notes": notes,
    }
    line = f"{job.path}: {width}×{height}, {why}, {result.seconds:.1f} s"
    return Outcome(record, "; ".join((line, *notes)))


def worker(arguments: RunArguments) -> Work:
    """What enlarges inputs; its networks are loaded."""
    for name in ("clean", "compressed") if arguments.model == "auto" else (arguments.model,):
        load_network(name, arguments.scale)
    return jobs.one_by_one(lambda job, on_step: enlarge(job, arguments, on_step))


def _enlarge_picture(job: Job, arguments: RunArguments, on_step: OnStep):
    config = dataclasses.asdict(cli.settings(UpscaleConfig, arguments))
    source = job.item.source
    result = upscale(source, **config, on_step=on_step)
    image, overwrite = result.image, job.overwrite
    metadata = result.metadata.stripped() if arguments.strip else result.metadata
    pixels = image[..., 0] if result.grey else image
    notes = save_image(job.path, pixels, overwrite=overwrite, metadata=metadata)
    if not arguments.first_frame:
        notes = (*notes, *first_only(source))
    for compared in job.others:
        sheet = comparison(load_image(source, alpha="keep")[..., :3], image[..., :3])
        save_image(compared, sheet, overwrite=overwrite)
    return image.shape[1::-1], result, f"{result.model} ({result.reason})", notes


def _enlarge_animation(job: Job, arguments: RunArguments, on_step: OnStep):
    config = dataclasses.asdict(cli.settings(UpscaleConfig, arguments))
    result = upscale_animation(
        job.item.source,
        job.path,
        **config,
        strip=arguments.strip,
        on_step=on_step,
        overwrite=job.overwrite,
    )
    why = f"{result.frames} frames, {result.model} ({result.reason})"
    return (result.width, result.height), result, why, result.notes


def _enlarge_video(job: Job, arguments: RunArguments, on_step: OnStep):
    config = dataclasses.asdict(cli.settings(UpscaleConfig, arguments))
    result = upscale_video(
        job.item.source,
        job.path,
        **config,
        on_step=on_step,
        deinterlace=arguments.deinterlace,
        overwrite=job.overwrite,
    )
    why = f"{result.frames} frames, {result.model}"
    return (result.width, result.height), result, why, result.notes


def plan(inputs: Sequence[Input], arguments: RunArguments) -> list[Job]:
    """Where the results of each input go.

    Raises:
        SettingsError: two would have the same place, or it cannot hold what an input becomes.
    """
    paths = output_paths(
        inputs,
        arguments.out,
        suffix=lambda item: (
            movie_suffix(item.relative)
            if is_video(item)
            else result_suffix(item.source, arguments.first_frame)
        ),
        files=(*READABLE, *VIDEOS),
    )
    planned = []
    for item, path in zip(inputs, paths, strict=True):
        if is_video(item) != (path.suffix.lower() in VIDEOS):
            kind, other = ("video", ".mp4") if is_video(item) else ("picture", ".png")
            raise SettingsError(f"{item.name} is a {kind}: name it {other}, not --out {path}")
        still = not is_video(item) and not is_animation(item, path, arguments)
        compared = arguments.compare and still
        others = (path.with_name(f"{path.stem}.compare.png"),) if compared else ()
        planned.append(Job(item, path, others))
    return planned


def is_video(item: Input) -> bool:
    """Whether an input is a video, by its suffix."""
    return item.relative.suffix.lower() in VIDEOS


def is_animation(item: Input, path: Path, arguments: RunArguments) -> bool:
    """Whether all frames of an input are to be enlarged into a file of several."""
    return not is_video(item) and takes_all(item.source, path, arguments.first_frame)


def example() -> Input:
    """The astronaut of scikit-image, halved, as a JPEG file of quality 75."""
    data = halved(load_image(sample("astronaut.png")), 75)
    return Input("astronaut.jpg", data, Path("astronaut.jpg"))


def halved(picture: np.ndarray, quality: int | None) -> bytes:
    """A picture at half its size, as a JPEG file of a quality; None: as PNG."""
    file = io.BytesIO()
    half = Image.fromarray(resize(picture, (picture.shape[0] // 2, picture.shape[1] // 2)))
    if quality is None:
        half.save(file, "PNG")
    else:
        half.save(file, "JPEG", quality=quality)
    return file.getvalue()


def execute(arguments: RunArguments) -> int:
    """Does what the command was asked for; returns its exit code."""
    inputs = find_inputs(arguments.inputs, (*READABLE, *VIDEOS), outs=[arguments.out])
    return jobs.run(
        plan(inputs or [example()], arguments),
        functools.partial(worker, arguments),
        arguments,
        command="superres.run",
        place=arguments.place,
        neutral=("compare", "tile"),
    )
