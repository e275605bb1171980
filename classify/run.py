"""Says what pictures show: `python -m classify.run IMAGE|FOLDER…`."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import tyro
from tqdm import tqdm

from atelier import cli
from atelier.errors import AtelierError, ImageError, OutputError, SettingsError
from atelier.files import atomic_path, refuse_existing
from atelier.images import fit_size, load_image, resize, sample, save_image
from atelier.sheets import contact_sheet
from classify.gradcam import grad_cam, overlay
from classify.networks import Network, load
from classify.predict import (
    NONE,
    Classification,
    Fit,
    batched,
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
class RunArguments:
    """Say what pictures show: one of CIFAR-10's ten classes, or none of the ten.

    With no input, pictures that come with scikit-image are classified.
    """

    inputs: tyro.conf.Positional[tuple[str, ...]] = ()
    """Pictures: files, folders, or - for standard input."""
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


@dataclasses.dataclass(frozen=True)
class _Read:
    """A picture that has been read, as little of it as is needed."""

    item: cli.Input
    small: np.ndarray
    """uint8 (32, 32, 3), for the network."""
    thumbnail: np.ndarray | None
    """uint8 (H, W, 3), for the sheet and the overlay, if there is to be any."""


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
    sheet, table = arguments.out / "contact_sheet.png", arguments.out / "classes.csv"
    for path, wanted in ((sheet, arguments.sheet), (table, arguments.csv)):
        if wanted:
            refuse_existing(path, arguments.overwrite)
    overlays = {}
    if arguments.gradcam:
        paths = cli.output_paths(inputs, arguments.out, suffix=".gradcam.png", files=())
        overlays = dict(zip(map(id, inputs), paths, strict=True))
    failures, shown = [], []

    def fail(item: cli.Input, error: AtelierError) -> None:
        failures.append(item)
        cli.report_failure(item.name, error)

    def read() -> Iterator[_Read]:
        bar = tqdm(inputs, leave=False, disable=not sys.stderr.isatty(), unit="picture")
        done = 0
        for item in bar:
            if stopped(None):
                return
            try:
                image = load_image(item.source)
                small = prepare(image, arguments.fit)
            except ImageError as error:
                fail(item, error)
                continue
            thumbnail = None
            if arguments.gradcam or done < arguments.sheet:
                thumbnail = resize(image, fit_size(image.shape, LONGEST))
            done += 1
            yield _Read(item, small, thumbnail)

    def explain(picture: _Read, result: Classification) -> None:
        heat = grad_cam(picture.small, network, result.labels[0])
        drawn = overlay(seen(picture.thumbnail, arguments.fit), heat)
        save_image(overlays[id(picture.item)], drawn, overwrite=arguments.overwrite)

    with cli.stop_on_signal() as stopped:
        with _table(table, arguments) as add_row:
            for group in batched(read(), BATCH):
                images = np.stack([picture.small for picture in group])
                results = classify_prepared(images, network, arguments.views or None)
                for picture, result in zip(group, results, strict=True):
                    try:
                        if arguments.gradcam:
                            explain(picture, result)
                    except OutputError as error:
                        fail(picture.item, error)
                        continue
                    add_row(picture.item, result)
                    on_result(picture.item, result)
                    if len(shown) < arguments.sheet:
                        shown.append((picture.thumbnail, caption(picture.item.name, result)))
        if arguments.sheet and shown:
            contact_sheet(*zip(*shown, strict=True), sheet, side=240)
            cli.say(str(sheet))
        if stopped(None):
            raise KeyboardInterrupt
    return not failures


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
        yield lambda item, result: None
        return
    interrupted = None
    with (
        atomic_path(path, overwrite=arguments.overwrite) as temporary,
        open(temporary, "w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file)
        places = range(1, arguments.top + 1)
        columns = [f"{kind}_{place}" for place in places for kind in ("label", "probability")]
        writer.writerow(["input", "answer", "energy", *columns])

        def add_row(item: cli.Input, result: Classification) -> None:
            named = _named(result, arguments.top)
            cells = [cell for pair in named.items() for cell in pair]
            writer.writerow([item.name, result.label, round(result.energy, 4), *cells])

        try:
            yield add_row
        except KeyboardInterrupt as stop:
            interrupted = stop
    cli.say(str(path))
    if interrupted:
        raise interrupted


def _named(result: Classification, top: int) -> dict[str, float]:
    return {
        label: round(float(probability), 4)
        for label, probability in zip(result.labels[:top], result.probabilities, strict=False)
    }


@cli.command
def main(argv: Sequence[str]) -> int:
    arguments = cli.parse(RunArguments, argv, prog="python -m classify.run")
    network = load(arguments.network)
    inputs = cli.find_inputs(arguments.inputs)
    inputs = inputs or [cli.Input(name, sample(name), Path(name)) for name in EXAMPLES]

    def on_result(item: cli.Input, result: Classification) -> None:
        named = _named(result, arguments.top)
        if arguments.json:
            cli.print_json(
                {
                    "input": item.name,
                    "label": result.label,
                    "known": result.known,
                    "energy": round(result.energy, 4),
                    "probabilities": named,
                    "model": result.model,
                }
            )
        else:
            text = ", ".join(f"{label} {value:.1%}" for label, value in named.items())
            cli.say(f"{item.name}: {text if result.known else f'{NONE} (nearest: {text})'}")

    return cli.DONE if run(inputs, network, arguments, on_result) else cli.SOME_FAILED


if __name__ == "__main__":
    sys.exit(main())
