"""What a selection leaves open: terms that the data cannot tell apart, and how often resamples find the same ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ipsdist.config import RunConfig
from ipsdist.learning.confounded import alike_but_for_chance, confounded
from ipsdist.learning.stability import stability
from ipsdist.model.fit import Fit
from ipsdist.stages.selecting import Answer, select

__all__ = ["doubts"]


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
    chosen = replace(found.fit, basis=weighed.basis, terms=_places(found.fit, weighed.basis))
    sigma2 = found.factor * found.diffusion.value
    near = confounded(chosen, weighed, sigma2, criterion=fit.criterion, max_terms=fit.max_terms)
    groups = [set(group) for group in near]
    kinds = dict(zip(config.unknowns().names, config.unknowns().kinds, strict=True))
    pairs = [set(pair) for pair in alike_but_for_chance(chosen, weighed)]
    for pair in (p for p in pairs if len({kinds[name] for name in p}) > 1):
        joined = [group for group in groups if group & pair]
        groups = [*(g for g in groups if g not in joined), pair.union(*joined)]
    # The drift along one axis is no other form of that along another.
    groups = [group for group in groups if {kinds[name] for name in group} != {"drift"}]
    order = {name: k for k, name in enumerate(weighed.basis)}
    return tuple(sorted(tuple(sorted(group, key=order.__getitem__)) for group in groups))


def _places(fit: Fit, basis: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(basis.index(fit.basis[k]) for k in fit.terms)
