"""Bandwidth rules of the Gaussian window, from counts on the force mesh (docs/method.md, section 3)."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import scipy.fft
from scipy.optimize import brentq

from ipsdist.model.errors import InputError
from ipsdist.model.mesh import Mesh

__all__ = ["RULES", "bandwidths", "improved_sheather_jones", "standard_deviations"]

Array = npt.NDArray[np.float64]

RULES = ("scott", "silverman", "isj")
"""The rules by name; a number is a rule as well."""

_STAGES = 7
"""Stages of the plug-in recursion; Botev et al. find no gain beyond five."""
_NEGLIGIBLE = 80.0
"""Modes with a larger exponent k**2 pi**2 t add below 1e-20, even times k**14."""


def bandwidths(rule: str | float, weights: Array, mesh: Mesh, particles: int, factor: float = 1.0) -> Array:
    """Return the bandwidth of every axis (d,), in length units.

    Parameters
    ----------
    rule
        "scott": std N**(-1/(d+4)); "silverman": std (N (d+2)/4)**(-1/(d+4)); "isj": improved Sheather-Jones, d = 1
        only; or the bandwidth itself, the same on every axis.
    weights
        (nodes...), particles per node.
    particles
        N, the sample size of the rules.
    factor
        Multiplies what the rule says. A rule never goes below the mesh spacing, the narrowest window the mesh carries.

    Raises
    ------
    InputError
        Unknown rule, "isj" in more than one dimension, a number (times factor) below the mesh spacing.
    """
    d = mesh.dimension
    if not 0 < factor < math.inf:
        raise InputError("density.bandwidth_factor", "must be a positive number", got=factor)
    if not isinstance(rule, str):
        return _given(float(rule) * factor, mesh)
    if rule == "scott":
        h = standard_deviations(weights, mesh) * particles ** (-1.0 / (d + 4))
    elif rule == "silverman":
        h = standard_deviations(weights, mesh) * (particles * (d + 2) / 4.0) ** (-1.0 / (d + 4))
    elif rule == "isj":
        if d > 1:
            raise InputError("density.bandwidth", "isj is for one dimension", got=f"{d} dimensions", fix="use scott")
        h = np.array([improved_sheather_jones(weights, mesh.spacing, particles)])
    else:
        raise InputError(
            "density.bandwidth",
            f"must be one of {', '.join(RULES)}, self_consistent or a number",
            got=repr(rule),
            fix="use scott",
        )
    return np.asarray(np.maximum(h * factor, mesh.spacing))


def _given(bandwidth: float, mesh: Mesh) -> Array:
    """Check a bandwidth that the user named."""
    if not mesh.spacing <= bandwidth < math.inf:
        raise InputError(
            "density.bandwidth",
            f"(times bandwidth_factor) must be finite and at least the spacing {mesh.spacing:g} of the force mesh",
            got=f"{bandwidth:g}",
            fix="give a larger density.bandwidth or a smaller force.spacing",
        )
    return np.full(mesh.dimension, bandwidth)


def standard_deviations(weights: Array, mesh: Mesh) -> Array:
    """Return the particles' standard deviation along every axis (d,), the binning variance taken off."""
    out = np.empty(mesh.dimension)
    total = weights.sum()
    if not total > 0:
        raise InputError("weights", "must hold at least one particle", got=float(total))
    for a, x in enumerate(mesh.axes()):
        marginal = weights.sum(axis=tuple(b for b in range(mesh.dimension) if b != a)) / total
        centred = x - marginal @ x
        out[a] = math.sqrt(max(0.0, marginal @ centred**2 - mesh.spacing**2 / 6.0))
    return out


def improved_sheather_jones(weights: Array, spacing: float, particles: int) -> float:
    """Return the improved Sheather-Jones bandwidth of counts (nodes,): Botev, Grotowski, Kroese 2010, algorithm 1.

    The norms |f^(s)|**2 come from the cosine transform of the counts; t = (h / length)**2 is the smallest root of
    t = xi gamma^[7](t), looked for from half a mesh spacing upwards.

    Raises
    ------
    InputError
        No root: too few particles for the rule.
    """
    n = len(weights)
    power = scipy.fft.dct(weights / weights.sum(), type=2)[1:] ** 2 / 2.0
    wave: Array = (math.pi * np.arange(1, n, dtype=np.float64)) ** 2

    def excess(t: float) -> float:
        return t - _plug_in(t, wave, power, particles)

    low = 0.25 / n**2
    if excess(low) >= 0:  # narrower than the mesh can tell
        return spacing
    high = 4.0 * low
    while excess(high) < 0:
        low, high = high, 4.0 * high
        if high > 1.0:
            raise InputError(
                "density.bandwidth",
                "isj finds no bandwidth for these particles",
                got=f"{particles} of them",
                fix="use scott or a number",
            )
    return math.sqrt(brentq(excess, low, high, rtol=1e-10)) * n * spacing


def _plug_in(t: float, wave: Array, power: Array, particles: int) -> float:
    """Return xi gamma^[l](t), the optimal squared bandwidth seen through a pilot of squared bandwidth t.

    ``wave`` is (k pi)**2 and ``power`` half the squared cosine coefficients, k = 1, 2, ...
    """

    def norm(s: int, pilot: float) -> float:
        """|f^(s)|**2 of the density smoothed by the pilot."""
        k = min(len(wave), math.ceil(math.sqrt(_NEGLIGIBLE / pilot) / math.pi))
        return float(np.sum(wave[:k] ** s * power[:k] * np.exp(-wave[:k] * pilot)))

    squared = norm(_STAGES, t)
    for s in range(_STAGES - 1, 1, -1):
        if squared <= 0.0:  # every mode is empty or smoothed away
            return math.inf
        odd = math.prod(range(1, 2 * s, 2)) / math.sqrt(2.0 * math.pi)
        bias = (1.0 + 0.5 ** (s + 0.5)) / 3.0
        squared = norm(s, (2.0 * bias * odd / (particles * squared)) ** (2.0 / (3.0 + 2.0 * s)))
    return math.inf if squared <= 0.0 else float((2.0 * particles * math.sqrt(math.pi) * squared) ** -0.4)
