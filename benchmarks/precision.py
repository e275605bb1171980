"""The default style transfer in float32 and in bfloat16: `python -m benchmarks.precision`.

Both ways in one process, in turn, on the pictures of `python -m nst.run` without inputs; beside
them the probe of `atelier.nets.precision`, by which `--precision auto` chooses, and its choice.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence

from atelier import cli
from atelier.errors import SettingsError
from atelier.media.images import sample
from atelier.nets.precision import WORKS, choose, fastest, probe
from atelier.training.runs import machine
from nst.config import StyleTransferConfig
from nst.transfer import stylize

SETTINGS = StyleTransferConfig()


@dataclasses.dataclass(frozen=True)
class BenchmarkArguments:
    """Time style transfer in both precisions; prints a table, or with --json one JSON object."""

    size: int = SETTINGS.size
    """Longer side of the result in pixels."""
    iterations: int = SETTINGS.iterations
    """Steps at the last level of the pyramid."""
    repeats: int = 1
    """Timed runs of each precision, after one to warm up; the fastest counts."""
    json: bool = False
    """Print the numbers as JSON on standard output instead."""

    def __post_init__(self):
        for name in ("iterations", "repeats"):
            if getattr(self, name) < 1:
                raise SettingsError(f"--{name} must be at least 1, not {getattr(self, name)}")


def measure(arguments: BenchmarkArguments) -> dict[str, float | str]:
    """Returns seconds and milliseconds by precision, their ratios, and the choice."""

    def run(precision: str):
        config = dataclasses.replace(
            SETTINGS, size=arguments.size, iterations=arguments.iterations, precision=precision
        )
        return lambda: stylize(sample("astronaut.png"), "impasto", config)

    numbers: dict[str, float | str] = {}
    for name, work in WORKS.items():
        times = probe(work)
        numbers |= {f"probe_{name}_{key}_ms": 1e3 * value for key, value in times.items()}
        numbers[f"probe_{name}_ratio"] = times["float32"] / times["bfloat16"]
    runs = {precision: run(precision) for precision in ("float32", "bfloat16")}
    seconds = fastest(runs, arguments.repeats)
    numbers |= {f"stylize_{key}_seconds": value for key, value in seconds.items()}
    numbers["stylize_ratio"] = seconds["float32"] / seconds["bfloat16"]
    choice = choose("auto")
    return {**numbers, "auto": choice.precision, "reason": choice.reason}


@cli.command
def main(argv: Sequence[str]) -> int:
    arguments = cli.parse(BenchmarkArguments, argv, prog="python -m benchmarks.precision")
    numbers = {**measure(arguments), "machine": machine()}
    if arguments.json:
        print(json.dumps(numbers))
        return cli.DONE
    for name, value in numbers.items():
        print(f"{name:28} {value:.3g}" if isinstance(value, float) else f"{name:28} {value}")
    return cli.DONE


if __name__ == "__main__":
    sys.exit(main())
