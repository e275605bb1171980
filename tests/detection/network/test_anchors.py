"""Anchors by hand, the original code's published table, and torchvision's."""

import numpy as np
import tensorflow as tf

from detection.network import anchors


def test_base_anchors_are_whole_pixels_around_zero():
    base = anchors.base_anchors((32,))
    assert base.dtype == np.float32
    # 32·√2 = 45.25 and 32/√2 = 22.63, halved and rounded.
    assert base.tolist() == [[-23, -11, 23, 11], [-16, -16, 16, 16], [-11, -23, 11, 23]]


def test_original_base_anchors_are_the_published_table():
    # The table in generate_anchors.py, of inclusive pixels counted from 1.
    table = np.float32(
        [
            [-83, -39, 100, 56],
            [-175, -87, 192, 104],
            [-359, -183, 376, 200],
            [-55, -55, 72, 72],
            [-119, -119, 136, 136],
            [-247, -247, 264, 264],
            [-35, -79, 52, 96],
            [-79, -167, 96, 184],
            [-167, -343, 184, 360],
        ]
    )
    table[:, :2] -= 1
    np.testing.assert_array_equal(anchors.original_base_anchors(), table)


def test_grid_goes_row_by_row():
    base = np.float32([[-1, -2, 1, 2], [-3, -3, 3, 3]])
    grid = anchors.grid_anchors(base, (2, 3), 10).numpy()
    assert grid.shape == (12, 4)
    assert grid[0].tolist() == [-1, -2, 1, 2]
    assert grid[1].tolist() == [-3, -3, 3, 3]
    assert grid[2].tolist() == [9, -2, 11, 2]
    assert grid[6].tolist() == [-1, 8, 1, 12]


def test_grid_takes_strides_of_y_and_x():
    grid = anchors.grid_anchors(np.zeros((1, 4), np.float32), (2, 2), (5, 7)).numpy()
    assert grid[3].tolist() == [7, 5, 7, 5]


def test_map_sizes_may_be_tensors_and_do_not_retrace():
    traces = []

    @tf.function(input_signature=[tf.TensorSpec((2,), tf.int32)])
    def count(map_size):
        traces.append(1)
        return tf.shape(anchors.grid_anchors(anchors.base_anchors((32,)), map_size, 16))[0]

    assert count(tf.constant([2, 3])).numpy() == 18
    assert count(tf.constant([4, 5])).numpy() == 60
    assert len(traces) == 1


def test_equal_to_torchvision(torchvision_units):
    units = torchvision_units["anchors"]
    bases = [anchors.base_anchors(scales) for scales in ((32, 64), (128, 256))]
    pyramid = anchors.pyramid_anchors(bases, [(6, 8), (3, 4)], [8, 16])
    assert [len(level) for level in pyramid] == [288, 72]
    np.testing.assert_array_equal(tf.concat(pyramid, 0), units["pyramid"])
    np.testing.assert_array_equal(anchors.base_anchors((128, 256, 512)), units["paper"])


def test_crosses_border_of_each_picture():
    given = np.float32([[0, 0, 20, 10], [-1, 0, 5, 5], [0, 0, 21, 10], [0, 0, 10, 11]])
    crosses = anchors.crosses_border(given, np.int32([[10, 20], [40, 40]])).numpy()
    assert crosses.tolist() == [[False, True, True, True], [False, True, False, False]]
    assert not anchors.crosses_border(given, (10, 20), allowed=1).numpy().any()
