"""Compares settings of training: `python -m detection.sweep --data DIR --grid FIELD=VALUE,VALUE…`.

python -m detection.sweep --data DIR --grid scheme=approximate,non-approximate,alternating
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from atelier import cli
from atelier.cluster.tuning import Cluster
from atelier.errors import SettingsError
from atelier.media.images import load_image
from atelier.progress import Step
from atelier.sweeps.search import parse_grid
from atelier.sweeps.sweep import SweepOptions, TrialResult, TrialRun, report_trials, run_sweep
from detection.draw import draw
from detection.train import TrainConfig, read_data, train

OUT = Path("runs/detection-sweep")

MEASURED = {"ap": "max", "ap50": "max", "loss": "min"}
"""What trials are compared by as they train, and which of its values are better."""

REPORTED = {"ap": "val_ap", "ap50": "val_ap50", "loss": "loss"}
"""What a training calls them; APs are not measured after each epoch."""


@dataclasses.dataclass(frozen=True)
class SweepArguments(SweepOptions, TrainConfig):
    """Train one detector for each of many settings, and compare.

    Writes trials.csv, a run folder and a drawn picture a trial, and contact_sheet.png into the
    folder. The same command on the same folder goes on where it was stopped.
    """

    out: Path = OUT
    """The folder for the results."""


def sweep(
    base: TrainConfig,
    grid: Sequence[str] | Sequence[Mapping[str, object]],
    *,
    out: Path,
    verbose: int = 0,
    cluster: Cluster | None = None,
) -> list[dict[str, str]]:
    """Trains one detector for each setting of the grid.

    Args:
        base: settings that the grid varies.
        grid: FIELD=VALUE,VALUE… each; see `atelier.sweeps.search.parse_grid`. Or for each trial the
            fields that differ from `base`, such as `atelier.sweeps.search.draw_settings` gives.
        out: the folder for trials.csv, `runs/`, a picture a trial and contact_sheet.png.
        verbose: as Keras' `fit` takes it.
        cluster: see `atelier.sweeps.sweep.run_sweep`.

    Returns:
        The rows of trials.csv, values as text: ap, ap50 and seconds of each trial.

    Raises:
        AtelierError: a grid that cannot be read, no data, or a folder with another sweep.
    """
    changes = list(grid) if grid and isinstance(grid[0], Mapping) else parse_grid(grid, base)
    if any("out" in change for change in changes):
        raise SettingsError("--grid: each trial has a run folder of its own; out cannot vary")

    def trial(config: TrainConfig, run: TrialRun) -> TrialResult:
        def on_step(step: Step) -> None:
            metrics = {name: step.metrics[key] for name, key in REPORTED.items()}
            run.on_step(dataclasses.replace(step, metrics=metrics))

        varied = {name: getattr(config, name) for change in changes for name in change}
        name = ",".join(f"{key}={value}" for key, value in varied.items()) or "base"
        folder = run.folder(f"runs/{name.replace('/', '-')}")
        datasets = _, held_back = read_data(config)
        config = dataclasses.replace(config, out=folder)
        detector = train(config, datasets=datasets, verbose=verbose, on_step=on_step)
        shown = load_image(max(held_back.items, key=lambda item: len(item.boxes)).image)
        drawn = draw(shown, detector.detect(shown).select(0.5), classes=detector.classes)
        scores = detector.card["validation"]
        metrics = {name: round(scores[name] or 0.0, 4) for name in ("ap", "ap50")}
        return TrialResult(drawn, {**metrics, "seconds": detector.card["seconds"]})

    inputs = {"data": list(base.data), "split": base.split}
    if base.images is not None:
        inputs["images"] = str(base.images)
    return run_sweep(
        base,
        changes,
        trial,
        out,
        inputs=inputs,
        on_trial=lambda index, total: cli.print_note(f"trial {index + 1} of {total}"),
        cluster=cluster,
    )


@cli.command
def main(argv: Sequence[str]) -> int:
    arguments = cli.parse(SweepArguments, argv, prog="python -m detection.sweep")
    if not arguments.grid:
        raise SettingsError("give what to vary: --grid FIELD=VALUE,VALUE…")
    base = cli.settings(TrainConfig, arguments)
    rows = sweep(
        base, arguments.settings_to_try(base), out=arguments.out, cluster=arguments.where(MEASURED)
    )
    return report_trials(rows, arguments.out, as_json=arguments.json)


if __name__ == "__main__":
    sys.exit(main())
