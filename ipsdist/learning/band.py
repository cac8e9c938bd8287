"""The kernel without a dictionary: a penalised spline from radial equations with a band (docs/method.md, section 4)."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from ipsdist.model.normal_equations import NormalEquations
from ipsdist.model.radial_basis import RadialBasis

__all__ = ["KernelBand", "kernel_band", "roughness"]

Array = npt.NDArray[np.float64]

_STRENGTHS = np.geomspace(1e-10, 1e6, 129)
"""Strengths of the prior that are weighed, in units in which prior and data have equal traces."""
_TILTS = np.linspace(-12.0, 12.0, 13)
"""Logarithms of how much stiffer the prior is at the far end than at 0, in the scale of the intervals."""
_TILT_SPREAD = 6.0
"""Standard deviation of the tilt before the data are seen."""
_ORDER = 3
"""Derivative whose square is the roughness; parabolas have none."""
_SLACK = 0.5
"""Degrees of freedom that the prior leaves beyond a parabola. Without them kernels that are almost one, like r exp(-r),
get the band of a parabola, which covers them at 75 % of the distances in place of 95 %."""
_KINK = 0.1
"""Weight of jumps at a kink: those of r**-1.5 frozen inside a cut-off then count like the roughness just outside."""
_REFERENCE = 1e-4
"""Strength at which data and prior are factorised together."""
_DRAWS = 4000
"""Draws of phi for the band that holds everywhere."""
_VAGUE = 1e-13
"""Share of the diagonal added for rounding: functions that nothing is known of become vague, not singular."""


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
    lower_everywhere: Array
    """(R,) lower end of the band that holds phi at all the distances at once."""
    upper_everywhere: Array
    """(R,) upper end."""
    degrees_of_freedom: float
    """How many free coefficients the fit amounts to."""
    strength: float
    """Strength of the prior at the largest evidence, in units in which prior and data have equal traces."""


@dataclass(frozen=True)
class _Posterior:
    """phi at the radii for one tilt, at its strength of largest evidence."""

    evidence: float
    strength: float
    freedom: float
    mean: Array
    root: Array
    """(R, M) with the covariance root root'."""


def kernel_band(
    equations: NormalEquations,
    basis: RadialBasis,
    diffusion: float,
    radii: npt.ArrayLike,
    *,
    resolution: float,
    level: float = 0.95,
) -> KernelBand:
    """Return phi(r) = sum_m f_m B_m(r) from radial equations, with a pointwise band of the given level.

    The log-likelihood of the equations is l(f) = (2 b'f - f'A f) / (2 sigma^2), the prior of f normal with a precision
    proportional to the `roughness`: a smoothing spline, flat on parabolas, phi(0) free. Its strength has the largest
    marginal likelihood (REML); its tilt from near to far is averaged over with the marginal likelihoods as weights.
    The band is that of the posterior and holds bias as well as noise: on average over distances it covers a smooth phi
    at its level; a second one, wider, is to hold phi at all of them at once (9 times in 10 where phi turns often).
    Steps sharper than the pairs resolve are smoothed away and not covered.

    Knots below ``resolution`` and above the largest radius are dropped, and so is the moment of pairs in contact: there
    the pairs, the mesh and the slices cannot hold the details that the basis could, and errors would pass for details.

    Parameters
    ----------
    equations : action or likelihood form over ``basis.names``.
    diffusion : sigma**2, length**2 / time.
    radii : (R,) distances, at most ``basis.reach``; where pairs are, for beyond them the prior speaks alone.
    resolution : distance below which phi is one polynomial: 8 mesh spacings in 1-D, 4 in 2-D.

    Raises ValueError for equations that are no likelihood or of another basis, for distances outside the basis and for
    a level outside 0 .. 1.
    """
    r = np.asarray(radii, dtype=np.float64)
    _check(equations, basis, r, level)
    coarse = basis.coarsened(resolution, float(r.max()))
    total = equations.total().change_basis(basis.coordinates(coarse.values), coarse.names)
    data, target = _without_contact(total.gram[0] / diffusion, total.moment[0] / diffusion)
    at = coarse.values(r).T
    models = [_posterior(data, target, coarse, tilt, at) for tilt in _TILTS]
    best = max(models, key=lambda m: m.evidence)
    shares = np.exp([m.evidence - best.evidence for m in models])
    shares /= shares.sum()
    means = np.stack([m.mean for m in models])
    value = shares @ means
    spread = np.sqrt(shares @ (np.stack([(m.root**2).sum(axis=1) for m in models]) + (means - value) ** 2))
    half = NormalDist().inv_cdf(0.5 + 0.5 * level) * spread
    whole = np.maximum(_critical(models, shares, value, spread, level) * spread, half)
    freedom = float(shares @ np.array([m.freedom for m in models]))
    return KernelBand(r, value, value - half, value + half, value - whole, value + whole, freedom, best.strength)


def _critical(models: list[_Posterior], shares: Array, value: Array, spread: Array, level: float) -> float:
    """Return how many spreads phi strays from the mean at the worst distance, in so large a share of draws."""
    random = np.random.Generator(np.random.Philox(_DRAWS))
    worst = []
    safe = np.where(spread > 0, spread, np.inf)
    for model, count in zip(models, np.rint(shares * _DRAWS).astype(int).tolist(), strict=True):
        drawn = random.standard_normal((count, model.root.shape[1])) @ model.root.T + (model.mean - value)
        worst.append(np.abs(drawn / safe).max(axis=1))
    return float(np.quantile(np.concatenate(worst), level))


