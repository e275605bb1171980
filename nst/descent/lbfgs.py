"""L-BFGS for images: a minimiser over a box that costs little more than its function.

SciPy's L-BFGS-B spends longer on its own bookkeeping than the network takes for loss and
gradient (benchmarks/nst.py), because it works in float64 on one core. Here the history stays in
float32, and each step reads it three times in matrix products.

Reference: Nocedal & Wright, "Numerical Optimization", 2006, algorithms 7.4 and 7.5; the recursion
is done on inner products alone, as in Chen et al., "Large-scale L-BFGS using MapReduce", 2014.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

Function = Callable[[np.ndarray], tuple[float, np.ndarray]]


def minimize(
    function: Function,
    x: np.ndarray,
    *,
    low: np.ndarray | float = -np.inf,
    high: np.ndarray | float = np.inf,
    memory: int = 8,
    first_step: float = 1.0,
) -> Iterator[tuple[np.ndarray, float]]:
    """Steps towards a minimum of `function` in the box [low, high], for as long as asked.

    Each step goes along the quasi-Newton direction, is cut to the box, and is shortened until it
    decreases the function (Armijo's condition).

    Args:
        function: gives the value, and the gradient of x's shape, float32.
        x: where to start, float32.
        low, high: bounds, broadcast to x's shape.
        memory: pairs of steps and gradient changes that are kept.
        first_step: largest change of any element in the first step, when nothing is known yet.

    Yields:
        x and its value after each step. Ends when no step decreases the function any more, or
        at once if it has no finite value to begin with.
    """
    shape = x.shape
    steps = np.zeros((2 * memory, x.size), np.float32)  # Rows: s_1 … s_m, y_1 … y_m.
    products = np.zeros((2 * memory, 2 * memory))  # Their inner products.
    order: list[int] = []  # Slots of the pairs, oldest first.
    value, gradient = function(x)
    if not np.isfinite(value):
        return
    while True:
        # A bound that is already reached and pushed against is no direction to go.
        blocked = ((x <= low) & (gradient > 0)) | ((x >= high) & (gradient < 0))
        free = np.where(blocked, np.float32(0), gradient).ravel()
        direction = _direction(free, steps, products, order, memory)
        direction[blocked.ravel()] = 0
        slope = float(direction @ free)
        if not order or not slope < 0:
            order.clear()
            largest = float(np.abs(free).max(initial=0))
            if not largest > 0:
                return
            direction = free * np.float32(-first_step / largest)
            slope = float(direction @ free)
        length, accepted = 1.0, False
        for _ in range(12):
            candidate = np.clip(x + length * direction.reshape(shape), low, high)
            candidate = candidate.astype(np.float32)
            new_value, new_gradient = function(candidate)
            if new_value < value and new_value <= value + 1e-4 * length * slope:
                accepted = True
                break
            # The minimum of the parabola through what is known, kept in reason.
            curvature = 2 * (new_value - value - length * slope)
            shrink = -slope * length / curvature if curvature > 0 else 0.5
            length *= float(np.clip(shrink, 0.1, 0.5))
        if not accepted:
            if not order:
                return
            order.clear()  # The history misleads: start over along the gradient.
            continue
        slot = order.pop(0) if len(order) == memory else len(order)
        step, change = steps[slot], steps[memory + slot]
        np.subtract(candidate.ravel(), x.ravel(), out=step)
        np.subtract(new_gradient.ravel(), gradient.ravel(), out=change)
        if float(step @ change) > 1e-10 * float(change @ change):
            order.append(slot)
            for row in (slot, memory + slot):
                products[row] = products[:, row] = steps @ steps[row]
        else:
            # Slots are reused in order, so a pair that is of no use empties the history.
            order.clear()
        x, value, gradient = candidate, new_value, new_gradient
        yield x, value


def _direction(gradient, steps, products, order, memory) -> np.ndarray:
    """-H·gradient: the two-loop recursion on the coefficients of the basis (s, y, gradient)."""
    if not order:
        return -gradient
    with_gradient = steps @ gradient
    coefficients = np.zeros(2 * memory)
    scale = -1.0  # The coefficient of the gradient itself.
    alphas = {}
    for slot in reversed(order):
        curvature = products[slot, memory + slot]
        alphas[slot] = (coefficients @ products[slot] + scale * with_gradient[slot]) / curvature
        coefficients[memory + slot] -= alphas[slot]
    newest = order[-1]
    gamma = products[newest, memory + newest] / products[memory + newest, memory + newest]
    coefficients *= gamma
    scale *= gamma
    for slot in order:
        curvature = products[slot, memory + slot]
        along = coefficients @ products[memory + slot] + scale * with_gradient[memory + slot]
        coefficients[slot] += alphas[slot] - along / curvature
    return coefficients.astype(np.float32) @ steps + np.float32(scale) * gradient
