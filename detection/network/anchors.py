"""Anchors: k reference boxes of some scales and aspect ratios at every position of a feature map.

The report puts them at the centre of the sliding window, mapped back to the picture, with three
scales and the ratios 1:1, 1:2 and 2:1, hence k = 9; it says nothing of rounding. Two ways to make
the k base anchors are here: torchvision's, centred on 0, and the original code's (py-faster-rcnn,
`generate_anchors.py`), which is what the report describes, centred in its cell of the stride.

The order is that of a head's output (N, H, W, k) read row by row: y, then x, then the base
anchors, of which the scales vary fastest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

RATIOS = (0.5, 1.0, 2.0)


def base_anchors(scales: Sequence[float], ratios: Sequence[float] = RATIOS) -> np.ndarray:
    """Base anchors as torchvision's `AnchorGenerator` makes them: centred on 0, whole pixels.

    Args:
        scales: sides in pixels of the square anchors, for example (128, 256, 512).
        ratios: heights over widths; the area stays, up to rounding.

    Returns:
        float32 (ratios · scales, 4), rounded half to even.
    """
    heights = np.sqrt(np.asarray(ratios, np.float32))
    widths = np.float32(1) / heights
    scales = np.asarray(scales, np.float32)
    sides = np.stack([np.outer(widths, scales), np.outer(heights, scales)], axis=-1)
    corners = sides.reshape(-1, 2)
    return np.round(np.concatenate([-corners, corners], axis=1) / np.float32(2))


def original_base_anchors(
    scales: Sequence[float] = (8, 16, 32),
    ratios: Sequence[float] = RATIOS,
    stride: int = 16,
) -> np.ndarray:
    """Base anchors of the original code: centred in the first cell of the stride, at stride / 2.

    Sides are rounded at the size of the cell and then multiplied, so areas are off by up to a
    tenth: at scale 8, ratio 0.5, the anchor is 184 × 96 and not 181 × 91. The original's boxes
    hold their last pixel; here x2 and y2 are one more, which is the same box.

    Args:
        scales: sides of the square anchors in strides: 8, 16, 32 are 128, 256, 512 pixels.
        ratios: heights over widths.
        stride: pixels of the picture a position of the feature map, 16 for VGG's conv5_3.

    Returns:
        float32 (ratios · scales, 4).
    """
    ratios = np.asarray(ratios, np.float64)
    widths = np.round(np.sqrt(stride**2 / ratios))
    heights = np.round(widths * ratios)
    sides = np.stack([np.outer(widths, scales), np.outer(heights, scales)], axis=-1)
    halves = sides.reshape(-1, 2) / 2
    corners = np.concatenate([stride / 2 - halves, stride / 2 + halves], axis=1)
    return corners.astype(np.float32)


def grid_anchors(base, map_size, stride) -> tf.Tensor:
    """The base anchors at every position of a feature map.

    Args:
        base: (k, 4) pixels.
        map_size: height and width of the map, numbers or integer tensors.
        stride: pixels of the picture a position, one number or one each for y and x.

    Returns:
        float32 (height · width · k, 4); many of them stick out of the picture.
    """
    base = tf.convert_to_tensor(base, tf.float32)
    stride_y, stride_x = stride if isinstance(stride, Sequence) else (stride, stride)
    y = tf.cast(tf.range(map_size[0]), tf.float32) * tf.cast(stride_y, tf.float32)
    x = tf.cast(tf.range(map_size[1]), tf.float32) * tf.cast(stride_x, tf.float32)
    y, x = tf.meshgrid(y, x, indexing="ij")
    shifts = tf.stack([x, y, x, y], axis=-1)
    return tf.reshape(shifts[:, :, None] + base, (-1, 4))


def pyramid_anchors(bases, map_sizes, strides) -> list[tf.Tensor]:
    """`grid_anchors` of several levels, finest first: one base, map size and stride a level."""
    levels = zip(bases, map_sizes, strides, strict=True)
    return [grid_anchors(base, map_size, stride) for base, map_size, stride in levels]


def crosses_border(anchors, sizes, allowed: float = 0.0) -> tf.Tensor:
    """Which anchors reach over the border of the picture; the paper does not train on them.

    Args:
        anchors: (A, 4).
        sizes: (N, 2) or (2,), height and width of each picture in pixels.
        allowed: pixels that an anchor may reach over the border.

    Returns:
        bool (N, A) or (A,).
    """
    anchors = tf.convert_to_tensor(anchors, tf.float32)
    sizes = tf.cast(sizes, tf.float32)[..., None, :]
    inside = tf.reduce_all(anchors[:, :2] >= -allowed, axis=-1)
    inside &= tf.reduce_all(anchors[:, 2:] <= sizes[..., ::-1] + allowed, axis=-1)
    return ~inside
