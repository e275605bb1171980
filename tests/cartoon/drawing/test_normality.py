"""The test of normality, against SciPy, and by SciPy 1.6.3's numbers."""

import math

import numpy as np
import pytest
from scipy import stats

from cartoon.drawing.normality import kurtosis_score, normal_probability


@pytest.mark.parametrize("size", [20, 80, 180, 256])
def test_probability_is_scipys(size, rng):
    drawn = [
        rng.normal(500, 20, size).astype(np.int64),
        rng.integers(0, 10**7, size),
        np.arange(size),
        np.eye(1, size, 3, dtype=np.int64)[0],
        rng.exponential(1000, size),
    ]
    for values in drawn:
        found = normal_probability(values)
        assert found == pytest.approx(stats.normaltest(values).pvalue, rel=1e-9)
        assert 0 <= found <= 1


@pytest.mark.parametrize(
    ("size", "expected"),
    [(8, 2.57731692845266e-34), (80, 1.0869492358868495e-99), (256, 2.4786376130000704e-189)],
)
def test_values_that_are_all_alike_are_as_improbable_as_in_scipy_1_6_3(size, expected):
    for value in (1, 9, 12_000_000):
        assert normal_probability(np.full(size, value)) == pytest.approx(expected, rel=1e-9)


def test_no_probability_where_the_test_divides_by_zero(monkeypatch):
    monkeypatch.setattr("cartoon.drawing.normality.math.sqrt", lambda value: 1.0)
    assert math.isnan(kurtosis_score(3 * 79 / 81 - 1, 80))


def test_fewer_than_eight_values_are_refused():
    with pytest.raises(ValueError, match="needs 8 values, not 7"):
        normal_probability(np.arange(7))
