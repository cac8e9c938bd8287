"""Do the slices resolve the terms? The scatter of the panels' scores against what the model of the errors promises."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ipsdist.model.dictionary import Dictionary
from ipsdist.model.fit import Fit
from ipsdist.model.normal_equations import NormalEquations

__all__ = ["FEWEST_PANELS", "fine_terms", "fit_resolved", "score_ratios", "widened"]

Array = npt.NDArray[np.float64]

FEWEST_PANELS = 10
"""With fewer panels the test says nothing."""
_RATIO = 2.0
_DEVIATIONS = 5.0
_SCATTER = 35.0 / 9.0
"""Variance of the ratio times the panels: 2 sum_l rho_l^2, second differences having correlations 1, -2/3, 1/6."""
_POINTS = 4097


def score_ratios(equations: NormalEquations, fit: Fit, diffusion: float) -> Array:
    """Return sum_n d_nk^2 / (sigma^2 sum_n V_nkk) of every term (M,).

    d_n = g_n - 2 g_(n+1) + g_(n+2) are second differences of the scores g_n = b_n - A_n z. The information-matrix
    test of the action and likelihood forms: V_n = A_n + 4 A_(n+1) + A_(n+2) if panels are independent, so for terms
    whose integrals the slices resolve it is 1 +- sqrt(35 / (9 P)) over P panels. A term finer than the particles move
    between two slices, sqrt(sigma^2 D), decorrelates between them; its time integral is then a sum of noise that
    sigma^2 A^-1 knows nothing of, and the ratio is large. Differences, because the errors of time step and time rule
    are smooth in time: with millions of particles they stand out of the noise of a panel, and are not what is asked.
    """
    z = np.zeros(len(equations.basis))
    z[list(fit.terms)] = fit.coefficients
    scores = equations.moment - equations.gram @ z
    second = scores[:-2] - 2.0 * scores[1:-1] + scores[2:]
    variance = np.einsum("pkk->pk", equations.gram)
    promised = variance[:-2] + 4.0 * variance[1:-1] + variance[2:]
    return np.asarray((second**2).sum(axis=0) / (diffusion * promised.sum(axis=0)))


def fit_resolved(
    equations: NormalEquations, diffusion: float, select: Callable[[NormalEquations], Fit]
) -> tuple[Fit, tuple[str, ...]]:
    """Select; leave the least resolved term out and select again, until all that are left are resolved.

    Returns the fit, over the whole dictionary, and the names of the terms that these slices cannot resolve. One term
    at a time, because a wrong model makes the scores of good terms scatter too. Forms with an energy, and fewer than 10
    panels, are not tested.
    """
    fit = select(equations)
    kept = list(range(len(equations.basis)))
    if equations.energy is not None or equations.panels < FEWEST_PANELS:
        return fit, ()
    limit = max(_RATIO, 1.0 + _DEVIATIONS * float(np.sqrt(_SCATTER / equations.panels)))
    while len(kept) > 1:
        part = _columns(equations, kept)
        ratios = score_ratios(part, fit, diffusion)
        worst = int(np.argmax(ratios))
        if not ratios[worst] > limit:
            break
        del kept[worst]
        fit = select(_columns(equations, kept))
    unresolved = tuple(name for k, name in enumerate(equations.basis) if k not in kept)
    return (widened(fit, equations.basis, kept) if unresolved else fit), unresolved


def fine_terms(dictionary: Dictionary, reach: float, length: float) -> tuple[int, ...]:
    """Return the terms whose own scale, the root of int phi^2 / int phi'^2 over 0 .. reach, is below ``length``.

    ``length`` is how far particles move between two slices, sqrt(sigma^2 D): what is finer decorrelates in between, and
    no prediction of the density bridges that.
    """
    radii = np.linspace(0.0, reach, _POINTS)
    values = dictionary.values(radii)
    slopes = np.diff(values, axis=1) / (radii[1] - radii[0])
    scales = np.sqrt((values**2).mean(axis=1) / np.maximum((slopes**2).mean(axis=1), np.finfo(float).tiny))
    return tuple(int(k) for k in np.flatnonzero(scales < length))


def _columns(equations: NormalEquations, kept: list[int]) -> NormalEquations:
    return equations.change_basis(np.eye(len(equations.basis))[:, kept], [equations.basis[k] for k in kept])


def widened(fit: Fit, basis: tuple[str, ...], kept: Sequence[int]) -> Fit:
    """Return a fit over some terms as one over all: indices move, everything else stays."""

    def wide(values: tuple[bool, ...] | tuple[float, ...], empty: bool | float) -> list[bool | float]:
        row: list[bool | float] = [empty] * len(basis)
        for place, value in zip(kept, values, strict=True):
            row[place] = value
        return row

    return Fit(
        basis=basis,
        terms=tuple(kept[k] for k in fit.terms),
        coefficients=fit.coefficients,
        covariance=fit.covariance,
        condition=fit.condition,
        selection=fit.selection,
        alternatives=tuple(replace(a, terms=tuple(kept[k] for k in a.terms)) for a in fit.alternatives),
        history=tuple(
            replace(
                i, mask=tuple(map(bool, wide(i.mask, False))), coefficients=tuple(map(float, wide(i.coefficients, 0.0)))
            )
            for i in fit.history
        ),
    )
