"""The report's Table 1, and its experiment on JPEG: `python -m superres.evaluate --data DIR`.

The protocol of the published tables: pictures are cropped to a multiple of the scale, shrunk in RGB
by antialiased bicubic and rounded to 8 bits; luma (BT.601, studio range; of a grey picture itself)
is rounded to 8 bits; PSNR and SSIM of the result's luma, a border as wide as the scale left out.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from atelier import cli
from atelier.errors import ImageError, SettingsError
from atelier.files import refuse_existing, write_table
from atelier.media.images import find_pictures, others_below
from superres.metrics import psnr, ssim
from superres.networks import WEIGHTS, Network, apply, load_stored
from superres.resample import bicubic
from superres.training import data, degradation

TABLE_1 = (
    "srcnn",
    "fsrcnn-s",
    "report-float",
    "clean-float",
    "clean",
    "proposed",
    "compressed",
)
"""The embedded networks that are compared, without their scale."""

QUALITIES = (70, 80, 90)
"""Of JPEG, in the experiment that the report describes in Section 4."""

Method = Callable[[np.ndarray], np.ndarray]
"""From LR luma (h, w) in [0, 255] to HR luma (scale·h, scale·w)."""


@dataclasses.dataclass(frozen=True)
class Score:
    """How good a method is on a test set."""

    psnr: float
    """Mean over the pictures, dB."""
    ssim: float
    """Mean over the pictures."""


def benchmark_pairs(
    folder: Path,
    scale: int,
    quality: int | None = None,
    on_unreadable: Callable[[ImageError], object] | None = None,
) -> list[data.Pair]:
    """A test set's pairs of luma.

    Args:
        folder: of the HR pictures.
        scale: by which they are shrunk.
        quality: of the JPEG file that the LR picture goes through; None for none.
        on_unreadable: told why a picture is left out.

    Raises:
        ImageError: no pictures there.
    """
    model = degradation.bicubic_model(scale)
    if quality is not None:
        model = degradation.compose(model, degradation.jpeg(quality, quality))
    return data.pairs(
        find_pictures([folder]),
        scale=scale,
        degradation=model,
        shrinks=(1.0,),
        on_unreadable=on_unreadable,
    )


def measure(method: Method, pairs: Iterable[data.Pair]) -> Score:
    """The mean PSNR and SSIM of a method on pairs of luma."""
    scores = []
    for lr, hr in pairs:
        result = method(lr)
        border = hr.shape[0] // lr.shape[0]
        scores.append((psnr(result, hr, border), ssim(result, hr, border)))
    return Score(*np.mean(scores, axis=0).tolist())


def methods(networks: Mapping[str, Network], scale: int) -> dict[str, Method]:
    """Bicubic interpolation, the table's first row, then networks."""
    made: dict[str, Method] = {
        "bicubic": lambda lr: bicubic(lr, (lr.shape[0] * scale, lr.shape[1] * scale))
    }
    for name, network in networks.items():
        made[name] = lambda lr, model=network.model: apply(model, lr)
    return made


def compare(
    methods: Mapping[str, Method], sets: Mapping[str, Sequence[data.Pair]]
) -> dict[str, dict[str, Score]]:
    """Every method on every set: scores by method, then by set."""
    return {
        name: {set_name: measure(method, pairs) for set_name, pairs in sets.items()}
        for name, method in methods.items()
    }


@dataclasses.dataclass(frozen=True)
class EvaluateArguments:
    """Print PSNR and SSIM of all methods on test sets, as a table; and again after JPEG."""

    data: Path | None = None
    """A folder with a folder for each test set (Set5, Set14…), or one test set."""
    sets: tuple[str, ...] = ()
    """Only these of the folders in it."""
    runs: tuple[Path, ...] = ()
    """Run folders of further networks to compare."""
    scale: int = 2
    """Pixels a side that each pixel becomes."""
    qualities: tuple[int, ...] = QUALITIES
    """JPEG qualities of the LR pictures in the second table; none for no such table."""
    out: Path | None = None
    """Also write the table to this .csv file."""
    overwrite: bool = False
    """Replace an existing file."""
    json: bool = False
    """Print one JSON object a row on standard output, instead of the tables."""


