"""The action form's answer: by the time rule, or with a prediction between distant slices, less what the step adds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ipsdist.config import RunConfig
from ipsdist.learning.choice import Choice
from ipsdist.learning.resolution import fine_terms, widened
from ipsdist.learning.subset import best_subset
from ipsdist.model.fit import Fit
from ipsdist.model.normal_equations import NormalEquations
from ipsdist.numerics.equations.diffusion import Diffusion
from ipsdist.numerics.equations.pairings import Pairings
from ipsdist.stages.base import fitted_times, setup_of
from ipsdist.stages.radial import radial_basis
from ipsdist.stages.selecting import Answer, resolved, time_doubts
from ipsdist.stages.snapshots import bridge, judged
from ipsdist.stages.step_bias import TimeStep, felt_step, stepped
from ipsdist.storage import Store

__all__ = ["of_action"]

_TURNS = 4
"""Selections less the part of the time step by the answer before; the second moves it by less than its error."""
_STANDS = 0.05
"""Standard errors by which an answer that stands moves at most."""


def of_action(
    store: Store, config: RunConfig, pairings: list[Pairings], plain: NormalEquations, diffusion: Diffusion
) -> Answer:
    """Select on the equations of the time rule, or on those that a prediction between distant slices carries."""
    choice = judged(config, store, pairings, diffusion.value)
    if choice.control:
        bridged = _bridged(store, config, pairings, plain, diffusion, choice)
        if bridged is not None:
            return bridged
        choice = replace(choice, reason="action form; no prediction could be solved forward")
    error, doubts = time_doubts(choice)
    found = resolved(config, plain, diffusion, error, doubts)
    step = felt_step(store, config, plain, found.fit, config.unknowns(), diffusion.value)
    if step is not None and step.removable:
        found = _less(config, plain, found, step, doubts)
    return _with_reason(found, choice, step)


def _less(config: RunConfig, plain: NormalEquations, found: Answer, step: TimeStep, doubts: tuple[str, ...]) -> Answer:
    """Select on the equations without the part of the time step, until the answer that it is of stands."""
    for _ in range(_TURNS):
        equations = step.removed(plain, found.fit)
        before = found.fit
        found = resolved(config, equations, found.diffusion, found.slice_error, doubts)
        if _stands(before, found.fit):
            break
    return found


def _stands(before: Fit, after: Fit) -> bool:
    """Tell whether two answers are the same but for a part of their errors."""
    return before.terms == after.terms and bool(
        (np.abs(after.coefficients - before.coefficients) <= _STANDS * after.standard_errors).all()
    )


def _with_reason(found: Answer, choice: Choice, step: TimeStep | None) -> Answer:
    """Return the answer with why its equations are what they are, and what remains to be doubted of the step."""
    if step is None:
        return replace(found, reason=choice.reason)
    less = f"; the shift by time.step = {step.config.times().step:g} is taken away" if step.removable else ""
    return replace(found, reason=choice.reason + less, warnings=(*found.warnings, *step.doubts(removed=step.removable)))


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
    step = None
    if stepped(config):
        first = best_subset(part, diffusion.value, criterion=config.fit.criterion, max_terms=config.fit.max_terms)
        step = felt_step(store, config, part, first, some, diffusion.value)
    bias = step.bias if step is not None and step.removable else None
    found = bridge(config, store, taken, part, diffusion.value, some, choice.quadrature, bias)
    if found is None:
        return None
    unresolved = tuple(unknowns.names[k] for k in fine)
    doubts = tuple(f"the slices do not resolve {name}: it was left out" for name in unresolved)
    fit = widened(found.fit, unknowns.names, kept)
    error = choice.error if np.isfinite(choice.error) else None
    used = found.equations.change_basis(np.eye(len(unknowns))[kept], unknowns.names)
    answer = Answer(fit, used, diffusion, True, unresolved, error, doubts, settled=found.settled)
    return _with_reason(answer, choice, step)
