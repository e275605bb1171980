"""How good detections are: COCO's average precision and recall, by pycocotools, and VOC's.

A class without an object that counts has no numbers: they are NaN, and no part of a mean.
Detections whose label is none of the data set's classes are left out, so that a detector of COCO's
80 classes can be measured on a data set of people; `Scores.foreign` counts them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from pycocotools.cocoeval import COCOeval

from detection.annotations import Annotated, Dataset, plain
from detection.detections import Detections
from detection.measures.curves import Detected, align, from_corners, precision_recall


@dataclasses.dataclass(frozen=True)
class ClassScores:
    """The numbers of one class, in [0, 1]; NaN where no object counts."""

    label: str
    objects: int
    """That count: neither crowds nor difficult."""
    ap: float
    """COCO's: at 101 recalls, the mean over IoUs of 0.5, 0.55 … 0.95."""
    ap50: float
    ap75: float
    voc2007_ap50: float
    """At 11 recalls, VOC's until 2009."""
    voc2010_ap50: float
    """The area under the precision envelope, VOC's from 2010 on."""
    best_f1: float
    """At IoU 0.5, over all thresholds of the score."""
    best_score: float
    """The threshold for it: detections of at least this score. NaN if nothing is found."""


@dataclasses.dataclass(frozen=True)
class Scores:
    """A detector's numbers on a data set, in [0, 1]: means over the classes with objects."""

    pictures: int
    objects: int
    """That count: neither crowds nor difficult."""
    ap: float
    """COCO's AP, with at most 100 detections a class and picture, as all of COCO's here."""
    ap50: float
    ap75: float
    ap_small: float
    """Of objects up to 32² pixels.

    Areas are those of the boxes. COCO's own results take those of the segments, which are smaller.
    """
    ap_medium: float
    """Of objects up to 96² pixels."""
    ap_large: float
    ar1: float
    """Recall, the mean over the ten IoUs, with one detection a class and picture."""
    ar10: float
    ar100: float
    ar_small: float
    ar_medium: float
    ar_large: float
    voc2007_ap50: float
    voc2010_ap50: float
    classes: tuple[ClassScores, ...]
    """In the order of the data set's classes."""
    foreign: dict[str, int]
    """Detections that were left out, by their labels, which the data set does not have."""

    def as_dict(self) -> dict[str, object]:
        """All numbers for JSON, None for NaN."""

        def fit(value):
            if isinstance(value, dict):
                return {key: fit(each) for key, each in value.items()}
            if isinstance(value, tuple):
                return [fit(each) for each in value]
            return None if isinstance(value, float) and math.isnan(value) else value

        return fit(dataclasses.asdict(self))


def evaluate(dataset: Dataset, found: Sequence[Detections]) -> Scores:
    """Measures detections.

    Crowds and difficult objects neither count nor punish. COCO's rule lets any number of
    detections go to a crowd, a region that need only contain them, and one detection to a
    difficult object, as to one outside the range of areas; VOC's lets any number go to either.

    Args:
        dataset: the annotated pictures.
        found: one a picture, in the order of `dataset.items`, down to low scores: precision is
            followed to the last of them.

    Raises:
        DataError: no picture, another number of detections than of pictures, or a box or score
            that is not finite.
    """
    pictures, foreign = align(dataset, found)
    coco = _evaluate_coco(pictures, len(dataset.classes))
    curves = precision_recall(dataset, found)
    classes = tuple(
        ClassScores(
            label=curve.label,
            objects=curve.objects,
            ap=float(coco["ap"][place]),
            ap50=float(coco["ap50"][place]),
            ap75=float(coco["ap75"][place]),
            voc2007_ap50=curve.voc2007_ap,
            voc2010_ap50=curve.voc2010_ap,
            best_f1=curve.best[0],
            best_score=curve.best[1],
        )
        for place, curve in enumerate(curves)
    )
    return Scores(
        pictures=len(dataset),
        objects=sum(curve.objects for curve in curves),
        **{name: _mean(values) for name, values in coco.items()},
        voc2007_ap50=_mean(each.voc2007_ap50 for each in classes),
        voc2010_ap50=_mean(each.voc2010_ap50 for each in classes),
        classes=classes,
        foreign=foreign,
    )


