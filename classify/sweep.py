"""Compares settings of training: `python -m classify.sweep --data DIR --grid FIELD=VALUE,VALUE…`.

python -m classify.sweep --data DIR --grid activation=relu,silu,gelu seed=0,1
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from atelier import cli
from atelier.errors import SettingsError
from atelier.progress import Step
from atelier.sweeps.sweep import SweepOptions, TrialResult, TrialRun, report_trials, run_sweep
from classify.data import CLASSES, load_cifar10
from classify.evaluate import evaluate
from classify.train import BEST, REPORT, STRONG, TrainConfig, train

OUT = Path("runs/classify-sweep")
"""Where results go by default; presets carry it too, lest theirs be that of a single training."""

PRESETS = {
    "short": dataclasses.replace(STRONG, epochs=4, out=OUT),
    "strong": dataclasses.replace(STRONG, out=OUT),
    "best": dataclasses.replace(BEST, out=OUT),
    "report": dataclasses.replace(REPORT, out=OUT),
}
"""Settings that the grid varies; `short` trains for some minutes."""

MEASURED = {"accuracy": "max", "loss": "min"}
"""What trials are compared by after each epoch, and which of its values are better: on the pictures
to test with, and of the training."""


@dataclasses.dataclass(frozen=True)
class SweepArguments(SweepOptions, TrainConfig):
    """Train one network for each of many settings, and compare.

    Writes trials.csv, a run folder and a confusion matrix a trial, and contact_sheet.png into the
    folder. The same command on the same folder goes on where it was stopped.
    """

    out: Path = OUT
    """The folder for the results."""
    preset: Literal["short", "strong", "best", "report"] = "short"
    """Settings that the grid varies; `short` trains each network for some minutes."""


def draw_confusion(matrix: np.ndarray, side: int = 640) -> np.ndarray:
    """A confusion matrix as a picture; mistakes stand out, what is right does not.

    Args:
        matrix: (10, 10), pictures of each class (row) by what they were taken for (column).
        side: of the picture, pixels.

    Returns:
        uint8 (side, side, 3).
    """
    part = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    mistakes = np.where(np.eye(len(matrix), dtype=bool), np.nan, part)
    figure = Figure(figsize=(side / 100, side / 100), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.imshow(mistakes, cmap="Reds", vmin=0, vmax=max(0.05, np.nanmax(mistakes)))
    axes.set_xticks(range(len(CLASSES)), CLASSES, rotation=45, ha="right")
    axes.set_yticks(range(len(CLASSES)), CLASSES)
    axes.set(xlabel="taken for", ylabel="is")
    for row, column in np.ndindex(matrix.shape):
        right = row == column
        axes.text(
            column,
            row,
            f"{part[row, column]:.1%}" if right else str(matrix[row, column]),
            ha="center",
            va="center",
            fontsize=7 if right else 8,
            color="white" if part[row, column] > 0.04 and not right else "black",
        )
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]


@cli.command
def main(argv: Sequence[str]) -> int:
    arguments = cli.parse(SweepArguments, argv, prog="python -m classify.sweep", presets=PRESETS)
    if not arguments.grid:
        raise SettingsError("give what to vary: --grid FIELD=VALUE,VALUE…")
    base = cli.settings(TrainConfig, arguments)
    changes = arguments.settings_to_try(base)
    cluster = arguments.where(MEASURED)
    data = load_cifar10(arguments.data)

    def trial(config: TrainConfig, run: TrialRun) -> TrialResult:
        def on_step(step: Step) -> None:
            metrics = {"accuracy": step.metrics["val_accuracy"], "loss": step.metrics["loss"]}
            run.on_step(dataclasses.replace(step, metrics=metrics))

        config = dataclasses.replace(config, out=run.folder())
        network = train(config, data=data, on_step=on_step)
        result = evaluate(network, data.test)
        metrics = {
            "accuracy": round(result.accuracy, 4),
            "ece": round(result.error, 4),
            "parameters": network.card["parameters"],
            "seconds": network.card["seconds"],
        }
        return TrialResult(draw_confusion(result.confusion), metrics)

    rows = run_sweep(
        base,
        changes,
        trial,
        arguments.out,
        inputs={"data": data.source},
        on_trial=lambda index, total: cli.print_note(f"trial {index + 1} of {total}"),
        cluster=cluster,
    )
    return report_trials(rows, arguments.out, as_json=arguments.json)


if __name__ == "__main__":
    sys.exit(main())
