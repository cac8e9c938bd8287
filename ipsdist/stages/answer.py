"""The answer of a run: the pairings joined, sigma^2 settled, the terms selected, and what should lower the trust."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ipsdist.config import RunConfig
from ipsdist.learning.breakpoints import BreakFit, break_points
from ipsdist.learning.choice import TOLERATED, Choice
from ipsdist.learning.columns import columns_fit
from ipsdist.learning.panels import PanelSource
from ipsdist.learning.resolution import fine_terms, fit_resolved, widened
from ipsdist.learning.subset import best_subset
from ipsdist.learning.two_phase import two_phase
from ipsdist.learning.uncertainty import with_diffusion_error
from ipsdist.model.errors import RunError
from ipsdist.model.fit import Fit, without_last
from ipsdist.model.normal_equations import NormalEquations
from ipsdist.numerics.equations.diffusion import Diffusion
from ipsdist.numerics.equations.pairings import Pairings
from ipsdist.stages.base import fitted_times, setup_of
from ipsdist.stages.breaks import hat_basis, load_hats, pair_step, seeks_breaks
from ipsdist.stages.drawn import DrawnPanels
from ipsdist.stages.equations import load_strong
from ipsdist.stages.joining import equations_of, moment_slope, pairings_of, sigma_squared
from ipsdist.stages.pieces import break_doubts, fit_of, in_pieces
from ipsdist.stages.radial import radial_basis, ragged_equations
from ipsdist.stages.snapshots import bridge, judged
from ipsdist.stages.tracked import equations_of_tracks, watched
from ipsdist.storage import Store

_TURNS = 3
"""Selections with the sigma^2 of the one before; the second moves it by less than its error."""
_NO_DIFFUSION = "no positive sigma^2 fits these snapshots: give system.diffusion"

__all__ = ["Answer", "find_answer", "phases", "select"]


@dataclass(frozen=True)
class Answer:
    """What the selection found, on which equations, and what should lower the trust in it."""

    fit: Fit
    equations: NormalEquations
    diffusion: Diffusion
    bridged: bool = False
    unresolved: tuple[str, ...] = ()
    slice_error: float | None = None
    """Estimated error of the time rule in standard errors; None where it cannot be told or does not matter."""
    warnings: tuple[str, ...] = ()
    reason: str = ""
    """Why these equations, in a line."""
    settled: bool | None = None
    """Whether a bridged answer, solved forward, leads to itself; None where nothing was bridged."""
    factor: float = 1.0
    """By which the likelihood was widened for scores that scatter more than sigma^2 says."""
    noise: dict[str, Any] | None = None
    """What the displacements of tracks say about their noise; None where it was not asked."""

    breaks: BreakFit | None = None
    """The kernel in pieces, where break points were sought; ``fit`` and ``equations`` are over its pieces."""

    sample: NormalEquations | None = None
    """The panels by which the terms were selected, where not all were assembled with all terms."""

    @property
    def weighed(self) -> NormalEquations:
        """The equations of the terms that were weighed: those which the slices do not resolve left out."""
        if self.sample is not None:
            return self.sample
        kept = [k for k, name in enumerate(self.equations.basis) if name not in self.unresolved]
        names = [self.equations.basis[k] for k in kept]
        return self.equations.change_basis(np.eye(len(self.equations.basis))[:, kept], names)


def find_answer(store: Store, config: RunConfig) -> Answer:
    """Join the equations of the form and select."""
    if config.form == "strong":
        given = Diffusion(float(config.system.diffusion or 0.0), None)
        if config.fit.assembly == "drawn":
            return _drawn(config, DrawnPanels(store, config), given)
        return _resolved(config, load_strong(store, config), given, None, ())
    if seeks_breaks(config):
        return _in_pieces(store, config)
    if watched(config, setup_of(store)):
        return _of_tracks(store, config)
    pairings = pairings_of(store, config)
    if config.form == "weak" and config.estimates_diffusion and not config.data.labelled:
        return _with_diffusion(store, config, pairings)
    diffusion = sigma_squared(store, config)
    plain = equations_of(config, store, pairings, diffusion.value)
    if config.form == "action":
        found = _of_action(store, config, pairings, plain, diffusion)
    else:
        found = _resolved(config, plain, diffusion, None, ())
    if diffusion.standard_error is None or config.form == "likelihood":  # no sigma^2 stands in its moment
        return found
    slope = moment_slope(config, store, pairings, plain)  # the coefficients inherit the error of sigma^2
    fit = with_diffusion_error(found.fit, found.equations, slope, diffusion.standard_error)
    return replace(found, fit=fit)


def _with_diffusion(store: Store, config: RunConfig, pairings: list[Pairings]) -> Answer:
    """Select with sigma^2 as one more unknown, which is in every model and scales the likelihood as well.

    The equations that are kept are those at the sigma^2 found; the errors are those of all unknowns together.
    """
    joint, fit = equations_of(config, store, pairings, None), config.fit
    last = len(joint.basis) - 1
    value = float(joint.solution()[last])
    for _ in range(_TURNS):
        if not value > 0:
            raise RunError(_NO_DIFFUSION)
        found = best_subset(joint, value, criterion=fit.criterion, max_terms=fit.max_terms, always=(last,))
        value = float(found.coefficients[-1])
    if not value > 0:
        raise RunError(_NO_DIFFUSION)
    diffusion = Diffusion(value, float(found.standard_errors[-1]))
    plain = equations_of(config, store, pairings, value)
    return Answer(without_last(found), plain, diffusion, reason=config.form_reason)


def _drawn(config: RunConfig, panels: DrawnPanels, diffusion: Diffusion) -> Answer:
    """Select on the panels that Phase I draws, refit on all of them."""
    fit = phases(config, panels, diffusion.value, importance=True)
    count = fit.history[-1].sampled
    reason = f"named by fit.form; {count} of {panels.panels} panels were assembled with all terms"
    return Answer(fit, panels.refitted(fit.terms), diffusion, reason=reason, sample=panels.sample())


def phases(config: RunConfig, equations: NormalEquations | PanelSource, diffusion: float, *, importance: bool) -> Fit:
    """Return what the two phases of [S] find in the equations."""
    fit = config.fit
    return two_phase(
        equations,
        diffusion=diffusion,
        seed=config.run.seed,
        alpha=fit.alpha,
        penalty=fit.penalty,
        penalize_refit=fit.penalize_refit,
        scale_columns=fit.scale_columns,
        sampled_fraction=fit.share,
        iterations=fit.iterations,
        importance=importance,
    )


def select(config: RunConfig, equations: NormalEquations, diffusion: float) -> Fit:
    """Return what the configured selection finds in the equations."""
    fit = config.fit
    if config.selection == "best_subset":
        return best_subset(equations, diffusion, criterion=fit.criterion, max_terms=fit.max_terms)
    if config.selection == "breakpoints":  # of pieces that stand
        return columns_fit(equations, diffusion, criterion=fit.criterion)
    return phases(config, equations, diffusion, importance=True)


def _of_tracks(store: Store, config: RunConfig) -> Answer:
    """Select on tracks by a likelihood as wide as their scores scatter, less what another sigma^2 would explain."""
    error: float | None = None
    doubts: tuple[str, ...] = ()
    if setup_of(store).ragged:
        found = equations_of_tracks(
            store, config, lambda sigma2: ragged_equations(store, config, sigma2, config.terms())
        )
        reason = "action form by direct pair sums: particles come and go, and no mean-field limit is assumed"
    else:
        pairings = pairings_of(store, config)
        found = equations_of_tracks(store, config, lambda sigma2: equations_of(config, store, pairings, sigma2))
        choice = judged(config, store, pairings, found.factor * found.diffusion.value)
        error, doubts = _time_doubts(choice)
        reason = f"{choice.reason}; pairs summed directly"
    fit = select(config, found.equations, found.factor * found.diffusion.value)
    return Answer(
        fit,
        found.equations,
        found.diffusion,
        slice_error=error,
        warnings=(*doubts, *found.warnings),
        reason=reason,
        factor=found.factor,
        noise=found.noise,
    )


def _in_pieces(store: Store, config: RunConfig) -> Answer:
    """Find break points and terms between them in the equations over hats."""
    diffusion, terms, basis = sigma_squared(store, config), config.terms(), hat_basis(store)
    hats, keys = load_hats(store, config, diffusion.value), config.fit
    found = break_points(
        hats,
        basis,
        terms,
        diffusion.value,
        criterion=keys.criterion,
        max_breaks=keys.max_breaks,
        resolution=pair_step(store, diffusion.value),
    )
    places = tuple(found.places.tolist())
    equations = in_pieces(hats, basis, terms, places)
    fit = fit_of(found, equations)
    told = break_doubts(found, keys.max_breaks)
    if config.form == "likelihood":
        return Answer(fit, equations, diffusion, warnings=told, reason=config.form_reason, breaks=found)
    if diffusion.standard_error is not None:
        twice = in_pieces(load_hats(store, config, 2.0 * diffusion.value), basis, terms, places)
        slope = (twice.moment - equations.moment).sum(axis=0) / diffusion.value
        fit = with_diffusion_error(fit, equations, slope, diffusion.standard_error)
    choice = judged(config, store, pairings_of(store, config), diffusion.value)
    error, late = _time_doubts(choice)
    doubts = (*told, *late)
    return Answer(fit, equations, diffusion, slice_error=error, warnings=doubts, reason=choice.reason, breaks=found)


def _time_doubts(choice: Choice) -> tuple[float | None, tuple[str, ...]]:
    """Return the error of the time rule, None where it cannot be told, and what is to be said about it."""
    told = choice.error if np.isfinite(choice.error) else None
    if choice.error <= TOLERATED:
        return told, ()
    size = "cannot be told" if told is None else f"is up to {told:.1g} standard errors"
    return told, (f"the slices are far apart: the error of the time rule {size}",)


def _of_action(
    store: Store, config: RunConfig, pairings: list[Pairings], plain: NormalEquations, diffusion: Diffusion
) -> Answer:
    """Select on the equations of the time rule, or on those that a prediction between distant slices carries."""
    choice = judged(config, store, pairings, diffusion.value)
    if choice.control:
        bridged = _bridged(store, config, pairings, plain, diffusion, choice)
        if bridged is not None:
            return bridged
        choice = replace(choice, reason="action form; no prediction could be solved forward")
    told, doubts = _time_doubts(choice)
    return replace(_resolved(config, plain, diffusion, told, doubts), reason=choice.reason)


def _bridged(
    store: Store,
    config: RunConfig,
    pairings: list[Pairings],
    plain: NormalEquations,
    diffusion: Diffusion,
    choice: Choice,
) -> Answer | None:
    """Let a prediction carry the integrals, for the terms that particles do not outrun between two slices."""
    unknowns = config.unknowns()
    length = float(np.sqrt(diffusion.value * np.diff(fitted_times(config, setup_of(store))).max()))
    fine = fine_terms(unknowns.dictionary, radial_basis(store).reach, length)
    kept = [k for k in range(len(unknowns)) if k not in fine]
    if len(fine) == len(unknowns.dictionary):
        return None
    columns = [*kept, *range(len(unknowns), pairings[0].gram.shape[1])]
    some = unknowns.keep(kept)
    part = plain.change_basis(np.eye(len(unknowns))[:, kept], some.names)
    taken = [p.columns(columns) for p in pairings]
    found = bridge(config, store, taken, part, diffusion.value, some, choice.quadrature)
    if found is None:
        return None
    unresolved = tuple(unknowns.names[k] for k in fine)
    doubts = tuple(f"the slices do not resolve {name}: it was left out" for name in unresolved)
    fit = widened(found.fit, unknowns.names, kept)
    error = choice.error if np.isfinite(choice.error) else None
    used = found.equations.change_basis(np.eye(len(unknowns))[kept], unknowns.names)
    return Answer(fit, used, diffusion, True, unresolved, error, doubts, choice.reason, found.settled)


def _resolved(
    config: RunConfig, equations: NormalEquations, diffusion: Diffusion, error: float | None, doubts: Sequence[str]
) -> Answer:
    """Select among the terms that the slices resolve."""
    fit, unresolved = fit_resolved(equations, diffusion.value, lambda e: select(config, e, diffusion.value))
    named = tuple(f"the slices do not resolve {name}: it was left out" for name in unresolved)
    warnings = (*doubts, *named)
    return Answer(fit, equations, diffusion, unresolved=unresolved, slice_error=error, warnings=warnings)
