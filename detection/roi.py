"""RoI pooling: of each box, a small map of fixed size cut out of the feature map.

`roi_pool` is the report's part 4, with its two roundings (Girshick 2015, section 2.1); `roi_align`
samples between positions instead (He et al. 2017, section 3). Both equal torchvision's. TensorFlow,
with gradients; static sizes of maps keep tf.function from retracing.
"""

from __future__ import annotations

import tensorflow as tf


def roi_pool(features, boxes, spatial_scale: float, output_size: int = 7) -> tf.Tensor:
    """The largest value of each of output_size × output_size bins of each box.

    Corners are rounded to positions of the map, halves away from 0, and the last position belongs
    to the box; bins round outwards, so neighbours share positions. Bins off the map give 0. A
    gradient goes to one largest position of a bin; there is none to the boxes.

    A table of maxima over windows of 1, 2, 4, … positions each way, log2(H) · log2(W) copies of
    the map, gives each bin as the largest of four windows, whatever the size of the bin. It suits
    maps such as conv5_3 (38 × 63: 36 copies); for the fine maps of a pyramid take `roi_align`.

    Args:
        features: float (N, H, W, C), H and W static.
        boxes: float32 (N, R, 4), x1 y1 x2 y2 in pixels of the picture.
        spatial_scale: positions of the map a pixel of the picture, 1/16 for conv5_3.
        output_size: bins each way, 7 for VGG16.

    Returns:
        (N, R, output_size, output_size, C), of the features' type.
    """
    batch, channels = tf.shape(features)[0], features.shape[-1]
    height, width = features.shape[1:3]
    corners = _round_half_away(boxes * spatial_scale)
    top, bottom = _quantized_bins(corners[..., 1], corners[..., 3], output_size, height)
    left, right = _quantized_bins(corners[..., 0], corners[..., 2], output_size, width)

    # (N, levels of y, levels of x, H, W, C) flat: a bin's four windows are four rows of it.
    rows = [maxima for row in _windows(features, axis=1) for maxima in _windows(row, axis=2)]
    table = tf.reshape(tf.stack(rows, axis=1), (-1, channels))
    empty = (bottom <= top)[..., :, None] | (right <= left)[..., None, :]
    level_y, first_y, second_y = _two_windows(top, bottom, height)
    level_x, first_x, second_x = _two_windows(left, right, width)

    levels = level_y[..., :, None] * width.bit_length() + level_x[..., None, :]
    table_start = (tf.range(batch)[:, None, None, None] * len(rows) + levels) * (height * width)

    def window(y, x):
        return tf.gather(table, table_start + y[..., :, None] * width + x[..., None, :])

    upper = tf.maximum(window(first_y, first_x), window(first_y, second_x))
    lower = tf.maximum(window(second_y, first_x), window(second_y, second_x))
    return tf.where(empty[..., None], tf.zeros((), features.dtype), tf.maximum(upper, lower))


def roi_align(
    features,
    boxes,
    spatial_scale: float,
    output_size: int = 7,
    sampling_ratio: int = 2,
    aligned: bool = False,
) -> tf.Tensor:
    """The mean of bilinear samples in each of output_size × output_size bins of each box.

    Samples up to one position off the map take the value at its border, those further off 0.
    Gradients flow to the features and to the boxes; the latter torchvision has not, and
    non-approximate joint training needs them (the report's part 5).

    Args:
        features: float (N, H, W, C), H and W static.
        boxes: float32 (N, R, 4), x1 y1 x2 y2 in pixels of the picture.
        spatial_scale: positions of the map a pixel of the picture.
        output_size: bins each way.
        sampling_ratio: samples each way in a bin; 2 in torchvision's Faster R-CNN, where memory
            is four times the result's. -1: as many as the bin has positions, rounded up, which
            holds R · output_size · W · C numbers and suits coarse maps only.
        aligned: whether positions are shifted by half a position, so that a position's value is
            that at its centre (Detectron2). Without it, boxes are at least one position wide.

    Returns:
        float32 (N, R, output_size, output_size, C).
    """
    features = tf.cast(features, tf.float32)
    boxes = boxes * spatial_scale - (0.5 if aligned else 0.0)
    corner, sides = boxes[..., :2], boxes[..., 2:] - boxes[..., :2]
    if not aligned:
        sides = tf.maximum(sides, 1.0)
    if sampling_ratio > 0:
        return _align_by_crops(features, corner, sides, output_size, sampling_ratio)
    return _align_by_weights(features, corner, sides, output_size)


