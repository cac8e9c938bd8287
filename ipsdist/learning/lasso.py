"""Least squares with an L1 penalty on given normal equations, exact for few and nearly collinear columns."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["lasso"]

Array = npt.NDArray[np.float64]

_MOVES = 10_000


def lasso(gram: npt.ArrayLike, moment: npt.ArrayLike, weight: float) -> Array:
    """Return the minimiser (M,) of z'Az/2 - b'z + weight * sum |z_k|.

    A search over signs: the quadratic is solved on the active columns with their signs fixed, the step stops where the
    objective is lowest among its end and the points at which a coefficient changes sign, and once nothing is gained the
    zero coefficient whose gradient beats the weight most joins. Every move lowers the objective, so it ends after
    finitely many at the optimum; coordinate descent, which has the same optimum, needs about as many sweeps as the
    condition number, and that is up to 1e11 here. A weight of 0 is plain least squares, of minimum norm where the Gram
    is singular to working precision.

    Parameters
    ----------
    gram : (M, M) symmetric, positive semi-definite; well scaled (diagonal near 1) for accuracy.
    moment : (M,).
    weight : at least 0, in the units of the moment.
    """
    a, b = np.asarray(gram, dtype=np.float64), np.asarray(moment, dtype=np.float64)
    if weight == 0:
        return _solve(a, b)
    z = np.zeros_like(b)
    for _ in range(_MOVES):
        moved = _step(a, b, z, np.sign(z), weight)
        if _objective(a, b, moved, weight) >= _objective(a, b, z, weight):
            moved = _step(a, b, z, _with_entering(a, b, z, weight), weight)
            if _objective(a, b, moved, weight) >= _objective(a, b, z, weight):
                break
        z = moved
    return z


def _objective(a: Array, b: Array, z: Array, weight: float) -> float:
    return float(0.5 * z @ a @ z - b @ z + weight * np.abs(z).sum())


def _solve(gram: Array, moment: Array) -> Array:
    return np.asarray(np.linalg.lstsq(gram, moment, rcond=None)[0])


def _with_entering(a: Array, b: Array, z: Array, weight: float) -> Array:
    """Return the signs of z with that of the zero coefficient that is furthest from its optimality condition."""
    gradient, signs = a @ z - b, np.sign(z)
    excess = np.where(z == 0, np.abs(gradient) - weight, -np.inf)
    entering = int(np.argmax(excess))
    if excess[entering] > 0:
        signs[entering] = -np.sign(gradient[entering])
    return np.asarray(signs)


def _step(a: Array, b: Array, z: Array, signs: Array, weight: float) -> Array:
    """Return the lowest of the minimiser for fixed ``signs`` and the sign changes on the way to it from z."""
    active = np.flatnonzero(signs)
    target = np.zeros_like(z)
    if not active.size:
        return target
    target[active] = _solve(a[np.ix_(active, active)], b[active] - weight * signs[active])
    points = [target]
    for k in np.flatnonzero(z * target < 0):
        point = z + z[k] / (z[k] - target[k]) * (target - z)
        point[k] = 0.0
        points.append(point)
    values = [_objective(a, b, point, weight) for point in points]
    return points[int(np.argmin(values))]
