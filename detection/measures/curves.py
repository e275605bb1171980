"""Precision–recall curves and the confusion matrix: what detections find at one IoU, and drawings.

Detections and objects are matched as in VOC's development kit (Everingham et al. 2010, Section
4.2). The kit's boxes hold their last pixel and are one pixel wider than their corners say; here
PASCAL's files are read as x1 y1 x2 y2 of just that width, so that the IoU is the kit's without its
+ 1.
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections import Counter
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from pycocotools import mask

from atelier.errors import DataError
from detection.annotations import Annotated, Dataset, plain
from detection.detections import Detections

IOU = 0.5
"""At which VOC counts an object as found, and with it the curves and the confusion matrix."""

MISSED = -1
"""In `Matching.objects`: a false alarm."""

NEUTRAL = -2
"""In `Matching.objects`: a detection that is not counted."""

MOST_CLASSES = 80
"""That are drawn: COCO's."""

MOST_COUNTS = 31
"""Rows of a confusion matrix whose counts are written; in more, they could not be read."""


@dataclasses.dataclass(frozen=True, eq=False)
class Curve:
    """What became of a class's N detections that count, highest score first."""

    label: str
    objects: int
    """That count: neither crowds nor difficult."""
    scores: np.ndarray
    """float64 (N,)."""
    hits: np.ndarray
    """bool (N,): whether each found an object that no earlier one had."""

    @property
    def precision(self) -> np.ndarray:
        """float64 (N,): the part of the first 1, 2 … N detections that are hits."""
        return np.cumsum(self.hits) / np.arange(1, len(self.hits) + 1)

    @property
    def recall(self) -> np.ndarray:
        """float64 (N,): the part of the objects that they find; NaN where there is none."""
        return np.cumsum(self.hits) / (self.objects or math.nan)

    @property
    def envelope(self) -> np.ndarray:
        """float64 (N,): the best precision at this recall or a higher one."""
        return np.maximum.accumulate(self.precision[::-1])[::-1]

    @property
    def voc2007_ap(self) -> float:
        """The mean envelope at recalls 0, 0.1 … 1, and 0 at recalls that are not reached.

        Recalls are compared in whole numbers: in the kit's floats, 3 of 10 fall short of 0.3.
        """
        if not self.objects:
            return math.nan
        reached = np.searchsorted(10 * np.cumsum(self.hits), self.objects * np.arange(11))
        return float(np.append(self.envelope, 0.0)[reached].mean())

    @property
    def voc2010_ap(self) -> float:
        """The area under the envelope."""
        return float(self.envelope[self.hits].sum() / self.objects) if self.objects else math.nan

    @property
    def best(self) -> tuple[float, float]:
        """The best F1, and the score from which on detections are taken for it."""
        if not self.objects:
            return math.nan, math.nan
        f1 = 2 * np.cumsum(self.hits) / (self.objects + np.arange(1, len(self.hits) + 1))
        # A threshold takes all detections of one score, or none of them.
        last = np.flatnonzero(np.append(np.diff(self.scores) != 0, True)[: len(f1)])
        if not len(last):
            return 0.0, math.nan
        place = last[f1[last].argmax()]
        return float(f1[place]), float(self.scores[place])


def precision_recall(
    dataset: Dataset, found: Sequence[Detections], iou: float = IOU
) -> tuple[Curve, ...]:
    """A curve for each of the data set's classes, by VOC's rule.

    Args:
        dataset: the annotated pictures.
        found: one a picture, in the order of `dataset.items`.
        iou: at which an object counts as found.

    Raises:
        DataError: no picture, another number of detections than of pictures, or a box or score
            that is not finite.
    """
    pictures, _ = align(dataset, found)
    labels, scores, hits = [], [], []
    for item, detected in pictures:
        objects = match(item, detected, iou).objects
        kept = objects != NEUTRAL
        labels.append(detected.labels[kept])
        scores.append(detected.scores[kept])
        hits.append(objects[kept] != MISSED)
    labels, scores, hits = map(np.concatenate, (labels, scores, hits))
    truth = np.concatenate([item.labels[counted(item)] for item, _ in pictures])
    counts = np.bincount(truth, minlength=len(dataset.classes))
    order = np.argsort(-scores, kind="stable")
    curves = []
    for place, name in enumerate(dataset.classes):
        own = order[labels[order] == place]
        curves.append(Curve(name, int(counts[place]), scores[own], hits[own]))
    return tuple(curves)


