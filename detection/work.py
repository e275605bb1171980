"""What `python -m detection.run` does, once its arguments make sense."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from atelier import cli
from atelier.cli import jobs
from atelier.cli.inputs import Input, find_inputs, output_paths
from atelier.cli.jobs import STDOUT, Finished, Outcome, Work
from atelier.errors import OutputError, SettingsError
from atelier.media.animations import first_only
from atelier.media.images import READABLE, load_picture, sample, save_image, write_png
from atelier.media.movies import VIDEOS, movie_suffix
from atelier.progress import OnStep, notify_all
from detection import predict
from detection.annotations import plain
from detection.annotations.write import (
    as_records,
    from_records,
    write_coco,
    write_csv,
    write_voc,
    write_voc_list,
)
from detection.detections import Detections
from detection.draw import crops, draw
from detection.run import RunArguments
from detection.video import detect_video


@dataclasses.dataclass(frozen=True)
class Job(jobs.Job):
    """An input, and where what is made of it goes, `path` its drawing; None if not asked for."""

    xml: Path | None = None
    crops: Path | None = None


def is_video(item: Input) -> bool:
    """Whether an input is a video, by its suffix."""
    return item.relative.suffix.lower() in VIDEOS


def plan(inputs: Sequence[Input], arguments: RunArguments) -> list[Job]:
    """What is to be made of each input.

    Raises:
        SettingsError: two inputs would have the same output, or an output cannot hold what its
            input becomes.
    """

    def paths(folder: Path | None, suffix: str) -> Sequence[Path | None]:
        if folder is None:
            return [None] * len(inputs)
        return output_paths(inputs, folder, suffix=suffix, files=())

    drawings: Sequence[Path | None] = [None] * len(inputs)
    if arguments.out == STDOUT:
        if len(inputs) > 1:
            raise SettingsError(f"--out - takes one picture, but there are {len(inputs)} inputs")
        drawings = [STDOUT]
    elif arguments.draw:
        drawings = output_paths(
            inputs,
            arguments.out,
            suffix=lambda item: movie_suffix(item.relative) if is_video(item) else ".png",
            files=(*READABLE, *VIDEOS),
        )
    if arguments.coco is not None:
        times = collections.Counter(item.relative for item in inputs)
        name, most = max(times.items(), key=lambda pair: pair[1])
        if most > 1:
            raise SettingsError(f"--coco: two inputs would both be named {name}; run them apart")
    places = (
        drawings,
        paths(arguments.voc and arguments.voc / "Annotations", ".xml"),
        paths(arguments.crops, ""),
    )
    planned = [
        Job(item, path, tuple(filter(None, (xml, crops))), xml=xml, crops=crops)
        for item, path, xml, crops in zip(inputs, *places, strict=True)
    ]
    for job in planned:
        _check_kind(job, arguments)
    return planned


def _check_kind(job: Job, arguments: RunArguments) -> None:
    name, video = job.item.name, job.path is not None and job.path.suffix.lower() in VIDEOS
    if not is_video(job.item):
        if video:
            raise SettingsError(f"{name} is a picture: name it .png, not --out {job.path}")
        return
    if not arguments.draw:
        raise SettingsError(f"{name} is a video: those are drawn, without --no-draw")
    if not video:
        raise SettingsError(f"{name} is a video: name it .mp4, not --out {job.path}")
    for flag in ("coco", "voc", "crops"):
        if getattr(arguments, flag) is not None:
            raise SettingsError(f"{name} is a video: only --csv takes those, not --{flag}")


# === The work ===


def search(
    job: Job, arguments: RunArguments, detector: predict.Detector, on_step: OnStep
) -> Outcome:
    """Does one input."""
    more = {}
    if is_video(job.item):
        frames = more["frames"] = []
        try:
            facts, counts = _video(job, arguments, frames, on_step)
        except KeyboardInterrupt:  # No video, but rows that are right in themselves.
            line = f"{job.item.name}: stopped after {len(frames)} frames"
            return Outcome({}, line, more, partial=True)
    else:
        facts, counts = _picture(job, arguments, detector)
    name = "standard output" if job.path == STDOUT else job.path or job.item.name
    found = ", ".join(f"{count} {plain(label)}" for label, count in counts.items())
    if "frames" in facts:
        found = f"{facts['frames']} frames, {f'at most {found}' if found else 'nothing found'}"
    output = None if job.path is None else str(job.path)
    line = f"{name}: {found or 'nothing found'}, {facts['seconds']:.2f} s"
    line = "; ".join((line, *facts.get("notes", ())))
    return Outcome({"input": job.item.name, "output": output, **facts}, line, more)


def _picture(
    job: Job, arguments: RunArguments, detector: predict.Detector
) -> tuple[dict, Mapping[str, int]]:
    loaded, overwrite = load_picture(job.item.source), job.overwrite
    metadata = loaded.metadata.stripped() if arguments.strip else loaded.metadata
    photo, notes = loaded.image, loaded.metadata.stripped().notes
    begin = time.perf_counter()
    found = predict.choose(detector.detect(photo), arguments, detector.card)
    seconds = time.perf_counter() - begin
    if job.path is not None:
        drawn = draw(photo, found, classes=detector.classes)
        if job.path == STDOUT:
            notes = write_png(_standard_output(), drawn, metadata)
        else:
            notes = save_image(job.path, drawn, overwrite=overwrite, metadata=metadata)
    notes = (*notes, *first_only(job.item.source))
    if job.xml is not None:
        write_voc(job.xml, job.item.relative.name, photo.shape, found, overwrite=overwrite)
    if job.crops is not None:
        for name, part in zip(crop_names(found), crops(photo, found), strict=True):
            save_image(job.crops / name, part, overwrite=overwrite, metadata=metadata)
    facts = {
        "width": photo.shape[1],
        "height": photo.shape[0],
        "objects": as_records(found),
        "model": arguments.model,
        "seconds": round(seconds, 3),
        "notes": notes,
    }
    return facts, dict(collections.Counter(found.labels).most_common())


def _video(
    job: Job, arguments: RunArguments, frames: list, on_step: OnStep
) -> tuple[dict, Mapping[str, int]]:
    """Searches a video; adds the number and the objects of each frame to `frames`."""
    with cli.progress_bar(job.path.name) as bar:
        result = detect_video(
            job.item.source,
            job.path,
            config=arguments,
            on_found=lambda number, found: frames.append((number, as_records(found))),
            on_step=notify_all(bar, on_step),
            deinterlace=arguments.deinterlace,
            overwrite=job.overwrite,
        )
    facts = {
        "width": result.width,
        "height": result.height,
        "frames": result.frames,
        "most": result.most,
        "model": arguments.model,
        "seconds": round(result.seconds, 3),
        "notes": result.notes,
    }
    return facts, result.most


def crop_names(detections: Detections) -> list[str]:
    """Names of files for the objects of a picture, whatever their classes are called."""
    safe = [re.sub(r"[^\w -]", "_", plain(label, 60)).strip() for label in detections.labels]
    return [f"{number:02d}-{label}.png" for number, label in enumerate(safe, 1)]


def _standard_output() -> BinaryIO:
    try:
        return sys.stdout.buffer
    except AttributeError:  # A notebook's.
        raise OutputError("-: there is no standard output for a picture") from None


def worker(arguments: RunArguments) -> Work:
    """What searches inputs on a cluster; its detector is loaded."""
    detector = predict.load_detector(arguments)
    predict.check_classes(arguments.classes, detector.classes)
    return searcher(detector, arguments)


def searcher(detector: predict.Detector, arguments: RunArguments) -> Work:
    """What searches inputs by a detector."""
    return jobs.one_by_one(lambda job, on_step: search(job, arguments, detector, on_step))


def write_tables(finished: Finished, classes: Sequence[str], arguments: RunArguments) -> None:
    """Writes --csv, --coco and the list of --voc of all inputs that are done, and says so.

    Args:
        finished: those inputs.
        classes: all that the detector knows.
        arguments: the command's.

    Raises:
        OutputError: one of them cannot be written.
    """
    with contextlib.ExitStack() as files:
        add_rows = add_picture = lambda *_: None
        if arguments.csv:
            frames = any(is_video(job.item) for job, _ in finished)
            add_rows = files.enter_context(write_csv(arguments.csv, frames=frames))
        if arguments.coco:
            add_picture = files.enter_context(write_coco(arguments.coco, classes))
        for job, outcome in finished:
            record = outcome.record
            if is_video(job.item):
                for number, objects in outcome.more["frames"]:
                    add_rows(job.item.name, from_records(objects), number)
                continue
            found = from_records(record["objects"])
            add_rows(job.item.name, found)
            size = record["height"], record["width"]
            add_picture(job.item.relative.as_posix(), size, found)
    pages = [job.xml for job, _ in finished if job.xml is not None]
    if pages:
        top = arguments.voc / "Annotations"
        names = [page.relative_to(top).with_suffix("").as_posix() for page in pages]
        write_voc_list(arguments.voc, names)
    for path in filter(None, (arguments.csv, arguments.coco)):
        cli.print_note(str(path))


def execute(arguments: RunArguments) -> int:
    """Does what the command was asked for; returns its exit code."""
    outs = (arguments.out, arguments.voc, arguments.crops)
    inputs = find_inputs(arguments.inputs, (*READABLE, *VIDEOS), outs=outs) or [
        Input("astronaut.png", sample("astronaut.png"), Path("astronaut.png"))
    ]
    planned = plan(inputs, arguments)
    detector = predict.load_detector(arguments)
    predict.check_classes(arguments.classes, detector.classes)
    tables = list(filter(None, (arguments.csv, arguments.coco)))
    factory = functools.partial(searcher, detector, arguments)
    return jobs.run(
        planned,
        factory if arguments.cluster is None else functools.partial(worker, arguments),
        arguments,
        command="detection.run",
        place=arguments.place,
        at_end=lambda finished: write_tables(finished, detector.classes, arguments),
        tables=tables,
        neutral=("csv", "coco", "voc", "crops"),
    )
