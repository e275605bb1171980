"""What anchors and proposals are to become, on literal boxes."""

import numpy as np
import pytest
import tensorflow as tf

from detection.network.targets import head_targets, rpn_targets

ANCHORS = tf.constant(
    [
        (0, 0, 10, 10),  # IoU 1 with the first box
        (0, 0, 10, 6),  # 0.6: between the thresholds
        (40, 40, 50, 50),  # far from all
        (20, 20, 30, 26),  # 0.6, and the best of the second box
        (-5, 0, 5, 10),  # across the border; 1/3 with the first box
        (60, 60, 70, 70),  # in the crowd
    ],
    tf.float32,
)
BOXES = tf.constant(
    [[(0, 0, 10, 10), (20, 20, 30, 30), (55, 55, 80, 80), (0, 0, 0, 0)]], tf.float32
)
LABELS = tf.constant([[2, 1, -1, 0]])
SIZES = tf.constant([[100, 100]], tf.float32)
SEED = (1, 2)


def by_index(targets):
    """Labels by the index of what was sampled."""
    valid = targets.samples.valid[0].numpy()
    indices = targets.samples.indices[0].numpy()[valid]
    return dict(zip(indices.tolist(), targets.labels[0].numpy()[valid].tolist(), strict=True))


def test_anchors_are_labelled_by_the_rules():
    targets = rpn_targets(ANCHORS, BOXES, LABELS, SIZES, SEED, count=12)
    # The 1, 3 are objects; 2 is background; 1 and 4 lie between; 5 lies in a crowd.
    assert by_index(targets) == {0: 1, 3: 1, 2: 0}


def test_anchors_across_the_border_may_be_left_out():
    anchors = tf.concat([ANCHORS, [(-20, 80, 5, 95)]], axis=0)
    taken, left_out = (
        by_index(rpn_targets(anchors, BOXES, LABELS, SIZES, SEED, count=14, border_anchors=border))
        for border in (True, False)
    )
    assert set(taken) - set(left_out) == {6}


def test_anchors_in_the_padding_are_left_out():
    size = tf.constant([[100, 35]], tf.float32)
    assert 2 not in by_index(rpn_targets(ANCHORS, BOXES, LABELS, size, SEED, count=12))


def test_targets_move_anchors_onto_their_boxes():
    targets = rpn_targets(ANCHORS, BOXES, LABELS, SIZES, SEED, count=12)
    place = targets.samples.indices[0].numpy().tolist().index(3)
    # From 10 × 6 at centre (25, 23) to 10 × 10 at (25, 25).
    expected = (0, 2 / 6, 0, np.log(10 / 6))
    np.testing.assert_allclose(targets.boxes[0, place], expected, atol=1e-6)


def test_proposals_take_classes_and_weights():
    proposals = tf.concat([ANCHORS[None], BOXES], axis=1)
    valid = tf.constant([[True] * 6 + [True, True, False, False]])
    targets = head_targets(proposals, valid, BOXES, LABELS, SEED, count=12)
    labels = by_index(targets)
    # At most a quarter of 12 are positive: three of 0, 1, 3, 6 and 7.
    positive = {index: label for index, label in labels.items() if label > 0}
    assert len(positive) == 3
    assert all(label == {0: 2, 1: 2, 6: 2, 3: 1, 7: 1}[index] for index, label in positive.items())
    assert {index for index, label in labels.items() if label == 0} == {2, 4}


def test_the_regression_of_proposals_is_weighted():
    proposals = tf.constant([[(20, 20, 30, 26)]], tf.float32)
    targets = head_targets(proposals, tf.constant([[True]]), BOXES, LABELS, SEED, count=4)
    expected = (0, 10 * 2 / 6, 0, 5 * np.log(10 / 6))
    np.testing.assert_allclose(targets.boxes[0, 0], expected, atol=1e-5)


@pytest.mark.parametrize("count", [1, 5])
def test_without_boxes_all_is_background(count):
    none = tf.zeros_like(LABELS)
    targets = rpn_targets(ANCHORS, BOXES, none, SIZES, SEED, count=count)
    assert set(by_index(targets).values()) == {0}
    assert np.isfinite(targets.boxes).all()
