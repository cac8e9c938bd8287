"""The price of a model by an information criterion, which its gain in -2 log-likelihood has to exceed."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ipsdist.model.errors import InputError

__all__ = ["Price"]

_CRITERIA = ("bic", "ebic", "2lnN")


@dataclass(frozen=True)
class Price:
    """What coefficients, and places of break points, cost: N particles, M terms a piece, places among some nodes."""

    criterion: str
    particles: int
    terms: int
    nodes: int
    """Nodes among which places are chosen."""

    @classmethod
    def by(cls, criterion: str, particles: int, terms: int, nodes: int = 0) -> Price:
        """Return the price by a criterion. Raises InputError for an unknown one."""
        if criterion not in _CRITERIA:
            raise InputError("fit.criterion", "must be bic, ebic or 2lnN", repr(criterion), "ebic is the usual choice")
        return cls(criterion, particles, terms, nodes)

    def __call__(self, kept: int, breaks: int = 0) -> float:
        """Return the price of so many coefficients and places."""
        each = (kept + breaks) * math.log(self.particles)
        if self.criterion == "2lnN":
            return 2 * each
        if self.criterion == "bic":
            return each
        choices = math.comb(self.terms * (breaks + 1), kept) * math.comb(max(self.nodes, breaks), breaks)
        return each + 2 * math.log(choices)
