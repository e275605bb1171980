"""How much drawn videos flicker: `python -m benchmarks.cartoon_video`.

Frame by frame against `cartoon.drawing.steady`, both on the same frames: scikit-image's astronaut
under sensor noise and slow waves of brightness; a tripod's view, and a pan with a zoom. Of a pan,
much changes with good reason: `clean` is what it gives without noise and waves.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import warnings
from collections.abc import Iterator, Sequence

# Run as a script, this file's folder comes first.
sys.path = [folder for folder in sys.path if not folder.endswith("benchmarks")]

import cv2
import numpy as np

from atelier import cli
from atelier.errors import SettingsError
from atelier.media.images import load_image, sample
from atelier.training.runs import machine
from cartoon import PRESETS, cartoonize
from cartoon.drawing.steady import Flicker, SteadyCartoon


@dataclasses.dataclass(frozen=True)
class BenchmarkArguments:
    """Measure flicker; prints a table, or with --json one JSON object."""

    frames: int = 40
    """Of each sequence, 480×360."""
    noise: float = 4.0
    """Standard deviation in levels."""
    waves: float = 1.5
    """Of brightness, in levels, with a period of 44 frames."""
    speed: float = 1.0
    """Pixels a frame of the pan, which enlarges by 0.4 % a frame."""
    json: bool = False
    """Print the numbers as JSON on standard output instead."""

    def __post_init__(self):
        if self.frames < 2 or self.noise < 0:
            raise SettingsError("--frames is 2 or more, and --noise is not negative")


def view(frames: int, speed: float, noise: float, waves: float) -> Iterator[np.ndarray]:
    """Frames of a camera over the astronaut: uint8 (360, 480, 3)."""
    rng, picture = np.random.default_rng(0), load_image(sample("astronaut.png"))
    height, width = 360, 480
    for number in range(frames):
        moved = speed * number
        zoom, x, y = 1.3 + 0.004 * moved, 230 + 0.95 * moved, 205 + 0.3 * moved
        matrix = np.float32([[zoom, 0, width / 2 - zoom * x], [0, zoom, height / 2 - zoom * y]])
        frame = cv2.warpAffine(
            picture, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
        )
        frame = frame + waves * np.sin(number / 7) + rng.normal(0, noise, frame.shape)
        yield np.uint8(np.clip(np.rint(frame), 0, 255))


def measure(preset: str, speed: float, arguments: BenchmarkArguments) -> dict[str, object]:
    """Flicker in levels, of each side."""
    counted = {side: Flicker() for side in ("frame by frame", "steady", "clean")}
    artist, clean = SteadyCartoon(PRESETS[preset]), SteadyCartoon(PRESETS[preset])
    noisy = view(arguments.frames, speed, arguments.noise, arguments.waves)
    for frame, bare in zip(noisy, view(arguments.frames, speed, 0, 0), strict=True):
        counted["frame by frame"].add(frame, cartoonize(frame, preset).image)
        counted["steady"].add(frame, artist(frame))
        counted["clean"].add(frame, clean(bare))
    plain, steady, _ = (side.value for side in counted.values())
    values = {name: round(side.value, 2) for name, side in counted.items()}
    return {"preset": preset, "pixels a frame": speed, **values, "ratio": round(plain / steady, 1)}


@cli.command
def main(argv: Sequence[str]) -> int:
    arguments = cli.parse(BenchmarkArguments, argv, prog="python -m benchmarks.cartoon_video")
    warnings.simplefilter("ignore")  # Of SciPy, where counts are all alike.
    rows = [measure(name, speed, arguments) for speed in (0, arguments.speed) for name in PRESETS]
    if arguments.json:
        print(json.dumps({"machine": machine(), "rows": rows}))
        return cli.DONE
    print(f"{machine()}\n\n| {' | '.join(rows[0])} |\n|{'---|' * len(rows[0])}")
    for row in rows:
        print(f"| {' | '.join(map(str, row.values()))} |")
    return cli.DONE


if __name__ == "__main__":
    sys.exit(main())
