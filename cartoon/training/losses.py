"""What the person segmenter is trained by."""

from __future__ import annotations

from keras import ops


def segmentation_loss(target, logits):
    """Binary cross-entropy, and one less the soft Jaccard index of each picture with people.

    The first judges each pixel, the second the shape as a whole, however small. Where nobody is,
    there is no shape to judge.

    Args:
        target: (N, H, W, 2) in [0, 1]: the mask, and how far each pixel of it is to be trusted.
        logits: (N, H, W, 1).

    Returns:
        (N,), each at least 0.

    Reference: for the second, Rahman and Wang, "Optimizing Intersection-Over-Union in Deep Neural
    Networks for Image Segmentation", 2016, equation 3.
    """
    mask, trust, logits = target[..., 0], target[..., 1], logits[..., 0]
    # log(1 + exp(-|x|)) + max(x, 0) - x·mask, which does not overflow.
    entropy = ops.softplus(-ops.abs(logits)) + ops.relu(logits) - logits * mask
    pixels = ops.sum(trust, axis=(1, 2)) + 1.0
    entropy = ops.sum(trust * entropy, axis=(1, 2)) / pixels
    probability = ops.sigmoid(logits)
    both = ops.sum(trust * probability * mask, axis=(1, 2))
    either = ops.sum(trust * (probability + mask - probability * mask), axis=(1, 2))
    people = ops.sum(trust * mask, axis=(1, 2))
    present = ops.minimum(1.0, 100 * people / pixels)
    return entropy + present * (1 - (both + 1) / (either + 1))


def intersection_over_union(mask, truth) -> float:
    """Of two boolean (H, W); 1 where both are empty."""
    either = (mask | truth).sum()
    return float((mask & truth).sum() / either) if either else 1.0
