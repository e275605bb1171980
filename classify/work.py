"""What `python -m classify.run` does, once its arguments make sense."""

from __future__ import annotations

import csv
import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from atelier import cli
from atelier.cli import jobs
from atelier.cli.inputs import Input, find_inputs, output_paths
from atelier.cli.jobs import Finished, Job, Outcome, Work
from atelier.errors import ImageError
from atelier.files import atomic_path
from atelier.media.animations import first_only
from atelier.media.images import fit_size, load_image, load_picture, resize, sample, save_image
from atelier.media.sheets import contact_sheet
from atelier.progress import OnStep
from classify.gradcam import grad_cam, overlay
from classify.networks import Network, load
from classify.predict import (
    NONE,
    Classification,
    classify_prepared,
    prepare,
    seen,
)
from classify.run import RunArguments

EXAMPLES = (
    "chelsea.png",
    "motorcycle_left.png",
    "rocket.jpg",
    "astronaut.png",
    "coffee.png",
    "camera.png",
    "hubble_deep_field.jpg",
    "retina.jpg",
    "ihc.png",
)
"""Pictures that come with scikit-image: a cat, and eight that are none of the ten or nearly so."""

BATCH = 64
"""Pictures that are classified, and held in memory, at once."""

LONGEST = 320
"""Longer side of pictures on the contact sheet and of overlays' originals, pixels."""


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture that was read, and as little of it as is needed."""

    job: Job
    small: np.ndarray
    """uint8 (32, 32, 3), for the network."""
    thumbnail: np.ndarray | None
    """uint8 (H, W, 3), for the sheet and the overlay, if there is to be any."""
    notes: tuple[str, ...] = ()
    """What a user is told of how its pixels were converted."""


class Classifier:
    """Classifies pictures in batches, and writes the overlays: an `atelier.cli.jobs.Work`.

    Args:
        network: by which.
        arguments: the command's.
        shown: of how many pictures it keeps what the contact sheet shows of them.
    """

    def __init__(self, network: Network, arguments: RunArguments, shown: int = 0):
        self.network, self.arguments, self.shown = network, arguments, shown
        self.thumbnails: dict[str, np.ndarray] = {}
        """uint8 (H, W, 3), by the input's name."""

    def __call__(
        self, todo: Iterable[Job], on_step: OnStep | None = None
    ) -> Iterator[tuple[Job, Outcome | Exception]]:
        batch = []
        for job in todo:
            try:
                batch.append(self._read(job))
            except Exception as error:
                yield job, error
                continue
            if len(batch) == BATCH:
                yield from self._classify(batch)
                batch = []
        if batch:
            yield from self._classify(batch)

    def _read(self, job: Job) -> Picture:
        loaded = load_picture(job.item.source)
        image = loaded.image
        small, thumbnail = prepare(image, self.arguments.fit), None
        shown = len(self.thumbnails) < self.shown
        if shown or job.path is not None:
            thumbnail = resize(image, fit_size(image.shape, LONGEST))
        if shown:
            self.thumbnails[job.item.name] = thumbnail
        return Picture(job, small, thumbnail, loaded.metadata.stripped().notes)

    def _classify(self, batch: Sequence[Picture]) -> Iterator[tuple[Job, Outcome | Exception]]:
        views = self.arguments.views or None
        images = np.stack([picture.small for picture in batch])
        try:
            results = classify_prepared(images, self.network, views)
        except Exception as error:
            if len(batch) == 1:
                yield batch[0].job, error
                return
            for picture in batch:  # One of them may be what cannot be classified.
                yield from self._classify([picture])
            return
        for picture, result in zip(batch, results, strict=True):
            job = picture.job
            try:
                if job.path is not None:
                    heat = grad_cam(picture.small, self.network, result.labels[0])
                    drawn = overlay(seen(picture.thumbnail, self.arguments.fit), heat)
                    save_image(job.path, drawn, overwrite=job.overwrite)
            except Exception as error:
                yield job, error
                continue
            notes = (*picture.notes, *first_only(job.item.source))
            record = to_record(job.item, result, self.arguments, notes)
            yield job, Outcome(record, said_of(record), {"caption": caption(job.item.name, result)})


def plan(inputs: Sequence[Input], arguments: RunArguments) -> list[Job]:
    """Each input, and where its overlay goes, if there is to be one.

    Raises:
        SettingsError: two overlays would have the same place.
    """
    paths: Sequence[Path | None] = [None] * len(inputs)
    if arguments.gradcam:
        paths = output_paths(inputs, arguments.out, suffix=".gradcam.png", files=())
    return list(map(Job, inputs, paths))


def sheet_and_table(arguments: RunArguments) -> tuple[Path, Path]:
    """Where they go."""
    return arguments.out / "contact_sheet.png", arguments.out / "classes.csv"


