"""The kernel that was learnt: kept terms, coefficients and their covariance, as a function with a confidence band."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ipsdist.model.dictionary import Dictionary
from ipsdist.model.errors import InputError
from ipsdist.model.fit import Fit
from ipsdist.model.piecewise import piecewise_polynomial
from ipsdist.model.radial import RadialKernel
from ipsdist.model.trees import Binary

if TYPE_CHECKING:
    from scipy.interpolate import PPoly

__all__ = ["LearnedKernel"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LearnedKernel:
    """phi(r) = sum of coefficients[k] * terms[k](r), with the covariance of the coefficients. No terms mean phi = 0."""

    terms: tuple[RadialKernel, ...]
    coefficients: Array
    """(k,), read-only."""
    covariance: Array
    """(k, k), read-only; standard errors are the roots of its diagonal."""

    def __post_init__(self) -> None:
        k = len(self.terms)
        for name, shape in (("coefficients", (k,)), ("covariance", (k, k))):
            values = np.array(getattr(self, name), dtype=np.float64)
            if values.shape != shape:
                raise ValueError(f"`{name}` must have shape {shape} for {k} terms; got {values.shape}")
            values.flags.writeable = False
            object.__setattr__(self, name, values)

    @classmethod
    def from_fit(cls, fit: Fit, dictionary: Dictionary) -> LearnedKernel:
        """Return the kernel that a selection found; columns of the fit beyond the dictionary are not the kernel's."""
        rows = [n for n, k in enumerate(fit.terms) if k < len(dictionary)]
        terms = tuple(dictionary.terms[fit.terms[n]] for n in rows)
        return cls(terms, fit.coefficients[rows], fit.covariance[np.ix_(rows, rows)])

    @property
    def standard_errors(self) -> Array:
        """Standard errors of the coefficients (k,)."""
        return np.sqrt(np.diag(self.covariance))

    def __call__(self, r: npt.ArrayLike) -> Array:
        """Return phi at distances r >= 0 of any shape."""
        radii = np.asarray(r, dtype=np.float64)
        return self._combine(radii, [term(radii) for term in self.terms])

    def potential(self, r: npt.ArrayLike) -> Array:
        """Return Phi(r), the integral of phi from 0, at distances of any shape."""
        radii = np.asarray(r, dtype=np.float64)
        return self._combine(radii, [term.potential(radii) for term in self.terms])

    def band(self, r: npt.ArrayLike, level: float = 0.95) -> tuple[Array, Array, Array]:
        """Return (value, lower, upper) of phi, each the shape of r; pointwise, normal, of confidence ``level``.

        The support is taken as known: the band holds the errors of the coefficients, not of the selection.
        """
        if not 0 < level < 1:
            raise ValueError(f"`level` must be between 0 and 1; got {level}")
        radii = np.asarray(r, dtype=np.float64)
        value = self(radii)
        variance = np.zeros(radii.shape)
        columns = [term(radii) for term in self.terms]
        known = bool(np.isfinite(self.covariance).all())
        for j, left in enumerate(columns):
            for k, right in enumerate(columns):
                variance = variance + (self.covariance[j, k] * left * right if known else np.inf)
        # Strongly correlated terms cancel: rounding may leave a variance of zero a little below it.
        half = NormalDist().inv_cdf(0.5 + 0.5 * level) * np.sqrt(np.maximum(variance, 0.0))
        return value, value - half, value + half

    def to_ppoly(self, reach: float, tolerance: float = 1e-8) -> PPoly:
        """Return phi on 0 <= r <= ``reach`` (length) as a ``scipy.interpolate.PPoly`` of degree 8, nan beyond.

        It is within ``tolerance`` times the largest |phi| there. Its breaks include the cut-offs, and the float after
        the end of every piece: SciPy's intervals hold their lower ends, pieces their upper ones, so that kinks and
        jumps stay exactly where they are.

        Raises InputError for a reach or a tolerance that is not positive, a reach at which phi is not finite, and a
        tolerance that is not reached.
        """
        if not 0 < reach < math.inf:
            raise InputError("reach", "must be a positive distance", reach, "use the largest distance of a pair")
        if not 0 < tolerance < math.inf:
            raise InputError("tolerance", "must be a positive number", tolerance, "1e-8 is the usual choice")
        breaks = {b for term in self.terms for b in _breaks(term) if b < reach}
        with np.errstate(over="ignore", invalid="ignore"):  # told by the error
            return piecewise_polynomial(self, [0.0, *sorted(breaks), float(reach)], tolerance)

    @property
    def text(self) -> str:
        """The formula with all digits of the coefficients, "3.003*r**2 - 0.5*r"; it parses where no term has pieces."""
        parts = []
        for value, term in self._pairs():
            number = repr(abs(float(value)))
            parts.append(number if term.name == "1" else f"{number}*{_name(term)}")
        return _join(parts, self.coefficients)

    def latex(self) -> str:
        """Return the formula as LaTeX, coefficients rounded to the second digit of their errors."""
        parts = []
        for (value, term), error in zip(self._pairs(), self.standard_errors, strict=True):
            number = _rounded(abs(float(value)), float(error))
            formula = rf"\left({term.latex()}\right)" if _needs_brackets(term) else term.latex()
            parts.append(number if term.name == "1" else rf"{number}\,{formula}")
        return _join(parts, self.coefficients)

    def __str__(self) -> str:
        """Return the formula with errors: (3.003 +- 0.012) r**2 - (0.500 +- 0.030) r."""
        parts = []
        for (value, term), error in zip(self._pairs(), self.standard_errors, strict=True):
            number = f"({_rounded(abs(float(value)), float(error))} +- {_rounded(float(error), float(error))})"
            parts.append(number if term.name == "1" else f"{number} {_name(term)}")
        return _join(parts, self.coefficients)

    def _pairs(self) -> list[tuple[np.float64, RadialKernel]]:
        return list(zip(self.coefficients, self.terms, strict=True))

    def _combine(self, radii: Array, columns: list[Array]) -> Array:
        total = np.zeros(radii.shape)
        for coefficient, column in zip(self.coefficients, columns, strict=True):
            total = total + coefficient * column
        return total


