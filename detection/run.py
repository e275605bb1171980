"""Finds objects on pictures: `python -m detection.run INPUT… --out FOLDER`."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import tyro

from atelier import batches, cli
from atelier.batches import Outcome
from atelier.errors import OutputError, SettingsError
from atelier.images import READABLE, load_image, sample, save_image, write_png
from atelier.manifest import Manifest
from atelier.movies import VIDEOS, movie_suffix
from atelier.progress import OnStep, notify_all
from detection import predict
from detection.annotations import plain
from detection.annotations.write import (
    AddPicture,
    AddRows,
    as_records,
    from_records,
    write_coco,
    write_csv,
    write_voc,
)
from detection.config import DetectConfig
from detection.detections import Detections
from detection.draw import crops, draw
from detection.video import detect_video

STDOUT = Path("-")


@dataclasses.dataclass(frozen=True)
class RunArguments(batches.ClusterSettings, DetectConfig):
    """Find objects on pictures and videos, and draw boxes around them.

    With no input, a picture that comes with scikit-image is searched, if the model is not that for
    blood cells, which none of them shows.
    """

    inputs: tyro.conf.Positional[tuple[str, ...]] = ()
    """Pictures and videos: files, folders, .txt lists of files, or - for a picture on standard
    input."""
    out: Path = Path("out/detection")
    """Where to: a folder, in which results keep the inputs' names, pictures as .png and videos in
    their own format where it can be written (.mov, .mkv), else as .mp4; the name of a picture's or
    video's file; or - for a PNG on standard output."""
    draw: bool = True
    """Draw the boxes; else only what is asked for below is written."""
    csv: Path | None = None
    """A table with a row an object."""
    coco: Path | None = None
    """A data set in COCO's form: one JSON file of all pictures, with scores."""
    voc: Path | None = None
    """A folder for NAME.xml of each picture, in Pascal VOC's form, as labelImg reads it."""
    crops: Path | None = None
    """A folder for what is in the boxes: NAME/01-person.png and so on, the surest first."""
    overwrite: bool = False
    """Replace existing results."""
    json: bool = False
    """Print one JSON object a result on standard output."""

    def __post_init__(self):
        super().__post_init__()
        self.check_cluster()
        files = {"csv": self.csv, "coco": self.coco, "voc": self.voc, "crops": self.crops}
        given = {name: path for name, path in files.items() if path is not None}
        for name, path in given.items():
            if path == STDOUT:
                raise SettingsError(f"--{name} takes a path, and cannot write to standard output")
        if self.csv is not None and self.csv == self.coco:
            raise SettingsError(f"--csv and --coco would both write {self.csv}")
        if not self.draw and not given and not self.json:
            flags = ", ".join(f"--{name}" for name in (*files, "json"))
            raise SettingsError(f"--no-draw leaves nothing to do: pass one of {flags}")
        if self.out == STDOUT and self.json:
            raise SettingsError("--json and --out - would both write to standard output")
        if self.out == STDOUT and not self.draw:
            raise SettingsError("--out - takes the drawing: drop --no-draw")


@dataclasses.dataclass(frozen=True)
class Job(batches.Job):
    """An input, and where what is made of it goes, `path` its drawing; None if not asked for."""

    xml: Path | None = None
    crops: Path | None = None


def is_video(item: cli.Input) -> bool:
    """Whether an input is a video, by its suffix."""
    return item.relative.suffix.lower() in VIDEOS