def confusion(
    dataset: Dataset, found: Sequence[Detections], score: float = 0.5, iou: float = IOU
) -> np.ndarray:
    """Objects by what they were taken for, with a last row and column for the background.

    First each class's detections find its objects, so that the diagonal over a row's sum is the
    recall of `precision_recall` at this score, and over a column's sum the precision. Then those
    that are on no object of their class, highest score first, are mistakes for the object of
    another class that they overlap most and that is not yet taken. What remains are false alarms,
    in the last row, and missed objects, in the last column.

    This differs from Ultralytics' matrix, where the pair of largest IoU comes first whatever its
    classes.

    Args:
        dataset: the annotated pictures.
        found: see `precision_recall`.
        score: detections of at least this score are looked at.
        iou: at which a detection is on an object.

    Returns:
        int64 (C + 1, C + 1) for C classes.

    Raises:
        DataError: see `precision_recall`.
    """
    pictures, _ = align(dataset, found)
    background = len(dataset.classes)
    matrix = np.zeros((background + 1, background + 1), np.int64)
    for item, detected in pictures:
        detected = detected.above(score)
        matching = match(item, detected, iou)
        objects = matching.objects.copy()
        free = counted(item) & ~np.isin(np.arange(len(item.labels)), objects)
        for place in np.flatnonzero((objects == MISSED) & ~matching.on_own):
            overlaps = np.where(free, matching.overlaps[place], -1.0)
            if overlaps.size and overlaps.max() >= iou:
                objects[place] = overlaps.argmax()
                free[objects[place]] = False
        kept = objects != NEUTRAL
        truth = np.append(item.labels, background)[objects[kept]]  # MISSED, -1, is the last.
        np.add.at(matrix, (truth, detected.labels[kept]), 1)
        np.add.at(matrix, (item.labels[free], background), 1)
    return matrix


# === Matching ===


@dataclasses.dataclass(frozen=True, eq=False)
class Detected:
    """A picture's N detections of the data set's classes, highest score first."""

    boxes: np.ndarray
    """float64 (N, 4): x y width height, as pycocotools has them."""
    scores: np.ndarray
    """float64 (N,)."""
    labels: np.ndarray
    """int64 (N,): places in the data set's classes."""

    def above(self, score: float) -> Detected:
        """Those with at least this score."""
        # What was a float32 is compared as one: 0.9 is not below 0.9.
        kept = self.scores >= np.float32(score)
        return Detected(self.boxes[kept], self.scores[kept], self.labels[kept])


@dataclasses.dataclass(frozen=True, eq=False)
class Matching:
    """What a picture's N detections found of its M objects."""

    objects: np.ndarray
    """int64 (N,): the object that each found, `MISSED` or `NEUTRAL`."""
    on_own: np.ndarray
    """bool (N,): whether it is on an object of its class, be that found before."""
    overlaps: np.ndarray
    """float64 (N, M): IoU; of crowds, the part of the detection that is inside."""


