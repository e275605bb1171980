"""How the two networks learn: the report's rate, and Muon with Nesterov's momentum beside it."""

from __future__ import annotations

import keras
from keras import ops

from classify.layers import PACKAGE


def time_based_decay(rate: float, decay: float) -> keras.optimizers.schedules.InverseTimeDecay:
    """rate / (1 + decay · t) at step t, counted from 0: `SGD(decay=…)` of Keras before 2.11.

    Keras 3 ignores that argument with a warning.
    """
    return keras.optimizers.schedules.InverseTimeDecay(rate, decay_steps=1, decay_rate=decay)


def linear_decay(rate: float, steps: int) -> keras.optimizers.schedules.PolynomialDecay:
    """rate · (1 - t / steps) at step t."""
    return keras.optimizers.schedules.PolynomialDecay(rate, steps, end_learning_rate=0.0)


@keras.saving.register_keras_serializable(package=PACKAGE)
class Muon(keras.optimizers.Optimizer):
    """Orthogonalised steps for convolutions, SGD with Nesterov's momentum for all else.

    A kernel is a matrix of (rows · columns · in) × out. Its momentum's singular values are all
    brought near one by Newton–Schulz iterations, so that each direction is learned at the same
    speed; kernels keep a fixed norm, as batch normalisation makes their scale meaningless.
    (Jordan, "Muon", 2024; Bernstein and Newhouse, "Old optimizer, new norm", 2024. Keras' own
    `Muon` orthogonalises dense layers alone.)

    Args:
        learning_rate: of convolutions, as the spectral norm of a step.
        momentum: of convolutions.
        other_rate: the rate of biases, at the start; follows the schedule of `learning_rate`.
        head_rate: the rate of dense kernels, likewise.
        other_momentum: of biases and dense kernels.
        other_decay: the part of biases and dense kernels that a gradient's step takes away.
        iterations_a_step: Newton–Schulz iterations.
    """

    def __init__(
        self,
        learning_rate=0.24,
        *,
        momentum: float = 0.6,
        other_rate: float = 100.0,
        head_rate: float = 1000.0,
        other_momentum: float = 0.85,
        other_decay: float = 4e-3,
        iterations_a_step: int = 3,
        name: str = "muon",
        **kwargs,
    ):
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.momentum = momentum
        self.other_rate = other_rate
        self.head_rate = head_rate
        self.other_momentum = other_momentum
        self.other_decay = other_decay
        self.iterations_a_step = iterations_a_step
        schedule = self._learning_rate
        scheduled = isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule)
        self._first_rate = float(schedule(0) if scheduled else schedule)

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self.velocities = self.add_optimizer_variables(variables, "velocity")

    def update_step(self, gradient, variable, learning_rate):
        learning_rate = ops.cast(learning_rate, variable.dtype)
        gradient = ops.cast(gradient, variable.dtype)
        velocity = self.velocities[self._get_variable_index(variable)]
        if len(variable.shape) == 4:
            step = ops.reshape(
                self._nesterov(velocity, gradient, self.momentum), (-1, variable.shape[-1])
            )
            step = ops.reshape(orthogonalize(step, self.iterations_a_step), variable.shape)
            # Each filter keeps norm one, on average.
            norm = ops.sqrt(ops.sum(ops.square(variable)) / variable.shape[-1])
            self.assign(variable, variable / norm - learning_rate * step)
            return
        rate = self.head_rate if len(variable.shape) == 2 else self.other_rate
        gradient = gradient + self.other_decay / rate * variable
        step = self._nesterov(velocity, gradient, self.other_momentum)
        self.assign_sub(variable, learning_rate * (rate / self._first_rate) * step)

    def _nesterov(self, velocity, gradient, momentum: float):
        self.assign(velocity, momentum * velocity + gradient)
        return gradient + momentum * velocity

    def get_config(self):
        names = ("momentum", "other_rate", "head_rate", "other_momentum", "other_decay")
        return {
            **super().get_config(),
            **{name: getattr(self, name) for name in (*names, "iterations_a_step")},
        }


def orthogonalize(matrix, iterations: int):
    """The nearest semi-orthogonal matrix, roughly: singular values come to lie in about 0.5 to 1.5.

    Newton–Schulz iterations of the fifth order, whose coefficients make small singular values grow
    fastest rather than converge (Jordan, 2024).

    Args:
        matrix: (m, n), not all zero.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrix.shape[0] > matrix.shape[1]
    x = ops.transpose(matrix) if tall else matrix
    x = x / (ops.sqrt(ops.sum(ops.square(x))) + 1e-7)
    for _ in range(iterations):
        square = ops.matmul(x, ops.transpose(x))
        x = a * x + ops.matmul(b * square + c * ops.matmul(square, square), x)
    return ops.transpose(x) if tall else x
