"""Integrals of formulas in r: a closed antiderivative where one is known and checks, else adaptive quadrature."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from ipsdist.model.errors import RunError
from ipsdist.model.expression import Expression

__all__ = ["integral", "integrate_numerically", "value_from_zero"]

Array = npt.NDArray[np.float64]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)
_FIRST_PANEL = 0.25
_TOLERANCE = 1e-13
_SHARE = 1e-14
_BLOCK = 2**15
_MAX_PANELS = 2**14
_CHECK_LENGTHS = np.array([0.1, 0.7, 2.0, 5.0])
_CHECK_TOLERANCE = 1e-10


def value_from_zero(expression: Expression, r: Array) -> Array:
    """Evaluate at r >= 0, with the limit at 0 where the formula itself has no value there (0/0, 0*log(0))."""
    values = expression(r)
    if not np.isfinite(values).all():
        values = np.where((r == 0) & ~np.isfinite(values), expression.at_zero(), values)
    return values


def integral(expression: Expression, start: float, r: Array) -> Array:
    """Return the integral of the formula from ``start`` to every r >= start; same shape as r.

    The formula must be bounded at 0 when start is 0. Raises RunError for one that changes too fast to be integrated.
    """
    try:
        closed = _closed(expression, start)
        if closed is not None:
            return value_from_zero(closed, r) - value_from_zero(closed, np.array(start))
        return integrate_numerically(lambda x: value_from_zero(expression, x), start, r)
    except FloatingPointError:
        raise RunError(f"{expression.text} changes too fast to be integrated: use a smoother formula") from None


@lru_cache(maxsize=256)
def _closed(expression: Expression, start: float) -> Expression | None:
    """Return the antiderivative if there is one that agrees with quadrature, which also bounds its cancellation."""
    closed = expression.antiderivative()
    if closed is None:
        return None
    radii = start + _CHECK_LENGTHS
    exact = value_from_zero(closed, radii) - value_from_zero(closed, np.array(start))
    numerical = integrate_numerically(lambda x: value_from_zero(expression, x), start, radii)
    size = np.maximum(np.abs(numerical), 1e-6 * np.abs(numerical).max())
    return closed if np.all(np.abs(exact - numerical) <= _CHECK_TOLERANCE * size) else None


def integrate_numerically(function: Callable[[Array], Array], start: float, r: Array) -> Array:
    """Return the integral of a piecewise smooth function from ``start`` to every r >= start.

    Composite Gauss-Legendre: panels that double in length are halved until 16 nodes agree with twice 16 to 1e-13,
    jumps and kinks down to rounding. The panels depend on the function and ``start`` alone, so a value does not
    depend on the other radii asked for. Raises FloatingPointError when that takes more than 2**14 panels at once.
    """
    flat = r.ravel()
    if not flat.size:
        return np.zeros_like(r)
    edges = [start]
    while edges[-1] < flat.max() or len(edges) < 2:
        edges.append(start + _FIRST_PANEL * (2.0 ** len(edges) - 1))
    lower, parts = _panels(function, np.array(edges))
    before = np.concatenate([[0.0], np.cumsum(parts)[:-1]])
    result = np.empty_like(flat)
    for first in range(0, flat.size, _BLOCK):
        block = flat[first : first + _BLOCK]
        panel = np.maximum(np.searchsorted(lower, block, side="right") - 1, 0)
        result[first : first + _BLOCK] = before[panel] + _gauss(function, lower[panel], block)
    return result.reshape(r.shape)


def _gauss(function: Callable[[Array], Array], lower: Array, upper: Array) -> Array:
    """Integrate over the intervals [lower, upper] (n,), nodes added in fixed order."""
    middle, half = 0.5 * (lower + upper), 0.5 * (upper - lower)
    total = np.zeros_like(half)
    for node, weight in zip(_NODES, _WEIGHTS, strict=True):
        total += weight * function(middle + half * node)
    return total * half


def _panels(function: Callable[[Array], Array], edges: Array) -> tuple[Array, Array]:
    """Return lower ends (n,) and integrals (n,) of the panels that adaptive halving leaves, in increasing order."""
    lower, upper = edges[:-1], edges[1:]
    scale: Array | None = None
    done_lower: list[Array] = []
    done_parts: list[Array] = []
    while lower.size:
        if lower.size > _MAX_PANELS:
            raise FloatingPointError("the integrand changes too fast")
        middle = 0.5 * (lower + upper)
        left, right = _gauss(function, lower, middle), _gauss(function, middle, upper)
        size = _gauss(lambda x: np.abs(function(x)), lower, upper)
        scale = size if scale is None else scale
        # The share of the first panel lets rounding pass where |r - 1| and the like lose digits near a kink.
        allowed = np.maximum(_TOLERANCE * size, _SHARE * scale)
        agree = np.abs(left + right - _gauss(function, lower, upper)) <= allowed
        # An interval of a few roundings holds a jump: its own integral is then below the tolerance of its neighbours.
        # Where there is no value at all, halving finds none either: the integral is nan from there on.
        agree |= (upper - lower <= 2.0**-46 * upper) | ~np.isfinite(size)
        done_lower.append(lower[agree])
        done_parts.append((left + right)[agree])
        split = ~agree
        lower = np.concatenate([lower[split], middle[split]])
        upper = np.concatenate([middle[split], upper[split]])
        scale = np.concatenate([scale[split], scale[split]])
    starts, parts = np.concatenate(done_lower), np.concatenate(done_parts)
    order = np.argsort(starts)
    return starts[order], parts[order]
