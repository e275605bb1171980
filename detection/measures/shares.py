"""What is found at a threshold, by the share of its picture that an object fills."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from detection.annotations import Dataset
from detection.detections import Detections
from detection.measures.curves import IOU, MISSED, align, counted, match

SHARES = (0.0, 0.01, 0.1, 1.0)
"""Bounds of the ranges: below a hundredth of the picture, from there to a tenth, and above."""


@dataclasses.dataclass(frozen=True)
class ShareScores:
    """Objects of one range of sizes."""

    least: float
    """Share of the picture that the box fills at least, in [0, 1]."""
    below: float
    """Upper bound, itself excluded but for 1."""
    objects: int
    """Those that count: neither crowds nor difficult."""
    found: int
    """Of them, by a detection of at least the threshold and an IoU of at least 0.5."""


@dataclasses.dataclass(frozen=True)
class AtThreshold:
    """What a detector finds where it is used at a threshold."""

    shares: tuple[ShareScores, ...]
    """From small objects to large ones."""
    false_alarms: int
    """Detections on no object of their class, or on one that an earlier detection found."""
    empty_pictures: int
    """Pictures without any object."""
    empty_left_empty: int
    """Of them, those on which nothing is found."""

    def lines(self) -> list[str]:
        """Returns a sentence for each range, and the false alarms."""
        lines = [
            f"found of objects of {each.least:.0%} to {each.below:.0%} of their picture: "
            f"{each.found} of {each.objects}"
            for each in self.shares
        ]
        return [
            *lines,
            f"false alarms: {self.false_alarms}; pictures without an object: "
            f"{self.empty_pictures}, nothing found on {self.empty_left_empty}",
        ]


def at_threshold(
    dataset: Dataset, found: Sequence[Detections], threshold: float | Mapping[str, float]
) -> AtThreshold:
    """Counts what is found at a threshold.

    Args:
        dataset: the annotated pictures.
        found: one a picture, in the order of `dataset.items`.
        threshold: the least score, or one for each class.

    Raises:
        DataError: no picture, another number of detections than of pictures, or a box or score
            that is not finite.
    """
    pictures, _ = align(dataset, [each.select(threshold) for each in found])
    objects, hits = np.zeros(len(SHARES) - 1, int), np.zeros(len(SHARES) - 1, int)
    false_alarms = empty = left_empty = 0
    for item, detected in pictures:
        taken = match(item, detected, IOU).objects
        sides = np.asarray(item.boxes[:, 2:] - item.boxes[:, :2], np.float64)
        shares = np.prod(sides, axis=1) / np.prod(item.size)
        places = np.searchsorted(SHARES[1:-1], shares, side="right")
        np.add.at(objects, places[counted(item)], 1)
        np.add.at(hits, places[taken[taken >= 0]], 1)
        false_alarms += int((taken == MISSED).sum())
        if not len(item.labels):
            empty += 1
            left_empty += not len(taken)
    rows = zip(SHARES[:-1], SHARES[1:], objects.tolist(), hits.tolist(), strict=True)
    return AtThreshold(tuple(ShareScores(*row) for row in rows), false_alarms, empty, left_empty)