def run(inputs: Sequence[Input], arguments: RunArguments) -> int:
    """Classifies inputs, and writes what was asked for.

    Args:
        inputs: the pictures.
        arguments: the command's.

    Returns:
        The exit code, see `atelier.cli.jobs.run`.

    Raises:
        AtelierError: the network cannot be read, or the sheet or the table not be written.
        KeyboardInterrupt: Ctrl-C; what was done till then is written.
    """
    sheet, table = sheet_and_table(arguments)
    wanted = ((sheet, arguments.sheet), (table, arguments.csv))
    kept: dict[str, np.ndarray] = {}

    def worker() -> Work:
        classifier = Classifier(load(arguments.network), arguments, arguments.sheet)
        classifier.thumbnails = kept
        return classifier

    def write(finished: Finished) -> None:
        if arguments.csv:
            write_table(table, (outcome.record for _, outcome in finished), arguments)
        shown = []
        for job, outcome in finished:
            if len(shown) == arguments.sheet:
                break
            thumbnail = kept.get(job.item.name)
            if thumbnail is None:
                thumbnail = thumbnail_of(job)
            if thumbnail is not None:
                shown.append((thumbnail, outcome.more["caption"]))
        if shown:
            contact_sheet(*zip(*shown, strict=True), sheet, side=240)
            cli.print_note(str(sheet))

    return jobs.run(
        plan(inputs, arguments),
        worker if arguments.cluster is None else functools.partial(worker_on_cluster, arguments),
        arguments,
        command="classify.run",
        place=arguments.place,
        tell=lambda outcome: tell(outcome, arguments),
        at_end=write,
        tables=[path for path, is_wanted in wanted if is_wanted],
        neutral=("sheet", "csv"),
    )


def worker_on_cluster(arguments: RunArguments) -> Work:
    """What classifies pictures on a cluster; its network is loaded."""
    return Classifier(load(arguments.network), arguments)


def thumbnail_of(job: Job) -> np.ndarray | None:
    """What the sheet shows of a picture that was classified before, if it can still be read."""
    try:
        image = load_image(job.item.source)
    except ImageError:
        return None
    return resize(image, fit_size(image.shape, LONGEST))


# === What is said ===


def caption(name: str, result: Classification) -> str:
    """What the sheet says below a picture."""
    best = ", ".join(
        f"{label} {'over 99%' if probability > 0.99 else f'{probability:.0%}'}"
        for label, probability in zip(result.labels[:2], result.probabilities, strict=False)
        if probability >= 0.01
    )
    best = best if result.known else f"{NONE} ({result.labels[0]}?)"
    return f"{best}\n{Path(name).name}"


def write_table(path: Path, records: Iterable[Mapping], arguments: RunArguments) -> None:
    """Writes a row a picture, with its classes, the likeliest first; says so."""
    places = range(1, arguments.top + 1)
    columns = [f"{kind}_{place}" for place in places for kind in ("label", "probability")]
    with (
        atomic_path(path) as temporary,
        open(temporary, "w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(["input", "answer", "energy", *columns])
        for record in records:
            cells = [cell for pair in record["probabilities"].items() for cell in pair]
            writer.writerow([record["input"], record["label"], record["energy"], *cells])
    cli.print_note(str(path))


def to_record(
    item: Input, result: Classification, arguments: RunArguments, notes: Sequence[str] = ()
) -> dict:
    """What --json prints of a picture."""
    top = zip(result.labels[: arguments.top], result.probabilities, strict=False)
    return {
        "input": item.name,
        "label": result.label,
        "known": result.known,
        "energy": round(result.energy, 4),
        "probabilities": {label: round(float(probability), 4) for label, probability in top},
        "model": result.model,
        "notes": tuple(notes),
    }


def said_of(record: Mapping) -> str:
    """What a user is told of a picture."""
    text = ", ".join(f"{label} {value:.1%}" for label, value in record["probabilities"].items())
    line = f"{record['input']}: {text if record['known'] else f'{NONE} (nearest: {text})'}"
    return "; ".join((line, *record.get("notes", ())))


def tell(outcome: Outcome, arguments: RunArguments) -> None:
    """Tells of a picture, one way or the other."""
    if arguments.json:
        cli.print_json(outcome.record)
    else:
        cli.print_note(outcome.line)


def execute(arguments: RunArguments) -> int:
    """Does what the command was asked for; returns its exit code."""
    load(arguments.network)  # What is wrong with it is wrong for all.
    inputs = find_inputs(arguments.inputs, outs=[arguments.out])
    return run(inputs or [Input(name, sample(name), Path(name)) for name in EXAMPLES], arguments)
