"""Rates by their closed forms, and Muon against NumPy."""

import keras
import numpy as np
import pytest

from classify.layers import Dirac
from classify.optimizers import Muon, linear_decay, orthogonalize, time_based_decay

SHAPES = {"kernel": (3, 3, 4, 6), "shift": (6,), "head": (6, 10)}


def singular_values(matrix) -> np.ndarray:
    return np.linalg.svd(np.asarray(matrix), compute_uv=False)


def variables(rng) -> dict[str, keras.Variable]:
    return {
        name: keras.Variable(rng.normal(size=shape).astype(np.float32), name=name)
        for name, shape in SHAPES.items()
    }


def draw(rng) -> dict[str, np.ndarray]:
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}


# === Rates ===


def test_rates_by_hand():
    assert [float(time_based_decay(0.1, 0.5)(t)) for t in (0, 1, 2, 8)] == pytest.approx(
        [0.1, 0.1 / 1.5, 0.05, 0.02]
    )
    assert [float(linear_decay(0.4, 8)(t)) for t in (0, 2, 4, 8)] == pytest.approx(
        [0.4, 0.3, 0.2, 0]
    )


# === Orthogonalisation ===


@pytest.mark.parametrize("shape", [(6, 6), (36, 8), (8, 36), (5, 1), (1, 5)])
def test_singular_values_come_near_one(rng, shape):
    matrix = 100 * rng.normal(size=shape)
    before = singular_values(matrix)
    found = orthogonalize(matrix.astype(np.float32), iterations=5)
    assert found.shape == shape
    values = singular_values(found)
    assert before.max() > 10
    assert values.min() > 0.4
    assert values.max() < 1.5
    # The directions stay: left and right singular vectors are those of the matrix.
    left, _, right = np.linalg.svd(matrix, full_matrices=False)
    inner = left.T @ np.asarray(found) @ right.T
    np.testing.assert_allclose(inner, np.diag(np.diag(inner)), atol=1e-3)
    assert np.diag(inner).min() > 0.4


def test_wide_matrices_are_as_their_transposes(rng):
    matrix = rng.normal(size=(5, 12)).astype(np.float32)
    found, other = orthogonalize(matrix, 3), orthogonalize(matrix.T, 3)
    np.testing.assert_allclose(found, np.asarray(other).T, atol=1e-5)


def test_scale_does_not_matter_and_zero_stays_finite(rng):
    matrix = rng.normal(size=(4, 9)).astype(np.float32)
    np.testing.assert_allclose(orthogonalize(1e3 * matrix, 3), orthogonalize(matrix, 3), atol=1e-4)
    assert (np.asarray(orthogonalize(np.zeros((3, 4), np.float32), 3)) == 0).all()


def test_one_iteration_by_hand():
    """A diagonal matrix stays one: its values x become a·x + b·x³ + c·x⁵, of norm one at first."""
    found = np.asarray(orthogonalize(np.diag(np.float32([3, 4])), 1))
    x = np.array([0.6, 0.8])
    expected = 3.4445 * x - 4.7750 * x**3 + 2.0315 * x**5
    np.testing.assert_allclose(found, np.diag(expected), atol=1e-5)


# === Muon ===


class Reference:
    """Muon as its description says, in NumPy."""

    def __init__(self, values, *, rate, steps):
        self.values = {name: np.float64(value) for name, value in values.items()}
        self.velocities = {name: np.zeros_like(v) for name, v in self.values.items()}
        self.rate, self.steps, self.done = rate, steps, 0

    def orthogonal(self, matrix):
        x = matrix / np.linalg.norm(matrix)
        for _ in range(3):
            x = 3.4445 * x - 4.7750 * x @ x.T @ x + 2.0315 * x @ x.T @ x @ x.T @ x
        return x

    def step(self, gradients):
        falling = 1 - self.done / self.steps
        for name, gradient in gradients.items():
            weight = self.values[name]
            rate, momentum = {"kernel": (None, 0.6), "shift": (5.0, 0.85), "head": (7.0, 0.85)}[
                name
            ]
            if name != "kernel":  # Of each step, the part 0.004 · falling of a weight is taken.
                gradient = gradient + 0.004 / rate * weight
            velocity = momentum * self.velocities[name] + gradient
            self.velocities[name] = velocity
            step = gradient + momentum * velocity
            if name == "kernel":
                unit = weight / np.sqrt((weight**2).sum() / 6)
                orthogonal = self.orthogonal(step.reshape(36, 6)).reshape(weight.shape)
                self.values[name] = unit - falling * self.rate * orthogonal
            else:
                self.values[name] = weight - falling * rate * step
        self.done += 1


