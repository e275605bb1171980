"""Non-maximum suppression by hand, at its threshold, and against torchvision to the index."""

import numpy as np
import pytest
import tensorflow as tf

from detection.network.nms import float_threshold, nms

# The second overlaps the first by 8/12, the third by 4/16; the fourth is alone.
BOXES = np.float32([[0, 0, 10, 10], [2, 0, 12, 10], [6, 0, 16, 10], [50, 50, 60, 60]])
SCORES = np.float32([0.9, 0.8, 0.7, 0.95])


def kept(boxes, scores, threshold, count=None, valid=None, groups=None):
    """Indices that stay, of one picture."""
    valid = np.ones(len(boxes), bool) if valid is None else np.array(valid)
    groups = None if groups is None else np.int32(groups)[None]
    result = nms(boxes[None], scores[None], valid[None], threshold, count or len(boxes), groups)
    return result.indices.numpy()[0][result.valid.numpy()[0]].tolist()


def test_by_hand():
    assert kept(BOXES, SCORES, 0.5) == [3, 0, 2]
    assert kept(BOXES, SCORES, 0.7) == [3, 0, 1, 2]
    assert kept(BOXES, SCORES, 0.2) == [3, 0]


def test_the_suppressed_do_not_suppress():
    # 1 and 2 overlap by 6/14 = 0.43; 1 is gone before.
    assert kept(BOXES, SCORES, 0.4) == [3, 0, 2]


def test_output_is_padded_or_cut():
    result = nms(BOXES[None], SCORES[None], np.ones((1, 4), bool), 0.5, 6)
    assert result.valid.numpy().tolist() == [[True] * 3 + [False] * 3]
    assert result.indices.numpy().tolist() == [[3, 0, 2, 0, 0, 0]]
    assert kept(BOXES, SCORES, 0.5, count=2) == [3, 0]


def test_padding_neither_stays_nor_suppresses():
    assert kept(BOXES, SCORES, 0.5, valid=[False, True, True, True]) == [3, 1, 2]
    assert kept(BOXES, SCORES, 0.5, valid=[False] * 4) == []


def test_negative_scores_are_scores():
    assert kept(BOXES, SCORES - 10, 0.5) == [3, 0, 2]


def test_the_first_of_equal_scores_stays():
    assert kept(BOXES, np.ones(4, np.float32), 0.5) == [0, 2, 3]
    assert kept(BOXES[::-1].copy(), np.ones(4, np.float32), 0.5) == [0, 1, 2]


@pytest.mark.parametrize(("threshold", "stays"), [(0.5, True), (0.3, False), (0.7, True)])
def test_overlap_equal_to_the_threshold(threshold, stays):
    # As in torchvision: 3/10 rounds to a float32 above 0.3, 7/10 to one below 0.7.
    part = round(10 * threshold)
    boxes = np.float32([[0, 0, 10, 1], [0, 0, part, 1]])
    assert kept(boxes, np.float32([1, 0.5]), threshold) == ([0, 1] if stays else [0])


def test_float_threshold_is_the_largest_not_above():
    for threshold in (0.1, 0.3, 0.5, 0.7, 0.9):
        rounded = np.float32(float_threshold(threshold))
        assert float(rounded) <= threshold < float(np.nextafter(rounded, np.float32(1)))


def test_degenerate_boxes_stay():
    boxes = np.float32([[1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 4, 4]])
    assert kept(boxes, np.float32([3, 2, 1]), 0.5) == [0, 1, 2]


def test_groups_do_not_suppress_each_other():
    assert kept(BOXES, SCORES, 0.5, groups=[0, 1, 0, 0]) == [3, 0, 1, 2]
    assert kept(BOXES, SCORES, 0.5, groups=[7, 7, 0, 0]) == [3, 0, 2]


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("grouped", [False, True])
def test_equal_to_torchvision(torchvision_units, threshold, grouped):
    units = torchvision_units["nms"]
    boxes, scores = units["boxes"], units["scores"]
    groups = units["groups"] if grouped else None
    result = nms(boxes, scores, np.ones(scores.shape, bool), threshold, 120, groups)
    for picture in range(2):
        got = result.indices.numpy()[picture][result.valid.numpy()[picture]]
        expected = units[f"{'grouped' if grouped else 'kept'}_{picture}_{threshold}"]
        np.testing.assert_array_equal(got, expected)


def test_batch_size_does_not_retrace(torchvision_units):
    units = torchvision_units["nms"]
    traces = []

    @tf.function(input_signature=[tf.TensorSpec((None, 120, 4)), tf.TensorSpec((None, 120))])
    def count(boxes, scores):
        traces.append(1)
        kept = nms(boxes, scores, scores >= 0, 0.5, 50)
        return tf.reduce_sum(tf.cast(kept.valid, tf.int32), axis=1)

    assert count(units["boxes"], units["scores"]).numpy().tolist() == [50, 50]
    assert count(units["boxes"][:1], units["scores"][:1]).numpy().tolist() == [50]
    assert len(traces) == 1
