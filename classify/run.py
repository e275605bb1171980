"""Says what pictures show: `python -m classify.run IMAGE|FOLDER…`."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import functools
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import tyro
from tqdm import tqdm

from atelier import batches, cli
from atelier.batches import Job, Outcome
from atelier.errors import AtelierError, ImageError, OutputError, SettingsError
from atelier.files import atomic_path, refuse_existing
from atelier.images import fit_size, load_image, resize, sample, save_image
from atelier.manifest import Manifest
from atelier.sheets import contact_sheet
from classify.gradcam import grad_cam, overlay
from classify.networks import Network, load
from classify.predict import (
    NONE,
    Classification,
    Fit,
    classify_prepared,
    prepare,
    seen,
)

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
class RunArguments(batches.ClusterSettings):
    """Say what pictures show: one of CIFAR-10's ten classes, or none of the ten.

    With no input, pictures that come with scikit-image are classified.
    """

    inputs: tyro.conf.Positional[tuple[str, ...]] = ()
    """Pictures: files, folders, .txt lists of files, or - for standard input."""
    out: Path = Path("out/classify")
    """The folder for the contact sheet, the table and the overlays."""
    network: str = "strong"
    """An embedded network, or a run folder."""
    fit: Fit = "squeeze"
    """How a picture comes to be square: squeezed, as CIFAR-10's own were, or its middle cropped."""
    top: int = 3
    """How many classes to name."""
    views: Literal[0, 1, 2, 6] = 0
    """Over which logits are averaged; 0 for the network's own number."""
    sheet: int = 48
    """Pictures on contact_sheet.png, the first ones; 0 for no sheet."""
    csv: bool = False
    """Write classes.csv: a row a picture, with the probability of each class named."""
    gradcam: bool = False
    """Write NAME.gradcam.png for each picture: where the network sees what it names first."""
    overwrite: bool = False
    """Replace existing results."""
    json: bool = False
    """Print one JSON object a picture on standard output."""

    def __post_init__(self):
        if not 1 <= self.top <= 10:
            raise SettingsError(f"--top is from 1 to 10, not {self.top}")
        if not 0 <= self.sheet <= 400:
            raise SettingsError(f"--sheet is from 0 to 400 pictures, not {self.sheet}")
        self.check_cluster()


@dataclasses.dataclass(frozen=True)
class Answer:
    """A picture that was classified, and as little of it as is needed."""

    job: Job
    small: np.ndarray
    """uint8 (32, 32, 3), for the network."""
    thumbnail: np.ndarray | None
    """uint8 (H, W, 3), for the sheet and the overlay, if there is to be any."""
    result: Classification | None = None
    """None till there is one."""


def answers(
    jobs: Iterable[Job], network: Network, arguments: RunArguments, shown: int = 0
) -> Iterator[Answer | tuple[Job, AtelierError]]:
    """Classifies pictures in batches, and writes the overlays.

    Args:
        jobs: the pictures; a job's path is its overlay's.
        network: by which.
        arguments: the command's.
        shown: for how many there is to be a thumbnail even without an overlay.

    Returns:
        Of each picture the answer, or why there is none.
    """
    batch, done = [], 0
    for job in jobs:
        try:
            image = load_image(job.item.source)
            small = prepare(image, arguments.fit)
        except ImageError as error:
            yield job, error
            continue
        wanted = job.path is not None or done < shown
        thumbnail = resize(image, fit_size(image.shape, LONGEST)) if wanted else None
        done += 1
        batch.append(Answer(job, small, thumbnail))
        if len(batch) == BATCH:
            yield from _classified(batch, network, arguments)
            batch = []
    if batch:
        yield from _classified(batch, network, arguments)


def _classified(
    batch: Sequence[Answer], network: Network, arguments: RunArguments
) -> Iterator[Answer | tuple[Job, AtelierError]]:
    images = np.stack([picture.small for picture in batch])
    results = classify_prepared(images, network, arguments.views or None)
    for picture, result in zip(batch, results, strict=True):
        try:
            if picture.job.path is not None:
                heat = grad_cam(picture.small, network, result.labels[0])
                drawn = overlay(seen(picture.thumbnail, arguments.fit), heat)
                save_image(picture.job.path, drawn, overwrite=arguments.overwrite)
        except OutputError as error:
            yield picture.job, error
            continue
        yield dataclasses.replace(picture, result=result)


def plan(inputs: Sequence[cli.Input], arguments: RunArguments) -> list[Job]:
    """Each input, and where its overlay goes, if there is to be one.

    Raises:
        SettingsError: two overlays would have the same place.
    """
    paths: Sequence[Path | None] = [None] * len(inputs)
    if arguments.gradcam:
        paths = cli.output_paths(inputs, arguments.out, suffix=".gradcam.png", files=())
    return list(map(Job, inputs, paths))


def sheet_and_table(arguments: RunArguments) -> tuple[Path, Path]:
    """Where they go."""
    return arguments.out / "contact_sheet.png", arguments.out / "classes.csv"


