"""Proposals by hand, their padding, and against torchvision's."""

import math

import numpy as np
import pytest
import tensorflow as tf

from detection.network.anchors import base_anchors, pyramid_anchors
from detection.network.proposals import propose

ANCHORS = np.float32([[0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30], [35, 35, 45, 45]])
STILL = np.zeros((1, 4, 4), np.float32)


def boxes_of(*arguments, **options):
    """The valid proposals of one picture, a list."""
    result = propose(*arguments, **options)
    return result.boxes.numpy()[0][result.valid.numpy()[0]].tolist()


def test_by_hand():
    # 0 and 1 overlap by 9/11; 3 is cut off at the border of 40 × 38.
    logits = np.float32([[0, 2, 1, -1]])
    result = propose([logits], [STILL], [ANCHORS], [(40, 38)], post_nms=5)
    assert result.valid.numpy().tolist() == [[True] * 3 + [False] * 2]
    assert result.boxes.numpy()[0].tolist() == [
        [1, 0, 11, 10],
        [20, 20, 30, 30],
        [35, 35, 38, 40],
        [0, 0, 0, 0],
        [0, 0, 0, 0],
    ]
    expected = [1 / (1 + math.exp(-logit)) for logit in (2, 1, -1)] + [0, 0]
    np.testing.assert_allclose(result.scores.numpy()[0], expected, rtol=1e-6)
    assert result.anchors.numpy().tolist() == [[1, 2, 3, 0, 0]]


def test_small_boxes_are_dropped_before_suppression():
    logits = np.float32([[0, 2, 1, 3]])
    boxes = boxes_of([logits], [STILL], [ANCHORS], [(40, 38)], min_size=4)
    assert boxes == [[1, 0, 11, 10], [20, 20, 30, 30]]


def test_the_best_before_suppression_are_taken_of_each_level():
    near, far = np.float32([[5, 4, 0, 1]]), np.float32([[-3, -2, -4, -5]])
    boxes = boxes_of([near, far], [STILL] * 2, [ANCHORS, ANCHORS + 2], [(90, 90)], pre_nms=2)
    # Of the first level 0 and 1, of which 0 stays; of the second 1 and 0, of which 1 stays.
    assert boxes == [[0, 0, 10, 10], [3, 2, 13, 12]]


def test_levels_do_not_suppress_each_other():
    logits = np.float32([[1, 0, 0, 0]])
    boxes = boxes_of([logits, logits], [STILL] * 2, [ANCHORS] * 2, [(90, 90)], post_nms=2)
    assert boxes == [[0, 0, 10, 10], [0, 0, 10, 10]]


def test_anchors_are_counted_through_all_levels():
    near, far = np.float32([[5, 4, 0, 1]]), np.float32([[3, 6]])
    levels = [STILL, STILL[:, :2]], [ANCHORS, ANCHORS[2:]]
    result = propose([near, far], *levels, [(90, 90)], post_nms=5)
    assert result.anchors.numpy().tolist() == [[5, 0, 4, 3, 2]]


def test_gradients_reach_the_deltas_of_what_stays():
    deltas = tf.constant(STILL)
    with tf.GradientTape() as tape:
        tape.watch(deltas)
        result = propose([np.float32([[0, 2, 1, -1]])], [deltas], [ANCHORS], [(90, 90)])
        total = tf.reduce_sum(result.boxes[..., 0])
    gradient = tape.gradient(total, deltas).numpy()[0]
    assert gradient[:, 0].tolist() == [0, 10, 10, 10]
    assert np.isfinite(gradient).all()


@pytest.fixture(scope="module")
def pyramid():
    bases = [base_anchors(scales) for scales in ((32, 64), (128, 256))]
    return pyramid_anchors(bases, [(6, 8), (3, 4)], [8, 16])


def test_equal_to_torchvision_in_a_graph(torchvision_units, pyramid):
    units = torchvision_units["proposals"]
    logits, deltas = (tf.split(units[name], [288, 72], axis=1) for name in ("logits", "deltas"))
    sizes = tf.constant([(48, 64), (40, 60)])
    result = tf.function(propose)(
        logits, deltas, pyramid, sizes, pre_nms=100, post_nms=60, min_size=10.0
    )
    for picture in range(2):
        valid = result.valid.numpy()[picture]
        expected = units[f"boxes_{picture}"]
        assert valid.sum() == len(expected)
        np.testing.assert_allclose(result.boxes[picture][valid], expected, atol=1e-4)
        scores = units[f"scores_{picture}"]
        np.testing.assert_allclose(result.scores[picture][valid], scores, rtol=1e-5)
