"""The automatic form: what the slices can carry, judged by their own pairings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ipsdist.learning.subset import best_subset
from ipsdist.model.errors import InputError
from ipsdist.numerics.equations.forms.action import action_equations
from ipsdist.numerics.equations.gap_noise import WINDOW, in_standard_errors, rule_difference, window_differences
from ipsdist.numerics.equations.pairings import Pairings
from ipsdist.numerics.equations.quadrature import panels

__all__ = ["Choice", "choose_form", "choose_rule", "time_error"]

Array = npt.NDArray[np.float64]

_TOLERATED = 0.3
"""Largest error of the time integrals, in standard errors of the answer, for which a rule alone will do."""
_EVEN = 1.5
"""Ratio of neighbouring intervals up to which Simpson's rule is as good as the spline."""
_SIMPSON = 15.0
"""2**4 - 1: the error of a rule of fourth order is this part of its difference from that on every second slice."""
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
    """Estimated error of the rule alone, in standard errors of the answer; infinite where it cannot be told."""
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
    control = not error <= _TOLERATED
    what = "trajectories" if labelled else "unlabelled snapshots"
    told = f"{error:.2g} standard errors" if np.isfinite(error) else "unknown"
    data = f"{len(pairings)} slices of {what}"
    if control:
        prediction = "action form with a mean-field prediction between the slices"
        reason = f"{prediction}: the time error of {_NAMES[rule]} alone over {data} would be {told}"
    else:
        reason = f"action form by {_NAMES[rule]}: its time error over {data} is {told}"
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
    """Return the estimated error of the rule's time integrals, in standard errors, at the model that it leads to.

    Simpson's rule and the spline are compared with Simpson's on every second slice: a fifteenth of the difference is
    the error where the slices follow the pairings at all; where they do not it is too little, but large all the same.
    The polynomial through all slices is compared with the spline, which is too much. Of the models with one more term
    the largest counts, for that is what a selection would be misled by. Infinite for fewer than five slices.
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
    if rule == "gauss_lobatto":
        error = rule_difference(pairings, times, z, diffusion, (rule, "spline"))
    else:
        error = window_differences(pairings, times, z, diffusion).sum(axis=0) / _SIMPSON
    return in_standard_errors(error[: len(basis)], equations.gram.sum(axis=0), fit.terms, diffusion)
