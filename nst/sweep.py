"""Compares settings: `python -m nst.sweep PHOTO PAINTING --grid style_weight=0.5,1,2 --out FOLDER`.

The report's own experiment, its seven settings in its order:

    python -m nst.sweep PHOTO PAINTING --report --out runs/report              (VGG19)
    python -m nst.sweep PHOTO PAINTING --report --features vgg19-lite --out …  (no network)

Thirty settings at random, on all machines of a Ray cluster:

    python -m nst.sweep PHOTO PAINTING --samples 30 --cluster ray://HOST:10001 \\
        --grid content_weight=log:1e-3..1 style_weight=log:0.1..10 --out runs/random
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import tyro

from atelier import cli
from atelier.errors import SettingsError
from atelier.media.images import load_image, sample
from atelier.progress import Step, notify_all
from atelier.sweeps.sweep import SweepOptions, TrialResult, TrialRun, report_trials, run_sweep
from nst.config import PRESETS, REPORT_SETTINGS, StyleTransferConfig
from nst.run import DEFAULT_STYLE
from nst.styles import open_style
from nst.transfer import stylize

DEFAULT_GRID = ("content_weight=0.02,0.05,0.1", "style_weight=0.5,1,2")

MEASURED = {"loss": "min", "content": "min", "style": "min", "variation": "min"}
"""What trials are compared by, and which of its values are better."""

SAME_LOSS = {"optimizer", "learning_rate", "beta_1", "epsilon", "init", "seed", "shift_every"}
"""Settings of how the loss is lowered, not of what it is: losses can be compared across them."""


@dataclasses.dataclass(frozen=True)
class SweepArguments(SweepOptions, StyleTransferConfig):
    """Repaint one photo with many settings, and compare.

    Writes trials.csv, a picture a trial and contact_sheet.png into the folder. The same command
    on the same folder goes on where it was stopped.
    """

    inputs: tyro.conf.Positional[tuple[str, ...]] = ()
    """The photo, then one or several paintings; scikit-image's astronaut, in the style `impasto`,
    when left out."""
    out: Path = Path("out/nst-sweep")
    """The folder for the results."""
    preset: Literal["fast", "report"] = "fast"
    """Settings that the grid varies."""
    grid: tuple[str, ...] = ()
    """What to vary: FIELD=VALUE,VALUE… for any of the settings, one after another, such as
    content_weight=100,1000 learning_rate=2,4 iterations=100,1000; with --samples also
    FIELD=LOW..HIGH or FIELD=log:LOW..HIGH for numbers."""
    report: bool = False
    """The seven settings of the report, in its order, instead of a grid; implies --preset report.
    """


@cli.command
def main(argv: Sequence[str]) -> int:
    argv = list(argv)
    if "--report" in argv and not any(word.startswith("--preset") for word in argv):
        argv += ["--preset", "report"]
    arguments = cli.parse(SweepArguments, argv, prog="python -m nst.sweep", presets=PRESETS)
    base = cli.settings(StyleTransferConfig, arguments)
    photo, *paintings = arguments.inputs or [str(sample("astronaut.png"))]
    paintings = paintings or [DEFAULT_STYLE]
    if arguments.report and arguments.samples is not None:
        raise SettingsError("--report tries all of its seven settings; leave out --samples")
    changes = (
        list(REPORT_SETTINGS) if arguments.report else arguments.settings_to_try(base, DEFAULT_GRID)
    )
    cluster = arguments.where(MEASURED, grace=max(1, base.iterations // 3))
    varied = {name for change in changes for name in change} - SAME_LOSS
    if cluster is not None and cluster.asha is not None and varied:
        raise SettingsError(
            f"--scheduler: losses at different {', '.join(sorted(varied))} cannot be compared; "
            f"it goes with {', '.join(sorted(SAME_LOSS))}"
        )
    # Read once, here: a cluster's hosts need not see the files.
    content, styles = load_image(photo, alpha="keep"), [open_style(style) for style in paintings]

    # On a cluster, what is to stop is not in this process.
    with cli.stop_on_signal() if cluster is None else contextlib.nullcontext() as stopped:

        def trial(config: StyleTransferConfig, run: TrialRun) -> TrialResult:
            def on_step(step: Step) -> bool | None:
                metrics = {name: step.metrics[name] for name in MEASURED}
                return run.on_step(dataclasses.replace(step, metrics=metrics))

            with cli.progress_bar("trial") as bar:
                listener = notify_all(bar, stopped, on_step)
                result = stylize(content, styles, config, on_step=listener)
            if stopped is not None and stopped(None):
                raise KeyboardInterrupt  # Half a trial is no trial: it is run again.
            metrics = {"loss": result.loss.total, **dataclasses.asdict(result.loss)}
            return TrialResult(result.image[..., :3], {**metrics, "seconds": result.seconds})

        rows = run_sweep(
            base,
            changes,
            trial,
            arguments.out,
            inputs={"content": photo, "styles": paintings},
            on_trial=lambda index, total: cli.print_note(f"trial {index + 1} of {total}"),
            cluster=cluster,
        )
    return report_trials(rows, arguments.out, as_json=arguments.json)


if __name__ == "__main__":
    sys.exit(main())
