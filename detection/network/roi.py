"""RoI pooling: of each box, a small map of fixed size cut out of the feature map.

`roi_pool` is the report's part 4, with its two roundings (Girshick 2015, section 2.1); `roi_align`
samples between positions instead (He et al. 2017, section 3). Both equal torchvision's. TensorFlow,
with gradients; maps may be of any size without tf.function being traced again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from detection.network.boxes import area

LONGEST_MAP = 216
"""Positions each way of maps whose size is not static: pictures of 3,456 pixels at stride 16."""

DENSE_MAP = 2**13
"""Positions of maps up to which RoIAlign's gradient is a product of matrices."""


def roi_pool(
    features, boxes, spatial_scale: float, output_size: int = 7, *, clipped: bool = False
) -> tf.Tensor:
    """The largest value of each of output_size × output_size bins of each box.

    Corners are rounded to positions of the map, halves away from 0, and the last position belongs
    to the box; bins round outwards, so neighbours share positions. Bins off the map give 0. A
    gradient goes to one largest position of a bin; there is none to the boxes.

    A table of maxima over windows of 1, 2, 4, … positions each way, up to half the longest bin,
    gives each bin as the largest of four windows. It holds a copy of the map for each pair of
    lengths, so it suits maps such as conv5_3 (`clipped`, 25 copies where the size is not static);
    for the fine maps of a pyramid take `roi_align`.

    Args:
        features: float (N, H, W, C); H and W at most `LONGEST_MAP` where they are not static.
        boxes: float32 (N, R, 4), x1 y1 x2 y2 in pixels of the picture.
        spatial_scale: positions of the map a pixel of the picture, 1/16 for conv5_3.
        output_size: bins each way, 7 for VGG16.
        clipped: whether all boxes lie within the picture, so that no bin is much longer than its
            share of the map; fewer copies are made. Longer bins would be wrong.

    Returns:
        (N, R, output_size, output_size, C), of the features' type.
    """
    batch, channels = tf.shape(features)[0], features.shape[-1]
    height, width = _extents(features)
    levels_down, levels_across = _window_levels(features, output_size if clipped else None)
    corners = _round_half_away(boxes * spatial_scale)
    top, bottom = _quantized_bins(corners[..., 1], corners[..., 3], output_size, height)
    left, right = _quantized_bins(corners[..., 0], corners[..., 2], output_size, width)

    # (N, levels of y, levels of x, H, W, C) flat: a bin's four windows are four rows of it.
    rows = [
        maxima
        for row in _windows(features, 1, levels_down)
        for maxima in _windows(row, 2, levels_across)
    ]
    table = tf.reshape(tf.stack(rows, axis=1), (-1, channels))
    empty = (bottom <= top)[..., :, None] | (right <= left)[..., None, :]
    level_y, first_y, second_y = _two_windows(top, bottom, height, levels_down)
    level_x, first_x, second_x = _two_windows(left, right, width, levels_across)

    levels = level_y[..., :, None] * levels_across + level_x[..., None, :]
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
        features: float (N, H, W, C).
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
        batch, count = tf.shape(corner)[0], tf.shape(corner)[1]
        pictures = tf.repeat(tf.range(batch), count)
        corner, sides = tf.reshape(corner, (-1, 2)), tf.reshape(sides, (-1, 2))
        pooled = _align_by_crops(features, pictures, corner, sides, output_size, sampling_ratio)
        return tf.reshape(pooled, (batch, count, *pooled.shape[1:]))
    return _align_by_weights(features, corner, sides, output_size)


