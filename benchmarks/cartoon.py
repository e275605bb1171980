"""How fast people are cut out and cartoons drawn: `python -m benchmarks.cartoon --teachers DIR`.

All sides in one run, in turn; scikit-image's astronaut at 1 and at 12 megapixels. Drawing: the
report's own steps written plainly (`benchmarks/plain_cartoon.py`), with OpenCV's bilateral filter,
against preset `report`, which must equal the plain steps with an exact filter, and preset `fine`.
Cutting out: our network's mask, as it comes, and refined as it is used; and the two teachers' in
LiteRT, with as many threads.
"""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

# Run as a script, this file's folder comes first, and this file would pass for `cartoon`.
sys.path = [folder for folder in sys.path if not folder.endswith("benchmarks")]

import numpy as np

from atelier import cli
from atelier.errors import SettingsError
from atelier.media.images import load_image, resize, sample
from atelier.training.runs import machine
from benchmarks import plain_cartoon
from cartoon import cartoonize, cut_out
from cartoon.people import matting, person
from cartoon.training.teachers import load_teachers


@dataclasses.dataclass(frozen=True)
class BenchmarkArguments:
    """Measure drawing and cutting out; prints tables, or with --json one JSON object."""

    teachers: Path | None = None
    """The folder with the teachers' .tflite files; left out, they are not measured."""

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


def timed(sides: Mapping[str, Callable], picture: np.ndarray, repeats: int) -> tuple[dict, dict]:
    """Median seconds of each side, taken in turn after a first round, and what each gave."""
    return measured(sides, picture, repeats, time.perf_counter)


def measured(
    sides: Mapping[str, Callable], picture: np.ndarray, repeats: int, clock: Callable[[], float]
) -> tuple[dict, dict]:
    """The same by any clock, such as `time.process_time`, which counts all cores together."""
    seconds, made = {name: [] for name in sides}, {}
    for _ in range(repeats + 1):
        for name, work in sides.items():
            start = clock()
            made[name] = work(picture)
            seconds[name].append(clock() - start)
    return {name: round(statistics.median(own[1:]), 4) for name, own in seconds.items()}, made


def astronaut(megapixels: float) -> np.ndarray:
    """The picture, square: uint8 (H, W, 3)."""
    side = round((megapixels * 1e6) ** 0.5)
    return resize(load_image(sample("astronaut.png")), (side, side))


def measure_drawing(megapixels: float, repeats: int) -> dict[str, object]:
    """Seconds of each side, and whether `report` draws what the plain steps draw."""
    picture = astronaut(megapixels)
    medians, drawn = timed(SIDES, picture, repeats)
    processor, _ = measured(SIDES, picture, repeats, time.process_time)
    expected = plain_cartoon.cartoonize(picture, plain_cartoon.exact_filter)
    return {
        "megapixels": megapixels,
        **medians,
        "ratio": round(medians["plain"] / medians["report"], 2),
        **{f"{name}, CPU": seconds for name, seconds in processor.items()},
        "equal": bool(np.array_equal(expected, drawn["report"])),
    }


def measure_cutting(megapixels: float, repeats: int, teachers: Path | None) -> dict[str, object]:
    """Seconds of each segmenter's mask at the picture's size, and of the whole cut-out."""
    network = person.embedded()
    sides = {"person": network.probability}
    sides["person, refined"] = lambda image: matting.refine(network.probability(image), image)
    sides["cut_out"] = cut_out
    if teachers is not None:
        sides |= load_teachers(teachers, threads=os.cpu_count() or 1)
    medians, _ = timed(sides, astronaut(megapixels), repeats)
    return {"megapixels": megapixels, **medians}


def print_table(rows: Sequence[Mapping]) -> None:
    print(f"\n| {' | '.join(rows[0])} |\n|{'---|' * len(rows[0])}")
    for row in rows:
        print(f"| {' | '.join(map(str, row.values()))} |")


@cli.command
def main(argv: Sequence[str]) -> int:
    arguments = cli.parse(BenchmarkArguments, argv, prog="python -m benchmarks.cartoon")
    sizes, repeats = arguments.megapixels, arguments.repeats
    drawing = [measure_drawing(megapixels, repeats) for megapixels in sizes]
    cutting = [measure_cutting(megapixels, repeats, arguments.teachers) for megapixels in sizes]
    if arguments.json:
        print(json.dumps({"machine": machine(), "drawing": drawing, "cutting": cutting}))
        return cli.DONE
    print(machine())
    print_table(drawing)
    print_table(cutting)
    return cli.DONE


if __name__ == "__main__":
    sys.exit(main())