def table(scores: Scores) -> str:
    """Lines for a terminal: one a class, their mean, COCO's other numbers."""
    head = ("class", "objects", "AP", "AP50", "AP75", "VOC07", "VOC10", "best F1", "at score")
    mean = ("mean", scores.objects, scores.ap, scores.ap50, scores.ap75)
    mean += (scores.voc2007_ap50, scores.voc2010_ap50)
    mean += (_mean(each.best_f1 for each in scores.classes), "")
    rows = [dataclasses.astuple(each) for each in scores.classes]
    cells = [head, *([_cell(value) for value in row] for row in (*rows, mean))]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join([f"{row[0]:{widths[0]}}", *map(str.rjust, row[1:], widths[1:])]).rstrip()
        for row in cells
    ]
    ap, ar = (
        "  ".join(f"{size} {_cell(value)}" for size, value in zip(SIZES[1:], values, strict=True))
        for values in (
            (scores.ap_small, scores.ap_medium, scores.ap_large),
            (scores.ar_small, scores.ar_medium, scores.ar_large),
        )
    )
    recalls = f"1 {_cell(scores.ar1)}  10 {_cell(scores.ar10)}  100 {_cell(scores.ar100)}"
    lines += ["", f"AP: {ap}", f"AR: {ar}", f"AR by detections a picture: {recalls}"]
    if scores.foreign:
        names = sorted(scores.foreign, key=scores.foreign.get, reverse=True)
        shown = ", ".join(map(plain, names[:8])) + (", …" if len(names) > 8 else "")
        lines.append(f"left out, of other classes: {sum(scores.foreign.values())} ({shown})")
    return "\n".join(lines)


# === COCO ===

SIZES = ("all", "small", "medium", "large")
"""pycocotools' ranges of areas, in its order; its limits to detections are 1, 10 and 100."""


class _Evaluation(COCOeval):
    """COCO's evaluation of annotations in memory, where objects can be difficult.

    pycocotools' own way to its annotations is through files' form, and overwrites `ignore`, by
    which it leaves out objects beyond the range of areas too, with `iscrowd`.
    """

    def __init__(self, pictures: Sequence[tuple[Annotated, Detected]], classes: int):
        super().__init__(iouType="bbox")
        self.pictures = pictures
        self.params.imgIds = list(range(len(pictures)))
        self.params.catIds = list(range(classes))

    def _prepare(self) -> None:
        self._gts, self._dts = defaultdict(list), defaultdict(list)
        for picture, (item, detected) in enumerate(self.pictures):
            of_truth = zip(
                item.labels.tolist(),
                from_corners(item.boxes).tolist(),
                item.crowd.tolist(),
                item.difficult.tolist(),
                strict=True,
            )
            for number, (label, box, crowd, difficult) in enumerate(of_truth, 1):  # 0 is no match.
                record = _record(number, box) | {"iscrowd": crowd, "ignore": crowd or difficult}
                self._gts[picture, label].append(record)
            of_found = zip(
                detected.labels.tolist(),
                detected.boxes.tolist(),
                detected.scores.tolist(),
                strict=True,
            )
            for number, (label, box, score) in enumerate(of_found, 1):
                self._dts[picture, label].append(_record(number, box) | {"score": score})


def _record(number: int, box: list[float]) -> dict[str, object]:
    return {"id": number, "bbox": box, "area": box[2] * box[3]}


def _evaluate_coco(
    pictures: Sequence[tuple[Annotated, Detected]], classes: int
) -> dict[str, np.ndarray]:
    """COCO's numbers, each float64 (classes,), by the names of `Scores`' fields."""
    evaluation = _Evaluation(pictures, classes)
    with contextlib.redirect_stdout(io.StringIO()):  # It says how far it is.
        evaluation.evaluate()
        evaluation.accumulate()

    def settled(values):  # -1 where there is no object.
        return np.where(values < 0, math.nan, values)

    # IoUs, recalls, classes, areas, limits; and IoUs, classes, areas, limits.
    precision = settled(evaluation.eval["precision"]).mean(axis=1)
    recall = settled(evaluation.eval["recall"]).mean(axis=0)
    numbers = {"ap": precision[..., 0, -1].mean(axis=0)}
    numbers |= {"ap50": precision[0, :, 0, -1], "ap75": precision[5, :, 0, -1]}
    for area, size in enumerate(SIZES[1:], 1):
        numbers[f"ap_{size}"] = precision[..., area, -1].mean(axis=0)
        numbers[f"ar_{size}"] = recall[:, area, -1]
    for place, limit in enumerate(evaluation.params.maxDets):
        numbers[f"ar{limit}"] = recall[:, 0, place]
    return numbers


def _mean(values: Iterable[float]) -> float:
    """The mean of those that are not NaN; NaN if all are."""
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan


def _cell(value: float | int | str) -> str:
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.3f}"
    return plain(str(value), 32)