def _align_by_crops(features, corner, sides, output_size, sampling_ratio):
    """RoIAlign with a fixed number of samples: TensorFlow's bilinear crops, then their means."""
    # With one position of border repeated, and 0 beyond it, crops are sampled as torchvision's.
    padded = tf.concat([features[:, :1], features, features[:, -1:]], axis=1)
    padded = tf.concat([padded[:, :, :1], padded, padded[:, :, -1:]], axis=2)
    samples = output_size * sampling_ratio
    step = sides / samples
    first = corner + 0.5 * step + 1
    last = corner + sides - 0.5 * step + 1
    extent = tf.constant([padded.shape[2] - 1, padded.shape[1] - 1], tf.float32)
    crops = tf.concat([first / extent, last / extent], axis=-1)
    crops = tf.gather(tf.reshape(crops, (-1, 4)), [1, 0, 3, 2], axis=1)

    batch, count = tf.shape(corner)[0], tf.shape(corner)[1]
    pictures = tf.repeat(tf.range(batch), count)
    sampled = tf.image.crop_and_resize(padded, crops, pictures, (samples, samples))
    if sampling_ratio > 1:
        sampled = tf.nn.avg_pool2d(sampled, sampling_ratio, sampling_ratio, "VALID")
    return tf.reshape(sampled, (batch, count, output_size, output_size, features.shape[-1]))


def _align_by_weights(features, corner, sides, output_size):
    """RoIAlign with as many samples as positions: the means are linear in rows and in columns."""
    weights_x = _axis_weights(corner[..., 0], sides[..., 0], output_size, features.shape[2])
    weights_y = _axis_weights(corner[..., 1], sides[..., 1], output_size, features.shape[1])
    # As plain products of matrices: einsum moves the channels about, which takes longer.
    batch, count = tf.shape(corner)[0], tf.shape(corner)[1]
    height, width, channels = features.shape[1:]
    weights_y = tf.reshape(weights_y, (batch, count * output_size, height))
    rows = weights_y @ tf.reshape(features, (batch, height, width * channels))
    rows = tf.reshape(rows, (batch, count, output_size, width, channels))
    return weights_x[:, :, None] @ rows


def _axis_weights(start, side, output_size, size):
    """How much each position along one axis counts in each bin: (N, R, output_size, size)."""
    # A division by a constant would be made a multiplication, whose rounding may add a sample.
    bins = tf.math.divide_no_nan(side, float(output_size))
    counts = tf.math.ceil(bins)
    sample = tf.range(tf.maximum(tf.reduce_max(counts), 1))
    offsets = tf.math.divide_no_nan(sample + 0.5, counts[..., None])
    bin_index = tf.range(output_size, dtype=tf.float32)[:, None]
    at = start[..., None, None] + (bin_index + offsets[..., None, :]) * bins[..., None, None]
    counts = counts[..., None, None]
    counted = (sample < counts) & (at >= -1) & (at <= size)
    at = tf.clip_by_value(at, 0.0, size - 1.0)[..., None]
    weights = tf.maximum(1 - tf.abs(at - tf.range(size, dtype=tf.float32)), 0.0)
    weights = tf.where(counted[..., None], weights, 0.0)
    return tf.math.divide_no_nan(tf.reduce_sum(weights, axis=-2), counts)


def _round_half_away(numbers):
    """C's `round`, as int32: TensorFlow's rounds halves to even."""
    size = tf.abs(numbers)
    whole = tf.floor(size)
    whole += tf.cast(size - whole >= 0.5, numbers.dtype)
    return tf.cast(tf.sign(numbers) * whole, tf.int32)


def _quantized_bins(first, last, output_size, size):
    """First and one past the last position of each bin along one axis, (N, R, output_size)."""
    extent = tf.cast(tf.maximum(last - first + 1, 1), tf.float32)
    # Rounding must be that of a division: see `_axis_weights`.
    bins = tf.math.divide_no_nan(extent, float(output_size))[..., None]
    index = tf.range(output_size, dtype=tf.float32)
    start = tf.cast(tf.floor(index * bins), tf.int32) + first[..., None]
    stop = tf.cast(tf.math.ceil((index + 1) * bins), tf.int32) + first[..., None]
    return tf.clip_by_value(start, 0, size), tf.clip_by_value(stop, 0, size)


def _windows(features, axis):
    """Maxima over windows of 1, 2, 4, … positions that start at each position of an axis."""
    maxima = [features]
    size, length = features.shape[axis], 1
    while 2 * length <= size:
        here = maxima[-1]
        kept, moved = tf.split(here, [length, size - length], axis)
        # What is appended stands for windows that reach over the end, which nothing asks for.
        maxima.append(tf.maximum(here, tf.concat([moved, kept], axis)))
        length *= 2
    return maxima


def _two_windows(start, stop, size):
    """The level of two windows that cover [start, stop) together, and where each starts."""
    length = tf.maximum(stop - start, 1)
    powers = 2 ** tf.range(size.bit_length())
    level = tf.reduce_sum(tf.cast(length[..., None] >= powers, tf.int32), axis=-1) - 1
    # Empty bins beyond the end must stay within the table, too.
    return level, tf.minimum(start, size - 1), tf.maximum(stop - tf.gather(powers, level), 0)