def test_steps_are_those_of_the_description(rng):
    given = variables(rng)
    muon = Muon(linear_decay(0.24, 8), other_rate=5.0, head_rate=7.0)
    reference = Reference({k: np.asarray(v) for k, v in given.items()}, rate=0.24, steps=8)
    for _ in range(6):
        gradients = draw(rng)
        muon.apply(list(gradients.values()), list(given.values()))
        reference.step(gradients)
        for name, variable in given.items():
            expected = reference.values[name]
            np.testing.assert_allclose(variable, expected, rtol=1e-4, atol=1e-4, err_msg=name)


def test_biases_and_dense_kernels_follow_keras_nesterov(rng):
    given = variables(rng)
    del given["kernel"]
    twins = {name: keras.Variable(np.asarray(value)) for name, value in given.items()}
    rates = {"shift": 0.5, "head": 0.2}
    muon = Muon(0.24, other_rate=0.5, head_rate=0.2, other_momentum=0.7, other_decay=0.0)
    sgd = {name: keras.optimizers.SGD(rates[name], 0.7, nesterov=True) for name in given}
    for _ in range(4):
        gradients = draw(rng)
        muon.apply([gradients[name] for name in given], list(given.values()))
        for name, twin in twins.items():
            # Keras' velocities hold the rate: with a constant one, both are the same.
            sgd[name].apply([gradients[name]], [twin])
            np.testing.assert_allclose(given[name], twin, rtol=1e-4, atol=1e-4)


def test_kernels_keep_their_norm_but_for_the_last_step(rng):
    kernel = keras.Variable(rng.normal(size=(3, 3, 8, 16)).astype(np.float32))
    muon = Muon(0.1)
    for _ in range(20):
        muon.apply([rng.normal(size=kernel.shape).astype(np.float32)], [kernel])
        norm = np.linalg.norm(np.asarray(kernel))
        # A step's norm is at most 0.1 · 1.5 · √16.
        assert abs(norm - 4) <= 0.6
    still = Muon(1e-30)
    still.apply([rng.normal(size=kernel.shape).astype(np.float32)], [kernel])
    assert np.linalg.norm(np.asarray(kernel)) == pytest.approx(4, abs=1e-4)


def test_each_direction_is_learned_at_the_same_speed(rng):
    """One direction's gradient is 100 times the other's; they are stepped alike."""
    kernel = keras.Variable(np.asarray(Dirac()((1, 1, 2, 2))))
    gradient = np.diag(np.float32([100, 1])).reshape(1, 1, 2, 2)
    Muon(0.1, iterations_a_step=8).apply([gradient], [kernel])
    steps = (np.eye(2) - np.asarray(kernel)[0, 0]).diagonal()
    assert 0.06 < steps.min() <= steps.max() < 0.13


SETTINGS = {
    "momentum": 0.5,
    "other_rate": 3.0,
    "head_rate": 4.0,
    "other_momentum": 0.8,
    "other_decay": 0.1,
    "iterations_a_step": 2,
}


@pytest.mark.parametrize("rate", [0.3, linear_decay(0.3, 9)])
def test_configuration_comes_back(rate):
    muon = Muon(rate, **SETTINGS, clipnorm=1.0)
    config = muon.get_config()
    assert SETTINGS.items() <= config.items()
    again = keras.optimizers.deserialize(keras.optimizers.serialize(muon))
    assert type(again) is Muon
    assert again.get_config() == config
    assert again.clipnorm == 1.0


def test_training_goes_on_from_a_file_as_if_unbroken(rng, reload):
    keras.utils.set_random_seed(0)
    layers = [
        keras.Input((6, 6, 3)),
        keras.layers.Conv2D(16, 3, kernel_initializer=Dirac(seed=1)),
        keras.layers.BatchNormalization(),
        keras.layers.Flatten(),
        keras.layers.Dense(2),
    ]
    model = keras.Sequential(layers)
    model.compile(Muon(linear_decay(0.1, 6), other_rate=0.1, head_rate=0.1), "mse")
    batches = [
        (rng.normal(size=(8, 6, 6, 3)).astype(np.float32), rng.normal(size=(8, 2)))
        for _ in range(4)
    ]
    for x, y in batches[:2]:
        model.train_on_batch(x, y)
    resumed = reload(model)
    assert int(resumed.optimizer.iterations) == 2
    for x, y in batches[2:]:
        assert resumed.train_on_batch(x, y) == pytest.approx(model.train_on_batch(x, y), rel=1e-4)
    for one, other in zip(model.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