def roi_align_levels(
    features: Sequence,
    boxes,
    strides: Sequence,
    output_size: int = 7,
    sampling_ratio: int = 2,
    canonical: tuple[float, int] = (224.0, 4),
) -> tf.Tensor:
    """RoIAlign from the levels of a pyramid: of each box from the one that suits its size.

    The level is floor(4 + log2(√area / 224)), where level k has stride 2ᵏ, within those given: Lin
    et al. 2017 (Feature Pyramid Networks), eq. 1; `MultiScaleRoIAlign` of torchvision.

    Args:
        features: float (N, H, W, C) of each level, finest first.
        boxes: float32 (N, R, 4), x1 y1 x2 y2 in pixels of the picture.
        strides: pixels a position of each level, powers of two.
        output_size, sampling_ratio: see `roi_align`; the ratio is positive.
        canonical: a side in pixels, and the level of square boxes of this side.

    Returns:
        float32 (N, R, output_size, output_size, C).
    """
    batch, count = tf.shape(boxes)[0], tf.shape(boxes)[1]
    pictures = tf.repeat(tf.range(batch), count)
    boxes = tf.reshape(boxes, (-1, 4))
    finest, coarsest = (int(math.log2(strides[place])) for place in (0, -1))
    side, level = canonical
    levels = tf.floor(level + tf.math.log(tf.sqrt(area(boxes)) / side) / math.log(2) + 1e-6)
    levels = tf.clip_by_value(levels, finest, coarsest)

    places, pooled = [], []
    for place, (maps, stride) in enumerate(zip(features, strides, strict=True)):
        chosen = tf.cast(tf.where(levels == finest + place)[:, 0], tf.int32)
        own = tf.gather(boxes, chosen) / stride
        sides = tf.maximum(own[:, 2:] - own[:, :2], 1.0)
        places.append(chosen)
        pooled.append(
            _align_by_crops(
                tf.cast(maps, tf.float32), tf.gather(pictures, chosen), own[:, :2], sides,
                output_size, sampling_ratio,
            )
        )  # fmt: skip
    shape = (batch, count, output_size, output_size, features[0].shape[-1])
    return tf.reshape(tf.dynamic_stitch(places, pooled), shape)


def _align_by_crops(features, pictures, corner, sides, output_size, sampling_ratio):
    """RoIAlign of boxes (B, …) with a fixed number of samples: bilinear crops, then their means.

    TensorFlow's gradient of the crops by the picture adds from several threads to the same numbers
    and loses some; on a GPU `tf.config.experimental.enable_op_determinism` refuses it. So this has
    a gradient of its own, whose sums have one order.

    Args:
        features: float32 (N, H, W, C).
        pictures: int32 (B,), ascending: the picture of each box.
        corner, sides: float32 (B, 2), x y and width height in positions of the map.
    """
    shape, samples = tf.shape(features), output_size * sampling_ratio

    def along(corner, sides, axis):
        return samples_along(corner[:, axis], sides[:, axis], samples, shape[2 - axis])

    @tf.custom_gradient
    def align(features, corner, sides):
        def gradient(upstream):
            ys, xs = (along(corner, sides, axis) for axis in (1, 0))
            spread = (upstream / sampling_ratio**2, pictures, ys, xs, shape)
            by_features = tf.cond(
                shape[1] * shape[2] <= DENSE_MAP,
                lambda: _spread_by_products(*spread),
                lambda: _spread_by_scatter(*spread),
            )
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch((corner, sides))
                ys, xs = (along(corner, sides, axis) for axis in (1, 0))
                table = tf.reshape(features, (-1, features.shape[-1]))
                start = (pictures * shape[1] * shape[2])[:, None, None]
                sampled = bilinear(table, start, shape[2], ys, xs)
                pooled = tf.nn.avg_pool2d(sampled, sampling_ratio, sampling_ratio, "VALID")
            return by_features, *tape.gradient(pooled, (corner, sides), upstream)

        return _crop(features, pictures, corner, sides, output_size, sampling_ratio), gradient

    return align(features, corner, sides)


