"""How good classifiers are on CIFAR-10's test pictures: `python -m classify.evaluate --data DIR`.

Accuracy, calibration (Guo et al., 2017), and the rule for "none of the ten": its false alarms on
the test pictures, and the part of other pictures, that show none of the ten, which it finds.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from atelier import cli
from atelier.errors import ImageError, SettingsError
from atelier.files import refuse_existing, write_table
from atelier.media.images import find_pictures, load_image, others_below
from classify import calibration
from classify.data import CLASSES, Split, load_cifar10
from classify.networks import Network, load
from classify.predict import prepare


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What a network makes of labelled pictures."""

    labels: np.ndarray
    """int64 (N,), the truth."""
    probabilities: np.ndarray
    """float32 (N, 10), in the order of `CLASSES`."""
    energies: np.ndarray
    """float32 (N,)."""
    accuracy: float
    """The part that is right."""
    error_before: float
    """Expected calibration error without temperature."""
    error: float
    """Expected calibration error."""
    cross_entropy: float
    """Mean negative log probability of the right class, nats."""
    false_alarms: float | None
    """The part that is taken for none of the ten; None for a network without a threshold."""

    @property
    def confusion(self) -> np.ndarray:
        """int64 (10, 10): pictures of each class (row) by what they were taken for (column)."""
        matrix = np.zeros((len(CLASSES), len(CLASSES)), np.int64)
        np.add.at(matrix, (self.labels, self.probabilities.argmax(axis=1)), 1)
        return matrix


def evaluate(network: Network, split: Split, views: int | None = None) -> Evaluation:
    """Measures a network on labelled pictures.

    Args:
        network: which.
        split: pictures and labels.
        views: over which logits are averaged; None takes the network's own number.
    """
    logits = network.logits(split.images, views)
    temperature, threshold = network.temperature_of(views), network.threshold_of(views)
    chosen = calibration.probabilities(logits, temperature)
    energies = calibration.energy(logits, temperature)
    own = chosen[np.arange(len(split)), split.labels]
    return Evaluation(
        labels=split.labels,
        probabilities=chosen,
        energies=energies,
        accuracy=float((chosen.argmax(axis=1) == split.labels).mean()),
        error_before=calibration.expected_calibration_error(
            calibration.probabilities(logits), split.labels
        ),
        error=calibration.expected_calibration_error(chosen, split.labels),
        cross_entropy=float(-np.log(np.maximum(own, np.finfo(np.float32).tiny)).mean()),
        false_alarms=None if threshold is None else float((energies < threshold).mean()),
    )


def hit_rate(
    network: Network,
    folder: Path,
    views: int | None = None,
    on_unreadable: Callable[[ImageError], object] | None = None,
) -> tuple[float, int]:
    """The part of a folder's pictures that is taken for none of the ten, and their number.

    Raises:
        ImageError: there is no readable picture, or one is unreadable and there is nobody to tell.
    """
    small = []
    for file in find_pictures([folder]):
        try:
            small.append(prepare(load_image(file)))
        except ImageError as error:
            if on_unreadable is None:
                raise
            on_unreadable(error)
    if not small:
        raise ImageError(f"{folder} holds no readable picture")
    logits = network.logits(np.stack(small), views)
    energies = calibration.energy(logits, network.temperature_of(views))
    return float((energies < network.threshold_of(views)).mean()), len(small)


# === The command ===


@dataclasses.dataclass(frozen=True)
class EvaluateArguments:
    """Measure classifiers on CIFAR-10's 10,000 test pictures."""

    data: Path | None = None
    """The folder of CIFAR-10; left out, Keras' cache, which downloads it once, or
    tensorflow-datasets'."""
    networks: tuple[str, ...] = ("strong",)
    """Embedded networks by name, or run folders."""
    outliers: tuple[Path, ...] = ()
    """Folders of pictures that show none of the ten."""
    views: Literal[0, 1, 2, 6] = 0
    """Over which logits are averaged; 0 for the network's own number."""
    confusion: bool = False
    """Print the confusion matrix too."""
    out: Path | None = None
    """A CSV file to write the table to."""
    overwrite: bool = False
    """Replace an existing table."""
    json: bool = False
    """Print one JSON object a network on standard output."""

    def __post_init__(self):
        names = [folder.name for folder in self.outliers]
        if len(set(names)) < len(names):
            raise SettingsError("--outliers takes folders with names of their own")


@cli.command
def main(argv: Sequence[str]) -> int:
    arguments = cli.parse(EvaluateArguments, argv, prog="python -m classify.evaluate")
    if arguments.out is not None:
        refuse_existing(arguments.out, arguments.overwrite)
    networks = {name: load(name) for name in arguments.networks}
    data = load_cifar10(arguments.data)
    cli.print_notes(others_below(arguments.outliers))
    unreadable, rows = {}, []
    for name, network in networks.items():
        result = evaluate(network, data.test, arguments.views or None)
        row = {
            "network": name,
            "parameters": network.card["parameters"],
            "pictures": len(data.test),
            "views": arguments.views or network.views,
            "accuracy": round(result.accuracy, 4),
            "cross_entropy": round(result.cross_entropy, 4),
            "ece_before": round(result.error_before, 4),
            "ece": round(result.error, 4),
            "temperature": network.temperature_of(arguments.views or None),
        }
        if network.threshold_of(arguments.views or None) is not None:
            row["false_alarms"] = round(result.false_alarms, 4)
            for folder in arguments.outliers:
                hits, count = hit_rate(
                    network,
                    folder,
                    arguments.views or None,
                    lambda error: unreadable.setdefault(str(error)),
                )
                row[f"hits_{folder.name}"] = round(hits, 4)
                row[f"pictures_{folder.name}"] = count
        rows.append(row)
        if arguments.json:
            recall = result.confusion.diagonal() / np.maximum(result.confusion.sum(axis=1), 1)
            cli.print_json(
                {
                    **row,
                    "recall": dict(zip(CLASSES, recall.round(4).tolist(), strict=True)),
                    "confusion": result.confusion.tolist(),
                }
            )
        else:
            _print(row, result, arguments.confusion)
    if arguments.out is not None:
        write_table(arguments.out, rows, list(dict.fromkeys(name for row in rows for name in row)))
    for message in unreadable:
        cli.print_error(message)
    return cli.SOME_FAILED if unreadable else cli.DONE


def _print(row: dict, result: Evaluation, confusion: bool) -> None:
    for key, value in row.items():
        print(f"{key:22} {value}", flush=True)
    if confusion:
        print("\n" + " " * 11 + "".join(f"{name[:5]:>6}" for name in CLASSES))
        for name, line in zip(CLASSES, result.confusion, strict=True):
            print(f"{name:11}" + "".join(f"{count:6}" for count in line))
    print(flush=True)


if __name__ == "__main__":
    sys.exit(main())
