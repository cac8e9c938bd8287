"""What a selection leaves open: terms that the data cannot tell apart, and how often resamples find the same ones."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from ipsdist.config import RunConfig
from ipsdist.learning.confounded import confounded
from ipsdist.learning.stability import stability
from ipsdist.model.fit import Fit
from ipsdist.stages.answer import Answer, select

__all__ = ["doubts"]

_BETWEEN_KINDS = 10.0
"""Evidence that is asked for to tell an interaction from a potential: where only the mean of the data parts the two, a
draw of that mean makes or breaks it."""


def doubts(config: RunConfig, found: Answer) -> dict[str, Any]:
    """Return ``confounded`` (groups of names) and ``stability`` of an answer as plain values."""
    weighed, sigma2 = found.weighed, found.factor * found.diffusion.value
    again = stability(weighed, sigma2, lambda e, s: select(config, e, s), seed=config.run.seed)
    shares = None
    if again is not None:
        kept = dict(zip(weighed.basis, again.kept, strict=True))
        shares = {"terms": kept, "model": again.same, "resamples": again.resamples}
    groups = _groups(config, found) if config.selection == "best_subset" else ()
    return {"confounded": [list(group) for group in groups], "stability": shares}


def _groups(config: RunConfig, found: Answer) -> tuple[tuple[str, ...], ...]:
    weighed, fit = found.weighed, config.fit
    apart = partial(
        confounded,
        replace(found.fit, basis=weighed.basis, terms=_places(found.fit, weighed.basis)),
        weighed,
        found.factor * found.diffusion.value,
        criterion=fit.criterion,
        max_terms=fit.max_terms,
    )
    groups = apart()
    if not config.unknowns().fields:
        return groups
    kinds = dict(zip(config.unknowns().names, config.unknowns().kinds, strict=True))
    wide = apart(evidence=_BETWEEN_KINDS)
    mixed = [group for group in wide if len({kinds[name] for name in group}) > 1]
    return (*mixed, *(g for g in groups if not any(set(g) <= set(m) for m in mixed)))


def _places(fit: Fit, basis: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(basis.index(fit.basis[k]) for k in fit.terms)
