"""The kernel without a dictionary: a penalised spline from radial equations, with a band (docs/method.md, section 4)."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from ipsdist.model.normal_equations import NormalEquations
from ipsdist.model.radial_basis import RadialBasis

__all__ = ["KernelBand", "kernel_band", "roughness"]

Array = npt.NDArray[np.float64]

_STRENGTHS = np.geomspace(1e-10, 1e6, 65)
"""Strengths that are weighed, in units in which prior and data have equal traces."""
_TILTS = np.linspace(-12.0, 12.0, 13)
"""Logarithm of how much stiffer the prior is at the far end than at 0, in the intervals' own scale."""
_TILT_SPREAD = 6.0
"""Standard deviation of the tilt before the data are seen."""
_ORDER = 3
_SLACK = 0.5
_REFERENCE = 1e-4
"""Strength at which data and prior are factorised together."""
_VAGUE = 1e-13


@dataclass(frozen=True, eq=False)
class KernelBand:
    """phi(r) as the data alone give it, at R distances."""

    radii: Array
    """(R,) length."""
    value: Array
    """(R,) posterior mean of phi."""
    lower: Array
    """(R,) lower end of the pointwise band."""
    upper: Array
    """(R,) upper end."""
    degrees_of_freedom: float
    """How many free coefficients the fit amounts to."""
    strength: float
    """Strength of the prior with the largest marginal likelihood, in units in which prior and data have equal traces."""


def kernel_band(
    equations: NormalEquations,
    basis: RadialBasis,
    diffusion: float,
    radii: npt.ArrayLike,
    *,
    resolution: float,
    level: float = 0.95,
) -> KernelBand:
    """Return phi(r) = sum_m f_m B_m(r) from radial equations with a pointwise band of the given level.

    The log-likelihood of the equations is l(f) = (2 b'f - f'A f) / (2 sigma^2). The prior is normal with the precision
    strength * S, S the `roughness`: a smoothing spline, flat on straight lines, so that phi(0) and slopes are free.
    Strength and tilt are not fixed at their best values but averaged over with their marginal likelihood (REML) as
    weights. The band is that of the posterior: it holds bias as well as noise, so that on average over distances it covers
    the truth at its level. Where no pairs are, nothing but the prior speaks: ask for ``radii`` that the data reach.

    Parameters
    ----------
    equations : action or likelihood form over ``basis.names``.
    diffusion : sigma**2, length**2 / time.
    radii : (R,) distances, at most ``basis.reach``.

    Raises ValueError for equations that are no likelihood or of another basis, for distances beyond the basis and for
    a level outside 0 .. 1.
    """
    r = np.asarray(radii, dtype=np.float64)
    _check(equations, basis, r, level)
    coarse = basis.coarsened(resolution, float(r.max()))
    total = equations.total().change_basis(basis.coordinates(coarse.values), coarse.names)
    data, target = _without_contact(total.gram[0] / diffusion, total.moment[0] / diffusion)
    at = coarse.values(r).T
    models = [_posteriors(data, target, coarse, tilt, at) for tilt in _TILTS]
    evidence, freedom, means, variances = (np.concatenate(parts) for parts in zip(*models, strict=True))
    shares = np.exp(evidence - evidence.max())
    shares /= shares.sum()
    value = shares @ means
    spread = np.sqrt(shares @ (variances + (means - value) ** 2))
    half = NormalDist().inv_cdf(0.5 + 0.5 * level) * spread
    best = int(np.argmax(evidence))
    return KernelBand(
        r, value, value - half, value + half, float(shares @ freedom), float(_STRENGTHS[best % len(_STRENGTHS)])
    )


def _without_contact(data: Array, target: Array) -> tuple[Array, Array]:
    """Return information (M, M) and its target (M,) without the moment of the first function, the only one not 0 at 0.

    That moment counts pairs in contact, which a mesh and slices in time see worst. phi(0) stays free: the other
    moments, with their own noise, know it through the first column.
    """
    others = _regular(data[1:, 1:])
    weights = np.linalg.solve(others, data[1:, 0])
    data, target = data.copy(), target.copy()
    data[0, 0], target[0] = weights @ data[1:, 0], weights @ target[1:]
    return data, target


