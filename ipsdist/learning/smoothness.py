"""A smooth kernel beside one in pieces: what pieces of few terms approximate, a spline describes with less."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ipsdist.learning.columns import scaled
from ipsdist.learning.pieces import HatSystem, without_contact
from ipsdist.learning.price import Price
from ipsdist.model.radial_basis import RadialBasis

__all__ = ["smooth_score"]

_SPLINE = 24
"""Most intervals of a spline."""
_SHOWN = 1e-10
"""Eigenvalues of the scaled Gram of its functions below which there is rounding."""


def smooth_score(system: HatSystem, price: Price, score: float) -> tuple[int, float]:
    """Return the number of coefficients of the best cubic spline on even knots, and its score less that of the pieces.

    What pieces of few terms approximate, a spline describes with fewer coefficients; a jump it does not.
    """
    best = (0, math.inf)
    for intervals in range(1, _SPLINE + 1):
        knots = np.linspace(0.0, system.reach, intervals + 1)
        spline = RadialBasis((*[0.0] * 3, *knots.tolist(), *[float(knots[-1])] * 3), 3)
        columns = without_contact(spline.values(np.minimum(system.nodes, system.reach)).T)
        gram, moment = scaled(columns.T @ system.gram @ columns, columns.T @ system.moment)
        values, vectors = np.linalg.eigh(gram)
        shown = values > _SHOWN
        gain = float(((vectors.T @ moment)[shown] ** 2 / values[shown]).sum())
        best = min(
            best,
            (len(spline), replace(price, terms=len(spline))(len(spline), 0) - gain - score),
            key=lambda pair: pair[1],
        )
    return best
