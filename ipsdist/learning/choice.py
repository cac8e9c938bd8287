"""The automatic form: what the slices can carry, judged by their own pairings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ipsdist.learning.subset import best_subset
from ipsdist.model.errors import InputError
from ipsdist.numerics.equations.forms.action import action_equations
from ipsdist.numerics.equations.gap_noise import WINDOW, in_standard_errors, window_differences
from ipsdist.numerics.equations.pairings import Pairings
from ipsdist.numerics.equations.quadrature import CALM, growth, panels

__all__ = ["TOLERATED", "Choice", "choose_form", "choose_rule", "time_error"]

TOLERATED = 0.3
"""Largest error of the time integrals, in standard errors of the answer, for which a rule alone will do."""
_EVEN = 1.5
"""Ratio of neighbouring intervals up to which Simpson's rule is as good as the spline."""
_SIMPSON = 15.0
"""2**4 - 1: the error of a rule of fourth order is this part of its difference from that on every second slice."""
_NOISE = 3.0
"""The same for the squares, where the integrand is noise."""
_NAMES = {
    "simpson": "Simpson's rule",
    "spline": "the cubic spline",
    "gauss_lobatto": "the polynomial through all slices",
}


@dataclass(frozen=True)
class Choice:
    """How slices become equations, and why."""

    form: str
    quadrature: str
    control: bool
    """Whether a mean-field prediction carries the integrals between the slices (`fit_few_snapshots`)."""
    error: float
    """`time_error` of the rule alone: cautious, in standard errors of the answer; infinite where it cannot be told."""
    reason: str
    """One line."""


def choose_form(
    pairings: Pairings,
    times: npt.ArrayLike,
    *,
    basis: Sequence[str],
    diffusion: float,
    particles: int,
    labelled: bool,
    criterion: str = "ebic",
    max_terms: int = 4,
) -> Choice:
    """Return the form, the time rule and whether a mean-field prediction is needed, for pairings of one replica.

    The form is the action: it needs no labels, and they add nothing about phi to it (docs/method.md, section 4). The
    rule is that of `choose_rule`; where its error would show in the answer (`time_error`) the prediction carries the
    integrals.
    """
    rule = choose_rule(times)
    error = time_error(
        pairings,
        times,
        rule,
        basis=basis,
        diffusion=diffusion,
        particles=particles,
        criterion=criterion,
        max_terms=max_terms,
    )
    control = not error <= TOLERATED
    if control and growth(times, rule) > CALM:
        rule = "trapezoid"  # on ragged times it makes least of the noise, and the prediction takes its error away
    what = "trajectories" if labelled else "unlabelled snapshots"
    if control:
        size = f"up to {error:.1g}" if error < 10 else "more than ten"
        told = f"uncertain by {size} standard errors" if np.isfinite(error) else "blind"
        prediction = "action form with a mean-field prediction between the slices"
        reason = f"{prediction}: across {len(pairings)} slices of {what} Simpson's rule alone is {told}"
    else:
        told = f"its time error is at most {error:.1g} standard errors"
        reason = f"action form by {_NAMES[rule]}: {len(pairings)} slices of {what} are dense enough, {told}"
    return Choice("action", rule, control, error, reason)


def choose_rule(times: npt.ArrayLike) -> str:
    """Return simpson for (nearly) even times, gauss_lobatto for times that crowd at both ends, else spline."""
    t = np.asarray(times, dtype=np.float64)
    intervals = np.diff(t)
    ratio = np.maximum(intervals[1:] / intervals[:-1], intervals[:-1] / intervals[1:])
    if len(t) < 3 or ratio.max() <= _EVEN:
        return "simpson"
    try:
        panels(t, "gauss_lobatto")
    except InputError:
        return "spline"
    return "gauss_lobatto"


def time_error(
    pairings: Pairings,
    times: npt.ArrayLike,
    rule: str,
    *,
    basis: Sequence[str],
    diffusion: float,
    particles: int,
    criterion: str = "ebic",
    max_terms: int = 4,
) -> float:
    """Return how much the time integrals may be off by the rule, in standard errors, at the model that it leads to.

    By the differences d of Simpson's rule from the same on every second slice (numerics/equations/gap_noise.py): a
    fifteenth of their sum, or the root of a third of the sum of their squares if that is more. The first is the error
    of Simpson's rule for a smooth integrand that the slices follow; the second is that of noise, and a cautious figure
    for what is smooth and for the other rules. Of the models with one more term the largest counts, for that is what a
    selection would be misled by. Infinite for fewer than five slices.
    """
    if len(pairings) <= WINDOW:
        return float("inf")
    equations = action_equations(
        pairings, times, basis=basis, diffusion=diffusion, quadrature=rule, particles=particles
    )
    fit = best_subset(equations, diffusion, criterion=criterion, max_terms=max_terms)
    z = np.ones(pairings.gram.shape[1])
    z[: len(basis)] = 0.0
    z[list(fit.terms)] = fit.coefficients
    d = window_differences(pairings, times, z, diffusion)[:, : len(basis)]
    gram = equations.gram.sum(axis=0)
    smooth = in_standard_errors(d.sum(axis=0, keepdims=True) / _SIMPSON, gram, fit.terms, diffusion)
    return max(smooth, in_standard_errors(d / np.sqrt(_NOISE), gram, fit.terms, diffusion))
