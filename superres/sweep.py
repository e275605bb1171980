"""Compares settings of training: `python -m superres.sweep --data … --validation … --grid …`.

What the report leaves open of its network, all of whose combinations have 2,560 weights:

    python -m superres.sweep --reconstruction --data T91 BSD200 --validation Set5 Set14
"""

from __future__ import annotations

import dataclasses
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from atelier import cli
from atelier.errors import SettingsError
from atelier.media.images import find_pictures
from atelier.progress import Step
from atelier.sweeps.sweep import SweepOptions, TrialResult, TrialRun, report_trials, run_sweep
from superres.config import NetworkConfig
from superres.networks import Network, apply
from superres.train import BEST, REPORT, TrainConfig, train
from superres.training import data, degradation

OUT = Path("runs/superres-sweep")
"""Where results go by default; presets carry it too, lest theirs be that of a single training."""

PRESETS = {
    "short": dataclasses.replace(BEST, epochs=4, out=OUT),
    "best": dataclasses.replace(BEST, out=OUT),
    "report": dataclasses.replace(REPORT, out=OUT),
}
"""Settings that the grid varies; `short` trains for some minutes."""

KERNELS = tuple(
    (first, second, third, fourth)
    for first, third in (("3x3", "1x5"), ("1x5", "3x3"))
    for second, fourth in (("3x3", "1x5"), ("1x5", "3x3"))
)
"""The orders of kernels with 2,560 weights: one of the first and third, and one of the second and
fourth, is 3×3."""

RECONSTRUCTION = tuple(
    {"kernels": kernels, "residuals": residuals, "interpolation": interpolation}
    for kernels, residuals, interpolation in itertools.product(
        KERNELS, ((2,), (3,)), ("nearest", "bicubic")
    )
)
"""All that the report leaves open, 16 networks."""


@dataclasses.dataclass(frozen=True)
class SweepArguments(SweepOptions, TrainConfig):
    """Train one network for each of many settings, and compare.

    Writes trials.csv, a run folder and a picture a trial, and contact_sheet.png into the folder.
    The same command on the same folder goes on where it was stopped.
    """

    out: Path = OUT
    """The folder for the results."""
    preset: Literal["short", "best", "report"] = "short"
    """Settings that the grid varies; `short` trains each network for some minutes."""
    reconstruction: bool = False
    """The orders of kernels, residuals and interpolations that the report leaves open."""


def picture_of(network: Network, folder: Path) -> np.ndarray:
    """The middle of a test set's last picture, upscaled: uint8 (≤ 256, ≤ 256, 3)."""
    lr, _ = data.pairs(
        find_pictures([folder])[-1:],
        scale=network.scale,
        degradation=degradation.bicubic_model(network.scale),
        shrinks=(1.0,),
    )[0]
    result = np.clip(np.rint(apply(network.model, lr)), 0, 255).astype(np.uint8)
    top, left = (max(0, side // 2 - 128) for side in result.shape)
    return np.repeat(result[top : top + 256, left : left + 256, None], 3, axis=2)


@cli.command
def main(argv: Sequence[str]) -> int:
    arguments = cli.parse(SweepArguments, argv, prog="python -m superres.sweep", presets=PRESETS)
    if not arguments.data or not arguments.validation:
        raise SettingsError("give pictures to train on and a test set: --data F… --validation F…")
    if arguments.reconstruction == bool(arguments.grid):
        raise SettingsError("give either --grid FIELD=VALUE,VALUE… or --reconstruction")
    if arguments.reconstruction and arguments.samples is not None:
        raise SettingsError("--reconstruction tries all of its 16 networks; leave out --samples")
    base = cli.settings(TrainConfig, arguments)
    if arguments.reconstruction:  # Of the report's network, whichever the preset's is.
        base = dataclasses.replace(base, **cli.field_values(NetworkConfig(scale=base.scale)))
    changes = list(RECONSTRUCTION) if arguments.reconstruction else arguments.settings_to_try(base)
    measured = {folder.name: "max" for folder in reversed(base.validation)} | {"loss": "min"}

    def trial(config: TrainConfig, run: TrialRun) -> TrialResult:
        def on_step(step: Step) -> None:
            metrics = {name.removeprefix("psnr_"): value for name, value in step.metrics.items()}
            run.on_step(dataclasses.replace(step, metrics=metrics))

        network = train(dataclasses.replace(config, out=run.folder()), on_step=on_step)
        picture = picture_of(network, config.validation[-1])
        return TrialResult(picture, {**network.card["psnr"], "seconds": network.card["seconds"]})

    rows = run_sweep(
        base,
        changes,
        trial,
        arguments.out,
        inputs={"data": arguments.data, "validation": arguments.validation},
        on_trial=lambda index, total: cli.print_note(f"trial {index + 1} of {total}"),
        cluster=arguments.where(measured),
    )
    return report_trials(rows, arguments.out, as_json=arguments.json)


if __name__ == "__main__":
    sys.exit(main())
