"""Compares settings of a cartoon: `python -m cartoon.sweep PICTURE --grid FIELD=VALUE,VALUE…`.

python -m cartoon.sweep PICTURE --grid alpha=1e-4,1e-3 smallest=40,80 canny=100:200,50:150
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import tyro

from atelier import cli
from atelier.cli.inputs import find_inputs
from atelier.cluster.tuning import Cluster
from atelier.errors import SettingsError
from atelier.media.images import ImageSource, load_image, sample
from atelier.sweeps.search import parse_grid
from atelier.sweeps.sweep import SweepOptions, TrialResult, TrialRun, report_trials, run_sweep
from cartoon.config import PRESETS, REPORT, CartoonConfig, CutOutConfig, PortraitConfig
from cartoon.evaluate import measure, numbers
from cartoon.people.cutting import find_people

DEFAULT_GRID = ("alpha=1e-12,1e-3,1e-1", "smallest=20,40,80")
"""What the report's K-histogram leaves to choose."""


def sweep(
    image: ImageSource,
    grid: Sequence[str] | Sequence[Mapping[str, object]] = DEFAULT_GRID,
    *,
    out: Path,
    base: CartoonConfig = REPORT,
    cut_out: bool = True,
    cutting: CutOutConfig | None = None,
    name: str | None = None,
    on_trial: Callable[[int, int], bool | None] | None = None,
    cluster: Cluster | None = None,
) -> list[dict[str, str]]:
    """Draws one picture with many settings, the cut-out being found once.

    Args:
        image: a path, a file's bytes, a PIL image, or uint8 (H, W), (H, W, 3) or (H, W, 4).
        grid: FIELD=VALUE,VALUE… each; see `atelier.sweeps.search.parse_grid`. Or for each trial the
            fields that differ from `base`, such as `atelier.sweeps.search.draw_settings` gives.
        out: the folder for trials.csv, a cartoon a trial and contact_sheet.png.
        base: settings that the grid varies.
        cut_out: whether people are cut out; else the whole picture is drawn.
        cutting: how they are cut out.
        name: of the picture, to tell one sweep from another; a path's own when left out.
        on_trial: see `atelier.sweeps.sweep.run_sweep`.
        cluster: likewise.

    Returns:
        The rows of trials.csv, values as text: ssim, log_mse, centroids and seconds a trial.

    Raises:
        ImageError: the picture cannot be read.
        OutputError: the folder holds another sweep, or cannot be written.
        SettingsError: a grid that cannot be read.
        WeightsError: the report's network, and no weights.
    """
    changes = list(grid) if grid and isinstance(grid[0], Mapping) else parse_grid(grid, base)
    cutting = (cutting or CutOutConfig()) if cut_out else None
    picture = load_image(image, alpha="keep")
    mask, found = (None, False) if cutting is None else find_people(picture, cutting)

    def trial(config: CartoonConfig, run: TrialRun) -> TrialResult:
        result = measure(picture, mask if found else None, config)
        measured = numbers(result.accuracy)
        metrics = {name: measured[name] for name in ("ssim", "log_mse")}
        metrics |= {"centroids": result.centroids, "seconds": round(result.seconds, 3)}
        return TrialResult(result.image, metrics)

    path = str(image) if isinstance(image, (str, Path)) else "picture"
    inputs = {
        "picture": name or path,
        "cut_out": None if cutting is None else dataclasses.asdict(cutting),
    }
    return run_sweep(base, changes, trial, out, inputs=inputs, on_trial=on_trial, cluster=cluster)


@dataclasses.dataclass(frozen=True)
class SweepArguments(SweepOptions, PortraitConfig):
    """Draw one picture with many settings, and compare.

    Writes trials.csv, a cartoon a trial and contact_sheet.png into the folder. The same command
    on the same folder goes on where it was stopped.
    """

    inputs: tyro.conf.Positional[tuple[str, ...]] = ()
    """The picture; scikit-image's astronaut when left out."""
    out: Path = Path("out/cartoon-sweep")
    """The folder for the results."""
    preset: Literal["report", "fine"] = "report"
    """Settings that the grid varies."""
    grid: tuple[str, ...] = ()
    """What to vary: FIELD=VALUE,VALUE… for any of the drawing's settings, one after another, such
    as alpha=1e-4,1e-3 smallest=40,80 canny=100:200,50:150; with --samples also FIELD=LOW..HIGH or
    FIELD=log:LOW..HIGH for numbers; alpha and smallest when left out."""


@cli.command
def main(argv: Sequence[str]) -> int:
    arguments = cli.parse(SweepArguments, argv, prog="python -m cartoon.sweep", presets=PRESETS)
    inputs = find_inputs(arguments.inputs or [str(sample("astronaut.png"))])
    if len(inputs) > 1:
        raise SettingsError(f"a sweep takes one picture, not {len(inputs)}")
    rows = sweep(
        inputs[0].source,
        arguments.settings_to_try(arguments.drawing, DEFAULT_GRID),
        out=arguments.out,
        base=arguments.drawing,
        cut_out=arguments.cut_out,
        cutting=arguments.cutting,
        name=inputs[0].name,
        on_trial=lambda index, total: cli.print_note(f"trial {index + 1} of {total}"),
        cluster=arguments.where({}),
    )
    return report_trials(rows, arguments.out, as_json=arguments.json)


if __name__ == "__main__":
    sys.exit(main())