def _breaks(term: RadialKernel) -> list[float]:
    """Return where a term may have a kink (its cut-off) or just have jumped (the float after the end of a piece)."""
    breaks = [math.nextafter(upto, math.inf) for upto, _ in term.pieces[:-1]]
    if term.cutoff is not None and term.pieces[0][1].unbounded_at_zero():
        breaks.append(term.cutoff)
    return breaks


def _needs_brackets(term: RadialKernel) -> bool:
    """Tell whether a coefficient before the term needs brackets around it: sums and leading signs."""
    tree = term.pieces[0][1].tree
    is_sum = len(term.pieces) == 1 and isinstance(tree, Binary) and tree.operator in "+-"
    return is_sum or term.name.startswith("-")


def _name(term: RadialKernel) -> str:
    return f"({term.name})" if _needs_brackets(term) else term.name


def _join(parts: list[str], coefficients: Array) -> str:
    """Join parts of the sizes of the coefficients with their signs."""
    text = ""
    for part, coefficient in zip(parts, coefficients, strict=True):
        minus = bool(coefficient < 0)
        text += (" - " if minus else " + ") + part if text else ("-" if minus else "") + part
    return text or "0"


def _rounded(value: float, error: float) -> str:
    """Return the value with as many digits as show two digits of its error, six where that is not positive."""
    if not (math.isfinite(error) and error > 0 and math.isfinite(value)):
        return f"{value:.6g}"
    digits = 1 - math.floor(math.log10(error))
    return f"{value:.{digits}f}" if 0 <= digits <= 12 and value < 1e6 else f"{value:.6g}"