def match(item: Annotated, detected: Detected, iou: float = IOU) -> Matching:
    """Says what each detection found, by the rule of VOC's kit.

    A detection is on the object of its class that it overlaps most, if by `iou`. The first one
    there has found it, all others are false. One on a difficult object is not counted, nor,
    beyond VOC, is one that would be false and is in a crowd of its class by `iou`.
    """
    overlaps = np.zeros((len(detected.labels), len(item.labels)))
    if overlaps.size:
        overlaps = mask.iou(detected.boxes, from_corners(item.boxes), item.crowd)
    own = detected.labels[:, None] == item.labels
    counts = counted(item)
    objects = np.full(len(detected.labels), MISSED)
    on_own = np.zeros(len(objects), bool)
    if overlaps.size:
        single = np.where(own & ~item.crowd, overlaps, -1.0)
        best = single.argmax(axis=1)
        on_own = single.max(axis=1) >= iou
        candidates = np.flatnonzero(on_own & counts[best])
        places, first = np.unique(best[candidates], return_index=True)
        objects[candidates[first]] = places
        in_crowd = (own & item.crowd & (overlaps >= iou)).any(axis=1)
        objects[on_own & ~counts[best]] = NEUTRAL
        objects[in_crowd & (objects == MISSED)] = NEUTRAL
    return Matching(objects, on_own, overlaps)


def counted(item: Annotated) -> np.ndarray:
    """Returns bool (N,): the objects that are neither crowds nor difficult."""
    return ~(item.crowd | item.difficult)


def align(
    dataset: Dataset, found: Sequence[Detections]
) -> tuple[list[tuple[Annotated, Detected]], dict[str, int]]:
    """Each picture with its detections of the data set's classes; the others' number by label."""
    if not dataset.items:
        raise DataError(f"{dataset.name}: no picture to measure on")
    if len(found) != len(dataset):
        raise DataError(f"{dataset.name}: {len(dataset)} pictures, but detections of {len(found)}")
    places = {name: place for place, name in enumerate(dataset.classes)}
    pictures, foreign = [], Counter()
    for item, detections in zip(dataset.items, found, strict=True):
        boxes = np.asarray(detections.boxes, np.float64).reshape(-1, 4)
        scores = np.asarray(detections.scores, np.float64)
        if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
            raise DataError(
                f"{dataset.name}: a box or score found on {plain(item.name)} is not a finite number"
            )
        foreign.update(label for label in detections.labels if label not in places)
        labels = np.asarray([places.get(label, -1) for label in detections.labels], np.int64)
        order = np.argsort(-scores, kind="stable")
        order = order[labels[order] >= 0]
        detected = Detected(from_corners(boxes[order]), scores[order], labels[order])
        pictures.append((item, detected))
    return pictures, dict(foreign)


def from_corners(boxes: np.ndarray) -> np.ndarray:
    """x1 y1 x2 y2 as x y width height, float64; a box turned inside out has no area."""
    boxes = np.array(boxes, np.float64, order="C")  # pycocotools reads the memory as it lies.
    boxes[:, 2:] = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    return boxes


# === Drawings ===


def draw_curves(curves: Sequence[Curve]) -> np.ndarray:
    """A panel a class: its curve, the area under the envelope, and where F1 is best.

    Args:
        curves: of `precision_recall`. Classes without objects have no panel; of more than
            `MOST_CLASSES`, those with most objects do.

    Returns:
        uint8 (H, W, 3).
    """
    shown = _most([curve.objects for curve in curves])
    count = len(shown) or 1
    columns = count if count <= 3 else math.ceil(math.sqrt(1.2 * count))
    rows = math.ceil(count / columns)
    side = float(np.clip(9 / columns, 2.1, 4.5))
    figure = _figure(columns * side + 0.4, rows * side + 0.4)
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for panel in panels:
        panel.set_axis_off()
    for place, panel in zip(shown, panels, strict=False):
        _draw_curve(panel, curves[place])
    if not shown:
        figure.text(0.5, 0.5, "no object", ha="center")
    figure.supxlabel("recall")
    figure.supylabel("precision")
    return _render(figure)


