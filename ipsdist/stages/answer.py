"""The answer of a run: the pairings joined, sigma^2 settled, the terms selected, and what should lower the trust."""

from __future__ import annotations

from dataclasses import replace

from ipsdist.config import RunConfig
from ipsdist.learning.breakpoints import break_points
from ipsdist.learning.subset import best_subset
from ipsdist.learning.uncertainty import with_diffusion_error
from ipsdist.model.errors import RunError
from ipsdist.model.fit import without_last
from ipsdist.model.normal_equations import NormalEquations
from ipsdist.model.unknowns import Unknowns
from ipsdist.numerics.equations.diffusion import Diffusion
from ipsdist.numerics.equations.pairings import Pairings
from ipsdist.stages.action import of_action
from ipsdist.stages.base import setup_of
from ipsdist.stages.breaks import hat_basis, load_hats, pair_step, seeks_breaks
from ipsdist.stages.drawn import DrawnPanels
from ipsdist.stages.equations import load_strong
from ipsdist.stages.joining import equations_of, moment_slope, pairings_of, sigma_squared
from ipsdist.stages.pieces import break_doubts, fit_of, in_pieces, on_pieces
from ipsdist.stages.radial import ragged_equations
from ipsdist.stages.selecting import Answer, phases, resolved, select, time_doubts
from ipsdist.stages.snapshots import judged
from ipsdist.stages.step_bias import felt_step, less_step
from ipsdist.stages.tracked import equations_of_tracks, watched
from ipsdist.storage import Store

_TURNS = 3
"""Selections with the sigma^2 of the one before; the second moves it by less than its error."""
_FELT = 0.1
"""Standard errors that a step must add to sigma^2 before another selection is made without them."""
_NO_DIFFUSION = "no positive sigma^2 fits these snapshots: give system.diffusion"

__all__ = ["find_answer"]


def find_answer(store: Store, config: RunConfig) -> Answer:
    """Join the equations of the form and select."""
    if config.form == "strong":
        given = Diffusion(float(config.system.diffusion or 0.0), None)
        if config.fit.assembly == "drawn":
            return _drawn(config, DrawnPanels(store, config), given)
        return resolved(config, load_strong(store, config), given, None, ())
    if seeks_breaks(config):
        return _in_pieces(store, config)
    if watched(config, setup_of(store)):
        return _of_tracks(store, config)
    pairings = pairings_of(store, config)
    if config.form == "weak" and config.estimates_diffusion and not config.data.labelled:
        return _with_diffusion(store, config, pairings)
    diffusion = sigma_squared(store, config)
    plain, found = _given(store, config, pairings, diffusion)
    less = less_step(store, config, pairings, found.fit, diffusion)
    if abs(less.value - diffusion.value) > _FELT * (diffusion.standard_error or 0.0):
        diffusion = less
        plain, found = _given(store, config, pairings, diffusion)
    if diffusion.standard_error is None or config.form == "likelihood":  # no sigma^2 stands in its moment
        return found
    slope = moment_slope(config, store, pairings, plain)  # the coefficients inherit the error of sigma^2
    fit = with_diffusion_error(found.fit, found.equations, slope, diffusion.standard_error)
    return replace(found, fit=fit)


def _given(
    store: Store, config: RunConfig, pairings: list[Pairings], diffusion: Diffusion
) -> tuple[NormalEquations, Answer]:
    """Return the equations of the form by its time rule with this sigma^2, and what is selected."""
    plain = equations_of(config, store, pairings, diffusion.value)
    if config.form == "action":
        return plain, of_action(store, config, pairings, plain, diffusion)
    found = resolved(config, plain, diffusion, None, ())
    return plain, _doubting(store, config, found, config.unknowns()) if config.form == "weak" else found


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
    answer = Answer(without_last(found), plain, diffusion, reason=config.form_reason)
    return _doubting(store, config, answer, config.unknowns())


def _doubting(store: Store, config: RunConfig, found: Answer, unknowns: Unknowns) -> Answer:
    """Return the answer with what remains to be doubted of the time step, where no form takes its part away."""
    step = felt_step(store, config, found.equations, found.fit, unknowns, found.diffusion.value)
    return found if step is None else replace(found, warnings=(*found.warnings, *step.doubts(removed=False)))


def _drawn(config: RunConfig, panels: DrawnPanels, diffusion: Diffusion) -> Answer:
    """Select on the panels that Phase I draws, refit on all of them."""
    fit = phases(config, panels, diffusion.value, importance=True)
    count = fit.history[-1].sampled
    reason = f"named by fit.form; {count} of {panels.panels} panels were assembled with all terms"
    return Answer(fit, panels.refitted(fit.terms), diffusion, reason=reason, sample=panels.sample())


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
        error, doubts = time_doubts(choice)
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
    error, late = time_doubts(choice)
    doubts = (*told, *late)
    answer = Answer(fit, equations, diffusion, slice_error=error, warnings=doubts, reason=choice.reason, breaks=found)
    return _doubting(store, config, answer, Unknowns(on_pieces(terms, places)))
