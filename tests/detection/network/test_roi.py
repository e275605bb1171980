"""RoIPool and RoIAlign by hand and against torchvision, with their gradients."""

import numpy as np
import pytest
import tensorflow as tf

from detection.export import litert
from detection.network import roi

# A map of 4×4 positions of one channel, 0 to 15 row by row, and the box around all of it.
COUNTING = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)


def pooled_by_hand(boxes, output_size=2):
    return roi.roi_pool(COUNTING, np.float32([boxes]), 1.0, output_size).numpy()[0, ..., 0].tolist()


def test_pool_takes_the_largest_of_each_bin():
    assert pooled_by_hand([[0, 0, 3, 3]]) == [[[5, 7], [13, 15]]]


def test_pool_bins_of_odd_boxes_share_positions():
    # Three positions in two bins: 0 and 1, 1 and 2.
    assert pooled_by_hand([[0, 0, 2, 2]]) == [[[5, 6], [9, 10]]]


def test_pool_rounds_halves_away_from_zero():
    # 0.5 and 2.5 round to 1 and 3; even ones would be 0 and 2.
    assert (
        pooled_by_hand([[0.5, 0.5, 2.5, 2.5]], 1) == pooled_by_hand([[1, 1, 3, 3]], 1) == [[[15]]]
    )
    assert pooled_by_hand([[0, 0, 0.5, 0.49]], 1) == [[[1]]]


def test_pool_off_the_map_is_zero():
    features = np.float32(COUNTING - 100)
    pooled = roi.roi_pool(features, np.float32([[[2, 2, 5, 5], [9, 9, 12, 12]]]), 1.0, 2)
    assert pooled.numpy()[0, ..., 0].tolist() == [[[-85, 0], [0, 0]], [[0, 0], [0, 0]]]


def test_pool_divides_in_graphs_as_it_does_alone():
    # Bins are rounded outwards, so one bit too many adds a position: all sizes are compared.
    features = np.random.default_rng(0).normal(size=(1, 130, 3, 1)).astype(np.float32)
    ends = np.arange(130, dtype=np.float32)
    boxes = np.stack([0 * ends, 0 * ends, 0 * ends + 2, ends], axis=-1)[None]
    expected = np.zeros((130, 7), np.float32)
    for end in range(130):
        size = np.float32(end + 1) / np.float32(7)
        for index in range(7):
            start, stop = np.floor(np.float32(index) * size), np.ceil(np.float32(index + 1) * size)
            expected[end, index] = features[0, int(start) : int(stop)].max()
    for pool in (roi.roi_pool, tf.function(roi.roi_pool)):
        pooled = pool(tf.constant(features), tf.constant(boxes), 1.0).numpy()
        np.testing.assert_array_equal(pooled.max(axis=3)[0, ..., 0], expected)


@pytest.mark.parametrize("size", [38, 63, roi.LONGEST_MAP])
def test_pool_of_clipped_boxes_needs_few_windows(size, rng):
    """On a map of a size that the graph does not know, against all windows."""
    features = rng.normal(size=(1, size, 2, 1)).astype(np.float32)
    starts, ends = np.meshgrid(np.arange(0, size, 5), [*range(0, size, 7), size], indexing="ij")
    starts, ends = np.minimum(starts, ends).ravel(), np.maximum(starts, ends).ravel()
    boxes = np.float32(np.stack([0 * starts, starts, 0 * starts + 2, ends], axis=-1))[None]
    shape = tf.TensorSpec((None, None, None, 1))
    assert roi._window_levels(shape, 7) == [5, 5]
    pool = tf.function(
        lambda features: roi.roi_pool(features, boxes, 1.0, clipped=True), input_signature=[shape]
    )
    np.testing.assert_array_equal(pool(features), roi.roi_pool(features, boxes, 1.0))


def test_pool_gradient_goes_to_one_of_equals():
    features = tf.zeros((1, 4, 4, 1))
    with tf.GradientTape() as tape:
        tape.watch(features)
        pooled = roi.roi_pool(features, tf.constant([[[0.0, 0, 3, 3]]]), 1.0, 1)
    gradient = tape.gradient(pooled, features).numpy().ravel()
    assert gradient.tolist() == [1] + [0] * 15


def aligned_by_hand(box, **options):
    return (
        roi.roi_align(COUNTING, np.float32([[box]]), 1.0, **options).numpy()[0, 0, ..., 0].tolist()
    )


def test_align_samples_between_positions():
    # Means of a plane are its values at the centres of the bins: x + 4 y.
    assert aligned_by_hand([0, 0, 2, 2], output_size=2) == [[2.5, 3.5], [6.5, 7.5]]
    assert aligned_by_hand([0.5, 0.5, 2.5, 2.5], output_size=2, aligned=True) == [
        [2.5, 3.5],
        [6.5, 7.5],
    ]


@pytest.mark.parametrize("sampling_ratio", [1, 2, -1])
def test_align_beyond_one_position_is_zero(sampling_ratio):
    options = {"output_size": 1, "sampling_ratio": sampling_ratio}
    assert aligned_by_hand([-1.2, 1, -0.2, 2], **options) == [[6]]
    assert aligned_by_hand([-4, 1, -3, 2], **options) == [[0]]
    assert aligned_by_hand([5, 1, 6, 2], **options) == [[0]]


def test_align_boxes_are_one_position_wide_unless_aligned():
    assert aligned_by_hand([1, 1, 1, 1], output_size=1, sampling_ratio=1) == [[7.5]]
    options = {"output_size": 1, "sampling_ratio": 1, "aligned": True}
    assert aligned_by_hand([1.5, 1.5, 1.5, 1.5], **options) == [[5]]


