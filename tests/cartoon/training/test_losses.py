"""The training's loss, by hand."""

import numpy as np
import pytest

from cartoon.training.losses import intersection_over_union, segmentation_loss


def loss(mask, logits, trust=None) -> float:
    mask, logits = (np.asarray(x, np.float32).reshape(1, 1, -1) for x in (mask, logits))
    trust = np.ones_like(mask) if trust is None else np.float32(trust).reshape(1, 1, -1)
    (value,) = np.asarray(segmentation_loss(np.stack([mask, trust], axis=-1), logits[..., None]))
    return float(value)


def test_by_hand():
    """Four pixels, probabilities one half: log 2, and an overlap of 1 of 3."""
    entropy = 4 * np.log(2) / 5
    assert loss([1, 1, 0, 0], [0, 0, 0, 0]) == pytest.approx(entropy + 1 - 2 / 4, rel=1e-5)


def test_certain_and_right_costs_nothing_and_wrong_costs_much():
    assert loss([1, 0, 0, 1], [40, -40, -40, 40]) == pytest.approx(0, abs=1e-6)
    assert loss([1, 0, 0, 1], [-40, 40, 40, -40]) > 30
    assert np.isfinite(loss([1, 0, 0, 1], [-1e4, 1e4, 1e4, -1e4]))


def test_pixels_that_are_not_trusted_do_not_count():
    trust = [1, 1, 0, 0]
    assert loss([1, 0, 0, 0], [3, -2, 30, 5], trust) == loss([1, 0, 1, 1], [3, -2, -9, 0], trust)


def test_a_picture_without_people_has_a_finite_loss():
    assert loss([0] * 100, [-40] * 100) == pytest.approx(0, abs=1e-6)
    assert loss([0] * 100, [2] * 100) == pytest.approx(100 * np.log1p(np.exp(2)) / 101, rel=1e-5)


def test_intersection_over_union():
    one, other = np.array([[1, 1, 0, 0]], bool), np.array([[0, 1, 1, 0]], bool)
    assert intersection_over_union(one, other) == pytest.approx(1 / 3)
    assert intersection_over_union(one, one) == 1
    assert intersection_over_union(one & False, one & False) == 1
    assert intersection_over_union(one, one & False) == 0
