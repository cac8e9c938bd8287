"""Formulas as small frozen trees of six kinds of node, numbers exact, and how they are written back as text.

A formula is never evaluated as code: syntax.py reads text into these trees, evaluation.py walks them with NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

__all__ = [
    "MAX_DIGITS", "Binary", "Call", "Negative", "Node", "Number", "Operator", "Power", "Variable",
    "binary", "negative", "power", "python_source", "to_text",
]  # fmt: skip

MAX_DIGITS = 100
"""Constants of formulas, folded ones too, are 0 or between 1e-100 and 1e100 in size."""

Operator = Literal["+", "-", "*", "/"]


@dataclass(frozen=True, slots=True)
class Number:
    """An exact rational number."""

    value: Fraction


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable."""

    name: str


@dataclass(frozen=True, slots=True)
class Negative:
    """Minus ``operand``."""

    operand: Node


@dataclass(frozen=True, slots=True)
class Binary:
    """``left operator right``; not both sides are numbers."""

    operator: Operator
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Power:
    """``base`` to a constant exponent other than 0 and 1."""

    base: Node
    exponent: Fraction


@dataclass(frozen=True, slots=True)
class Call:
    """A function of one argument: exp, log, sin, cos, sqrt, abs or sign."""

    function: str
    argument: Node


Node = Number | Variable | Negative | Binary | Power | Call


def negative(node: Node) -> Node:
    """Return ``-node``, numbers folded."""
    return Number(-node.value) if isinstance(node, Number) else Negative(node)


def binary(operator: Operator, left: Node, right: Node) -> Node:
    """Return ``left operator right``, numbers folded; raises ZeroDivisionError for a number divided by 0."""
    if not (isinstance(left, Number) and isinstance(right, Number)):
        return Binary(operator, left, right)
    a, b = left.value, right.value
    match operator:
        case "+":
            return Number(a + b)
        case "-":
            return Number(a - b)
        case "*":
            return Number(a * b)
        case "/":
            return Number(a / b)


def power(base: Node, exponent: Fraction) -> Node:
    """Return ``base**exponent``, whole powers of numbers folded; raises OverflowError where that is no sane number."""
    if exponent == 1:
        return base
    if exponent == 0:
        return Number(Fraction(1))
    if isinstance(base, Number) and exponent.denominator == 1:
        if base.value and abs(float(exponent) * math.log10(abs(base.value))) > MAX_DIGITS:
            raise OverflowError
        return Number(base.value**exponent.numerator)
    return Power(base, exponent)


_SUM, _PRODUCT, _UNARY, _ATOM = 1, 2, 3, 5


def to_text(node: Node) -> str:
    """Write a tree as a formula without spaces that syntax.parse reads back."""
    return _write(node, 0)


def python_source(node: Node, variables: Mapping[str, str] | None = None) -> str:
    """Write a tree as a Python expression over floats, ``math`` and ``np.sign``, for scalar loops.

    ``variables`` may put other atoms (a name or a call) for the variables.
    """
    return _write_source(node, variables or {})


def _rational(value: Fraction) -> tuple[str, int]:
    """Text and precedence of a number: decimals where they are exact."""
    size = abs(value)
    if size.denominator == 1:
        text, rank = str(size.numerator), _ATOM
    elif Fraction(repr(float(size))) == size:
        text, rank = repr(float(size)), _ATOM
    else:
        text, rank = f"{size.numerator}/{size.denominator}", _PRODUCT
    return (text, rank) if value >= 0 else (f"-{text}", min(rank, _UNARY))


def _write(node: Node, rank: int) -> str:
    match node:
        case Number(value):
            text, own = _rational(value)
        case Variable(name):
            text, own = name, _ATOM
        case Negative(operand):
            text, own = f"-{_write(operand, _PRODUCT)}", _UNARY if not isinstance(operand, Binary) else _PRODUCT
        case Binary(operator, left, right):
            own = _SUM if operator in "+-" else _PRODUCT
            second = _write(right, own + 1)
            text = f"{_write(left, own)}{operator}{f'({second})' if second.startswith('-') else second}"
        case Power(base, exponent):
            own = _ATOM - 1
            text = f"{_write(base, _ATOM)}**{_bracket(*_rational(exponent), _UNARY)}"
        case Call(function, operand):
            text, own = f"{function}({_write(operand, 0)})", _ATOM
    return _bracket(text, own, rank)


def _bracket(text: str, own: int, rank: int) -> str:
    return text if own >= rank else f"({text})"


def _write_source(node: Node, variables: Mapping[str, str]) -> str:
    match node:
        case Number(value):
            return repr(float(value)) if value >= 0 else f"({float(value)!r})"
        case Variable(name):
            return variables.get(name, name)
        case Negative(operand):
            return f"(-{_write_source(operand, variables)})"
        case Binary(operator, left, right):
            return f"({_write_source(left, variables)} {operator} {_write_source(right, variables)})"
        case Power(base, exponent):
            return _power_source(_write_source(base, variables), exponent, repeat=isinstance(base, Variable))
        case Call(function, operand):
            name = {"abs": "abs", "sign": "np.sign"}.get(function, f"math.{function}")
            return f"{name}({_write_source(operand, variables)})"


def _power_source(base: str, exponent: Fraction, repeat: bool) -> str:
    # Roots and products round correctly and are several times faster than pow; a long base is not written twice.
    if exponent.denominator == 1:
        whole_power = f"{base}**{abs(exponent.numerator)}" if abs(exponent) != 1 else base
        return f"({whole_power})" if exponent > 0 else f"(1.0 / {whole_power})"
    if exponent.denominator == 2 and (repeat or abs(exponent) == Fraction(1, 2)):
        whole = abs(exponent.numerator) // 2
        factor = "" if whole == 0 else f"{base} * " if whole == 1 else f"{base}**{whole} * "
        root = f"({factor}math.sqrt({base}))"
        return root if exponent > 0 else f"(1.0 / {root})"
    return f"({base}**{float(exponent)!r})"
