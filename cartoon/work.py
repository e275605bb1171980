"""What `python -m cartoon.run` does, once its arguments make sense."""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from atelier import cli
from atelier.cli import jobs
from atelier.cli.inputs import Input, find_inputs, output_paths
from atelier.cli.jobs import STDOUT, Job, Outcome, Work
from atelier.errors import OutputError, SettingsError
from atelier.media.animations import first_only, result_suffix, takes_all
from atelier.media.images import READABLE, Picture, load_picture, sample, save_image, write_png
from atelier.media.movies import VIDEOS, movie_suffix
from atelier.progress import OnStep, notify_all
from cartoon.animation import cartoonize_animation
from cartoon.drawing.backdrop import Backdrop, compose, find_backdrop
from cartoon.drawing.cartoonizing import cartoonize
from cartoon.people import person
from cartoon.people.cutting import cut_out, find_people
from cartoon.portrait import portray
from cartoon.run import RunArguments
from cartoon.video import cartoonize_video


def draw(job: Job, arguments: RunArguments, backdrop: Backdrop, on_step: OnStep) -> Outcome:
    """Draws one input."""
    make = _video if is_video(job.item) else _picture
    if not is_video(job.item) and takes_all(job.item.source, job.path, arguments.first_frame):
        make = _animation
    facts = make(job, arguments, backdrop, on_step)
    name = "standard output" if job.path == STDOUT else job.path
    frames = f", {facts['frames']} frames" if "frames" in facts else ""
    told = ""
    if not facts.get("found", True):
        all_of_it = arguments.draw and not arguments.only_mask
        told = f", nobody found{': all of it is drawn' if all_of_it else ''}"
    line = f"{name}: {facts['width']}×{facts['height']}{frames}{told}, {facts['seconds']:.1f} s"
    line = "; ".join((line, *facts.get("notes", ())))
    return Outcome({"input": job.item.name, "output": str(job.path), **facts}, line)


def worker(arguments: RunArguments) -> Work:
    """What draws inputs; its model is loaded."""
    backdrop = find_backdrop(arguments.behind)
    if arguments.cut_out and arguments.segmenter == "person":
        person.embedded()
    return jobs.one_by_one(lambda job, on_step: draw(job, arguments, backdrop, on_step))


def _make(photo: Picture, arguments: RunArguments, backdrop: Backdrop):
    """What becomes of a picture, uint8, and the result that it comes from."""
    if not arguments.cut_out:
        result = cartoonize(photo, config=arguments.drawing)
        return result.image, result
    if arguments.only_mask or not arguments.draw:
        result = cut_out(photo, config=arguments.cutting)
        if arguments.only_mask:
            return np.rint(255 * result.mask).astype(np.uint8), result
        return compose(result.image[..., :3], result.mask, photo.image, backdrop), result
    result = portray(
        photo, background=backdrop, config=arguments.drawing, cutting=arguments.cutting
    )
    return result.image, result


def _picture(job: Job, arguments: RunArguments, backdrop: Backdrop, _: OnStep) -> dict:
    photo = load_picture(job.item.source, alpha="keep")
    image, result = _make(photo, arguments, backdrop)
    metadata = photo.metadata.stripped() if arguments.strip else photo.metadata
    if job.path == STDOUT:
        notes = write_png(_standard_output(), image, metadata)
    else:
        notes = save_image(job.path, image, overwrite=job.overwrite, metadata=metadata)
    if not arguments.first_frame:
        notes = (*notes, *first_only(job.item.source))
    facts = {"width": image.shape[1], "height": image.shape[0], "preset": arguments.method}
    if arguments.cut_out:
        facts |= {"found": result.found, "segmenter": arguments.segmenter}
    return {**facts, "seconds": round(result.seconds, 2), "notes": notes}


def _standard_output() -> BinaryIO:
    try:
        return sys.stdout.buffer
    except AttributeError:  # A notebook's.
        raise OutputError("-: there is no standard output for a picture") from None