def _draw_curve(panel: Axes, curve: Curve) -> None:
    panel.set_axis_on()
    panel.set(xlim=(0, 1.03), ylim=(0, 1.03), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
    panel.tick_params(labelsize=8, labelbottom=True, labelleft=True, length=2)
    panel.grid(color="0.9")
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
    name = plain(curve.label, 22)
    panel.set_title(f"{name}  AP {curve.voc2010_ap:.3f}", fontsize=9, parse_math=False)
    if not len(curve.scores):
        return
    recall, envelope = np.append(0, curve.recall), np.append(curve.envelope[0], curve.envelope)
    panel.fill_between(recall, envelope, step="pre", color="C0", alpha=0.15, linewidth=0)
    panel.plot(curve.recall, curve.precision, color="C0", linewidth=1.3, clip_on=False)
    f1, score = curve.best
    if f1 > 0:
        place = np.flatnonzero(curve.scores >= score)[-1]
        x, y = curve.recall[place], curve.precision[place]
        panel.plot(x, y, "o", color="C3", markersize=4, clip_on=False)
        # In the corner, where good curves do not come.
        panel.text(0.04, 0.05, f"F1 {f1:.2f} at {score:.2f}", color="C3", fontsize=8)


def draw_confusion(matrix: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """A confusion matrix as a picture, coloured by the part of the row: of a class's objects.

    False alarms, the last row, are no objects: they are a part of the column, all detections of a
    class. The colours are those of square roots, so that rare mistakes are seen.

    Args:
        matrix: int (C + 1, C + 1), of `confusion`. Classes without an entry are left out; of more
            than `MOST_CLASSES`, those with most entries are shown.
        classes: their C names.

    Returns:
        uint8 (H, W, 3).
    """
    background = len(classes)
    entries = (matrix.sum(axis=0) + matrix.sum(axis=1))[:background]
    shown = [*_most(entries.tolist()), background]
    names = [plain(name, 22) for name in (*classes, "background")]
    names = [names[place] for place in shown]
    part = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    part[-1] = matrix[-1] / np.maximum(matrix.sum(axis=0), 1)
    matrix, part = matrix[np.ix_(shown, shown)], part[np.ix_(shown, shown)]
    side = float(np.clip(6 / len(shown), 0.2, 0.8))
    extent = len(shown) * side
    small = 9 if side > 0.4 else 7
    beside = 0.4 + 0.0095 * small * max(map(len, names))  # Inches that the names take.
    figure = _figure(extent + beside + 1.1, extent + beside + 0.1)
    axes = figure.add_subplot()
    image = axes.imshow(part, cmap="Blues", norm=PowerNorm(0.5, 0, 1))
    axes.set_xticks(range(len(shown)), names, rotation=90, fontsize=small, parse_math=False)
    axes.set_yticks(range(len(shown)), names, fontsize=small, parse_math=False)
    axes.tick_params(length=0)
    axes.set(xlabel="taken for", ylabel="is")
    for line in (axes.axhline, axes.axvline):
        line(len(shown) - 1.5, color="0.4", linewidth=0.8)
    bar = figure.colorbar(image, ax=axes, shrink=0.8, aspect=30, pad=0.02)
    bar.set_label("part of the row\n(last row: of the column)", fontsize=small)
    bar.ax.tick_params(labelsize=small)
    bar.outline.set_visible(False)
    for row, column in np.argwhere(matrix) if len(shown) <= MOST_COUNTS else ():
        count = str(matrix[row, column])
        size = min(small, 90 * side / len(count))
        ink = "white" if part[row, column] > 0.3 else "black"
        axes.text(column, row, count, fontsize=size, color=ink, ha="center", va="center")
    return _render(figure)


def _most(counts: Sequence[int]) -> list[int]:
    """Places of the `MOST_CLASSES` largest counts above 0, in their order."""
    places = [place for place, count in enumerate(counts) if count]
    return sorted(sorted(places, key=lambda place: -counts[place])[:MOST_CLASSES])


def _figure(width: float, height: float) -> Figure:
    """A figure of a size in inches."""
    figure = Figure(figsize=(width, height), dpi=100, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)
    return figure


def _render(figure: Figure) -> np.ndarray:
    canvas = FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of names in letters that the font does not have.
        canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]
