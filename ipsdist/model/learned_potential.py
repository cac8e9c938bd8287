"""The external potential and the constant drift that were learnt beside a kernel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ipsdist.model.fit import Fit
from ipsdist.model.unknowns import Field, Unknowns

__all__ = ["LearnedPotential"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LearnedPotential:
    """V(x) = sum of coefficients[k] * fields[k], up to a constant; a drift is a linear potential."""

    fields: tuple[Field, ...]
    coefficients: Array
    """(k,)"""
    covariance: Array
    """(k, k); standard errors are the roots of its diagonal."""

    @classmethod
    def from_fit(cls, fit: Fit, unknowns: Unknowns) -> LearnedPotential:
        """Return what a fit says about the fields."""
        first, last = len(unknowns.dictionary), len(unknowns)
        rows = [n for n, k in enumerate(fit.terms) if first <= k < last]
        fields = tuple(unknowns.fields[fit.terms[n] - first] for n in rows)
        return cls(fields, fit.coefficients[rows], fit.covariance[np.ix_(rows, rows)])

    @property
    def standard_errors(self) -> Array:
        """Standard errors of the coefficients (k,)."""
        return np.sqrt(np.diag(self.covariance))

    def __call__(self, *axes: npt.ArrayLike) -> Array:
        """Return V at points given by one array an axis, broadcast against each other."""
        total = np.zeros(np.broadcast_shapes(*(np.shape(a) for a in axes)))
        for coefficient, field in zip(self.coefficients, self.fields, strict=True):
            total = total + coefficient * field.potential(*axes)
        return total

    @property
    def text(self) -> str:
        """The formula with all digits of the coefficients, "0.98*(x**2/2)"; "0" for none."""
        rows = zip(self.coefficients, self.fields, strict=True)
        return " + ".join(f"{float(z)!r}*({f.potential.text})" for z, f in rows) or "0"
