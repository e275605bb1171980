"""What is found at a threshold: counted by hand."""

import itertools

import numpy as np
import pytest

from detection.annotations import Annotated, Dataset
from detection.detections import Detections
from detection.measures.shares import SHARES, at_threshold

SMALL, MIDDLE, LARGE = (0, 0, 9, 10), (0, 20, 10, 30), (20, 20, 70, 70)
"""Shares of 0.009, 0.01 and 0.25 of a picture of 100 × 100."""


def annotated(*boxes, crowd=()) -> Annotated:
    marks = np.array([i in crowd for i in range(len(boxes))], bool)
    return Annotated(
        "a.png", np.zeros((100, 100, 3), np.uint8), (100, 100),
        np.array(boxes, np.float32).reshape(-1, 4), np.zeros(len(boxes), np.int64),
        marks, np.zeros(len(boxes), bool),
    )  # fmt: skip


def found(*boxes_and_scores) -> Detections:
    boxes = np.array([box for box, _ in boxes_and_scores], np.float32).reshape(-1, 4)
    scores = np.array([score for _, score in boxes_and_scores], np.float32)
    return Detections(boxes, scores, ("cat",) * len(scores))


def test_counts_by_hand():
    dataset = Dataset("drawn", ("cat",), (
        annotated(SMALL, MIDDLE, LARGE), annotated(), annotated(), annotated(LARGE, crowd={0}),
    ))  # fmt: skip
    detections = [
        found((LARGE, 0.9), (LARGE, 0.8), (MIDDLE, 0.6), (SMALL, 0.4)),
        found(),
        found((SMALL, 0.7), (LARGE, 0.3)),
        found((LARGE, 0.9)),
    ]
    used = at_threshold(dataset, detections, 0.5)
    assert [(each.objects, each.found) for each in used.shares] == [(1, 0), (1, 1), (1, 1)]
    assert [(each.least, each.below) for each in used.shares] == list(itertools.pairwise(SHARES))
    assert used.false_alarms == 2, "a second find of the large one, and the one on nothing"
    assert (used.empty_pictures, used.empty_left_empty) == (2, 1)
    lower = at_threshold(dataset, detections, 0.35)
    assert [each.found for each in lower.shares] == [1, 1, 1]
    assert at_threshold(dataset, detections, {"cat": 0.5}) == used
    assert used.lines()[0] == "found of objects of 0% to 1% of their picture: 0 of 1"


@pytest.mark.parametrize("threshold", [0.0, {}])
def test_without_a_threshold_all_counts(threshold):
    dataset = Dataset("drawn", ("cat",), (annotated(LARGE),))
    assert at_threshold(dataset, [found((LARGE, 0.05))], threshold).shares[2].found == 1
