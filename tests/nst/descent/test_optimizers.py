"""The two ways down, on a function whose minimum is known."""

import itertools
import math

import numpy as np
import pytest

import nst
from nst.descent.optimizers import descend

LOW, HIGH = np.float32([-10, -10, -10]), np.float32([10, 10, 5])


def bowl(image):
    """Half the squared distance from 7 everywhere."""
    return 0.5 * float(np.sum((image - 7) ** 2)), np.float32(image - 7)


def run(steps, **settings):
    start = np.zeros((1, 2, 3, 3), np.float32)
    config = nst.StyleTransferConfig(**settings)
    return list(itertools.islice(descend(config, bowl, start, LOW, HIGH), steps))


@pytest.mark.parametrize(("optimizer", "steps"), [("adam", 150), ("lbfgs", 20)])
def test_descent_reaches_the_minimum_within_bounds(optimizer, steps):
    found = run(steps, optimizer=optimizer, learning_rate=0.5, beta_1=0.5, epsilon=1e-8)
    for image, value in found:
        assert (image >= LOW).all()
        assert (image <= HIGH).all()
        assert value == bowl(image)[0], "each image comes with its own loss"
    np.testing.assert_allclose(found[-1][0][0, 0, 0], [7, 7, 5], atol=0.05)


def test_adam_is_tensorflow_1s():
    """lr_t = lr √(1 - β₂ᵗ) / (1 - β₁ᵗ), and ε outside the root, not corrected for bias."""
    found = run(6, optimizer="adam", learning_rate=2.0, beta_1=0.99, epsilon=0.1)
    x = mean = square = 0.0
    for t, (image, _) in enumerate(found, start=1):
        np.testing.assert_allclose(image[..., :2], x, rtol=1e-5, atol=1e-6)
        gradient = x - 7
        mean = 0.99 * mean + 0.01 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        rate = 2 * math.sqrt(1 - 0.999**t) / (1 - 0.99**t)
        x = float(np.clip(x - rate * mean / (math.sqrt(square) + 0.1), -10, 10))
    assert x > 3


def test_adam_never_ends():
    assert len(run(40, optimizer="adam", learning_rate=0.1)) == 40
