"""How fast classifiers learn and answer: `python -m benchmarks.classify --data DIR`.

Seconds an epoch of the presets `report` and `strong`, timed in turn in one process, test pictures
included. Seconds to 75.63 %, the report's accuracy, and to 94 % follow from how many epochs each
needed in a whole training: in the run folders given by `--report` and `--strong`, where they are
trained if they are not yet, or as stored in `classify/weights`. During a training one view of a
picture is looked at; at its end as many as the network takes. Then pictures a second, of single
pictures and of batches: Keras, and LiteRT in float32 and int8, on as many threads.
"""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

# Run as a script, this file's folder comes first, and this file would pass for `classify`.
sys.path = [folder for folder in sys.path if not folder.endswith("benchmarks")]

import keras
import numpy as np
import tensorflow as tf

from atelier import cli
from atelier.errors import DataError
from atelier.export.runtimes import open_litert
from atelier.files import read_table
from atelier.training.runs import machine
from classify import data as cifar
from classify.export.litert import to_litert
from classify.networks import WEIGHTS, Network, compiled, load
from classify.train import PRESETS, TrainConfig, batches, train, trainee

GOALS = {"seconds_to_75.63%": 0.7563, "seconds_to_94%": 0.94}


@dataclasses.dataclass(frozen=True)
class BenchmarkArguments:
    """Measure training and inference; prints a table, or with --json one JSON object."""

    data: Path | None = None
    """The folder of CIFAR-10; left out, Keras' cache or tensorflow-datasets'."""
    report: Path | None = None
    """The run folder of a whole training of preset `report`, if not the stored one. A folder that
    holds none is trained into, as long as that takes."""
    strong: Path | None = None
    """The same of preset `strong`."""
    part: float = 0.2
    """The part of an epoch that is timed, of each preset in turn."""
    rounds: int = 3
    """How often."""
    threads: int = 0
    """Threads a side; 0 for one a core."""
    network: str = "strong"
    """Whose inference is timed: an embedded network, or a run folder."""
    json: bool = False
    """Print the numbers as JSON on standard output instead."""


def seconds_an_epoch(configs: dict[str, TrainConfig], data, part: float, rounds: int) -> dict:
    """Times an epoch of each preset, its validation on the test pictures included.

    Batches are made before the clock starts: augmentation is left out. An epoch is of all training
    pictures, also where a preset holds some back.

    Returns:
        The median of `rounds`, in seconds, by preset.
    """
    times = {name: [] for name in configs}
    trained = {
        name: (trainee(config, data.train), batches(config, data.train))
        for name, config in configs.items()
    }
    for round in range(-1, rounds):  # The first, in which everything is compiled, does not count.
        for name, (model, epoch) in trained.items():
            steps = max(2, int(len(epoch) * (part if round >= 0 else 0.02)))
            items = [epoch[i] for i in range(steps)]
            start = time.perf_counter()
            for images, labels in items:
                model.train_on_batch(images, labels)
            steps_seconds = (time.perf_counter() - start) / steps * len(epoch)
            start = time.perf_counter()
            test = data.test.images[: int(len(data.test) * part)]
            for i in range(0, len(test), 500):
                model.predict_on_batch(cifar.to_float(test[i : i + 500]))
            test_seconds = (time.perf_counter() - start) / len(test) * len(data.test)
            if round >= 0:
                times[name].append(steps_seconds + test_seconds)
    return {name: statistics.median(values) for name, values in times.items()}


def epochs_to(history: Path, card: Path, accuracy: float) -> int | None:
    """After how many epochs the test accuracy was first at least `accuracy`; None for never."""
    rows = read_table(history, key="epoch")
    if not rows:
        raise DataError(f"{history} holds no history of a training")
    reached = (int(row["epoch"]) for row in rows if float(row["val_accuracy"]) >= accuracy)
    at_the_end = json.loads(card.read_text(encoding="utf-8"))["accuracy"] >= accuracy
    return next(reached, len(rows) if at_the_end else None)


def pictures_a_second(network: Network, images: np.ndarray, threads: int) -> dict[str, float]:
    """Of single pictures and of batches of 64, Keras and LiteRT in turn."""
    forward = compiled(network.model)
    sides: dict[str, Callable[[np.ndarray], object]] = {"keras": forward}
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("float32", "int8"):
            path = Path(folder) / f"{kind}.tflite"
            to_litert(network, path, kind, calibration=images[:200])
            run = open_litert(path, threads).get_signature_runner()
            sides[f"litert-{kind}"] = lambda images, run=run: run(image=images)
        rates = {}
        for size, repeats in ((1, 60), (64, 6)):
            batch = cifar.to_float(images[:size])
            seconds = {name: [] for name in sides}
            for _ in range(repeats + 1):
                for name, side in sides.items():
                    start = time.perf_counter()
                    side(batch)
                    seconds[name].append(time.perf_counter() - start)
            for name, values in seconds.items():
                rates[f"{name}, {size} at once"] = size / statistics.median(values[1:])
    return rates


@cli.command
def main(argv: Sequence[str]) -> int:
    arguments = cli.parse(BenchmarkArguments, argv, prog="python -m benchmarks.classify")
    if arguments.threads:
        tf.config.threading.set_intra_op_parallelism_threads(arguments.threads)
    data = cifar.load_cifar10(arguments.data)
    runs = {}
    for name, folder in (("report", arguments.report), ("strong", arguments.strong)):
        if folder is None:
            runs[name] = WEIGHTS / f"{name}.csv", WEIGHTS / f"{name}.json"
            continue
        if not (folder / "card.json").exists():
            config = dataclasses.replace(PRESETS[name], data=arguments.data, out=folder)
            train(config, data=data)
        runs[name] = folder / "history.csv", folder / "card.json"
    epochs = {
        name: {goal: epochs_to(*files, value) for goal, value in GOALS.items()}
        for name, files in runs.items()
    }
    keras.utils.set_random_seed(0)
    configs = {name: PRESETS[name] for name in runs}
    seconds = seconds_an_epoch(configs, data, arguments.part, arguments.rounds)
    training = {
        name: {
            "seconds_an_epoch": round(seconds[name], 1),
            "epochs": configs[name].epochs,
            "seconds_in_all": round(seconds[name] * configs[name].epochs),
            **{
                goal: None if count is None else round(count * seconds[name])
                for goal, count in epochs[name].items()
            },
        }
        for name in configs
    }
    threads = arguments.threads or os.cpu_count()
    rates = pictures_a_second(load(arguments.network), data.test.images, threads)
    inference = {name: round(rate, 1) for name, rate in rates.items()}
    if arguments.json:
        print(json.dumps({"machine": machine(), "training": training, "inference": inference}))
        return cli.DONE
    print(machine())
    columns = list(training["report"])
    print("\n| preset | " + " | ".join(columns) + " |")
    print("|---|" + "---|" * len(columns))
    for name, row in training.items():
        cells = ["never" if row[column] is None else str(row[column]) for column in columns]
        print(f"| {name} | " + " | ".join(cells) + " |")
    print("\n| inference | pictures a second |\n|---|---|")
    for name, rate in inference.items():
        print(f"| {name} | {rate} |")
    return cli.DONE


if __name__ == "__main__":
    sys.exit(main())