def plan(inputs: Sequence[cli.Input], arguments: RunArguments) -> list[Job]:
    """What is to be made of each input.

    Raises:
        SettingsError: two inputs would have the same output, or an output cannot hold what its
            input becomes.
    """

    def paths(folder: Path | None, suffix: str) -> Sequence[Path | None]:
        if folder is None:
            return [None] * len(inputs)
        return cli.output_paths(inputs, folder, suffix=suffix, files=())

    drawings: Sequence[Path | None] = [None] * len(inputs)
    if arguments.out == STDOUT:
        if len(inputs) > 1:
            raise SettingsError(f"--out - takes one picture, but there are {len(inputs)} inputs")
        drawings = [STDOUT]
    elif arguments.draw:
        drawings = cli.output_paths(
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
    places = (drawings, paths(arguments.voc, ".xml"), paths(arguments.crops, ""))
    jobs = [
        Job(item, path, tuple(filter(None, (xml, crops))), xml, crops)
        for item, path, xml, crops in zip(inputs, *places, strict=True)
    ]
    for job in jobs:
        _check_kind(job, arguments)
    return jobs


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


def work(
    job: Job,
    arguments: RunArguments,
    detector: predict.Detector,
    add_rows: AddRows,
    add_picture: AddPicture,
) -> None:
    """Does one input, and tells of it."""
    to_check = dataclasses.replace(job, path=None) if job.path == STDOUT else job
    to_check.refuse_existing(arguments.overwrite)
    with cli.stop_on_signal() as stopped:
        outcome = search(job, arguments, detector, add_rows, add_picture, stopped)
        interrupted = stopped(None)
    outcome.tell(json=arguments.json)
    if interrupted:
        raise KeyboardInterrupt


def _nothing(*_) -> None:
    """Adds no rows."""


def search(
    job: Job,
    arguments: RunArguments,
    detector: predict.Detector,
    add_rows: AddRows = _nothing,
    add_picture: AddPicture = _nothing,
    stopped: OnStep | None = None,
) -> Outcome:
    """Does one input."""
    if is_video(job.item):
        facts, counts = _video(job, arguments, add_rows, stopped)
    else:
        facts, counts = _picture(job, arguments, detector, add_rows, add_picture)
    name = "standard output" if job.path == STDOUT else job.path or job.item.name
    found = ", ".join(f"{count} {plain(label)}" for label, count in counts.items())
    if "frames" in facts:
        found = f"{facts['frames']} frames, {f'at most {found}' if found else 'nothing found'}"
    output = None if job.path is None else str(job.path)
    line = f"{name}: {found or 'nothing found'}, {facts['seconds']:.2f} s"
    line = "; ".join((line, *facts.get("notes", ())))
    return Outcome({"input": job.item.name, "output": output, **facts}, line)


def _picture(
    job: Job,
    arguments: RunArguments,
    detector: predict.Detector,
    add_rows: AddRows,
    add_picture: AddPicture,
) -> tuple[dict, Mapping[str, int]]:
    photo, overwrite = load_image(job.item.source), arguments.overwrite
    begin = time.perf_counter()
    found = predict.choose(detector.detect(photo), arguments, detector.card)
    seconds = time.perf_counter() - begin
    if job.path is not None:
        drawn = draw(photo, found, classes=detector.classes)
        if job.path == STDOUT:
            write_png(_standard_output(), drawn)
        else:
            save_image(job.path, drawn, overwrite=overwrite)
    if job.xml is not None:
        write_voc(job.xml, job.item.relative.name, photo.shape, found, overwrite=overwrite)
    if job.crops is not None:
        for name, part in zip(crop_names(found), crops(photo, found), strict=True):
            save_image(job.crops / name, part, overwrite=overwrite)
    add_rows(job.item.name, found)
    add_picture(job.item.relative.as_posix(), photo.shape, found)
    facts = {
        "width": photo.shape[1],
        "height": photo.shape[0],
        "objects": as_records(found),
        "model": arguments.model,
        "seconds": round(seconds, 3),
        "notes": (),
    }
    return facts, dict(collections.Counter(found.labels).most_common())


def _video(
    job: Job, arguments: RunArguments, add_rows: AddRows, stopped: OnStep | None
) -> tuple[dict, Mapping[str, int]]:
    with cli.progress_bar(job.path.name) as bar:
        result = detect_video(
            job.item.source,
            job.path,
            config=arguments,
            on_found=lambda number, found: add_rows(job.item.name, found, number),
            on_step=notify_all(bar, stopped),
            overwrite=arguments.overwrite,
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


@contextlib.contextmanager
def _tables(
    jobs: Sequence[Job], detector: predict.Detector, arguments: RunArguments
) -> Iterator[tuple[AddRows, AddPicture]]:
    """What adds to --csv and --coco, which appear when the block ends, after Ctrl-C too."""
    add_rows, add_picture = _nothing, _nothing
    with contextlib.ExitStack() as files:
        if arguments.csv:
            frames = any(is_video(job.item) for job in jobs)
            table = write_csv(arguments.csv, frames=frames, overwrite=arguments.overwrite)
            add_rows = files.enter_context(table)
        if arguments.coco:
            dataset = write_coco(arguments.coco, detector.classes, overwrite=arguments.overwrite)
            add_picture = files.enter_context(dataset)
        yield add_rows, add_picture


# === On a cluster ===


def worker(arguments: RunArguments) -> batches.Work:
    """What searches inputs on a cluster; its detector is loaded."""
    detector = predict.load_detector(arguments)
    predict.check_classes(arguments.classes, detector.classes)

    def search_job(job: Job, overwrite: bool) -> Outcome:
        return search(job, dataclasses.replace(arguments, overwrite=overwrite), detector)

    return batches.one_by_one(search_job)


def run_on_cluster(jobs: Sequence[Job], detector: predict.Detector, arguments: RunArguments) -> int:
    """Searches inputs on a cluster; returns the exit code, see `atelier.batches.run`.

    Raises:
        SettingsError: a table of videos' frames, which are not collected.
    """
    if arguments.csv:
        for job in (job for job in jobs if is_video(job.item)):
            raise SettingsError(f"{job.item.name} is a video: with --cluster, --csv takes pictures")
    tables = list(filter(None, (arguments.csv, arguments.coco)))

    def write(manifest: Manifest) -> None:
        with _tables(jobs, detector, dataclasses.replace(arguments, overwrite=True)) as (
            add_rows,
            add_picture,
        ):
            for number, record in manifest.records():
                found = from_records(record.get("objects", ()))
                add_rows(record["input"], found)
                size = record["height"], record["width"]
                add_picture(jobs[number].item.relative.as_posix(), size, found)
        for path in tables:
            cli.say(str(path))

    return batches.run(
        jobs,
        functools.partial(worker, arguments),
        arguments,
        command="detection.run",
        at_end=write,
        tables=tables,
        afterwards=("csv", "coco"),
    )


@cli.command
def main(argv: Sequence[str]) -> int:
    arguments = cli.parse(RunArguments, argv, prog="python -m detection.run")
    inputs = cli.find_inputs(arguments.inputs, (*READABLE, *VIDEOS)) or [
        cli.Input("astronaut.png", sample("astronaut.png"), Path("astronaut.png"))
    ]
    jobs = plan(inputs, arguments)
    detector = predict.load_detector(arguments)
    predict.check_classes(arguments.classes, detector.classes)
    if arguments.cluster is not None:
        return run_on_cluster(jobs, detector, arguments)
    with _tables(jobs, detector, arguments) as (add_rows, add_picture):
        code = cli.for_each(
            (
                job.item.name,
                functools.partial(work, job, arguments, detector, add_rows, add_picture),
            )
            for job in jobs
        )
    for path in filter(None, (arguments.csv, arguments.coco)):
        cli.say(str(path))
    return code


if __name__ == "__main__":
    sys.exit(main())
