"""How fast cartoons are drawn: `python -m benchmarks.cartoon`. All sides in one run, in turn.

Preset `report` against the report's own steps written plainly (`benchmarks/plain_cartoon.py`),
whose results are compared, and preset `fine`; scikit-image's astronaut at 1 and at 12 megapixels.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import sys
import time
import warnings
from collections.abc import Sequence

# Run as a script, this file's folder comes first, and this file would pass for `cartoon`.
sys.path = [folder for folder in sys.path if not folder.endswith("benchmarks")]

import numpy as np

from atelier import cli
from atelier.errors import SettingsError
from atelier.images import load_image, resize, sample
from atelier.runs import machine
from benchmarks import plain_cartoon
from cartoon import cartoonize


@dataclasses.dataclass(frozen=True)
class BenchmarkArguments:
    """Measure drawing; prints a table, or with --json one JSON object."""

    megapixels: tuple[float, ...] = (1, 12)
    """Sizes of the picture."""
    repeats: int = 5
    """How often each side is timed."""
    json: bool = False
    """Print the numbers as JSON on standard output instead."""

    def __post_init__(self):
        if not self.megapixels or min(self.megapixels) <= 0 or self.repeats < 1:
            raise SettingsError("--megapixels and --repeats are positive")


SIDES = {
    "plain": plain_cartoon.cartoonize,
    "report": lambda picture: cartoonize(picture, "report").image,
    "fine": lambda picture: cartoonize(picture, "fine").image,
}


def measure(megapixels: float, repeats: int) -> dict[str, object]:
    """Median seconds of each side, and whether `report` draws what the plain steps draw."""
    side = round((megapixels * 1e6) ** 0.5)
    picture = resize(load_image(sample("astronaut.png")), (side, side))
    seconds, drawn = {name: [] for name in SIDES}, {}
    for _ in range(repeats + 1):
        for name, draw in SIDES.items():
            start = time.perf_counter()
            drawn[name] = draw(picture)
            seconds[name].append(time.perf_counter() - start)
    medians = {name: round(statistics.median(values[1:]), 4) for name, values in seconds.items()}
    return {
        "megapixels": megapixels,
        **medians,
        "ratio": round(medians["plain"] / medians["report"], 2),
        "equal": bool(np.array_equal(drawn["plain"], drawn["report"])),
    }


@cli.command
def main(argv: Sequence[str]) -> int:
    arguments = cli.parse(BenchmarkArguments, argv, prog="python -m benchmarks.cartoon")
    warnings.simplefilter("ignore")  # Of SciPy, in the plain steps, where counts are all alike.
    rows = [measure(megapixels, arguments.repeats) for megapixels in arguments.megapixels]
    if arguments.json:
        print(json.dumps({"machine": machine(), "rows": rows}))
        return cli.DONE
    print(f"{machine()}\n\n| {' | '.join(rows[0])} |\n|{'---|' * len(rows[0])}")
    for row in rows:
        print(f"| {' | '.join(map(str, row.values()))} |")
    return cli.DONE


if __name__ == "__main__":
    sys.exit(main())