def roughness(basis: RadialBasis, tilt: float = 0.0) -> Array:
    """Return C (M, n) with |C'f|^2 = sum_i w_i h_i^3 int_i phi''(r)^2 dr over the intervals i, of lengths h_i.

    The factor h^3 measures curvature against the length of the intervals, as if all were of length 1: over knots that
    grow with the distance, phi may turn as often near 0 as far away. w_i runs from exp(-tilt / 2) at 0 to exp(tilt / 2)
    at the last interval. A slope may jump where knots allow it.
    """
    ends = basis.breaks
    length = np.diff(ends)
    nodes, weights = np.polynomial.legendre.leggauss(basis.degree - 1)  # exact for the square of phi''
    places = ends[:-1, None] + length[:, None] * (0.5 + 0.5 * nodes)
    stiffness = np.exp(tilt * (np.arange(len(length)) / max(1, len(length) - 1) - 0.5))
    scale = np.append(length[:-1], length[-2:].min())  # the last interval may hold a long, empty tail
    measure = 0.5 * weights * (stiffness * scale ** (2 * _ORDER - 1) * length)[:, None]
    return np.asarray(basis.derivatives(places, _ORDER).reshape(len(basis), -1) * np.sqrt(measure.ravel()))


def _posteriors(
    data: Array, target: Array, basis: RadialBasis, tilt: float, at: Array
) -> tuple[Array, Array, Array, Array]:
    """Return log evidence (L,), degrees of freedom (L,), mean and variance (L, R) of phi for all strengths at one tilt.

    One factorisation serves all strengths: with data + S = L L' and L^-1 C = Q diag(s) ..., data + strength S is
    L Q diag(1 - s^2 + strength s^2) Q' L'.
    """
    rows = roughness(basis, tilt)
    rows *= np.sqrt(_REFERENCE * np.trace(data) / np.sum(rows**2))
    free = _free(basis)
    prior = np.sum(np.log(np.linalg.svd(rows, compute_uv=False)[: len(basis) - free]))
    lower = np.linalg.cholesky(_regular(data + rows @ rows.T))
    q, s, _ = np.linalg.svd(np.linalg.solve(lower, rows))
    stiff = np.minimum(s**2, 1.0)
    ratio = _STRENGTHS[:, None] / _REFERENCE
    precision = (1.0 - stiff) + ratio * stiff
    functions = np.linalg.solve(lower.T, q)
    aim = functions.T @ target
    shape = at @ functions
    evidence = 0.5 * (aim**2 / precision - np.log(precision)).sum(axis=1)
    evidence += prior - np.sum(np.log(np.diag(lower))) + 0.5 * (len(basis) - free) * np.log(ratio[:, 0])
    evidence -= 0.5 * (tilt / _TILT_SPREAD) ** 2
    freedom = ((1.0 - stiff) / precision).sum(axis=1)
    evidence[freedom < free + _SLACK] = -np.inf
    return evidence, freedom, (aim / precision) @ shape.T, (1.0 / precision) @ (shape**2).T


def _regular(matrix: Array) -> Array:
    """Add to the diagonal what rounding needs: functions that neither data nor prior know become vague, not singular."""
    return matrix + np.diag(_VAGUE * np.diag(matrix))


def _free(basis: RadialBasis) -> int:
    """Return how many combinations of functions have no roughness: straight lines, and a broken line for every kink."""
    inner, times = np.unique(basis.knots, return_counts=True)
    return _ORDER + (_ORDER - 1) * int(np.sum(times[(inner > 0) & (inner < basis.reach)] >= basis.degree))


def _check(equations: NormalEquations, basis: RadialBasis, radii: Array, level: float) -> None:
    if equations.energy is not None:
        raise ValueError(f"the band needs a form that is a likelihood; got {equations.form}")
    if equations.basis != basis.names:
        raise ValueError(f"`equations` must be over the {len(basis)} functions of `basis`; got {len(equations.basis)} terms")
    if radii.size and not (radii.min() >= 0 and radii.max() <= basis.reach):
        raise ValueError(f"`radii` must lie between 0 and {basis.reach:g}; got {radii.min():g} to {radii.max():g}")
    if not 0 < level < 1:
        raise ValueError(f"`level` must be between 0 and 1; got {level}")
