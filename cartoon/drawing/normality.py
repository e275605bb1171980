"""D'Agostino and Pearson's test of normality, as the report's program had it from SciPy 1.6.3.

From 1.9 on, SciPy gives no number for values that are all alike, where the report's release gave a
probability near 0 and the report's program split the group. The formulas here are the test's own,
so that no release changes a drawing.

References: D'Agostino and Pearson, "Tests for departure from normality. Empirical results for the
distributions of b2 and √b1", Biometrika 60, 1973; D'Agostino, "Transformation to normality of the
null distribution of g1", Biometrika 57, 1970; Anscombe and Glynn, "Distribution of the kurtosis
statistic b2 for normal samples", Biometrika 70, 1983.
"""

from __future__ import annotations

import math

import numpy as np

FEWEST = 8
"""Values that the test of skewness needs."""


def normal_probability(values: np.ndarray) -> float:
    """Returns the probability that a normal distribution gives values of such a shape.

    Args:
        values: (N,), `FEWEST` at least. Of values that are all alike, skewness and kurtosis count
            as 0, as in SciPy 1.6.3.

    Returns:
        The p-value, in [0, 1]; NaN where the test of kurtosis divides by 0, as in SciPy.

    Raises:
        ValueError: there are fewer values.
    """
    n = len(values)
    if n < FEWEST:
        raise ValueError(f"a test of normality needs {FEWEST} values, not {n}")
    centred = values - values.mean()
    squares = centred**2
    variance = squares.mean()
    skewness = kurtosis = 0.0
    if variance:
        skewness = (squares * centred).mean() / variance**1.5
        kurtosis = (squares**2).mean() / variance**2
    statistic = skewness_score(skewness, n) ** 2 + kurtosis_score(kurtosis, n) ** 2
    return math.exp(-statistic / 2)  # The upper tail of χ² with two degrees of freedom.


def skewness_score(skewness: float, n: int) -> float:
    """Returns how many standard deviations a skewness of `n` normal values is from 0.

    That of 0 exactly is taken for one of 1 after its first scaling, as in SciPy.
    """
    scaled = skewness * math.sqrt((n + 1) * (n + 3) / (6 * (n - 2)))
    beta2 = 3 * (n**2 + 27 * n - 70) * (n + 1) * (n + 3) / ((n - 2) * (n + 5) * (n + 7) * (n + 9))
    w2 = math.sqrt(2 * (beta2 - 1)) - 1
    return math.asinh((scaled or 1) / math.sqrt(2 / (w2 - 1))) / math.sqrt(math.log(w2) / 2)


def kurtosis_score(kurtosis: float, n: int) -> float:
    """Returns how many standard deviations a kurtosis of `n` normal values is from its mean."""
    mean = 3 * (n - 1) / (n + 1)
    variance = 24 * n * (n - 2) * (n - 3) / ((n + 1) ** 2 * (n + 3) * (n + 5))
    scaled = (kurtosis - mean) / math.sqrt(variance)
    root_beta1 = (6 * (n**2 - 5 * n + 2) / ((n + 7) * (n + 9))) * math.sqrt(
        6 * (n + 3) * (n + 5) / (n * (n - 2) * (n - 3))
    )
    a = 6 + 8 / root_beta1 * (2 / root_beta1 + math.sqrt(1 + 4 / root_beta1**2))
    divisor = 1 + scaled * math.sqrt(2 / (a - 4))
    if divisor == 0:
        return math.nan
    ratio = (1 - 2 / a) / divisor
    return (1 - 2 / (9 * a) - math.cbrt(ratio)) / math.sqrt(2 / (9 * a))