def find_sets(folder: Path, names: Sequence[str] = ()) -> dict[str, Path]:
    """The test sets in a folder: its folders that hold pictures, or itself.

    Raises:
        ImageError: it holds no pictures, or a named set is not there.
    """
    if names:
        return {name: folder / name for name in names}
    below = [file.relative_to(folder).parts for file in find_pictures([folder])]
    names = sorted({parts[0] for parts in below if len(parts) > 1})
    return {name: folder / name for name in names} or {folder.name: folder}


def stored_networks(scale: int) -> dict[str, Network]:
    """The embedded networks of a scale that Table 1 compares, by name."""
    names = [f"{name}-x{scale}" for name in TABLE_1]
    return {name: load_stored(name) for name in names if (WEIGHTS / f"{name}.npz").exists()}


def rows(
    networks: Mapping[str, Network], scores: Mapping[str, Mapping[str, Score]]
) -> list[dict[str, object]]:
    """Table 1 as rows of values: method, parameters, bits, then PSNR and SSIM by test set."""
    made = []
    for method, by_set in scores.items():
        row = {"method": method, "parameters": "", "weight_bits": "", "activation_bits": ""}
        if method in networks:
            network = networks[method]
            row["parameters"] = network.card["parameters"]
            row["weight_bits"], row["activation_bits"] = network.bits
        for name, score in by_set.items():
            row[f"{name}_psnr"] = round(score.psnr, 2)
            row[f"{name}_ssim"] = round(score.ssim, 4)
        made.append(row)
    return made


def markdown(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows of values as a table in Markdown."""
    names = list(rows[0])
    lines = [names, ["---"] * len(names), *([str(row[name]) for name in names] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


@cli.command
def main(argv: Sequence[str]) -> int:
    arguments = cli.parse(EvaluateArguments, argv, prog="python -m superres.evaluate")
    if arguments.data is None:
        raise SettingsError("give a folder of test sets: --data DIR")
    if arguments.scale not in (2, 3, 4):
        raise SettingsError(f"--scale is 2, 3 or 4, not {arguments.scale}")
    if any(not 1 <= quality <= 100 for quality in arguments.qualities):
        raise SettingsError(f"--qualities go from 1 to 100, not {arguments.qualities}")
    if arguments.out is not None:
        refuse_existing(arguments.out, arguments.overwrite)
    networks = stored_networks(arguments.scale)
    for folder in arguments.runs:
        network = Network.load(folder)
        if network.scale != arguments.scale:
            raise SettingsError(f"{folder} is for scale {network.scale}, not {arguments.scale}")
        if folder.name in networks:
            raise SettingsError(f"two networks are called {folder.name}; rename one's folder")
        networks[folder.name] = network
    folders = find_sets(arguments.data, arguments.sets)
    cli.print_notes(others_below(folders.values()))
    lines, unreadable = [], {}
    for quality in (None, *arguments.qualities):
        sets = {
            name: benchmark_pairs(
                folder, arguments.scale, quality, lambda error: unreadable.setdefault(str(error))
            )
            for name, folder in folders.items()
        }
        title = "clean" if quality is None else f"jpeg {quality}"
        cli.print_note(f"{title}: {', '.join(f'{len(pairs)} of {n}' for n, pairs in sets.items())}")
        scores = compare(methods(networks, arguments.scale), sets)
        table = [{"input": title, **row} for row in rows(networks, scores)]
        lines += table
        for row in table if arguments.json else ():
            cli.print_json(row)
        if not arguments.json:
            print(markdown(table) + "\n", flush=True)
    if arguments.out is not None:
        write_table(arguments.out, lines)
    for message in unreadable:
        cli.print_error(message)
    return cli.SOME_FAILED if unreadable else cli.DONE


if __name__ == "__main__":
    sys.exit(main())