def run(
    inputs: Sequence[cli.Input],
    network: Network,
    arguments: RunArguments,
    on_result: Callable[[cli.Input, Classification], object],
) -> bool:
    """Classifies inputs in batches, and writes what was asked for.

    Args:
        inputs: the pictures.
        network: by which.
        arguments: the command's.
        on_result: told of each picture.

    Returns:
        Whether all inputs were done; one that fails is named, and the rest go on.

    Raises:
        OutputError: the sheet or the table cannot be written.
        KeyboardInterrupt: Ctrl-C; what was done till then is written.
    """
    sheet, table = sheet_and_table(arguments)
    for path, wanted in ((sheet, arguments.sheet), (table, arguments.csv)):
        if wanted:
            refuse_existing(path, arguments.overwrite)
    jobs, failures, shown = plan(inputs, arguments), [], []

    def until_stopped() -> Iterator[Job]:
        bar = tqdm(jobs, leave=False, disable=not sys.stderr.isatty(), unit="picture")
        for job in bar:
            if stopped(None):
                return
            yield job

    with cli.stop_on_signal() as stopped:
        with _table(table, arguments) as add_row:
            for answer in answers(until_stopped(), network, arguments, arguments.sheet):
                if isinstance(answer, tuple):
                    job, error = answer
                    failures.append(job)
                    cli.report_failure(job.item.name, error)
                    continue
                item, result = answer.job.item, answer.result
                add_row(to_record(item, result, arguments))
                on_result(item, result)
                if len(shown) < arguments.sheet:
                    shown.append((answer.thumbnail, caption(item.name, result)))
        if arguments.sheet and shown:
            contact_sheet(*zip(*shown, strict=True), sheet, side=240)
            cli.say(str(sheet))
        if stopped(None):
            raise KeyboardInterrupt
    return not failures


# === On a cluster ===


def worker(arguments: RunArguments) -> batches.Work:
    """What classifies pictures on a cluster; its network is loaded."""
    network = load(arguments.network)

    def work(jobs, overwrite):
        settings = dataclasses.replace(arguments, overwrite=overwrite)
        for answer in answers(jobs, network, settings):
            if isinstance(answer, tuple):
                yield answer
                continue
            record = to_record(answer.job.item, answer.result, arguments)
            yield answer.job, Outcome(record, said_of(record))

    return work


def run_on_cluster(inputs: Sequence[cli.Input], network: Network, arguments: RunArguments) -> int:
    """Classifies inputs on a cluster; returns the exit code, see `atelier.batches.run`."""
    jobs = plan(inputs, arguments)
    sheet, table = sheet_and_table(arguments)

    def write(manifest: Manifest) -> None:
        with _table(table, dataclasses.replace(arguments, overwrite=True)) as add_row:
            for _, record in manifest.records():
                add_row(record)
        first = [
            jobs[number] for number, _ in itertools.islice(manifest.records(), arguments.sheet)
        ]
        bare = (dataclasses.replace(job, path=None) for job in first)
        shown = [
            (answer.thumbnail, caption(answer.job.item.name, answer.result))
            for answer in answers(bare, network, arguments, len(first))
            if isinstance(answer, Answer)  # Else it was there when it was done, and is no more.
        ]
        if shown:
            contact_sheet(*zip(*shown, strict=True), sheet, side=240)
            cli.say(str(sheet))

    return batches.run(
        jobs,
        functools.partial(worker, arguments),
        arguments,
        command="classify.run",
        tell=lambda outcome: tell(outcome.record, arguments),
        at_end=write,
        tables=[
            path for path, wanted in ((sheet, arguments.sheet), (table, arguments.csv)) if wanted
        ],
        afterwards=("sheet", "csv"),
    )


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


@contextlib.contextmanager
def _table(path: Path, arguments: RunArguments) -> Iterator[Callable]:
    """A function that adds a row; the file appears, whole, when the block ends, Ctrl-C or not."""
    if not arguments.csv:
        yield lambda record: None
        return
    interrupted = None
    with (
        atomic_path(path, overwrite=arguments.overwrite) as temporary,
        open(temporary, "w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        writer = csv.writer(file)
        places = range(1, arguments.top + 1)
        columns = [f"{kind}_{place}" for place in places for kind in ("label", "probability")]
        writer.writerow(["input", "answer", "energy", *columns])

        def add_row(record: Mapping) -> None:
            cells = [cell for pair in record["probabilities"].items() for cell in pair]
            writer.writerow([record["input"], record["label"], record["energy"], *cells])

        try:
            yield add_row
        except KeyboardInterrupt as stop:
            interrupted = stop
    cli.say(str(path))
    if interrupted:
        raise interrupted


def to_record(item: cli.Input, result: Classification, arguments: RunArguments) -> dict:
    """What --json prints of a picture."""
    top = zip(result.labels[: arguments.top], result.probabilities, strict=False)
    return {
        "input": item.name,
        "label": result.label,
        "known": result.known,
        "energy": round(result.energy, 4),
        "probabilities": {label: round(float(probability), 4) for label, probability in top},
        "model": result.model,
    }


def said_of(record: Mapping) -> str:
    """What a user is told of a picture."""
    text = ", ".join(f"{label} {value:.1%}" for label, value in record["probabilities"].items())
    return f"{record['input']}: {text if record['known'] else f'{NONE} (nearest: {text})'}"


def tell(record: Mapping, arguments: RunArguments) -> None:
    """Tells of a picture, one way or the other."""
    if arguments.json:
        cli.print_json(record)
    else:
        cli.say(said_of(record))


@cli.command
def main(argv: Sequence[str]) -> int:
    arguments = cli.parse(RunArguments, argv, prog="python -m classify.run")
    network = load(arguments.network)
    inputs = cli.find_inputs(arguments.inputs)
    inputs = inputs or [cli.Input(name, sample(name), Path(name)) for name in EXAMPLES]
    if arguments.cluster is not None:
        return run_on_cluster(inputs, network, arguments)

    def on_result(item: cli.Input, result: Classification) -> None:
        tell(to_record(item, result, arguments), arguments)

    return cli.DONE if run(inputs, network, arguments, on_result) else cli.SOME_FAILED


if __name__ == "__main__":
    sys.exit(main())
