"""Labels that must follow from a literal matrix of overlaps, and torchvision's."""

import numpy as np
import pytest
import tensorflow as tf

from detection.network.matcher import match

# Three boxes, four anchors.
OVERLAPS = np.float32(
    [
        [0.9, 0.2, 0.5, 0.1],
        [0.1, 0.6, 0.4, 0.2],
        [0.2, 0.1, 0.3, 0.2],
    ]
)
ALL = np.ones(3, bool)


def labels_of(*arguments, **options):
    return np.asarray(match(*arguments, **options).labels).tolist()


def test_labels_by_hand():
    # 0: above 0.7. 1: best of box 1. 2: best of box 2, though it overlaps box 0 more. 3: below 0.3.
    labels, indices = match(OVERLAPS, ALL)
    assert np.asarray(labels).tolist() == [1, 1, 1, 0]
    assert np.asarray(indices).tolist() == [0, 1, 0, 1]


def test_without_best_those_between_are_ignored():
    assert labels_of(OVERLAPS, ALL, keep_best=False) == [1, -1, -1, 0]


def test_head_thresholds_leave_nothing_between():
    assert labels_of(OVERLAPS, ALL, high=0.5, low=0.5, keep_best=False) == [1, 1, 1, 0]


def test_thresholds_belong_to_what_lies_above():
    overlaps = np.float32([[0.7, 0.3, 0.29999998, 0.69999993]])
    assert labels_of(overlaps, ALL[:1], keep_best=False) == [1, -1, 0, -1]


def test_all_that_tie_for_best_are_positive():
    assert labels_of(np.float32([[0.2, 0.4, 0.4, 0.1]]), ALL[:1]) == [0, 1, 1, 0]


def test_padding_has_no_best_anchor():
    present = np.array([True, True, False])
    labels, indices = match(OVERLAPS, present)
    assert np.asarray(labels).tolist() == [1, 1, -1, 0]
    assert np.asarray(indices).tolist() == [0, 1, 0, 1]


def test_invalid_anchors_are_ignored_and_nobodys_best():
    valid = np.array([True, False, True, True])
    # Box 1 now has anchor 2 for its best.
    assert labels_of(OVERLAPS, ALL, valid) == [1, -1, 1, 0]
    valid = np.array([True, True, False, True])
    # Box 2 has 0 and 3 for its best.
    assert labels_of(OVERLAPS, ALL, valid) == [1, 1, -1, 1]


def test_a_box_that_nothing_overlaps_has_no_best():
    assert labels_of(np.float32([[0, 0, 0], [0.8, 0, 0]]), ALL[:2]) == [1, 0, 0]


@pytest.mark.parametrize("boxes", [0, 3])
def test_no_boxes_at_all_leave_negatives(boxes):
    labels, indices = match(
        np.zeros((2, boxes, 4), np.float32),
        np.zeros((2, boxes), bool),
        np.array([[True] * 4, [True, False, True, True]]),
    )
    assert np.asarray(labels).tolist() == [[0, 0, 0, 0], [0, -1, 0, 0]]
    assert np.asarray(indices).tolist() == [[0] * 4] * 2


def test_batches_in_a_graph_are_as_pictures_alone(rng):
    overlaps = rng.uniform(size=(2, 3, 9)).astype(np.float32)
    present = np.array([[True, True, False], [True, True, True]])
    together = tf.function(match)(overlaps, present)
    for picture in range(2):
        alone = match(overlaps[picture], present[picture])
        np.testing.assert_array_equal(together.labels[picture], alone.labels)
        np.testing.assert_array_equal(together.indices[picture], alone.indices)


@pytest.mark.parametrize("keep_best", [False, True])
def test_equal_to_torchvision(torchvision_units, keep_best):
    units = torchvision_units["matcher"]
    labels, indices = map(
        np.asarray, match(units["overlaps"], np.ones((2, 5), bool), keep_best=keep_best)
    )
    coded = np.where(labels == 1, indices, np.where(labels == 0, -1, -2))  # As torchvision's.
    np.testing.assert_array_equal(coded, units[f"matches_{int(keep_best)}"])
