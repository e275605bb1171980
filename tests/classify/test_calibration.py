"""Honest probabilities, by hand."""

import numpy as np
import pytest

from classify import calibration
from classify.calibration import (
    energy,
    expected_calibration_error,
    fit_temperature,
    probabilities,
    threshold,
)

LN3 = np.log(3)


# === Temperature ===


@pytest.mark.parametrize(
    ("temperature", "expected"), [(1, [0.25, 0.75]), (0.5, [0.1, 0.9]), (1e9, [0.5, 0.5])]
)
def test_probabilities_by_hand(temperature, expected):
    found = probabilities(np.array([[0, LN3], [LN3, 0]]), temperature)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [expected, expected[::-1]], atol=1e-6)


def test_large_logits_do_not_overflow():
    found = probabilities(np.float32([[3e4, 0, -3e4], [-3e4, -3e4, -3e4]]), 0.01)
    np.testing.assert_allclose(found, [[1, 0, 0], [1 / 3] * 3], atol=1e-6)


@pytest.mark.parametrize("scale", [0.2, 1.0, 2.5, 30.0])
def test_temperature_undoes_a_known_scaling(scale):
    """Logits that say 3 to 1, of pictures of which 3 in 4 are the first class."""
    logits = scale * np.tile([LN3, 0], (4, 1))
    labels = np.array([0, 0, 0, 1])
    found = fit_temperature(logits, labels)
    assert found == pytest.approx(scale, rel=1e-3)
    np.testing.assert_allclose(probabilities(logits, found)[:, 0], 0.75, atol=1e-3)


def test_temperature_of_drawn_labels(rng):
    true = rng.normal(0, 2, (4000, 10))
    cumulated = probabilities(true).cumsum(axis=1)
    labels = (cumulated < rng.random((4000, 1))).sum(axis=1).clip(0, 9)
    assert fit_temperature(3 * true, labels) == pytest.approx(3, rel=0.05)


def test_temperature_stays_within_its_bounds():
    logits = np.array([[5.0, 0], [0, 5.0]])
    always_right = fit_temperature(logits, np.array([0, 1]))
    assert 0.01 <= always_right < 0.2
    always_wrong = fit_temperature(logits, np.array([1, 0]))
    assert 90 < always_wrong <= 100


# === Expected calibration error ===


def of_two(*confidences) -> np.ndarray:
    """Rows of two classes, of which the first has each confidence."""
    return np.array([[c, 1 - c] for c in confidences])


@pytest.mark.parametrize(
    ("confidences", "labels", "expected"),
    [
        ((0.9,), [0], 0.1),
        ((0.9,), [1], 0.9),
        # In parts of their own: 0.1, 0.8 and 0.45 off.
        ((0.9, 0.8, 0.55), [0, 1, 0], (0.1 + 0.8 + 0.45) / 3),
        # In one part: half of them are right.
        ((0.65, 0.65), [0, 1], 0.15),
        ((0.64, 0.66), [0, 1], 0.15),
        ((1.0, 1.0), [0, 0], 0),
        ((1.0, 1.0), [0, 1], 0.5),
        # Two parts, weighted by their number: (3 · 0.05 + 1 · 0.45) / 4.
        ((0.95, 0.95, 0.95, 0.55), [0, 0, 0, 0], (3 * 0.05 + 0.45) / 4),
    ],
)
def test_calibration_error_by_hand(confidences, labels, expected):
    found = expected_calibration_error(of_two(*confidences), np.array(labels))
    assert found == pytest.approx(expected, abs=1e-6)


def test_perfectly_calibrated_toy_has_no_error():
    rows = np.concatenate([of_two(*[0.75] * 4), of_two(*[0.9] * 10), of_two(1.0)])
    labels = np.array([0, 0, 0, 1] + [0] * 9 + [1] + [0])
    assert expected_calibration_error(rows, labels) == pytest.approx(0, abs=1e-6)
    assert expected_calibration_error(rows, 1 - labels) > 0.5


def test_number_of_parts_counts():
    rows, labels = of_two(0.6, 0.9), np.array([1, 0])
    assert expected_calibration_error(rows, labels, bins=1) == pytest.approx(0.25)
    assert expected_calibration_error(rows, labels, bins=10) == pytest.approx((0.6 + 0.1) / 2)
    assert calibration.BINS == 15


# === None of the ten ===


@pytest.mark.parametrize(
    ("logits", "temperature", "expected"),
    [
        ([0, 0], 1, np.log(2)),
        ([0, 0], 2, 2 * np.log(2)),
        ([0, LN3], 1, np.log(4)),
        ([0, 2 * LN3], 2, 2 * np.log(4)),
        ([5000, 0], 1, 5000),
        ([-5000, -5000], 1, -5000 + np.log(2)),
    ],
)
def test_energy_by_hand(logits, temperature, expected):
    found = energy(np.array([logits]), temperature)
    assert (found.shape, found.dtype) == ((1,), np.float32)
    assert found[0] == pytest.approx(expected, rel=1e-6)


def test_threshold_rejects_the_part_that_was_asked_for(rng):
    assert threshold(np.arange(101.0)) == pytest.approx(5)
    assert threshold(np.arange(101.0), rejected=0.2) == pytest.approx(20)
    scores = rng.normal(size=2000)
    assert (scores < threshold(scores, 0.05)).mean() == pytest.approx(0.05, abs=1e-3)
    assert not (scores < threshold(scores, 0)).any()
