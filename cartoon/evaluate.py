"""How near cartoons are to their pictures: `python -m cartoon.evaluate PICTURES… --out FOLDER`.

The report's Sections 3 and 4: MSE, its logarithm and SSIM of each picture, their mean, and bars.
"""

from __future__ import annotations

import dataclasses
import math
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import tyro
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from atelier import cli
from atelier.cli.failures import for_each
from atelier.cli.inputs import Input, find_inputs
from atelier.files import refuse_existing, write_table
from atelier.media.images import ImageSource, load_image, resize, sample, save_image
from cartoon.config import PRESETS, CartoonConfig, CutOutConfig, PortraitConfig
from cartoon.drawing.backdrop import WHITE, lay_on
from cartoon.drawing.cartoonizing import settings_of
from cartoon.drawing.fine import draw_fine, find_tones
from cartoon.drawing.report import draw_report, find_centroids
from cartoon.metrics import Accuracy, accuracy, mean
from cartoon.people.cutting import find_people
from cartoon.portrait import draw_person

EXAMPLES = (
    "astronaut.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "rocket.jpg",
    "motorcycle_left.png",
    "hubble_deep_field.jpg",
    "retina.jpg",
    "ihc.png",
    "coins.png",
)
"""Pictures that come with scikit-image, ten as in the report; people are on the first two alone."""

MOST_BARS = 60
"""Pictures that have bars of their own."""

FIGURE = (288, 432)
"""Height and width of the figures as which the report's run saved what it then drew."""

AXES = (0.12, 0.875, 0.125, 0.9)
"""Where matplotlib put the picture in them: top, bottom, left and right, as parts of the sides."""

COLUMNS = ("picture", "found", "mse", "log_mse", "ssim", "centroids", "seconds")


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """A picture, its cartoon, and how near they are."""

    picture: np.ndarray
    """uint8 (H, W, 3), what was drawn: the whole photo, or the people on white."""
    image: np.ndarray
    """uint8 (H, W, 3), the cartoon, of a cut-out on white too."""
    found: bool | None
    """Whether there is anybody; None if nobody was to be cut out."""
    accuracy: Accuracy
    """Of the cartoon."""
    centroids: int
    """Levels that K-histogram chose: of hue, saturation and value, or for `fine` of lightness."""
    seconds: float
    """That drawing took, without the cut-out."""


def evaluate(
    image: ImageSource,
    preset: Literal["report", "fine"] = "report",
    *,
    config: CartoonConfig | None = None,
    cut_out: bool = True,
    cutting: CutOutConfig | None = None,
    margins: bool = False,
) -> Evaluation:
    """Draws a picture and compares the cartoon with what was drawn.

    As in the report, that is the cut-out on white; where nobody is found, the whole picture.

    Args:
        image: a path, a file's bytes, a PIL image, or uint8 (H, W), (H, W, 3) or (H, W, 4).
        preset: of the drawing.
        config: of the drawing, instead of a preset's.
        cut_out: whether people are cut out; else the whole picture is drawn.
        cutting: how they are cut out.
        margins: whether it is drawn and compared `as_figure`, as in the report's own run.

    Raises:
        ImageError: the picture cannot be read.
        SettingsError: another preset.
        WeightsError: the report's network, and no weights.
    """
    config = settings_of(preset, config)
    picture = load_image(image, alpha="keep")
    if not cut_out:
        return measure(picture, None, config, margins)
    mask, found = find_people(picture, cutting or CutOutConfig())
    result = measure(picture, mask if found else None, config, margins)
    return dataclasses.replace(result, found=found)


