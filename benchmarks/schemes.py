"""What a step of each training scheme costs: `python -m benchmarks.schemes`.

Processor seconds, which other processes on the machine change little, of a step of `lite` on four
drawn squares: of joint training, and of the four steps of alternating training. In turn, in one
process.
"""

from __future__ import annotations

import dataclasses
import statistics
import sys
import time
from collections.abc import Sequence

import keras
import tensorflow as tf

import atelier  # noqa: F401 - first, as it holds back TensorFlow's greeting
from atelier import cli
from atelier.errors import SettingsError
from benchmarks.detection import taught
from detection.network.architectures import LITE, resized
from detection.network.faster_rcnn import PROPOSING, FasterRCNN
from detection.training import shapes
from detection.training.schemes import STAGES

JOINT = "joint"


@dataclasses.dataclass(frozen=True)
class BenchmarkArguments:
    """Measure a training step of each scheme in processor seconds; prints a table."""

    side: int = 320
    """Of the squares, pixels; a multiple of 64."""
    min_size: int = 416
    """The shorter side that pictures are resized to, pixels."""
    repeats: int = 5
    """How often each is timed, after a first round."""
    json: bool = False
    """Print the numbers as one JSON object on standard output, too."""

    def __post_init__(self):
        if self.side < 64 or self.side % 64 or self.repeats < 1:
            raise SettingsError("--side is a multiple of 64, and --repeats at least 1")


def step_seconds(model: FasterRCNN, batch: dict, repeats: int) -> dict[str, float]:
    """Returns the median processor seconds of a step of each stage.

    Args:
        model: compiled, with a proposer.
        batch: as the model is trained with.
        repeats: how often each is timed, in turn, after a first round.
    """
    steps, seconds = {}, {}
    for stage in (JOINT, *STAGES):
        model.set_stage(stage)
        steps[stage] = tf.function(model.train_step).get_concrete_function((batch,))
        seconds[stage] = []
    for _ in range(repeats + 1):
        for stage, step in steps.items():
            start = time.process_time()
            step((batch,))
            seconds[stage].append(time.process_time() - start)
    return {stage: round(statistics.median(own[1:]), 4) for stage, own in seconds.items()}


def table(seconds: dict[str, float]) -> list[str]:
    """Returns lines: each stage, and a step of alternating training as a share of a joint one."""
    lines = [f"{stage:10} {value:7.3f} s" for stage, value in seconds.items()]
    mean = statistics.mean(seconds[stage] for stage in STAGES)
    return [*lines, f"alternating {mean:6.3f} s on average, {mean / seconds[JOINT]:.2f} of joint"]


@cli.command
def main(argv: Sequence[str]) -> int:
    arguments = cli.parse(BenchmarkArguments, argv, prog="python -m benchmarks.schemes")
    keras.utils.set_random_seed(0)
    architecture = resized(LITE, arguments.min_size)
    model, proposer = (FasterRCNN(architecture, shapes.SHAPES) for _ in range(2))
    proposer.take(model, PROPOSING)
    proposer.trainable = False
    model.proposer = proposer
    model.compile(keras.optimizers.AdamW(1e-5), jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    seconds = step_seconds(model, taught(arguments.side, 4), arguments.repeats)
    if arguments.json:
        cli.print_json(seconds)
    for line in table(seconds):
        cli.print_note(line)
    return cli.DONE


if __name__ == "__main__":
    sys.exit(main())
