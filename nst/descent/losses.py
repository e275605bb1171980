"""The losses of style transfer: section 2 of the report, in its order.

All take feature maps (N, h, w, c) of any float dtype, as `atelier.nets.vgg.VGG.features` gives
them, and compute in float32. They are written with `keras.ops` and run on any backend.
"""

from __future__ import annotations

from keras import ops


def content_loss(features, target):
    """Mean squared difference of feature maps, (N,).

    The report's formula is the sum over positions and channels, its program the mean
    (`get_content_loss`); this is the program's. Source: Gatys et al. 2016, eq. 1, has ½ the sum.

    Args:
        features: (N, h, w, c), of the picture that is optimised.
        target: the same shape (or N = 1), of the content picture.
    """
    difference = ops.cast(features, "float32") - ops.cast(target, "float32")
    return ops.mean(ops.square(difference), axis=(1, 2, 3))


def gram_matrix(features):
    """Gram matrix of feature maps divided by the number of positions, (N, c, c) float32.

    G_ij = 1/M Σ_k F_ik F_jk over the M = h·w positions k (`gram_matrix` of the report; Gatys et
    al. 2016, eq. 3, does not divide).
    """
    positions = ops.shape(features)[1] * ops.shape(features)[2]
    return gram_sum(features) / ops.cast(positions, "float32")


def gram_sum(features, others=None):
    """The undivided Gram matrix, (N, c, c) float32: the sums of tiles add up to the whole's.

    Args:
        features: (N, h, w, c).
        others: (N or 1, h, w, c), multiplied with `features` from the right; `features` itself
            when left out. With features weighted by a mask on one side, positions are weighted.
    """
    # In float32 whatever the features' type: differences of Gram matrices are small.
    left = ops.cast(features, "float32")
    right = left if others is None else ops.cast(others, "float32")
    left = ops.reshape(left, (ops.shape(left)[0], -1, features.shape[-1]))
    right = ops.reshape(right, (ops.shape(right)[0], -1, features.shape[-1]))
    return ops.matmul(ops.transpose(left, (0, 2, 1)), right)


def style_loss(gram, target):
    """Mean squared difference of Gram matrices of one layer, (N,): the report's `get_style_loss`.

    Args:
        gram, target: (N, c, c), divided by their numbers of positions, so that pictures of
            different sizes can be compared.
    """
    return ops.mean(ops.square(gram - target), axis=(1, 2))


def gatys_style_loss(gram, target, positions: int):
    """E_l = 1/(4 N² M²) Σ_ij (G_ij - A_ij)², (N,): the report's formula, Gatys' eq. 4.

    With Gram matrices that are not divided by M. It is a quarter of `style_loss` of the divided
    matrices, so the report's program and its formula differ by the constant factor 4.

    Args:
        gram, target: (N, c, c), undivided; c is the formula's N.
        positions: M = h·w, the same for both pictures.
    """
    channels = gram.shape[-1]
    squares = ops.sum(ops.square(gram - target), axis=(1, 2))
    return squares / (4.0 * channels**2 * float(positions) ** 2)


def total_variation(image):
    """Mean squared difference of neighbouring pixels, (N,); 0 for a flat picture.

    Args:
        image: (N, H, W, 3).
    """
    return row_variation(image) + column_variation(image)


def row_variation(image):
    """The part of `total_variation` between pixels one above the other, (N,)."""
    return ops.mean(ops.square(image[:, 1:] - image[:, :-1]), axis=(1, 2, 3))


def column_variation(image):
    """The part of `total_variation` between pixels side by side, (N,)."""
    return ops.mean(ops.square(image[:, :, 1:] - image[:, :, :-1]), axis=(1, 2, 3))
