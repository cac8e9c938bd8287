"""The answer of few tracks, and of such where particles come and go: their noise comes first, a law only beyond it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ipsdist.config import RunConfig
from ipsdist.learning.overdispersion import Overdispersion, overdispersion
from ipsdist.learning.uncertainty import discounted
from ipsdist.model.errors import RunError
from ipsdist.model.normal_equations import NormalEquations
from ipsdist.model.setup import Setup
from ipsdist.numerics.equations.diffusion import Diffusion
from ipsdist.numerics.equations.track_noise import Estimate, TrackNoise
from ipsdist.stages.base import setup_of
from ipsdist.stages.direct import noise_of
from ipsdist.stages.radial import load_radial, ragged_equations
from ipsdist.stages.tracks import sums_directly
from ipsdist.storage import Store

__all__ = ["Tracked", "equations_of_tracks", "radial_of_tracks", "watched"]

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


At = Callable[[float], NormalEquations]
"""From sigma^2 to the equations with it in their moment."""


def watched(config: RunConfig, setup: Setup) -> bool:
    """Tell whether a run is of tracks that others made, so few or so broken that their noise is looked at first."""
    own = config.data.source == "import" and setup.labelled
    return own and config.form == "action" and sums_directly(config, setup)


def equations_of_tracks(store: Store, config: RunConfig, at: At) -> Tracked:
    """Return the equations of the dictionary, with sigma^2 as given or as the displacements have it."""
    noise = noise_of(store, config)
    diffusion = _diffusion(config, noise)
    equations = at(diffusion.value)
    scatter = overdispersion(equations, diffusion.value)
    factor = max(1.0, scatter.value) if np.isfinite(scatter.value) else 1.0
    doubt = _doubt(config, noise)
    sure = _discounted(equations, at, factor * diffusion.value, doubt)
    plain = {**asdict(noise), "overdispersion": asdict(scatter), "doubt": doubt}
    return Tracked(sure, diffusion, factor, plain, _departures(config, noise, scatter))


def radial_of_tracks(store: Store, config: RunConfig, diffusion: float, factor: float, doubt: float) -> NormalEquations:
    """Return the radial equations of tracks, for phi(r) without a dictionary; ``doubt`` is the error of sigma^2."""
    ragged = setup_of(store).ragged

    def at(sigma2: float) -> NormalEquations:
        return ragged_equations(store, config, sigma2, None) if ragged else load_radial(store, config, sigma2)

    return _discounted(at(diffusion), at, factor * diffusion, doubt)


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


def _discounted(plain: NormalEquations, at: At, noise: float, doubt: float) -> NormalEquations:
    """Return the equations less what another sigma^2 may feign."""
    value = plain.diffusion or 0.0
    slope = (at(2.0 * value).moment - plain.moment).sum(axis=0) / value
    return discounted(plain, slope, doubt**2, noise)


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
