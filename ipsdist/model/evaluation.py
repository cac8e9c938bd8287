"""Values of formula trees: on NumPy arrays, and their behaviour as the variable tends to zero."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from ipsdist.model.trees import Binary, Call, Negative, Node, Number, Power, Variable

__all__ = ["evaluate", "limit_at_zero", "unbounded_at_zero"]

Array = npt.NDArray[np.float64]

_UFUNCS: dict[str, Callable[[Any], Any]] = {
    "exp": np.exp, "log": np.log, "sin": np.sin, "cos": np.cos, "sqrt": np.sqrt, "abs": np.abs, "sign": np.sign,
}  # fmt: skip


def evaluate(tree: Node, values: Mapping[str, Array]) -> Array:
    """Evaluate a tree on float64 arrays; no warnings, inf and nan where it has no value."""
    with np.errstate(all="ignore"):
        return np.asarray(_evaluate(tree, values), dtype=np.float64)


def _evaluate(node: Node, values: Mapping[str, Array]) -> Any:
    match node:
        case Number(value):
            return np.float64(value)
        case Variable(name):
            return values[name]
        case Negative(operand):
            return -_evaluate(operand, values)
        case Power(base, exponent):
            return _power(_evaluate(base, values), exponent)
        case Call(function, operand):
            return _UFUNCS[function](_evaluate(operand, values))
        case Binary(operator, left, right):
            return _operate(operator, _evaluate(left, values), _evaluate(right, values))


def _operate(operator: str, left: Any, right: Any) -> Any:
    match operator:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case _:
            return left / right


def _power(base: Any, exponent: Fraction) -> Any:
    """Whole and half powers by products and roots: they round the same on every processor, and pow is slower."""
    size = abs(exponent)
    if size.denominator > 2:
        return base ** np.float64(exponent)
    result: Any = np.sqrt(base) if size.denominator == 2 else None
    square, bits = base, int(size)
    while bits:
        if bits & 1:
            result = square if result is None else result * square
        bits >>= 1
        if bits:
            square = square * square
    return result if exponent > 0 else 1.0 / result


# --- behaviour at zero ---------------------------------------------------------------------------------------------

_PROBES = (20, 40, 80)
"""Exponents k of the radii 10**-k where a formula without a known leading power is looked at."""


def unbounded_at_zero(tree: Node) -> bool:
    """Tell whether a tree in one variable r > 0 has no finite limit as r tends to 0.

    The leading power decides where the algebra gives one; else values at 1e-20, 1e-40 and 1e-80 with 400 digits do
    (sums that cancel, logarithms). An oscillation without limit such as sin(1/r) counts as unbounded.
    """
    leading = _leading(tree)
    if leading is not None:
        return leading[0] != 0 and leading[1] < 0
    first, second, third = (_precise(tree, k) for k in _PROBES)
    if first is None or second is None or third is None:
        return True
    # A limit makes the later step the smaller one; log(r) doubles it, and even log(log(1/r)) takes equal steps.
    return bool(abs(third - second) > max(0.9 * abs(second - first), 1e-12 * abs(second)))


def limit_at_zero(tree: Node) -> float:
    """Return the limit at 0 of a tree that is bounded there."""
    leading = _leading(tree)
    if leading is not None:
        return float(leading[0]) if leading[1] == 0 else 0.0
    value = _precise(tree, _PROBES[-1])
    return math.nan if value is None else float(value)


def _leading(node: Node) -> tuple[float, Fraction] | None:
    """Return (c, p) with node = c r**p (1 + o(1)) as r tends to 0, c = 0 for nothing at all; None when not known."""
    match node:
        case Number(value):
            found: tuple[float, Fraction] | None = float(value), Fraction(0)
        case Variable():
            found = 1.0, Fraction(1)
        case Negative(operand):
            inner = _leading(operand)
            found = inner and (-inner[0], inner[1])
        case Power(base, exponent):
            inner = _leading(base)
            found = inner and _leading_power(*inner, exponent)
        case Call(function, operand):
            inner = _leading(operand)
            found = inner and _leading_call(function, *inner)
        case Binary(operator, left, right):
            a, b = _leading(left), _leading(right)
            found = a and b and _leading_binary(operator, a, b)
    return found if found is not None and math.isfinite(found[0]) else None


def _leading_power(c: float, p: Fraction, exponent: Fraction) -> tuple[float, Fraction] | None:
    if c == 0:
        return (0.0, Fraction(0)) if exponent > 0 else None
    if c < 0 and exponent.denominator != 1:
        return None
    try:
        coefficient = c ** float(exponent)
    except OverflowError:
        return None
    return (coefficient, p * exponent) if coefficient else None


def _leading_call(function: str, c: float, p: Fraction) -> tuple[float, Fraction] | None:
    zero = Fraction(0)
    vanishes = c == 0 or p > 0
    match function:
        case "abs":
            return abs(c), p
        case "sign":
            return math.copysign(1.0, c) if c else 0.0, zero
        case "sqrt":
            return _leading_power(c, p, Fraction(1, 2))
        case "sin" if vanishes:
            return c, p
        case "cos" | "exp" if vanishes:
            return 1.0, zero
    value = float(evaluate(Call(function, Number(Fraction(c))), {})) if p == 0 and c != 0 else 0.0
    # A value that vanishes up to rounding (log(1), sin of a multiple of pi) hides the next power.
    return (value, zero) if math.isfinite(value) and abs(value) > 1e-9 else None


def _leading_binary(
    operator: str, a: tuple[float, Fraction], b: tuple[float, Fraction]
) -> tuple[float, Fraction] | None:
    if operator == "*":
        return (a[0] * b[0], a[1] + b[1]) if a[0] and b[0] else (0.0, Fraction(0))
    if operator == "/":
        return ((a[0] / b[0], a[1] - b[1]) if a[0] else (0.0, Fraction(0))) if b[0] else None
    if operator == "-":
        b = -b[0], b[1]
    if a[0] == 0 or b[0] == 0:
        return b if a[0] == 0 else a
    if a[1] != b[1]:
        return min(a, b, key=lambda pair: pair[1])
    total = a[0] + b[0]
    return (total, a[1]) if abs(total) > 1e-9 * abs(a[0]) else None


def _precise(tree: Node, k: int) -> Any:
    """Return the value at r = 10**-k with 400 digits (an mpmath number), or None where it has none of sane size."""
    import mpmath  # type: ignore[import-untyped]  # sympy's arithmetic, always with it

    def guarded(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def call(x: Any) -> Any:
            if abs(x) > 10**6:  # exp(exp(1/r)): the digits before its point alone would fill memory
                if function is mpmath.exp and x < 0:
                    return mpmath.mpf(0)
                raise OverflowError
            return function(x)

        return call

    table: dict[str, Callable[[Any], Any]] = {
        "exp": guarded(mpmath.exp), "sin": guarded(mpmath.sin), "cos": guarded(mpmath.cos),
        "log": mpmath.log, "sqrt": mpmath.sqrt, "abs": abs, "sign": mpmath.sign,
    }  # fmt: skip

    def value(node: Node) -> Any:
        match node:
            case Number(number):
                return mpmath.mpf(number.numerator) / number.denominator
            case Variable():
                return mpmath.mpf(10) ** -k
            case Negative(operand):
                return -value(operand)
            case Power(base, exponent):
                return value(base) ** (mpmath.mpf(exponent.numerator) / exponent.denominator)
            case Call(function, operand):
                return table[function](value(operand))
            case Binary(operator, left, right):
                return _operate(operator, value(left), value(right))

    with mpmath.workdps(400):
        try:
            result = value(tree)
            return result if mpmath.isfinite(result) and mpmath.im(result) == 0 else None
        except (ArithmeticError, ValueError):
            return None