def _animation(job: Job, arguments: RunArguments, backdrop: Backdrop, on_step: OnStep) -> dict:
    change = None
    if arguments.only_mask or not arguments.draw:

        def change(picture):
            return _make(picture, arguments, backdrop)[0]

    with cli.progress_bar(job.path.name) as bar:
        result = cartoonize_animation(
            job.item.source,
            job.path,
            config=arguments.drawing,
            cutting=arguments.cutting if arguments.cut_out else None,
            backdrop=backdrop,
            change=change,
            strip=arguments.strip,
            on_step=notify_all(bar, on_step),
            overwrite=job.overwrite,
        )
    facts = {"width": result.width, "height": result.height, "preset": arguments.method}
    if arguments.cut_out:
        facts |= {"segmenter": arguments.segmenter}
    facts |= {"frames": result.frames, "seconds": round(result.seconds, 2)}
    return {**facts, "notes": result.notes}


def _video(job: Job, arguments: RunArguments, backdrop: Backdrop, on_step: OnStep) -> dict:
    segment = None
    if arguments.cut_out:

        def segment(frame):
            return find_people(frame, arguments.cutting)[0]

    with cli.progress_bar(job.path.name) as bar:
        result = cartoonize_video(
            job.item.source,
            job.path,
            config=arguments.drawing,
            segment=segment,
            backdrop=backdrop,
            on_step=notify_all(bar, on_step),
            deinterlace=arguments.deinterlace,
            overwrite=job.overwrite,
        )
    facts = {"width": result.width, "height": result.height, "preset": arguments.method}
    if arguments.cut_out:
        facts |= {"segmenter": arguments.segmenter}
    flicker = None if result.flicker is None else round(result.flicker, 3)
    seconds = round(result.seconds, 2)
    facts |= {"frames": result.frames, "flicker": flicker, "seconds": seconds}
    return {**facts, "notes": result.notes}


def is_video(item: Input) -> bool:
    """Whether an input is a video, by its suffix."""
    return item.relative.suffix.lower() in VIDEOS


def check_kinds(
    inputs: Sequence[Input],
    paths: Sequence[Path],
    arguments: RunArguments,
    backdrop: Backdrop,
) -> None:
    """Refuses outputs that cannot hold what their inputs become."""
    for item, path in zip(inputs, paths, strict=True):
        if not is_video(item):
            if path.suffix.lower() in VIDEOS:
                raise SettingsError(f"{item.name} is a picture: name it .png, not --out {path}")
            continue
        if path.suffix.lower() not in VIDEOS:
            raise SettingsError(f"{item.name} is a video: name it .mp4, not --out {path}")
        if arguments.only_mask or not arguments.draw:
            flag = "--only-mask" if arguments.only_mask else "--no-draw"
            raise SettingsError(f"{item.name} is a video: those are drawn, without {flag}")
        if arguments.cut_out and backdrop(np.zeros((1, 1, 3), np.uint8)).shape[-1] == 4:
            raise SettingsError(
                f"{item.name} is a video, which has no transparency: choose another --background "
                f"than {arguments.behind}"
            )


def execute(arguments: RunArguments) -> int:
    """Does what the command was asked for; returns its exit code."""
    backdrop = find_backdrop(arguments.behind)  # What is wrong with it is wrong for all.
    inputs = find_inputs(arguments.inputs, (*READABLE, *VIDEOS), outs=[arguments.out]) or [
        Input("astronaut.png", sample("astronaut.png"), Path("astronaut.png"))
    ]
    if arguments.out == STDOUT:
        if len(inputs) > 1:
            raise SettingsError(f"--out - takes one picture, but there are {len(inputs)} inputs")
        paths = [STDOUT]
    else:
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
    check_kinds(inputs, paths, arguments, backdrop)
    return jobs.run(
        list(map(Job, inputs, paths)),
        functools.partial(worker, arguments),
        arguments,
        command="cartoon.run",
        place=arguments.place,
        neutral=("preset",),
    )
