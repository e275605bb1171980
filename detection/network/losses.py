"""The losses of Faster R-CNN: of objectness, of classes and of boxes, over sampled sets.

    L = 1/N_cls Σ L_cls(p_i, p_i*) + λ 1/N_reg Σ p_i* L_reg(t_i, t_i*)

Source: the report's formula, Ren et al. 2015, eq. 1. All take float32 logits and deltas and give a
float32 number, which is 0 and not NaN for empty sets. Written with `keras.ops`.

The normalisations differ. The report takes N_cls = 256, the samples of a picture, and N_reg the
number of anchors ("the total number of anchors"; the paper's text: of anchor locations, about
2400), with λ = 10 in the paper. torchvision divides both by the number of samples and has λ = 1,
which is about the same weight: 10 / 2400 is 1 / 240.
"""

from __future__ import annotations

from keras import ops

# Where torchvision's smooth L1 turns from square to straight; the original code's RPN too (σ = 3).
BETA = 1 / 9


def smooth_l1(prediction, target, beta: float = BETA):
    """Smooth L1 of each number: ½ d² / β where |d| < β, |d| - ½ β beyond; |d| for β = 0.

    Source: Girshick 2015 (Fast R-CNN), eq. 3, with β = 1.
    """
    distance = ops.abs(prediction - target)
    if beta == 0:
        return distance
    return ops.where(distance < beta, 0.5 * ops.square(distance) / beta, distance - 0.5 * beta)


def objectness_loss(logits, labels, valid, normalizer=None):
    """Log loss of object against background.

    One logit an anchor, as in torchvision. The report's softmax of two logits is the same with
    their difference as the logit.

    Args:
        logits: (N, S).
        labels: (N, S), 1 or above for an object, 0 for background.
        valid: bool (N, S), false where a sample is padding.
        normalizer: N_cls, what the sum is divided by; None: the number of valid samples.
    """
    labels = ops.cast(labels > 0, logits.dtype)
    # The logarithm of the sigmoid, in a form that neither overflows nor loses small numbers.
    losses = ops.relu(logits) - logits * labels + ops.softplus(-ops.abs(logits))
    return _normalized_sum(losses, valid, sample_count(valid) if normalizer is None else normalizer)


def class_loss(logits, labels, valid, normalizer=None):
    """Cross-entropy of classes, background being class 0.

    Args:
        logits: (N, S, K).
        labels: int (N, S) in [0, K); those of padding may be anything.
        valid: bool (N, S).
        normalizer: what the sum is divided by; None: the number of valid samples.
    """
    labels = ops.clip(labels, 0, logits.shape[-1] - 1)
    right = ops.take_along_axis(logits, ops.expand_dims(labels, -1), axis=-1)[..., 0]
    losses = ops.logsumexp(logits, axis=-1) - right
    return _normalized_sum(losses, valid, sample_count(valid) if normalizer is None else normalizer)


def box_loss(deltas, targets, positive, normalizer, beta: float = BETA):
    """Smooth L1 of the regressions of positive samples, summed over the four numbers.

    Args:
        deltas, targets: (N, S, 4); for the box head, the deltas of the right class
            (`deltas_of_class`).
        positive: bool (N, S), true for valid samples that stand for a box.
        normalizer: N_reg; torchvision's is the number of valid samples, positive or not.
        beta: see `smooth_l1`. The original code's box head takes 1.
    """
    # Where not positive the targets may be anything, and so must not reach the gradient.
    targets = ops.where(ops.expand_dims(positive, -1), targets, deltas)
    losses = ops.sum(smooth_l1(deltas, targets, beta), axis=-1)
    return _normalized_sum(losses, positive, normalizer)


def deltas_of_class(deltas, labels):
    """Of the box head's deltas (N, S, K, 4), those of each sample's class (N, S): (N, S, 4)."""
    labels = ops.clip(labels, 0, deltas.shape[-2] - 1)
    index = ops.expand_dims(ops.expand_dims(labels, -1), -1)
    return ops.take_along_axis(deltas, index, axis=-2)[..., 0, :]


def rpn_losses(
    logits,
    deltas,
    labels,
    targets,
    valid,
    *,
    cls_normalizer=None,
    reg_normalizer=None,
    weight=1.0,
    beta: float = BETA,
):
    """Both losses of the region proposal network, of objectness and of boxes.

    With its defaults torchvision's. The report's, for one picture: `cls_normalizer=256`,
    `reg_normalizer` the number of anchors, `weight=10`; for N pictures, both times N.

    Args:
        logits: (N, S), of the sampled anchors.
        deltas, targets: (N, S, 4).
        labels: (N, S), 1 for an object, 0 for background.
        valid: bool (N, S).
        cls_normalizer, reg_normalizer: N_cls and N_reg; None: the number of valid samples.
        weight: λ of the second loss.
        beta: see `smooth_l1`.

    Returns:
        two numbers.
    """
    positive = ops.logical_and(labels > 0, valid)
    reg_normalizer = sample_count(valid) if reg_normalizer is None else reg_normalizer
    objectness = objectness_loss(logits, labels, valid, cls_normalizer)
    return objectness, weight * box_loss(deltas, targets, positive, reg_normalizer, beta)


def head_losses(logits, deltas, labels, targets, valid, *, normalizer=None, beta: float = BETA):
    """Both losses of the box head, of classes and of boxes, as torchvision's `fastrcnn_loss`.

    Args:
        logits: (N, S, K), of the sampled proposals.
        deltas: (N, S, K, 4), one regression a class.
        labels: int (N, S), 0 for background.
        targets: (N, S, 4).
        valid: bool (N, S).
        normalizer: what both sums are divided by; None: the number of valid samples.
        beta: see `smooth_l1`; 1/9 in torchvision, 1 in the paper.

    Returns:
        two numbers.
    """
    positive = ops.logical_and(labels > 0, valid)
    normalizer = sample_count(valid) if normalizer is None else normalizer
    deltas = deltas_of_class(deltas, labels)
    return class_loss(logits, labels, valid, normalizer), box_loss(
        deltas, targets, positive, normalizer, beta
    )


def sample_count(valid):
    """How many samples are valid, float32."""
    return ops.sum(ops.cast(valid, "float32"))


def _normalized_sum(losses, chosen, normalizer):
    total = ops.sum(ops.where(chosen, losses, 0.0))
    return total / ops.maximum(ops.cast(normalizer, "float32"), 1.0)
