"""Kernels as sums of c r**p exp(a r), exactly, where a formula is one: what prefix sums and moments are built from."""

from __future__ import annotations

from fractions import Fraction

from ipsdist.model.errors import InputError
from ipsdist.model.radial import RadialKernel
from ipsdist.model.trees import Binary, Call, Negative, Node, Number, Power, Variable

__all__ = ["MAX_DEGREE", "Terms", "terms_of"]

Terms = dict[tuple[int, Fraction], Fraction]
"""Coefficient of r**p exp(a r), by (p, a)."""

MAX_DEGREE = 16
"""Binomial sums lose a factor 2**p of precision to cancellation: 1e-11 is left at p = 16."""

_ONE: Terms = {(0, Fraction(0)): Fraction(1)}


class _OtherError(Exception):
    """The formula has terms of another kind."""


def terms_of(kernel: RadialKernel, method: str, allowed: str) -> Terms:
    """Return the terms of ``kernel``; raises InputError naming force.method when it has others, or pieces."""
    try:
        if len(kernel.pieces) > 1:
            raise _OtherError
        terms = _terms(kernel.pieces[0][1].tree)
    except _OtherError:
        raise refusal(kernel, method, allowed) from None
    return {key: c for key, c in terms.items() if c}


def refusal(kernel: RadialKernel, method: str, allowed: str) -> InputError:
    """Return the error that says what kernels a method takes."""
    rule = f'"{method}" takes only kernels that are {allowed}'
    return InputError("force.method", rule, kernel.name, 'use "mesh" or "direct"')


def _terms(node: Node) -> Terms:
    match node:
        case Number(value):
            return {(0, Fraction(0)): value}
        case Variable():
            return {(1, Fraction(0)): Fraction(1)}
        case Negative(operand):
            return _scaled(_terms(operand), Fraction(-1))
        case Binary("+", left, right):
            return _sum(_terms(left), _terms(right))
        case Binary("-", left, right):
            return _sum(_terms(left), _scaled(_terms(right), Fraction(-1)))
        case Binary("*", left, right):
            return _product(_terms(left), _terms(right))
        case Binary("/", left, Number(value)) if value:
            return _scaled(_terms(left), 1 / value)
        case Power(base, exponent) if exponent.denominator == 1 and 0 < exponent <= MAX_DEGREE:
            factor, power = _terms(base), _ONE
            for _ in range(int(exponent)):
                power = _product(power, factor)
            return power
        case Call("exp", argument):
            return _exponential(_terms(argument))
        case Call("abs", Variable()):  # r >= 0
            return _terms(Variable("r"))
    raise _OtherError


def _exponential(exponent: Terms) -> Terms:
    rate = exponent.pop((1, Fraction(0)), Fraction(0))
    if any(exponent.values()):  # a constant factor such as exp(1 - r) is no rational number
        raise _OtherError
    return {(0, rate): Fraction(1)}


def _scaled(terms: Terms, factor: Fraction) -> Terms:
    return {key: c * factor for key, c in terms.items()}


def _sum(left: Terms, right: Terms) -> Terms:
    return {key: left.get(key, Fraction(0)) + right.get(key, Fraction(0)) for key in {**left, **right}}


def _product(left: Terms, right: Terms) -> Terms:
    product: Terms = {}
    for (p, a), c in left.items():
        for (q, b), d in right.items():
            if p + q > MAX_DEGREE:
                raise _OtherError
            product[p + q, a + b] = product.get((p + q, a + b), Fraction(0)) + c * d
    return product