def _crop(features, pictures, corner, sides, output_size, sampling_ratio):
    """The values of `_align_by_crops`."""
    # With one position of border repeated, and 0 beyond it, crops are sampled as torchvision's.
    padded = tf.concat([features[:, :1], features, features[:, -1:]], axis=1)
    padded = tf.concat([padded[:, :, :1], padded, padded[:, :, -1:]], axis=2)
    samples = output_size * sampling_ratio
    step = sides / samples
    first = corner + 0.5 * step + 1
    last = corner + sides - 0.5 * step + 1
    extent = tf.cast(tf.shape(padded)[2:0:-1] - 1, tf.float32)
    crops = tf.concat([first / extent, last / extent], axis=-1)
    crops = tf.gather(crops, [1, 0, 3, 2], axis=1)
    sampled = tf.image.crop_and_resize(padded, crops, pictures, (samples, samples))
    if sampling_ratio > 1:
        sampled = tf.nn.avg_pool2d(sampled, sampling_ratio, sampling_ratio, "VALID")
    return sampled


def samples_along(start, side, count: int, length) -> list[tuple[tf.Tensor, tf.Tensor]]:
    """The two positions of a map between which each sample along one axis lies, and their weights.

    Args:
        start, side: float32 (B,), of each box in positions of the map.
        count: S, samples of each box.
        length: positions of the axis, a number, or (B, 1) with one for each box.

    Returns:
        (position, weight) for the position before and for the one after: int32 and float32 (B, S).
        Weights add up to 1, and to 0 for samples more than one position off the map.
    """
    last = tf.cast(length, tf.float32) - 1
    parts = (np.arange(count, dtype=np.float32) + 0.5) / count
    at = start[:, None] + side[:, None] * parts
    # Up to one position off the map its border counts, further off nothing does.
    inside = tf.cast((at >= -1) & (at <= last + 1), tf.float32)
    at = tf.clip_by_value(at, 0.0, last)
    before = tf.floor(at)
    after = tf.minimum(before + 1, last)
    part = at - before
    positions = [tf.cast(place, tf.int32) for place in (before, after)]
    return list(zip(positions, (inside * (1 - part), inside * part), strict=True))


def bilinear(table, start, width, ys, xs) -> tf.Tensor:
    """Bilinear samples of maps that lie one after the other in a table.

    Args:
        table: float32 (P, C), a row a position.
        start: int32, broadcast to (B, 1, 1): the row at which the map of each box begins.
        width: int32, likewise: positions in a row of the map.
        ys, xs: as of `samples_along`.

    Returns:
        float32 (B, S, S, C).
    """
    total = 0.0
    for y, weight_y in ys:
        for x, weight_x in xs:
            rows = tf.gather(table, start + y[:, :, None] * width + x[:, None])
            total += rows * (weight_y[:, :, None] * weight_x[:, None])[..., None]
    return total


def _spread_by_products(upstream, pictures, ys, xs, shape):
    """What samples add to the features, as products of matrices: fast on small maps.

    Args:
        upstream: (B, output_size, output_size, C), the gradient of one sample of each bin.
        pictures: int32 (B,), ascending.
        ys, xs: as of `samples_along`.
        shape: N H W C.

    Returns:
        float32 (N, H, W, C).
    """
    batch, height, width, channels = tf.unstack(shape)
    # Boxes by picture, (N, R), with weights of 0 where a picture has fewer than others.
    counts = tf.reduce_sum(tf.cast(pictures[:, None] == tf.range(batch), tf.int32), axis=0)
    place = tf.range(tf.reduce_max(counts))
    boxes = tf.minimum(tf.cumsum(counts, exclusive=True)[:, None] + place, tf.size(pictures) - 1)
    present = tf.cast(place < counts[:, None], tf.float32)[..., None, None]

    bins = upstream.shape[1]
    weights_y = tf.gather(_dense_weights(ys, bins, height), boxes) * present
    weights_x = tf.gather(_dense_weights(xs, bins, width), boxes)
    rows = tf.matmul(weights_x[:, :, None], tf.gather(upstream, boxes), transpose_a=True)
    rows = tf.reshape(rows, (batch, -1, width * channels))
    weights_y = tf.reshape(weights_y, (batch, -1, height))
    return tf.reshape(tf.matmul(weights_y, rows, transpose_a=True), shape)


