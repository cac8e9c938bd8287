"""A dictionary for particles whose distances are far from 1: the same kinds of terms in lengths of their own."""

from __future__ import annotations

import math

from ipsdist.config import RunConfig
from ipsdist.importers.survey import Survey

__all__ = ["scaled_terms", "with_lengths"]

_USUAL = (1.0, 20.0)
"""Diagonals of the box for which the default terms, in r itself, are of good size."""
_PARTS = (6.0, 30.0, 100.0)
"""The three lengths are about these parts of the diagonal."""


def with_lengths(config: RunConfig, survey: Survey) -> tuple[RunConfig, tuple[float, ...]]:
    """Return the run file with terms scaled to the box, and their lengths; as it is where the box is of usual size.

    A dictionary of the user's own stays as well.
    """
    diagonal = math.dist(survey.lower.tolist(), survey.upper.tolist())
    default = type(config.dictionary)().terms
    if config.dictionary.terms != default or _USUAL[0] <= diagonal <= _USUAL[1]:
        return config, ()
    lengths = tuple(_round(diagonal / part) for part in _PARTS)
    dictionary = config.dictionary.model_copy(update={"terms": scaled_terms(*lengths)})
    return config.model_copy(update={"dictionary": dictionary}), lengths


def scaled_terms(long: float, middle: float, short: float) -> tuple[str, ...]:
    """Return powers in the long length, and attraction or repulsion of the reach of each."""
    a, b, c = (f"r/{length:.12g}" for length in (long, middle, short))
    powers = ("1", a, f"({a})**2", f"({a})**3")
    reaches = (f"exp(-{a})", f"exp(-{b})", f"exp(-{c})", f"{a}*exp(-{a})", f"{b}*exp(-{b})", f"{c}*exp(-{c})")
    return (*powers, *reaches)


def _round(length: float) -> float:
    """Return the nearest of 1, 2, 5 times a power of ten, by ratio."""
    power = math.floor(math.log10(length))
    near = [digit * 10.0**exponent for exponent in (power, power + 1) for digit in (1.0, 2.0, 5.0)]
    return min(near, key=lambda value: abs(math.log(value / length)))