def roughness(basis: RadialBasis, tilt: float = 0.0) -> Array:
    """Return C (M, n) with |C'f|^2 = sum_i w_i h_i^5 int_i phi'''(r)^2 dr over the intervals i, of lengths h_i.

    The power of h measures the derivative against the interval, as if all were of length 1: over knots that grow with
    the distance, phi may turn as often near 0 as far away. w_i runs from exp(-tilt / 2) near to exp(tilt / 2) far.
    The last interval, which may hold a long tail with hardly a pair, counts as no longer than its neighbour. At a kink
    the jumps of slope and curvature, measured against the shorter interval beside it, count a tenth.
    """
    ends = basis.breaks
    length = np.diff(ends)
    nodes, weights = np.polynomial.legendre.leggauss(basis.degree - _ORDER + 1)
    places = ends[:-1, None] + length[:, None] * (0.5 + 0.5 * nodes)
    stiffness = np.exp(tilt * (np.arange(len(length)) / max(1, len(length) - 1) - 0.5))
    scale = np.append(length[:-1], length[-2:].min())
    measure = 0.5 * weights * (stiffness * scale ** (2 * _ORDER - 1) * length)[:, None]
    smooth = basis.derivatives(places, _ORDER).reshape(len(basis), -1) * np.sqrt(measure.ravel())
    jumps = []
    for k in np.flatnonzero(np.isin(ends, basis.kinks())):
        h = min(length[k - 1], length[k])
        for order in range(1, _ORDER):
            # Polynomials on both sides: their derivatives at the kink from either side, to rounding.
            left, right = basis.derivatives(np.array([np.nextafter(ends[k], 0.0), ends[k]]), order).T
            jumps.append(np.sqrt(_KINK * stiffness[k]) * h**order * (right - left))
    return np.column_stack([smooth, *jumps])


def _posterior(data: Array, target: Array, basis: RadialBasis, tilt: float, at: Array) -> _Posterior:
    """Return phi (R,) for the information ``data`` (M, M) and ``target`` (M,), and ``at`` (R, M) the functions' values.

    One factorisation serves all strengths: with data + C C' = L L' and L^-1 C = Q diag(s) ..., data + strength C C' is
    L Q diag(1 - s^2 + strength s^2) Q' L'.
    """
    rows = roughness(basis, tilt)
    rows *= np.sqrt(_REFERENCE * np.trace(data) / np.sum(rows**2))
    rough = len(basis) - _ORDER
    prior = np.sum(np.log(np.linalg.svd(rows, compute_uv=False)[:rough]))
    lower = np.linalg.cholesky(_regular(data + rows @ rows.T))
    q, s, _ = np.linalg.svd(np.linalg.solve(lower, rows))
    stiff = np.zeros(len(basis))
    stiff[: len(s)] = np.minimum(s**2, 1.0)
    ratio = _STRENGTHS / _REFERENCE
    precision = (1.0 - stiff) + ratio[:, None] * stiff
    functions = np.linalg.solve(lower.T, q)
    aim, shape = functions.T @ target, at @ functions
    freedom = ((1.0 - stiff) / precision).sum(axis=1)
    evidence = 0.5 * (aim**2 / precision - np.log(precision)).sum(axis=1) + 0.5 * rough * np.log(ratio)
    evidence[freedom < len(basis) - rough + _SLACK] = -np.inf
    best = int(np.argmax(evidence))
    constant = prior - np.sum(np.log(np.diag(lower))) - 0.5 * (tilt / _TILT_SPREAD) ** 2
    return _Posterior(
        evidence=float(evidence[best] + constant),
        strength=float(_STRENGTHS[best]),
        freedom=float(freedom[best]),
        mean=shape @ (aim / precision[best]),
        root=shape / np.sqrt(precision[best]),
    )


def _without_contact(data: Array, target: Array) -> tuple[Array, Array]:
    """Return information (M, M) and its target (M,) without the moment of the first function, the only one not 0 at 0.

    That moment counts pairs in contact, which the mesh and slices in time see worst. phi(0) stays free: the other
    moments know it through the first column.
    """
    weights = np.linalg.solve(_regular(data[1:, 1:]), data[1:, 0])
    data, target = data.copy(), target.copy()
    data[0, 0], target[0] = weights @ data[1:, 0], weights @ target[1:]
    return data, target


def _regular(matrix: Array) -> Array:
    """Return the matrix with what rounding needs on its diagonal."""
    diagonal = np.diag(matrix)
    return matrix + np.diag(_VAGUE * (diagonal + diagonal.max()))


def _check(equations: NormalEquations, basis: RadialBasis, radii: Array, level: float) -> None:
    if equations.energy is not None:
        raise ValueError(f"the band needs a form that is a likelihood; got {equations.form}")
    if equations.basis != basis.names:
        raise ValueError(
            f"`equations` must be over the {len(basis)} functions of `basis`; got {len(equations.basis)} terms"
        )
    if not (radii.size and radii.min() >= 0 and radii.max() <= basis.reach):
        raise ValueError(f"`radii` must be some distances between 0 and {basis.reach:g}")
    if not 0 < level < 1:
        raise ValueError(f"`level` must be between 0 and 1; got {level}")