def measure(
    picture: np.ndarray, mask: np.ndarray | None, config: CartoonConfig, margins: bool = False
) -> Evaluation:
    """Draws as `cartoon.portray` does, and compares.

    Args:
        picture: uint8 (H, W, 3) or (H, W, 4), of `atelier.media.images.load_image`.
        mask: float32 (H, W) in [0, 1], of `find_people`; None for no cut-out.
        config: of the drawing.
        margins: whether the cut-out is first put into a figure, which is then drawn whole.
    """
    if mask is not None:
        photo = np.ascontiguousarray(picture[..., :3])
        seen = lay_on(photo, mask, WHITE)
    else:
        seen = load_image(picture)
    if margins:
        seen = as_figure(seen)
        mask = None
    centroids = []
    start = time.perf_counter()
    if config.method == "report":

        def choose(counts):
            centroids.extend(find_centroids(counts, config))
            return centroids

    else:

        def choose(counts):
            centroids.append(find_tones(counts, config))
            return centroids[0]

    if mask is not None:
        drawn, edges = draw_person(photo, mask, config, choose)
        drawn = drawn if config.method == "report" else lay_on(drawn, edges, WHITE)
    elif config.method == "report":
        drawn = draw_report(seen, config, choose)
    else:
        drawn = draw_fine(seen, config, tones=choose)
    seconds = time.perf_counter() - start
    return Evaluation(
        picture=seen,
        image=drawn,
        found=None,
        accuracy=accuracy(seen, drawn),
        centroids=sum(map(len, centroids)),
        seconds=seconds,
    )


def as_figure(image: np.ndarray) -> np.ndarray:
    """A picture as the report's run saved it, a figure of matplotlib's with white margins.

    They are two fifths of the figure at least, and as white in the cartoon: SSIM counts them too.

    Args:
        image: uint8 (H, W, 3).

    Returns:
        uint8 (288, 432, 3).
    """
    (height, width), (top, bottom, left, right) = FIGURE, AXES
    scale = min((bottom - top) * height / image.shape[0], (right - left) * width / image.shape[1])
    rows, columns = (max(1, int(scale * side)) for side in image.shape[:2])
    y = round(((top + bottom) * height - rows) / 2)
    x = round(((left + right) * width - columns) / 2)
    figure = np.full((height, width, 3), 255, np.uint8)
    figure[y : y + rows, x : x + columns] = resize(image, (rows, columns))
    return figure


def draw_bars(names: Sequence[str], accuracies: Sequence[Accuracy]) -> np.ndarray:
    """Bars of log MSE and SSIM for each picture, and for their mean, as the report draws them.

    Args:
        names: of the pictures; at least one. Only the first `MOST_BARS` have bars.
        accuracies: as many.

    Returns:
        uint8 (H, W, 3).
    """
    average = mean(list(accuracies))
    shown = [*accuracies[:MOST_BARS], average]
    # Names are anybody's: long, or with a $, which would begin a formula.
    labels = [name if len(name) <= 32 else f"{name[:31]}…" for name in names[:MOST_BARS]]
    labels.append("mean" if len(names) == len(labels) else f"mean of {len(names)}")
    figure = Figure(figsize=(9, 1 + 0.3 * len(shown)), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharey=True)
    _bars(left, "log MSE", [one.log_mse for one in shown])
    _bars(right, "SSIM", [one.ssim for one in shown])
    right.set_xlim(min(0, *(one.ssim for one in shown)), 1.12)
    left.set_yticks(range(len(shown)), labels, parse_math=False)
    left.invert_yaxis()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of names in letters that the font does not have.
        canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]


def _bars(axes: Axes, title: str, values: Sequence[float]) -> None:
    lengths = [value if math.isfinite(value) else 0 for value in values]
    colours = ["C0"] * (len(values) - 1) + ["C1"]
    bars = axes.barh(range(len(values)), lengths, color=colours)
    texts = [f"{v:.3f}" if math.isfinite(v) else "no difference" for v in values]
    axes.bar_label(bars, texts, padding=3, fontsize=9)
    axes.set_title(title)
    axes.margins(x=0.15)
    axes.spines[["top", "right"]].set_visible(False)


# === The command ===


