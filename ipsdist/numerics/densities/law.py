"""The density of an initial law as averages over the cells of a box: exact, or by quadrature in every cell."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
import numpy.typing as npt
import scipy.special

from ipsdist.model.system import FromArray, Grid, InitialLaw, Mixture, Uniform

__all__ = ["law_averages"]

Array = npt.NDArray[np.float64]

_GAUSS = 4
"""Points an axis and cell for a ring."""


def law_averages(law: InitialLaw, centres: Grid) -> tuple[Array, float]:
    """Return the averages (cells...) of a law's density over the cells with these centres, and the share outside.

    The averages are normalised to mass 1 in the box of the cells. The density of a ring is normalised numerically, so
    that nothing is known of it outside: its share is 0. Raises ValueError for positions, which have no density.
    """
    edges = [np.append(x - 0.5 * dx, x[-1] + 0.5 * dx) for x, dx in zip(centres.axes(), centres.spacing, strict=True)]
    match law:
        case Mixture():
            masses = [
                [np.diff(scipy.special.ndtr((e - m) / variance**0.5)) for e, m in zip(edges, mean, strict=True)]
                for mean, variance in zip(law.means, law.variances, strict=True)
            ]
            parts = [w * _product(m) for w, m in zip(law.weights, masses, strict=True)]
            mass = reduce(np.add, parts) / sum(law.weights)
        case Uniform():
            sides = zip(edges, law.lower, law.upper, strict=True)
            mass = _product([np.diff(np.clip((e - a) / (b - a), 0.0, 1.0)) for e, a, b in sides])
        case FromArray():
            raise ValueError("positions have no density")
        case _:
            mass = _ring(edges, law.radius, law.variance)
            mass /= mass.sum()
    inside = float(mass.sum())
    return np.asarray(mass / (inside * np.prod(centres.spacing))), max(0.0, 1.0 - inside)


def _product(parts: Sequence[Array]) -> Array:
    return reduce(np.multiply.outer, parts)


def _ring(edges: Sequence[Array], radius: float, variance: float) -> Array:
    """Return the integral of exp(-(|x| - radius)**2 / (2 variance)) over every cell, by Gauss quadrature."""
    places, weights = np.polynomial.legendre.leggauss(_GAUSS)
    half = [0.5 * np.diff(e) for e in edges]
    points = [
        (0.5 * (e[1:] + e[:-1])[:, None] + h[:, None] * places).reshape(-1) for e, h in zip(edges, half, strict=True)
    ]
    square = reduce(np.add.outer, [x * x for x in points])
    values = np.exp((np.sqrt(square) - radius) ** 2 * (-0.5 / variance))
    for axis, h in enumerate(half):
        first = np.moveaxis(values, axis, 0).reshape(len(h), _GAUSS, *np.delete(values.shape, axis))
        values = np.moveaxis(np.tensordot(weights, first, (0, 1)) * h.reshape(-1, *[1] * (len(edges) - 1)), 0, axis)
    return np.asarray(values)
