"""Honest probabilities: a temperature, how far off they are, and when to say "none of the ten"."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp, softmax

BINS = 15
"""Of the expected calibration error, as in Guo et al."""


def probabilities(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Softmax of logits (N, K) over a temperature: float32 (N, K)."""
    return softmax(np.asarray(logits, np.float64) / temperature, axis=1).astype(np.float32)


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The one number by which logits are best divided: that of the least cross-entropy.

    (Guo et al., "On Calibration of Modern Neural Networks", 2017, Section 4.2.)

    Args:
        logits: (N, K), of pictures that the network was not trained on.
        labels: (N,).

    Returns:
        The temperature, in 0.01 to 100.
    """
    logits = np.asarray(logits, np.float64)

    def cross_entropy(log_temperature: float) -> float:
        scores = log_softmax(logits / np.exp(log_temperature), axis=1)
        return -float(scores[np.arange(len(labels)), labels].mean())

    return float(np.exp(minimize_scalar(cross_entropy, bounds=np.log([0.01, 100])).x))


def expected_calibration_error(
    probabilities: np.ndarray, labels: np.ndarray, bins: int = BINS
) -> float:
    """Mean distance between how sure a network is and how often it is right: 0 to 1.

    Pictures are sorted into `bins` equal parts of [0, 1] by their highest probability; each part's
    |accuracy - mean probability| counts by its number of pictures (Guo et al., 2017, eq. 3).

    Args:
        probabilities: (N, K).
        labels: (N,).
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    part = np.minimum((confidence * bins).astype(int), bins - 1)
    differences = np.bincount(part, right - confidence, minlength=bins)
    return float(np.abs(differences).sum() / len(labels))


def energy(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """T · log Σ exp(logit / T) of each row, high where the network knows the like: float32 (N,).

    The negative of the energy of Liu et al., "Energy-based Out-of-distribution Detection", 2020,
    eq. 4.
    """
    scaled = np.asarray(logits, np.float64) / temperature
    return (temperature * logsumexp(scaled, axis=1)).astype(np.float32)


def threshold(scores: np.ndarray, rejected: float = 0.05) -> float:
    """The score below which that part of pictures of the ten classes lies.

    Args:
        scores: (N,), of pictures of the ten classes that were not trained on.
        rejected: the part of them that may be taken for none of the ten: the false alarms.
    """
    return float(np.quantile(scores, rejected))