@dataclasses.dataclass(frozen=True)
class EvaluateArguments(PortraitConfig):
    """Measure how near cartoons are to their pictures, as the report does.

    Writes accuracy.csv and accuracy.png into the folder. With no input, ten pictures that come
    with scikit-image are measured.
    """

    inputs: tyro.conf.Positional[tuple[str, ...]] = ()
    """Pictures: files, folders, or - for standard input."""
    out: Path = Path("out/cartoon-accuracy")
    """The folder for the table and the bars."""
    preset: Literal["report", "fine"] = "report"
    """The report's drawing, or one with calmer areas and even outlines."""
    cut_out: bool = True
    """Cut people out, and compare what is then drawn; else all of the picture."""
    margins: bool = False
    """Lay pictures in the white margins that the report's own had, which SSIM counts too."""
    overwrite: bool = False
    """Replace existing results."""
    json: bool = False
    """Print one JSON object with all numbers on standard output."""


def row_of(name: str, result: Evaluation) -> dict[str, object]:
    """A picture's row of the table."""
    return {
        "picture": name,
        "found": result.found,
        **numbers(result.accuracy),
        "centroids": result.centroids,
        "seconds": round(result.seconds, 3),
    }


def numbers(accuracy: Accuracy) -> dict[str, float | None]:
    """Rounded, for tables and JSON; no difference has no logarithm."""
    log_mse = round(accuracy.log_mse, 4) if math.isfinite(accuracy.log_mse) else None
    return {"mse": round(accuracy.mse, 3), "log_mse": log_mse, "ssim": round(accuracy.ssim, 4)}


@cli.command
def main(argv: Sequence[str]) -> int:
    arguments = cli.parse(
        EvaluateArguments, argv, prog="python -m cartoon.evaluate", presets=PRESETS
    )
    table, figure = arguments.out / "accuracy.csv", arguments.out / "accuracy.png"
    for path in (table, figure):
        refuse_existing(path, arguments.overwrite)
    inputs = find_inputs(arguments.inputs)
    inputs = inputs or [Input(name, sample(name), Path(name)) for name in EXAMPLES]
    drawing = arguments.drawing
    cutting = arguments.cutting
    rows, names, accuracies = [], [], []
    width = max(len(item.name) for item in inputs)

    def say(row: dict) -> None:
        log_mse = "-" if row["log_mse"] is None else f"{row['log_mse']:.3f}"
        alone = "" if row.get("found") is not False else "  nobody found: all of it"
        cli.print_note(
            f"{row['picture']:{width}} {row['mse']:9.1f} {log_mse:>8} {row['ssim']:7.4f}{alone}"
        )

    def work(item: Input) -> None:
        result = evaluate(
            item.source,
            config=drawing,
            cut_out=arguments.cut_out,
            cutting=cutting,
            margins=arguments.margins,
        )
        rows.append(row_of(item.name, result))
        names.append(item.relative.name)
        accuracies.append(result.accuracy)
        say(rows[-1])

    cli.print_note(f"{'picture':{width}} {'MSE':>9} {'log MSE':>8} {'SSIM':>7}")
    with cli.stop_on_signal() as stopped:
        code = for_each(
            (item.name, lambda item=item: work(item)) for item in inputs if not stopped(None)
        )
    if rows:
        average = {"picture": "mean", **numbers(mean(accuracies))}
        say(average)
        write_table(table, [*rows, average], COLUMNS)
        save_image(figure, draw_bars(names, accuracies))
        cli.print_note(f"{table}, {figure.name}: {len(rows)} pictures")
        if arguments.json:
            average.pop("picture")
            facts = {
                "preset": arguments.method,
                "cut_out": arguments.cut_out,
                "margins": arguments.margins,
            }
            cli.print_json({**facts, "pictures": rows, "mean": average})
    if stopped(None):
        raise KeyboardInterrupt
    return code


if __name__ == "__main__":
    sys.exit(main())
