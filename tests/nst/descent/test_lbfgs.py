"""L-BFGS on functions whose minima are known."""

import itertools
import math

import numpy as np
import pytest
import scipy.optimize

from nst.descent import lbfgs

LIMIT = 1000


def rosenbrock(x):
    x = np.asarray(x, np.float64)
    value = scipy.optimize.rosen(x)
    return float(value), scipy.optimize.rosen_der(x).astype(np.float32)


def bowl(center):
    """Half the squared distance from `center`."""

    def function(x):
        return 0.5 * float(np.sum((x - center) ** 2, dtype=np.float64)), np.float32(x - center)

    return function


def quadratic(seed=0, size=20):
    """½ x'Ax - b'x with condition number 100; its unbounded minimum is far outside [-1, 1]."""
    rng = np.random.default_rng(seed)
    vectors = np.linalg.qr(rng.normal(size=(size, size)))[0]
    matrix = vectors * np.geomspace(1, 100, size) @ vectors.T
    b = rng.normal(0, 100, size)

    def function(x):
        x = np.asarray(x, np.float64)
        return float(x @ matrix @ x / 2 - b @ x), np.float32(matrix @ x - b)

    return function


def run(function, x, steps=LIMIT, **options):
    found = list(itertools.islice(lbfgs.minimize(function, np.float32(x), **options), steps))
    values = [value for _, value in found]
    assert all(a > b for a, b in itertools.pairwise(values)), "values must decrease"
    return found


@pytest.mark.parametrize("start", [[-1.2, 1], [3, -2], [0, 0, 0, 0, 0]])
def test_rosenbrock_reaches_its_minimum(start):
    x, value = run(rosenbrock, start)[-1]
    np.testing.assert_allclose(x, 1, atol=5e-3)
    assert value < 1e-5


def test_first_step_changes_no_element_by_more_than_asked():
    (x, _), *_ = run(bowl(np.float32([100, 50])), [0, 0], first_step=2)
    np.testing.assert_allclose(x, [2, 1])


def test_bowl_takes_few_steps():
    found = run(bowl(np.float32([100, 50, -7])), [0, 0, 0])
    assert len(found) < 10
    np.testing.assert_allclose(found[-1][0], [100, 50, -7], rtol=1e-4)


def test_shape_is_kept():
    center = np.arange(12, dtype=np.float32).reshape(1, 2, 2, 3)
    x, _ = run(bowl(center), np.zeros((1, 2, 2, 3)))[-1]
    assert x.shape == center.shape
    assert x.dtype == np.float32
    np.testing.assert_allclose(x, center, atol=1e-3)


@pytest.mark.parametrize("seed", range(4))
def test_bounded_quadratic_ends_where_scipy_does(seed):
    function = quadratic(seed)
    bounds = scipy.optimize.Bounds(-1, 1)
    expected = scipy.optimize.minimize(
        lambda x: (lambda v, g: (v, g.astype(np.float64)))(*function(x)),
        np.zeros(20),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
    )
    found = run(function, np.zeros(20), low=-1.0, high=1.0)
    assert max(np.abs(x).max() for x, _ in found) <= 1
    assert found[-1][1] == pytest.approx(expected.fun, rel=1e-4)
    assert (np.abs(found[-1][0]) == 1).any(), "some bound must be active"


def test_bounds_hold_for_each_channel():
    low, high = np.float32([-1, 0, 2]), np.float32([1, 0.5, 3])
    center = np.float32(np.arange(-6, 6)).reshape(4, 3)
    found = run(bowl(center), np.clip(np.zeros((4, 3)), low, high), low=low, high=high)
    for x, _ in found:
        assert (x >= low).all()
        assert (x <= high).all()
    np.testing.assert_allclose(found[-1][0], np.clip(center, low, high), atol=1e-4)


def test_start_at_the_minimum_ends_at_once():
    assert run(bowl(np.float32([1, 2])), [1, 2]) == []


def test_start_in_the_corner_that_is_the_minimum_ends_at_once():
    assert run(bowl(np.float32([5, 5])), [1, 1], low=0.0, high=1.0) == []


def test_flat_function_ends_at_once():
    assert run(lambda x: (3.0, np.zeros_like(x)), [1, 2]) == []


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_start_without_a_number_ends(value):
    calls = []

    def function(x):
        calls.append(x)
        return value, np.ones_like(x)

    run(function, [1, 2], steps=100)
    assert len(calls) < 50


def test_gradient_without_a_number_ends():
    assert run(lambda x: (1.0, np.full_like(x, np.nan)), [1, 2]) == []


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_steps_into_the_undefined_are_shortened(value):
    """A bowl that is defined only up to 0.75, with its centre at 0.7."""

    def function(x):
        if x.max() > 0.75:
            return value, np.full_like(x, value)
        return bowl(np.float32([0.7]))(x)

    x, _ = run(function, [0.0], first_step=8.0)[-1]
    assert float(x[0]) == pytest.approx(0.7, abs=1e-3)


def test_gradient_that_misleads_ends():
    """No step along a gradient of the wrong sign decreases the function."""
    calls = []

    def function(x):
        calls.append(x)
        value, gradient = bowl(np.float32([1, 1]))(x)
        return value, -gradient

    assert run(function, [0, 0]) == []
    assert len(calls) < 50


def test_each_function_call_sees_float32(rng):
    dtypes = set()

    def function(x):
        dtypes.add(x.dtype)
        return bowl(np.float32(3))(x)

    run(function, rng.normal(size=5), low=np.float64(-10), high=np.float64(10))
    assert dtypes == {np.dtype(np.float32)}


def test_memory_bounds_the_history_not_the_result():
    for memory in (1, 3):
        x, _ = run(rosenbrock, [-1.2, 1], memory=memory)[-1]
        np.testing.assert_allclose(x, 1, atol=2e-2)
