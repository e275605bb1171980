"""Boxes by hand, and against torchvision."""

import math

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from detection.network import boxes

HEAD_WEIGHTS = (10.0, 10.0, 5.0, 5.0)


@pytest.fixture
def units(torchvision_units):
    return torchvision_units["boxes"]


def test_area_of_boxes_turned_inside_out_is_zero():
    given = np.float32([[0, 0, 3, 2], [1, 1, 1, 5], [4, 4, 2, 2]])
    assert ops.convert_to_numpy(boxes.area(given)).tolist() == [6, 0, 0]


def test_iou_by_hand():
    given = np.float32([[0, 0, 4, 4], [0, 0, 2, 4]])
    others = np.float32([[0, 0, 4, 4], [2, 0, 6, 4], [8, 8, 9, 9]])
    expected = np.float32([[1, 8 / 24, 0], [0.5, 0, 0]])
    np.testing.assert_array_equal(boxes.iou(given, others), expected)


def test_iou_of_degenerate_boxes_is_zero():
    point = np.float32([[3, 3, 3, 3]])
    around = np.float32([[0, 0, 4, 4], [3, 3, 3, 3], [5, 5, 2, 2]])
    assert ops.convert_to_numpy(boxes.iou(point, around)).tolist() == [[0, 0, 0]]


def test_iou_takes_batches(rng):
    given = rng.uniform(size=(2, 3, 4)).astype(np.float32)
    others = rng.uniform(size=(2, 5, 4)).astype(np.float32)
    together = ops.convert_to_numpy(boxes.iou(given, others))
    assert together.shape == (2, 3, 5)
    np.testing.assert_array_equal(together[1], boxes.iou(given[1], others[1]))


def test_clip_knows_height_from_width():
    given = np.float32([[-5, -6, 300, 400], [1, 2, 3, 4]])
    clipped = boxes.clip(given, (10, 20))
    assert ops.convert_to_numpy(clipped).tolist() == [[0, 0, 20, 10], [1, 2, 3, 4]]


def test_clip_takes_a_size_a_picture():
    given = np.full((2, 3, 4), 50, np.float32)
    clipped = ops.convert_to_numpy(boxes.clip(given, np.int32([[10, 20], [30, 40]])))
    assert clipped[:, 0].tolist() == [[20, 10, 20, 10], [40, 30, 40, 30]]


def test_encode_by_hand():
    anchor, box = np.float32([[0, 0, 10, 20]]), np.float32([[5, 10, 25, 20]])
    expected = [[1.0, 0.25, math.log(2), math.log(0.5)]]
    np.testing.assert_allclose(boxes.encode(box, anchor), expected, rtol=1e-6)


def test_decode_undoes_encode(units):
    targets = boxes.encode(units["boxes"], units["anchors"], HEAD_WEIGHTS)
    decoded = boxes.decode(targets, units["anchors"], HEAD_WEIGHTS)
    np.testing.assert_allclose(decoded, units["boxes"], atol=1e-4)


def test_decode_bounds_growth():
    decoded = ops.convert_to_numpy(
        boxes.decode(np.float32([[0, 0, 100, 100]]), np.float32([[-8, -8, 8, 8]]))
    )
    np.testing.assert_allclose(decoded, [[-500, -500, 500, 500]], rtol=1e-5)


def test_encode_of_padding_is_finite():
    padding, anchor = np.zeros((1, 4), np.float32), np.float32([[0, 0, 8, 8]])
    assert np.isfinite(boxes.encode(padding, anchor)).all()
    assert np.isfinite(boxes.encode(anchor, padding)).all()


def test_gradients_reach_deltas_and_anchors():
    deltas, anchors = tf.zeros((1, 4)), tf.constant([[0.0, 0, 10, 20]])
    with tf.GradientTape() as tape:
        tape.watch((deltas, anchors))
        x2 = boxes.decode(deltas, anchors)[0, 2]
    of_deltas, of_anchors = tape.gradient(x2, (deltas, anchors))
    assert of_deltas.numpy().tolist() == [[10, 0, 5, 0]]
    assert of_anchors.numpy().tolist() == [[0, 0, 1, 0]]


def test_equal_to_torchvision(units):
    np.testing.assert_allclose(boxes.iou(units["boxes"], units["others"]), units["iou"], rtol=1e-6)
    np.testing.assert_allclose(
        boxes.encode(units["boxes"], units["anchors"], HEAD_WEIGHTS), units["encoded"], atol=2e-5
    )
    decoded = boxes.decode(units["deltas"], units["anchors"], HEAD_WEIGHTS)
    np.testing.assert_allclose(decoded, units["decoded"], rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(boxes.clip(decoded, (80, 100)), units["clipped"], atol=1e-4)
