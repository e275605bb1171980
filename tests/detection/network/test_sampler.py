"""Sampling: how many of which, each once, and the same from the same seed."""

import numpy as np
import pytest
import tensorflow as tf

from detection.network.sampler import Identities, gather, sample


def counts(labels, samples, picture=0):
    """How many positives and negatives were taken; fails for others and for repeats."""
    indices = samples.indices.numpy()[picture][samples.valid.numpy()[picture]]
    assert len(set(indices.tolist())) == len(indices)
    taken = labels[picture][indices]
    assert (taken >= 0).all()
    return int((taken > 0).sum()), int((taken == 0).sum())


def labels_with(positives, negatives, ignored, rng):
    labels = np.repeat([1, 0, -1], [positives, negatives, ignored])
    return rng.permutation(labels).astype(np.int32)[None]


@pytest.mark.parametrize(
    ("positives", "negatives", "expected"),
    [
        (300, 500, (128, 128)),
        (20, 500, (20, 236)),
        (0, 500, (0, 256)),
        (300, 10, (128, 10)),
        (5, 10, (5, 10)),
        (0, 0, (0, 0)),
    ],
)
def test_how_many_are_taken(positives, negatives, expected, rng):
    labels = labels_with(positives, negatives, 40, rng)
    samples = sample(labels, (0, 1))
    assert samples.indices.shape == samples.valid.shape == (1, 256)
    assert counts(labels, samples) == expected


def test_the_box_head_takes_a_quarter_of_any_class(rng):
    labels = rng.integers(0, 5, size=(2, 400)).astype(np.int32)
    samples = sample(labels, (0, 1), size=64, positive_fraction=0.25)
    assert [counts(labels, samples, picture) for picture in range(2)] == [(16, 48), (16, 48)]


def test_positives_come_first(rng):
    labels = labels_with(300, 500, 40, rng)
    taken = gather(labels, sample(labels, (0, 1), size=8)).numpy()
    assert taken.tolist() == [[1, 1, 1, 1, 0, 0, 0, 0]]


def test_the_seed_alone_decides(rng):
    labels = labels_with(300, 500, 40, rng)
    first, again, other = (
        sample(labels, seed).indices.numpy() for seed in [(3, 4), (3, 4), (3, 5)]
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_the_order_of_what_has_a_number_decides_nothing(rng):
    """Proposals that swap places by a rounding are sampled or not as before."""
    labels = labels_with(300, 500, 40, rng)
    numbers = rng.permutation(2000)[:840].astype(np.int32)[None]
    order = rng.permutation(840)
    taken = []
    for places in (np.arange(840), order):
        identities = Identities(numbers[:, places], tf.constant(2000))
        samples = sample(labels[:, places], (3, 4), 64, identities=identities)
        taken.append(gather(numbers[:, places], samples).numpy())
        assert counts(labels[:, places], samples) == (32, 32)
    np.testing.assert_array_equal(*taken)


def test_too_few_with_numbers_are_all_taken(rng):
    identities = Identities(np.int32([[7, 3, 9]]), tf.constant(10))
    samples = sample(np.int32([[0, 1, -1]]), (0, 1), 8, identities=identities)
    assert samples.indices[0][samples.valid[0]].numpy().tolist() == [1, 0]


def test_every_anchor_has_the_same_chance():
    labels = np.zeros((2000, 8), np.int32)
    samples = sample(labels, (0, 1), size=2)
    taken = np.bincount(samples.indices.numpy().ravel(), minlength=8)
    # 500 expected of each; 19 is one standard deviation.
    assert (abs(taken - 500) < 100).all()


def test_new_seeds_do_not_retrace(rng):
    traces = []

    @tf.function
    def valid(labels, seed):
        traces.append(1)
        return tf.reduce_sum(tf.cast(sample(labels, seed, size=16).valid, tf.int32))

    for seed in range(3):
        labels = tf.constant(labels_with(30, 50, 4, rng))
        assert valid(labels, tf.constant([seed, 0])).numpy() == 16
    assert len(traces) == 1
