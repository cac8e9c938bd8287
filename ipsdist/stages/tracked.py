"""The answer of tracks where particles come and go: what their noise is comes first, a law only beyond it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ipsdist.config import RunConfig
from ipsdist.learning.overdispersion import Overdispersion, overdispersion
from ipsdist.learning.uncertainty import discounted
from ipsdist.model.dictionary import Dictionary
from ipsdist.model.errors import RunError
from ipsdist.model.normal_equations import NormalEquations
from ipsdist.numerics.equations.diffusion import Diffusion
from ipsdist.numerics.equations.track_noise import Estimate, TrackNoise
from ipsdist.stages.direct import noise_of
from ipsdist.stages.radial import ragged_equations
from ipsdist.storage import Store

__all__ = ["Tracked", "equations_of_tracks", "radial_of_tracks"]

_SURE = 3.0
"""Standard errors beyond which a departure from the model is named."""
_TAILS = 1.0
"""Excess kurtosis that is worth a word."""


@dataclass(frozen=True)
class Tracked:
    """Equations of tracks, and what their displacements say about the noise."""

    equations: NormalEquations
    diffusion: Diffusion
    factor: float
    """By which the scatter of the scores exceeds what sigma^2 says, at least 1: errors and criteria reckon with it."""
    noise: dict[str, Any]
    """Plain values for result.json."""
    warnings: tuple[str, ...]


def equations_of_tracks(store: Store, config: RunConfig) -> Tracked:
    """Return the equations of the dictionary, with sigma^2 as given or as the displacements have it."""
    noise = noise_of(store, config)
    diffusion = _diffusion(config, noise)
    equations = ragged_equations(store, config, diffusion.value, config.terms())
    scatter = overdispersion(equations, diffusion.value)
    factor = max(1.0, scatter.value) if np.isfinite(scatter.value) else 1.0
    doubt = _doubt(config, noise)
    sure = _discounted(store, config, equations, factor * diffusion.value, doubt, config.terms())
    plain = {**asdict(noise), "overdispersion": asdict(scatter), "doubt": doubt}
    return Tracked(sure, diffusion, factor, plain, _departures(config, noise, scatter))


def radial_of_tracks(store: Store, config: RunConfig, diffusion: float, factor: float, doubt: float) -> NormalEquations:
    """Return the radial equations of tracks, for phi(r) without a dictionary; ``doubt`` is the error of sigma^2."""
    plain = ragged_equations(store, config, diffusion, None)
    return _discounted(store, config, plain, factor * diffusion, doubt, None)


def _diffusion(config: RunConfig, noise: TrackNoise) -> Diffusion:
    """Return sigma^2 as given, or as displacements have it: over long times where the motion has a memory."""
    if not config.estimates_diffusion:
        return Diffusion(float(config.system.diffusion or 0.0), None)
    used = noise.motion
    if not (used.value > 0 and used.standard_error < np.inf):
        told = f"{used.value:.3g} +- {used.standard_error:.1g}"
        raise RunError(
            f"the displacements give no sigma^2 ({told}): they are too few or too noisy; give system.diffusion"
        )
    return Diffusion(used.value, used.standard_error)


def _doubt(config: RunConfig, noise: TrackNoise) -> float:
    """Return by how much sigma^2 may be another one.

    Motion with a memory has no one sigma^2: it spreads slower than the long-time one says at first, which feigns an
    attraction, and faster than the short-time one says in the end, which feigns repulsion. What could be either counts
    for no law.
    """
    apart = noise.lasting.value - noise.diffusion.value if noise.remembers else 0.0
    apart = apart if np.isfinite(apart) else 0.0
    error = noise.motion.standard_error if config.estimates_diffusion else 0.0
    return float(np.hypot(error, apart))


def _discounted(
    store: Store,
    config: RunConfig,
    plain: NormalEquations,
    noise: float,
    doubt: float,
    dictionary: Dictionary | None,
) -> NormalEquations:
    """Return the equations less what another sigma^2 may feign."""
    value = plain.diffusion or 0.0
    twice = ragged_equations(store, config, 2.0 * value, dictionary)
    return discounted(plain, (twice.moment - plain.moment).sum(axis=0) / value, doubt**2, noise)


def _departures(config: RunConfig, noise: TrackNoise, scatter: Overdispersion) -> tuple[str, ...]:
    """Say where the displacements are not those of the model: independent, normal, of one sigma^2."""
    found = []
    if noise.remembers:
        first = noise.correlation[0]
        why = "the motion has a memory" if first.value > 0 else "the positions are noisy"
        size = f"{first.value:.2f} +- {first.standard_error:.2f}"
        used = "; sigma^2 is that over long times" if config.estimates_diffusion else ""
        found.append(f"neighbouring displacements correlate by {size}: {why}, and the model's noise has none{used}")
    if _sure(noise.kurtosis) and noise.kurtosis.value > _TAILS:
        size = f"{noise.kurtosis.value:.2g}"
        found.append(f"displacements have heavy tails (excess kurtosis {size}): particles or times are not alike")
    drift = [e for e in noise.drift if _sure(e)]
    if drift and not config.dictionary.drift:
        speeds = ", ".join(f"{e.value:.3g} +- {e.standard_error:.1g}" for e in noise.drift)
        found.append(f"the particles drift ({speeds} along the axes): dictionary.drift = true learns it with the rest")
    if scatter.value - _SURE * scatter.standard_error > 1.0:
        size = f"{scatter.value:.2g}"
        found.append(f"scores scatter {size} times as much as sigma^2 says: errors and criteria are widened by that")
    return tuple(found)


def _sure(estimate: Estimate) -> bool:
    return bool(abs(estimate.value) > _SURE * estimate.standard_error)
