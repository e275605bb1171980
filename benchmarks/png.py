"""PNG files at each of zlib's levels: `python -m benchmarks.png`.

Seconds and bytes beside those of level 6, Pillow's own, for what the commands write: a photo, a
photo enlarged, a cartoon. `atelier.media.saving.PNG_LEVEL` is chosen by this table: the fastest
level that makes no picture more than 10 % larger.
"""

from __future__ import annotations

import dataclasses
import io
import sys
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from PIL import Image, features

from atelier import cli
from atelier.errors import SettingsError
from atelier.media.images import load_image, resize, sample
from atelier.media.saving import PNG_LEVEL
from cartoon import cartoonize
from superres import upscale

USUAL = 6
LEVELS = (1, 2, 3, 4, 5, 6, 9)
MOST = 1.1
"""The size, beside that at level 6, that a faster level may cost."""


@dataclasses.dataclass(frozen=True)
class BenchmarkArguments:
    """Time PNG files at each level; prints a table, or with --json one JSON object."""

    repeats: int = 5
    """Timed runs of each level, of which the fastest counts."""
    json: bool = False
    """Print the numbers as JSON on standard output instead."""

    def __post_init__(self):
        if self.repeats < 1:
            raise SettingsError(f"--repeats is at least 1, not {self.repeats}")


def pictures() -> dict[str, np.ndarray]:
    """What is written: uint8 (H, W, 3) each, of about a million pixels."""
    photo = load_image(sample("astronaut.png"))
    return {
        "photo": load_image(sample("coffee.png")),
        "enlarged": upscale(photo, 2).image,
        "cartoon, fine": cartoonize(resize(photo, (1024, 1024)), "fine").image,
        "cartoon, report": cartoonize(resize(photo, (1024, 1024)), "report").image,
    }


def measure(image: np.ndarray, level: int, repeats: int) -> tuple[float, int]:
    """The seconds that writing a picture takes, and the bytes of the file."""
    seconds, picture = [], Image.fromarray(image)
    for _ in range(repeats):
        file = io.BytesIO()
        begin = time.perf_counter()
        picture.save(file, "PNG", compress_level=level)
        seconds.append(time.perf_counter() - begin)
    return min(seconds), len(file.getvalue())


def choose(table: Mapping[str, Mapping[int, tuple[float, int]]]) -> int:
    """The fastest level over all pictures that makes none more than `MOST` times as large."""
    fit = [
        level
        for level in LEVELS
        if all(rows[level][1] <= MOST * rows[USUAL][1] for rows in table.values())
    ]
    return min(fit, key=lambda level: sum(rows[level][0] for rows in table.values()))


def print_table(table: Mapping[str, Mapping[int, tuple[float, int]]], say: Callable) -> None:
    """Prints seconds, and both beside level 6, as Markdown."""
    say("| level | " + " | ".join(table) + " |")
    say("|---" * (len(table) + 1) + "|")
    for level in LEVELS:
        cells = []
        for rows in table.values():
            (seconds, size), (usual, usual_size) = rows[level], rows[USUAL]
            cells.append(
                f"{seconds:.2f} s, ×{usual / seconds:.1f}, {100 * (size / usual_size - 1):+.0f} %"
            )
        say(f"| {level} | " + " | ".join(cells) + " |")


@cli.command
def main(argv: Sequence[str]) -> int:
    arguments = cli.parse(BenchmarkArguments, argv, prog="python -m benchmarks.png")
    table = {
        name: {level: measure(image, level, arguments.repeats) for level in LEVELS}
        for name, image in pictures().items()
    }
    chosen = choose(table)
    faster = features.version_feature("zlib_ng")
    library = f"zlib-ng {faster}" if faster else f"zlib {features.version('zlib')}"
    if arguments.json:
        cli.print_json({"library": library, "level": chosen, "table": table})
        return cli.DONE
    print_table(table, print)
    print(f"{library}: level {chosen} is chosen; `save_image` takes {PNG_LEVEL}")
    return cli.DONE


if __name__ == "__main__":
    sys.exit(main())
