"""Radial kernels phi(r): a formula or pieces of them, a cut-off for what is unbounded at zero, the potential Phi."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import numpy.typing as npt

from ipsdist.model.cuda_source import cuda_number
from ipsdist.model.errors import InputError
from ipsdist.model.expression import Expression
from ipsdist.model.potential import integral, value_from_zero

__all__ = ["RadialKernel"]

Array = npt.NDArray[np.float64]

_PROBES = (0.003, 0.01, 0.03, *(k / 20 for k in range(1, 201)))
"""Distances at which a kernel must be finite: round numbers too, where poles lie."""


@dataclass(frozen=True)
class RadialKernel:
    """An interaction kernel phi(r), r >= 0, finite everywhere (docs/method.md, section 1); phi > 0 attracts.

    Summands of the formula at 0 that are unbounded there are frozen inside the cut-off: phi_s(r) = phi_s(cutoff) for
    r <= cutoff. Build it with :meth:`parse` or :meth:`from_pieces`, which check it.
    """

    pieces: tuple[tuple[float, Expression], ...]
    """(upto, formula) with increasing ``upto``, the last infinite; a piece holds previous upto < r <= upto."""
    cutoff: float | None = None

    @classmethod
    def parse(cls, text: str, cutoff: float | None = None, argument: str = "system.kernel") -> RadialKernel:
        """Read a kernel of one formula; raises InputError for what no kernel can be (see :meth:`from_pieces`)."""
        return cls(((math.inf, Expression.parse(text, argument=argument)),), cutoff)._checked(argument)

    @classmethod
    def from_pieces(
        cls,
        pieces: Sequence[tuple[float | None, str]],
        cutoff: float | None = None,
        argument: str = "system.pieces",
    ) -> RadialKernel:
        """Read a kernel of pieces (upto, text), the last with upto None.

        Raises InputError for a formula that is not allowed, is singular without cut-off, or is not a finite real number
        at some distance, and for ends that do not increase.
        """
        ends = [upto for upto, _ in pieces]
        if not pieces or ends[-1] is not None or None in ends[:-1]:
            rule = "must have upto in all pieces but the last"
            raise InputError(argument, rule, ends, "the last piece reaches to infinity")
        finite = [float(upto) for upto in ends[:-1] if upto is not None]
        if any(not b > a for a, b in zip([0.0, *finite], finite, strict=False)) or not all(map(math.isfinite, finite)):
            raise InputError(argument, "must have increasing positive ends upto", finite, "sort the pieces by distance")
        formulas = [Expression.parse(text, argument=argument) for _, text in pieces]
        return cls(tuple(zip([*finite, math.inf], formulas, strict=True)), cutoff)._checked(argument)

    def __call__(self, r: npt.ArrayLike) -> Array:
        """Return phi at distances r >= 0 of any shape."""
        radii = np.asarray(r, dtype=np.float64)
        result = self._first(radii)
        for (start, _), (_, formula) in zip(self.pieces[:-1], self.pieces[1:], strict=True):
            result = np.where(radii > start, formula(radii), result)
        return result

    def potential(self, r: npt.ArrayLike) -> Array:
        """Return Phi(r), the integral of phi from 0 to r, for r >= 0 of any shape.

        Closed where sympy knows the antiderivative, checked against quadrature; else by quadrature to 1e-10.
        """
        radii = np.asarray(r, dtype=np.float64)
        total = np.zeros(radii.shape)
        start = 0.0
        for number, (end, formula) in enumerate(self.pieces):
            inside = np.clip(radii, start, end)
            for part in self._parts() if number == 0 else formula.summands():
                total = total + (self._from_zero(part, inside) if number == 0 else integral(part, start, inside))
            start = end
        return total

    def jumps(self) -> tuple[tuple[float, float], ...]:
        """Return (b, phi(b+) - phi(b)) for every end b of a piece."""
        ends = zip(self.pieces[:-1], self.pieces[1:], strict=True)
        return tuple((upto, float(formula(upto)) - float(self(upto))) for (upto, _), (_, formula) in ends)

    @property
    def name(self) -> str:
        """The formula without spaces; pieces as {formula|r<=upto;...;formula}, a single one as formula on (0, upto]."""
        if len(self.pieces) == 1:
            return self.pieces[0][1].text
        if (alone := self._alone()) is not None:
            formula, where = alone
            return f"{formula.text} on {where}"
        parts = [f"{formula.text}|r<={upto:g}" for upto, formula in self.pieces[:-1]]
        return "{" + ";".join([*parts, self.pieces[-1][1].text]) + "}"

    def latex(self) -> str:
        """Return the formula as LaTeX; pieces as cases."""
        if len(self.pieces) == 1:
            return self.pieces[0][1].latex()
        if (alone := self._alone()) is not None:
            formula, where = alone
            return rf"{formula.latex()}\,1_{{{where.replace('inf', chr(92) + 'infty')}}}"
        rows = [rf"{formula.latex()} & r \le {upto:g}" for upto, formula in self.pieces[:-1]]
        rows.append(rf"{self.pieces[-1][1].latex()} & \text{{beyond}}")
        return r"\begin{cases} " + r" \\ ".join(rows) + r" \end{cases}"

    def _alone(self) -> tuple[Expression, str] | None:
        """Return the one formula that is not 0 and its interval in words; None where there are several, or none."""
        ends = [0.0, *(upto for upto, _ in self.pieces)]
        found = [k for k, (_, formula) in enumerate(self.pieces) if formula.text != "0"]
        if len(found) != 1:
            return None
        lower, upper = ends[found[0]], ends[found[0] + 1]
        where = f"({lower:.4g}, inf)" if math.isinf(upper) else f"({lower:.4g}, {upper:.4g}]"
        return self.pieces[found[0]][1], where

    def source(self) -> str:
        """Return phi(r), r > 0, as a Python expression of the scalar ``r`` that needs ``math`` and ``np``."""
        first, later = self._written(Expression.source, f"max(r, {self.cutoff!r})")
        *parts, text = [" + ".join(first), *later]
        for (upto, _), part in zip(reversed(self.pieces[:-1]), reversed(parts), strict=True):
            text = f"(({part}) if r <= {upto!r} else ({text}))"
        return text

    def cuda_source(self) -> str:
        """Return phi(r), r > 0, as a CUDA expression of the scalar ``r``: the operations of :meth:`source`."""
        first, later = self._written(Expression.cuda_source, f"max(r, {cuda_number(self.cutoff or 0.0)})")
        *parts, text = [reduce(lambda total, part: f"add({total}, {part})", first), *later]
        for (upto, _), part in zip(reversed(self.pieces[:-1]), reversed(parts), strict=True):
            text = f"(r <= {cuda_number(upto)} ? {part} : {text})"
        return text

    def _written(
        self, write: Callable[[Expression, Mapping[str, str] | None], str], frozen: str
    ) -> tuple[list[str], list[str]]:
        """Return the summands at 0, with ``frozen`` for the r of those that the cut-off freezes, and later pieces."""
        first = [write(part, {"r": frozen} if part.unbounded_at_zero() else None) for part in self._parts()]
        return first, [write(formula, None) for _, formula in self.pieces[1:]]

    # --- the piece at zero ---------------------------------------------------------------------------------------

    def _parts(self) -> tuple[Expression, ...]:
        """Return the summands at 0, or the whole formula where it is bounded though they are not: (1 - cos(r))/r."""
        formula = self.pieces[0][1]
        parts = formula.summands()
        cancel = any(part.unbounded_at_zero() for part in parts) and not formula.unbounded_at_zero()
        return (formula,) if cancel else parts

    def _first(self, radii: Array) -> Array:
        formula = self.pieces[0][1]
        if not formula.unbounded_at_zero():
            return value_from_zero(formula, radii)
        total = np.zeros(radii.shape)
        for part in self._parts():
            total = total + value_from_zero(part, np.maximum(radii, self._freeze(part)))
        return total

    def _freeze(self, part: Expression) -> float:
        """Return the distance inside which a summand is frozen, 0 for none."""
        return self.cutoff if self.cutoff is not None and part.unbounded_at_zero() else 0.0

    def _from_zero(self, part: Expression, radii: Array) -> Array:
        """Integrate a summand of the first piece from 0."""
        frozen = self._freeze(part)
        total = integral(part, frozen, np.maximum(radii, frozen))
        return total + float(part(frozen)) * np.minimum(radii, frozen) if frozen else total

    def _checked(self, argument: str) -> RadialKernel:
        key = f"{argument.partition('.')[0]}.cutoff"
        if self.cutoff is not None and not (0 < self.cutoff <= self.pieces[0][0] and math.isfinite(self.cutoff)):
            raise InputError(key, "must be a positive distance inside the first piece", self.cutoff, "for example 0.05")
        radii = np.unique([*(p for p in _PROBES if p > (self.cutoff or 0)), *(1.001 * u for u, _ in self.pieces[:-1])])
        # NaN before the singular: log(r-5) wants another formula, not a cut-off.
        self._refuse(np.isnan(self(radii)), radii, argument)
        singular = [part.text for part in self._parts() if part.unbounded_at_zero()]
        if singular and self.cutoff is None:
            rule = f"has {' and '.join(singular)} unbounded at r = 0 and no cut-off"
            raise InputError(argument, rule, self.name, f"set {key}, for example {key} = 0.05")
        radii = np.array([0.0, *radii])
        self._refuse(~np.isfinite(self(radii)), radii, argument)
        return self

    def _refuse(self, bad: npt.NDArray[np.bool_], radii: Array, argument: str) -> None:
        if bad.any():
            rule = f"must be a finite real number at every distance, and is not at r = {radii[bad][0]:g}"
            fix = "use abs() inside sqrt and log, or end the formula at a distance with system.pieces"
            raise InputError(argument, rule, self.name, fix)
