"""A kernel in pieces as the answer of a run: its terms by name, its equations, what the record says of its roads."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ipsdist.learning.breakpoints import BreakFit, Runner
from ipsdist.learning.pieces import HatSystem, all_columns
from ipsdist.learning.uncertainty import condition
from ipsdist.model.dictionary import Dictionary
from ipsdist.model.fit import Fit
from ipsdist.model.normal_equations import NormalEquations
from ipsdist.model.radial import RadialKernel
from ipsdist.model.radial_basis import RadialBasis

__all__ = ["break_doubts", "fit_of", "in_pieces", "on_pieces", "road_of", "roads_doubt", "runner_rows"]


_EVIDENCE = 10.0
"""Difference in score above which the evidence is very strong."""
_SMOOTH = ("coefficients", "score_difference")


def on_pieces(terms: Dictionary, places: tuple[float, ...]) -> Dictionary:
    """Return every term on every piece, the terms themselves where there is one piece; named like "r on (0, 1.5]"."""
    if not places:
        return terms
    ends = [0.0, *places, math.inf]
    found = []
    for lower, upper in itertools.pairwise(ends):
        for term in terms:
            pieces = [(lower, "0")] if lower > 0 else []
            pieces.append((upper, term.pieces[0][1].text))
            if math.isfinite(upper):
                pieces.append((math.inf, "0"))
            cut = term.cutoff if lower == 0 and term.pieces[0][1].unbounded_at_zero() else None
            parts = [(None if math.isinf(upto) else upto, text) for upto, text in pieces]
            found.append(RadialKernel.from_pieces(parts, cut, "dictionary.terms"))
    return Dictionary(tuple(found))


def in_pieces(
    hats: NormalEquations, basis: RadialBasis, terms: Dictionary, places: tuple[float, ...]
) -> NormalEquations:
    """Return the equations over every term on every piece."""
    system = HatSystem.of(hats, basis, terms, 1.0)
    columns = system.columns(places, all_columns(len(places), len(terms)))
    return hats.change_basis(columns, on_pieces(terms, places).names)


def fit_of(found: BreakFit, equations: NormalEquations) -> Fit:
    """Return a kernel in pieces as a fit over every term on every piece."""
    return Fit(
        basis=equations.basis,
        terms=tuple(p * len(found.names) + k for p, k in found.kept),
        coefficients=found.coefficients,
        covariance=found.covariance,
        condition=condition(equations),
        selection="breakpoints",
    )


def break_doubts(found: BreakFit, most: int) -> tuple[str, ...]:
    """Return what lowers the trust in break points: a smooth kernel that does as well, and a number that may be cut."""
    told = []
    if len(found.places) and found.smooth is not None and found.smooth[1] < _EVIDENCE:
        count, difference = found.smooth
        how = "better than" if difference < 0 else "about as well as"
        told.append(
            f"A smooth kernel, a cubic spline of {count} coefficients, describes the data {how} the pieces: the break "
            "points may be those of an approximation, and their intervals hold for these terms alone."
        )
    if len(found.places) == most:
        told.append(f"There are as many break points as fit.max_breaks allows, {most}: more may be needed.")
    return tuple(told)


def roads_doubt(places: Sequence[float], road: dict[str, Any] | None) -> tuple[str, ...]:
    """Return what to say where the network ``road`` (None: not taken) finds another number of break points."""
    if road is None or road["places"] is None or len(road["places"]) == len(places):
        return ()

    def told(found: Sequence[float]) -> str:
        return ", ".join(f"{b:.3g}" for b in found) or "none"

    return (
        f"The two roads disagree on the number of break points: by the profile misfit {told(places)}; by the network "
        f"{told(road['places'])}.",
    )


def runner_rows(found: BreakFit, terms: Dictionary) -> list[dict[str, Any]]:
    """Return the best kernels with other numbers of break points, their terms by name, best first."""
    return [_runner_row(runner, terms) for runner in found.alternatives]


def _runner_row(runner: Runner, terms: Dictionary) -> dict[str, Any]:
    names = on_pieces(terms, runner.places).names
    chosen = [names[p * len(terms) + k] for p, k in runner.kept]
    return {"terms": chosen, "coefficients": list(runner.coefficients), "score_difference": runner.score}


def road_of(found: BreakFit) -> dict[str, Any]:
    """Return what one road found as plain values: places, intervals, pieces, score, other numbers, profiles."""
    errors = np.sqrt(np.diag(found.covariance))
    ends = [0.0, *found.places.tolist(), None]
    pieces = []
    for piece, (lower, upper) in enumerate(itertools.pairwise(ends)):
        rows = [n for n, (p, _) in enumerate(found.kept) if p == piece]
        pieces.append(
            {
                "lower": lower,
                "upper": upper,
                "terms": [found.names[found.kept[n][1]] for n in rows],
                "coefficients": [float(found.coefficients[n]) for n in rows],
                "standard_errors": [float(errors[n]) for n in rows],
            }
        )
    others = [
        {"places": list(r.places), "score_difference": r.score, "coefficients": list(r.coefficients)}
        for r in found.alternatives
    ]
    return {
        "places": found.places.tolist(),
        "intervals": found.intervals.tolist(),
        "pieces": pieces,
        "score": found.score,
        "alternatives": others,
        "smooth": None if found.smooth is None else dict(zip(_SMOOTH, found.smooth, strict=True)),
        "profiles": [{"places": b.tolist(), "misfit": d.tolist()} for b, d in found.curves],
    }
