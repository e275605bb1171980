"""The losses by hand, of empty sets, and against torchvision's."""

import math

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from detection.network import losses


def test_smooth_l1_by_hand():
    distances = np.float32([0, 0.5, -1, 3])
    assert ops.convert_to_numpy(losses.smooth_l1(distances, 0 * distances, 1.0)).tolist() == [
        0,
        0.125,
        0.5,
        2.5,
    ]
    assert ops.convert_to_numpy(losses.smooth_l1(distances, 0 * distances, 0)).tolist() == [
        0,
        0.5,
        1,
        3,
    ]


def test_objectness_by_hand():
    logits, labels = np.float32([[0, 0, 2, 9]]), np.int32([[1, 0, 1, 0]])
    valid = np.array([[True, True, True, False]])
    expected = 2 * math.log(2) + math.log(1 + math.exp(-2))
    assert float(losses.objectness_loss(logits, labels, valid)) == pytest.approx(expected / 3)
    assert float(losses.objectness_loss(logits, labels, valid, 256)) == pytest.approx(
        expected / 256
    )


def test_objectness_of_huge_logits_is_finite():
    logits, labels = np.float32([[1e4, -1e4]]), np.int32([[0, 0]])
    assert float(losses.objectness_loss(logits, labels, labels == 0)) == 5000


def test_one_logit_is_a_softmax_of_two(rng):
    two = rng.normal(size=(1, 9, 2)).astype(np.float32)
    labels = rng.integers(0, 2, size=(1, 9)).astype(np.int32)
    valid = np.ones((1, 9), bool)
    one = losses.objectness_loss(two[..., 1] - two[..., 0], labels, valid)
    assert float(one) == pytest.approx(float(losses.class_loss(two, labels, valid)), rel=1e-5)


def test_class_loss_by_hand():
    logits, labels = np.zeros((1, 3, 5), np.float32), np.int32([[0, 4, -1]])
    logits[0, 1, 4] = math.log(4)
    valid = np.array([[True, True, False]])
    expected = (math.log(5) + math.log(2)) / 2
    assert float(losses.class_loss(logits, labels, valid)) == pytest.approx(expected)


def test_box_loss_counts_positives_only():
    deltas = np.float32([[[0, 0, 0, 0], [1, 1, 1, 1], [5, 5, 5, 5]]])
    targets = np.float32([[[0, 2, 0, 0], [1, 1, 1, 1.5], [-math.inf] * 4]])
    positive = np.array([[True, True, False]])
    assert float(losses.box_loss(deltas, targets, positive, 3, beta=1.0)) == pytest.approx(
        (1.5 + 0.125) / 3
    )


def test_the_reports_normalisation():
    logits, labels = np.zeros((1, 2), np.float32), np.int32([[1, 0]])
    deltas, targets = np.zeros((1, 2, 4), np.float32), np.full((1, 2, 4), 1 / 9, np.float32)
    objectness, boxes = losses.rpn_losses(
        logits,
        deltas,
        labels,
        targets,
        np.ones((1, 2), bool),
        cls_normalizer=256,
        reg_normalizer=2400,
        weight=10,
    )
    assert float(objectness) == pytest.approx(2 * math.log(2) / 256)
    assert float(boxes) == pytest.approx(10 * 4 / 18 / 2400)


def test_deltas_of_class():
    deltas = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    chosen = ops.convert_to_numpy(losses.deltas_of_class(deltas, np.int32([[2, 0]])))
    assert chosen.tolist() == [[[8, 9, 10, 11], [12, 13, 14, 15]]]


@pytest.mark.parametrize("valid", [False, True])
def test_pictures_without_boxes_have_finite_losses_and_gradients(valid):
    logits, deltas = tf.ones((2, 5)), tf.ones((2, 5, 4))
    class_logits, class_deltas = tf.ones((2, 5, 3)), tf.ones((2, 5, 3, 4))
    labels, targets = tf.zeros((2, 5), tf.int32), tf.fill((2, 5, 4), math.nan)
    with tf.GradientTape() as tape:
        given = (logits, deltas, class_logits, class_deltas)
        tape.watch(given)
        mask = tf.fill((2, 5), valid)
        rpn = losses.rpn_losses(logits, deltas, labels, targets, mask)
        head = losses.head_losses(class_logits, class_deltas, labels, targets, mask)
        total = sum(rpn) + sum(head)
    assert np.isfinite(total)
    assert float(rpn[1]) == float(head[1]) == 0
    assert (float(total) > 0) == valid
    for gradient in tape.gradient(total, given):
        assert np.isfinite(tf.convert_to_tensor(gradient)).all()


def test_equal_to_torchvision(torchvision_units):
    units = torchvision_units["losses"]
    valid = np.ones((2, 12), bool)
    targets = units["targets"]
    rpn = losses.rpn_losses(units["logits"], units["deltas"], units["labels"], targets, valid)
    np.testing.assert_allclose(rpn, units["rpn"], rtol=1e-5)
    head = losses.head_losses(
        units["class_logits"], units["class_deltas"], units["classes"], targets, valid
    )
    np.testing.assert_allclose(head, units["head"], rtol=1e-5)