@pytest.mark.parametrize("sampling_ratio", [2, -1])
def test_align_gradient_to_boxes_is_the_slope(sampling_ratio):
    features = tf.constant(np.random.default_rng(0).normal(size=(1, 9, 9, 3)), tf.float32)
    boxes = tf.constant([[[10.3, 20.9, 77.1, 90.6], [30.2, 5.7, 60.3, 100.4]]])
    with tf.GradientTape() as tape:
        tape.watch(boxes)
        total = align_sum(features, boxes, sampling_ratio)
    gradient = tape.gradient(total, boxes).numpy()
    step, slopes = 0.05, np.zeros((1, 2, 4))
    for index in np.ndindex(slopes.shape):
        move = np.zeros(slopes.shape, np.float32)
        move[index] = step
        there, back = (align_sum(features, boxes + sign * move, sampling_ratio) for sign in (1, -1))
        slopes[index] = (there - back) / (2 * step)
    # Slopes jump where a sample crosses a position, so a few steps are not straight.
    np.testing.assert_allclose(gradient, slopes, rtol=0.05, atol=0.05)


def align_sum(features, boxes, sampling_ratio):
    weights = np.random.default_rng(1).normal(size=(1, 2, 3, 3, 3))
    aligned = roi.roi_align(features, boxes, 1 / 16, 3, sampling_ratio)
    return tf.reduce_sum(aligned * tf.constant(weights, tf.float32))


@pytest.fixture(params=["products", "scatter"])
def spread(request, monkeypatch):
    """Each way of adding up RoIAlign's gradient."""
    monkeypatch.setattr(roi, "DENSE_MAP", {"products": 2**13, "scatter": 0}[request.param])


@pytest.mark.usefixtures("spread")
def test_align_gradient_adds_up_all_of_many_boxes():
    # Samples lie halfway between positions or on them: the sums are exact in any order.
    count = 8192

    @tf.function
    def gradient(boxes):
        features = tf.zeros((1, 12, 12, 8))
        with tf.GradientTape() as tape:
            tape.watch(features)
            total = tf.reduce_sum(roi.roi_align(features, boxes, 1.0))
        return tape.gradient(total, features)

    box = tf.constant([[[1.0, 1, 8, 8]]])
    expected = count * gradient(box).numpy()
    assert expected.sum() == count * 7 * 7 * 8
    for _ in range(5):
        np.testing.assert_array_equal(gradient(tf.repeat(box, count, axis=1)), expected)


@pytest.mark.usefixtures("spread")
def test_align_gradient_goes_to_the_picture_and_the_level_of_each_box(rng):
    """Against the gradient that TensorFlow derives of gathers, picture by picture."""
    maps = [tf.constant(rng.normal(size=(3, side, side, 2)), tf.float32) for side in (24, 12)]
    boxes = np.float32([[[3, 9, 83, 89], [20, 5, 190, 175], [0, 0, 30, 30]]] * 3)
    boxes[2, 1:] = 0  # The first level alone is pooled from in this picture.
    upstream = tf.constant(rng.normal(size=(3, 3, 7, 7, 2)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(maps)
        total = tf.reduce_sum(roi.roi_align_levels(maps, boxes, (8, 16)) * upstream)
    gradients = tape.gradient(total, maps)
    assert not gradients[1][2].numpy().any()
    for picture in range(3):
        own = [level[picture : picture + 1] for level in maps]
        with tf.GradientTape() as tape:
            tape.watch(own)
            pooled = litert.roi_align_levels(own, tf.constant(boxes[picture]), (8, 16), 7, 2)
            total = tf.reduce_sum(pooled * upstream[picture])
        for gradient, expected in zip(gradients, tape.gradient(total, own), strict=True):
            np.testing.assert_allclose(gradient[picture], expected[0], atol=1e-5)


@pytest.mark.parametrize(
    "name",
    ["pool"] + [f"align_{options}" for options in ("2_0", "2_1", "1_0", "3_1", "-1_0", "-1_1")],
)
@pytest.mark.usefixtures("spread")
def test_equal_to_torchvision_with_gradients(torchvision_units, name):
    units = torchvision_units["roi"]

    @tf.function
    def pool(features, boxes):
        with tf.GradientTape() as tape:
            tape.watch(features)
            if name == "pool":
                pooled = roi.roi_pool(features, boxes, 1 / 16)
            else:
                ratio, aligned = map(int, name.removeprefix("align_").split("_"))
                pooled = roi.roi_align(features, boxes, 1 / 16, 7, ratio, bool(aligned))
            total = tf.reduce_sum(pooled * units["upstream"])
        return pooled, tape.gradient(total, features)

    pooled, gradient = pool(tf.constant(units["features"]), tf.constant(units["boxes"]))
    if name == "pool":
        np.testing.assert_array_equal(pooled, units[name])
    np.testing.assert_allclose(pooled, units[name], atol=2e-5)
    np.testing.assert_allclose(gradient, units[f"{name}_gradient"], atol=5e-5)


@pytest.mark.parametrize("pool", [roi.roi_pool, roi.roi_align])
def test_numbers_of_boxes_and_pictures_do_not_retrace(pool):
    traces = []

    @tf.function(input_signature=[tf.TensorSpec((None, 6, 7, 2)), tf.TensorSpec((None, None, 4))])
    def shape(features, boxes):
        traces.append(1)
        return tf.shape(pool(features, boxes, 1 / 16))

    for batch, count in [(1, 5), (2, 3), (1, 0)]:
        result = shape(tf.zeros((batch, 6, 7, 2)), tf.zeros((batch, count, 4)))
        assert result.numpy().tolist() == [batch, count, 7, 7, 2]
    assert len(traces) == 1
