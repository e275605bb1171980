"""Compares settings: `python -m nst.sweep PHOTO PAINTING --grid style_weight=0.5,1,2 --out FOLDER`.

The report's own experiment, its seven settings in its order:

    python -m nst.sweep PHOTO PAINTING --report --out runs/report              (VGG19)
    python -m nst.sweep PHOTO PAINTING --report --features vgg19-lite --out …  (no network)
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import tyro

from atelier import cli
from atelier.images import sample
from atelier.sweep import TrialResult, parse_grid, report_trials, run_sweep
from nst.config import PRESETS, REPORT_SETTINGS, StyleTransferConfig
from nst.run import DEFAULT_STYLE
from nst.stylize import stylize

DEFAULT_GRID = ("content_weight=0.02,0.05,0.1", "style_weight=0.5,1,2")


@dataclasses.dataclass(frozen=True)
class SweepArguments(StyleTransferConfig):
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
    content_weight=100,1000 learning_rate=2,4 iterations=100,1000."""
    report: bool = False
    """The seven settings of the report, in its order, instead of a grid; implies --preset report.
    """
    json: bool = False
    """Print each trial's row as a JSON object on standard output."""


@cli.command
def main(argv: Sequence[str]) -> int:
    argv = list(argv)
    if "--report" in argv and not any(word.startswith("--preset") for word in argv):
        argv += ["--preset", "report"]
    arguments = cli.parse(SweepArguments, argv, prog="python -m nst.sweep", presets=PRESETS)
    base = cli.settings(StyleTransferConfig, arguments)
    photo, *paintings = arguments.inputs or [str(sample("astronaut.png"))]
    paintings = paintings or [DEFAULT_STYLE]
    if arguments.report:
        changes = list(REPORT_SETTINGS)
    else:
        changes = parse_grid(arguments.grid or DEFAULT_GRID, base)

    with cli.stop_on_signal() as stopped:

        def trial(config: StyleTransferConfig) -> TrialResult:
            with cli.progress_bar("trial") as bar:
                result = stylize(
                    photo, paintings, config, on_step=lambda s: bool(bar(s)) or stopped(s)
                )
            if stopped(None):
                raise KeyboardInterrupt  # Half a trial is no trial: it is run again.
            metrics = {"loss": result.loss.total, **dataclasses.asdict(result.loss)}
            return TrialResult(result.image[..., :3], {**metrics, "seconds": result.seconds})

        rows = run_sweep(
            base,
            changes,
            trial,
            arguments.out,
            inputs={"content": photo, "styles": paintings},
            on_trial=lambda index, total: cli.say(f"trial {index + 1} of {total}"),
        )
    return report_trials(rows, arguments.out, as_json=arguments.json)


if __name__ == "__main__":
    sys.exit(main())
