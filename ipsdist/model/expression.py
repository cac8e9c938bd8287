"""Formulas of run files: parsed through a whitelist, evaluated with NumPy, turned into sympy, LaTeX and source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ipsdist.model import syntax, trees
from ipsdist.model.cuda_source import cuda_source
from ipsdist.model.evaluation import evaluate, limit_at_zero, unbounded_at_zero
from ipsdist.model.trees import Binary, Negative, Node, Number

if TYPE_CHECKING:
    import sympy

__all__ = ["Expression"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Expression:
    """A formula in named variables; equal and hashed by its text without spaces."""

    text: str
    """The formula without spaces; the name of a dictionary term."""
    variables: tuple[str, ...]
    tree: Node = field(repr=False, compare=False)

    @classmethod
    def parse(cls, text: str, variables: tuple[str, ...] = ("r",), argument: str = "system.kernel") -> Expression:
        """Read a formula: numbers, ``variables``, ``+ - * / **``, parentheses, exp log sin cos sqrt abs sign.

        Raises InputError naming ``argument`` for anything else and for absurd sizes (syntax.py has the bounds).
        """
        name, tree = syntax.parse(text, variables, argument)
        return cls(name, variables, tree)

    @classmethod
    def from_tree(cls, tree: Node, variables: tuple[str, ...]) -> Expression:
        """Return the expression of a tree, named by the text that it writes."""
        return cls(trees.to_text(tree), variables, tree)

    def __call__(self, *values: npt.ArrayLike) -> Array:
        """Evaluate with one array a variable; broadcast, float64; inf and nan where the formula has no value."""
        arrays = [np.asarray(v, dtype=np.float64, order="C") for v in values]
        if len(arrays) != len(self.variables):
            raise TypeError(
                f"{self.text} takes {len(self.variables)} arrays ({', '.join(self.variables)}); got {len(arrays)}"
            )
        shape = np.broadcast_shapes(*(a.shape for a in arrays))
        result = evaluate(self.tree, dict(zip(self.variables, arrays, strict=True)))
        # A constant has no shape of its own, and a bare variable must not hand out the caller's array.
        owned = result.shape == shape and not any(result is a for a in arrays)
        return result if owned else np.array(np.broadcast_to(result, shape))

    @property
    def sympy(self) -> sympy.Expr:
        """The sympy expression: r is a positive symbol, other variables are real; decimals are exact rationals."""
        from ipsdist.model.symbolic import to_sympy

        return to_sympy(self.tree, self.variables)

    def latex(self) -> str:
        """Return the formula as LaTeX (without dollar signs)."""
        from ipsdist.model.symbolic import to_latex

        return to_latex(self.tree, self.variables)

    def derivative(self, variable: str) -> Expression:
        """Return the derivative; jumps of ``sign`` count as flat. Raises ValueError where it leaves the whitelist."""
        from ipsdist.model.symbolic import derivative

        return Expression.from_tree(derivative(self.tree, self.variables, variable), self.variables)

    def antiderivative(self) -> Expression | None:
        """Return a closed antiderivative in the first variable, or None where none is found quickly."""
        from ipsdist.model.symbolic import antiderivative

        tree = antiderivative(self.tree, self.variables)
        return None if tree is None else Expression.from_tree(tree, self.variables)

    def source(self, variables: Mapping[str, str] | None = None) -> str:
        """Return a Python expression over scalars that needs ``math`` and ``np``; ``variables`` renames variables."""
        return trees.python_source(self.tree, variables)

    def cuda_source(self, variables: Mapping[str, str] | None = None) -> str:
        """Return a CUDA expression over scalars ``real``, for the functions that cuda_source.py names."""
        return cuda_source(self.tree, variables)

    def summands(self) -> tuple[Expression, ...]:
        """Return the summands of the top-level sum with their signs; a number times a sum is multiplied out."""
        parts = tuple(_summands(self.tree, Number(Fraction(1))))
        return (self,) if len(parts) == 1 else tuple(Expression.from_tree(p, self.variables) for p in parts)

    def unbounded_at_zero(self) -> bool:
        """Tell whether the formula, in its one variable, grows without bound or oscillates wildly as it tends to 0."""
        return _unbounded(self)

    def at_zero(self) -> float:
        """Return the limit at 0 of a formula in one variable that is bounded there (1 for sin(r)/r)."""
        return _limit(self)


@lru_cache(maxsize=256)
def _unbounded(expression: Expression) -> bool:
    return unbounded_at_zero(expression.tree)


@lru_cache(maxsize=256)
def _limit(expression: Expression) -> float:
    return limit_at_zero(expression.tree)


def _summands(node: Node, factor: Number) -> Iterator[Node]:
    match node:
        case Binary("+", left, right):
            yield from _summands(left, factor)
            yield from _summands(right, factor)
        case Binary("-", left, right):
            yield from _summands(left, factor)
            yield from _summands(right, Number(-factor.value))
        case Negative(operand):
            yield from _summands(operand, Number(-factor.value))
        case Binary("*", Number(value), other) | Binary("*", other, Number(value)):
            yield from _summands(other, Number(factor.value * value))
        case Binary("/", other, Number(value)) if value:
            yield from _summands(other, Number(factor.value / value))
        case Number(value):
            yield Number(value * factor.value)
        case _ if factor.value == 1:
            yield node
        case _ if factor.value == -1:
            yield Negative(node)
        case _:
            yield trees.binary("*", factor, node)
