"""What a selection found: the kept terms with their errors, the runners-up, and how it got there."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

__all__ = ["Candidate", "Fit", "Iteration", "without_last"]


@dataclass(frozen=True)
class Candidate:
    """One model that was weighed: the indices of its terms, its coefficients and its score (smaller is better)."""

    terms: tuple[int, ...]
    coefficients: tuple[float, ...]
    score: float


@dataclass(frozen=True)
class Iteration:
    """One turn of Phase I ([S] algorithm 1): the mask and coefficients after it, the panels drawn, the loss."""

    mask: tuple[bool, ...]
    coefficients: tuple[float, ...]
    """All M of them, masked ones 0, in the units of the terms (not scaled)."""
    sampled: int
    """Number of panels that gave the coefficients: those drawn; of panels assembled as they are drawn, all so far."""
    loss: float
    """Misfit over all panels per panel; for forms without an energy, up to a constant."""


@dataclass(frozen=True)
class Fit:
    """The answer of a selection."""

    basis: tuple[str, ...]
    terms: tuple[int, ...]
    """Indices of the kept terms, increasing."""
    coefficients: npt.NDArray[np.float64]
    """(kept,)"""
    covariance: npt.NDArray[np.float64]
    """(kept, kept); standard errors are the roots of its diagonal."""
    condition: float
    """Condition number of the scaled Gram matrix of the whole dictionary (unit diagonal)."""
    selection: str
    alternatives: tuple[Candidate, ...] = ()
    """Runners-up, best first; score is the difference to the chosen model."""
    history: tuple[Iteration, ...] = ()

    @property
    def standard_errors(self) -> npt.NDArray[np.float64]:
        """Standard errors of the kept coefficients (kept,)."""
        return np.sqrt(np.diag(self.covariance))

    dropped: tuple[str, ...] = field(init=False)
    """Names of the terms that were not kept."""

    def __post_init__(self) -> None:
        kept = set(self.terms)
        object.__setattr__(self, "dropped", tuple(n for k, n in enumerate(self.basis) if k not in kept))


def without_last(fit: Fit) -> Fit:
    """Return the fit without its last column, which every model has (an unknown sigma**2); its error stays."""
    return replace(
        fit,
        basis=fit.basis[:-1],
        terms=fit.terms[:-1],
        coefficients=fit.coefficients[:-1],
        covariance=fit.covariance[:-1, :-1],
        alternatives=tuple(Candidate(c.terms[:-1], c.coefficients[:-1], c.score) for c in fit.alternatives),
    )
