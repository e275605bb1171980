"""Sampling: the few anchors or proposals of each picture that a training step learns from.

Source: Ren et al. 2015, section 3.1.3; `BalancedPositiveNegativeSampler` of torchvision.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf


class Samples(NamedTuple):
    """A sampled set of fixed size.

    Attributes:
        indices: int32 (N, size), positives first; each index at most once among the valid ones.
        valid: bool (N, size), false where a picture has too few anchors to fill the set.
    """

    indices: tf.Tensor
    valid: tf.Tensor


class Identities(NamedTuple):
    """What each of the entries to sample from is, wherever it lies among them.

    Attributes:
        numbers: int32 (N, A), from 0.
        total: how many things there are: all numbers are below it.
    """

    numbers: tf.Tensor
    total: tf.Tensor


def sample(
    labels,
    seed,
    size: int = 256,
    positive_fraction: float = 0.5,
    *,
    place=0,
    identities: Identities | None = None,
) -> Samples:
    """A random set of anchors of each picture: some positive, filled up with negatives.

    At most `positive_fraction` of `size` are positive; where there are fewer, negatives take
    their place. Too few negatives are not replaced by positives, in the paper as in torchvision;
    of the report's two descriptions this is the second (its first says "and the other way round").

    Args:
        labels: int (N, A): above 0 positive (1, or a class), 0 negative, below 0 never taken.
        seed: int (2,), the same seed giving the same set; a new one a step.
        size: samples a picture.
        positive_fraction: largest share of positives; 0.5 for the RPN, 0.25 for the box head.
        place: of the first of these pictures in the batch of all devices, so that each picture gets
            the set that it would get on one device.
        identities: what the random keys are drawn for. Proposals come in the order of their scores,
            which rounding may change; drawn for their anchors, the set stays. None: positions.
    """
    labels = tf.convert_to_tensor(labels)
    # top_k needs `size` entries to choose from.
    short = tf.maximum(size - tf.shape(labels)[1], 0)
    labels = tf.pad(labels, [[0, 0], [0, short]], constant_values=-1)
    shape = tf.shape(labels)
    total = shape[1] if identities is None else identities.total
    keys = tf.random.stateless_uniform((place + shape[0], total), seed)[place:]
    if identities is not None:
        numbers = tf.pad(identities.numbers, [[0, 0], [0, short]])
        keys = tf.gather(keys, numbers, batch_dims=1)

    most = int(size * positive_fraction)
    positive_keys, positives = tf.math.top_k(tf.where(labels > 0, keys, -1.0), k=most)
    negative_keys, negatives = tf.math.top_k(tf.where(labels == 0, keys, -1.0), k=size)
    is_positive = positive_keys >= 0
    room = size - tf.reduce_sum(tf.cast(is_positive, tf.int32), axis=1, keepdims=True)
    is_negative = (negative_keys >= 0) & (tf.range(size) < room)

    indices = tf.concat([positives, negatives], axis=1)
    chosen = tf.concat([is_positive, is_negative], axis=1)
    # The lower of equal entries comes first, so the order stays: positives, then negatives.
    valid, first = tf.math.top_k(tf.cast(chosen, tf.int32), k=size)
    valid = valid > 0
    return Samples(tf.where(valid, tf.gather(indices, first, batch_dims=1), 0), valid)


def gather(values, samples: Samples) -> tf.Tensor:
    """The sampled rows of values (N, A, …): (N, size, …); where not valid, those of index 0."""
    return tf.gather(values, samples.indices, batch_dims=1)
