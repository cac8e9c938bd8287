"""Formulas as CUDA source, beside the Python source of trees.py: the same operations in the same order.

Every operation is a call, so that whoever gives the functions decides how it rounds and nothing is contracted:
``add subtract multiply divide``, ``power<n>(x)`` = x**n, ``root_power<n>(x)`` = x**(n/2), ``real_power(x, p)``,
``exp log sin cos sqrt abs sign max`` and the type ``real``. `numerics/device/cuda/formulas.cuh` has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from ipsdist.model.trees import Binary, Call, Negative, Node, Number, Power, Variable

__all__ = ["cuda_number", "cuda_source"]

_OPERATORS = {"+": "add", "-": "subtract", "*": "multiply", "/": "divide"}


def cuda_source(node: Node, variables: Mapping[str, str] | None = None) -> str:
    """Write a tree as a C++ expression over scalars of type ``real``; ``variables`` may put other atoms for them."""
    return _write(node, variables or {})


def cuda_number(value: float) -> str:
    """Write a number as a constant of type ``real``: a double rounded once, where that is float."""
    return f"real({value!r})"


def _write(node: Node, variables: Mapping[str, str]) -> str:
    match node:
        case Number(value):
            return cuda_number(float(value))
        case Variable(name):
            return variables.get(name, name)
        case Negative(operand):
            return f"(-{_write(operand, variables)})"
        case Binary(operator, left, right):
            return f"{_OPERATORS[operator]}({_write(left, variables)}, {_write(right, variables)})"
        case Power(base, exponent):
            return _power(_write(base, variables), exponent, repeat=isinstance(base, Variable))
        case Call(function, operand):
            return f"{function}({_write(operand, variables)})"


def _power(base: str, exponent: Fraction, repeat: bool) -> str:
    # The choices of trees.python_source: where that takes products and roots, so does this.
    if exponent.denominator == 1:
        return f"power<{exponent.numerator}>({base})"
    if exponent.denominator == 2 and (repeat or abs(exponent) == Fraction(1, 2)):
        return f"root_power<{exponent.numerator}>({base})"
    return f"real_power({base}, {cuda_number(float(exponent))})"