def _dense_weights(samples, bins, size):
    """How much each position along one axis counts in each bin: (B, bins, size)."""
    weights = 0.0
    for position, weight in samples:
        by_bin = (-1, bins, position.shape[1] // bins, 1)
        at, weight = tf.reshape(position, by_bin), tf.reshape(weight, by_bin)
        weights += tf.reduce_sum(tf.where(at == tf.range(size), weight, 0.0), axis=2)
    return weights


def _spread_by_scatter(upstream, pictures, ys, xs, shape):
    """`_spread_by_products`, sample by sample: the time does not depend on the size of the map."""
    repeats = ys[0][0].shape[1] // upstream.shape[1]
    upstream = tf.repeat(tf.repeat(upstream, repeats, axis=1), repeats, axis=2)
    start = (pictures * shape[1] * shape[2])[:, None, None]
    table = tf.zeros((shape[0] * shape[1] * shape[2], shape[3]))
    for y, weight_y in ys:
        for x, weight_x in xs:
            rows = start + y[:, :, None] * shape[2] + x[:, None]
            weights = weight_y[:, :, None] * weight_x[:, None]
            table = tf.tensor_scatter_nd_add(table, rows[..., None], upstream * weights[..., None])
    return tf.reshape(table, shape)


def _align_by_weights(features, corner, sides, output_size):
    """RoIAlign with as many samples as positions: the means are linear in rows and in columns."""
    (height, width), channels = _extents(features), features.shape[-1]
    weights_x = _axis_weights(corner[..., 0], sides[..., 0], output_size, width)
    weights_y = _axis_weights(corner[..., 1], sides[..., 1], output_size, height)
    # As plain products of matrices: einsum moves the channels about, which takes longer.
    batch, count = tf.shape(corner)[0], tf.shape(corner)[1]
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
    counts, size = counts[..., None, None], tf.cast(size, tf.float32)
    counted = (sample < counts) & (at >= -1) & (at <= size)
    at = tf.clip_by_value(at, 0.0, size - 1.0)[..., None]
    weights = tf.maximum(1 - tf.abs(at - tf.range(size)), 0.0)
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


def _extents(features):
    """Height and width of maps, as numbers where they are static."""
    dynamic = tf.shape(features)
    return [features.shape[axis] or dynamic[axis] for axis in (1, 2)]


def _window_levels(features, output_size: int | None) -> list[int]:
    """How many lengths of windows, 1, 2, 4, …, there are down and across: two windows of the
    longest cover any bin; None: of boxes of any size."""
    longest = [features.shape[axis] or LONGEST_MAP for axis in (1, 2)]
    if output_size is not None:
        # A box ends at most one position past the map, and its bins are rounded outwards.
        longest = [math.ceil((size + 1) / output_size) + 1 for size in longest]
    return [max((length - 1).bit_length(), 1) for length in longest]


def _windows(features, axis, levels):
    """Maxima over windows of 1, 2, 4, … positions that start at each position of an axis."""
    maxima = [features]
    for level in range(levels - 1):
        here = maxima[-1]
        # What comes round from the start stands for windows over the end, which nothing asks for.
        maxima.append(tf.maximum(here, tf.roll(here, -(2**level), axis)))
    return maxima


def _two_windows(start, stop, size, levels):
    """The level of two windows that cover [start, stop) together, and where each starts."""
    length = tf.maximum(stop - start, 1)
    powers = 2 ** tf.range(levels)
    level = tf.reduce_sum(tf.cast(length[..., None] >= powers, tf.int32), axis=-1) - 1
    # Empty bins beyond the end must stay within the table, too.
    return level, tf.minimum(start, size - 1), tf.maximum(stop - tf.gather(powers, level), 0)
