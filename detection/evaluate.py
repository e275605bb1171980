"""How good a detector is: `python -m detection.evaluate --data DIR --model MODEL`."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from atelier import cli
from atelier.files import refuse_existing, write_json, write_text
from atelier.media.images import load_image, save_image
from atelier.progress import Step
from detection import predict
from detection.annotations import Dataset, plain
from detection.config import DetectConfig
from detection.detections import Detections
from detection.measures.curves import confusion, draw_confusion, draw_curves, precision_recall
from detection.measures.metrics import evaluate, table
from detection.measures.shares import at_threshold
from detection.predict import Detector
from detection.sources import DataConfig, common_classes, report_faults


@dataclasses.dataclass(frozen=True)
class EvaluateArguments(DataConfig):
    """Measure a detector on annotated pictures.

    Prints COCO's average precision, VOC's, a table of the classes, and how many objects are found
    at the threshold, by the share of their picture. Of classes, those that the detector finds are
    measured, and others are named.
    """

    model: str = DetectConfig.model
    """As of detection.run: an embedded detector, torchvision's, or a run folder."""
    weights: Path | None = None
    """A local copy of torchvision's weights, instead of fetching them."""
    threshold: float | None = None
    """From which score on a detection counts as found, and in the confusion matrix; left out, each
    class's own."""
    out: Path | None = None
    """A folder for scores.json, table.txt, precision_recall.png and confusion.png."""
    overwrite: bool = False
    """Replace existing results."""
    json: bool = False
    """Print the scores as one JSON object on standard output."""

    def __post_init__(self):
        self.detection  # noqa: B018 - checks the threshold

    @property
    def detection(self) -> DetectConfig:
        """What finds objects."""
        return DetectConfig(self.model, self.weights, self.threshold)


def search(detector: Detector, dataset: Dataset, name: str) -> list[Detections]:
    """What a detector, or anything with its `detect`, finds on each picture of a data set, with a
    progress bar of that name."""
    found = []
    with cli.progress_bar(name) as on_step:
        for item in dataset.items:
            found.append(detector.detect(load_image(item.image)))
            on_step(Step(len(found), len(dataset), {}))
    return found


@cli.command
def main(argv: Sequence[str]) -> int:
    arguments = cli.parse(EvaluateArguments, argv, prog="python -m detection.evaluate")
    names = ("scores.json", "table.txt", "precision_recall.png", "confusion.png")
    files = {name: arguments.out / name for name in names} if arguments.out else {}
    for file in files.values():
        refuse_existing(file, arguments.overwrite)
    detector = predict.load_detector(arguments.detection)
    dataset = arguments.read()
    report_faults(dataset)
    dataset, left_out = common_classes(dataset, detector.classes, arguments.model)

    start = time.perf_counter()
    found = search(detector, dataset, "pictures")
    seconds = time.perf_counter() - start
    scores = evaluate(dataset, found)
    threshold = predict.threshold(arguments.detection, detector.card)
    used = at_threshold(dataset, found, threshold)
    record = {"data": dataset.name, "model": arguments.model, **scores.as_dict()}
    record["classes_left_out"] = list(left_out)
    record["at_threshold"] = {"threshold": threshold, **dataclasses.asdict(used)}
    record["seconds_a_picture"] = round(seconds / len(dataset), 3)

    text = "\n".join([table(scores), "", _named_threshold(threshold), *used.lines()])
    if arguments.out is not None:
        write_json(files["scores.json"], record)
        write_text(files["table.txt"], text + "\n")
        curves = draw_curves(precision_recall(dataset, found))
        save_image(files["precision_recall.png"], curves, overwrite=arguments.overwrite)
        matrix = confusion(dataset, [each.select(threshold) for each in found], 0)
        picture = draw_confusion(matrix, dataset.classes)
        save_image(files["confusion.png"], picture, overwrite=arguments.overwrite)
    if arguments.json:
        cli.print_json(record)
    for line in text.splitlines():
        cli.print_note(line)
    cli.print_note(f"{len(dataset)} pictures, {record['seconds_a_picture']} s each")
    return cli.DONE


def _named_threshold(threshold: float | Mapping[str, float]) -> str:
    if not isinstance(threshold, Mapping):
        return f"at a threshold of {threshold:g}:"
    each = ", ".join(f"{plain(name)} {value:g}" for name, value in list(threshold.items())[:8])
    return f"at the detector's own thresholds ({each}{', …' if len(threshold) > 8 else ''}):"


if __name__ == "__main__":
    sys.exit(main())
