"""A pool: one law learnt from several finished runs, whose equations add; pooled.json, its page, and the kernel."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ipsdist.learning.confounded import confounded
from ipsdist.learning.pooling import Agreement, Own, agreement, pooled_equations, pooled_fit
from ipsdist.model.errors import InputError
from ipsdist.model.fit import Fit
from ipsdist.model.learned_kernel import LearnedKernel
from ipsdist.model.learned_potential import LearnedPotential
from ipsdist.report.pooled import FILES, Curves, summary_rows, write_pooled
from ipsdist.report.result_json import to_json
from ipsdist.runs import directory
from ipsdist.runs.experiments import Opened, open_experiments
from ipsdist.runs.pipeline import Options
from ipsdist.runs.rows import alternative_rows, term_rows, versions
from ipsdist.runtime.progress import Observer, Progress
from ipsdist.runtime.threads import single_threaded
from ipsdist.stages.base import setup_of
from ipsdist.stages.pooling import Experiment, find_experiment
from ipsdist.storage import Place, locked, place

__all__ = ["DISAGREE", "Pooled", "pool"]

DISAGREE = 0.01
"""Probability of a larger chi^2 below which experiments are said not to agree."""
_RADII = 257
_PACKAGES = ("ipsdist", "numpy", "scipy")
"""What decides the answer."""


@dataclass(frozen=True, repr=False)
class Pooled:
    """What a pool leaves: its directory, what pooled.json holds, and the learnt kernel."""

    out: Path | Place | None
    """None when nothing was kept."""
    result: dict[str, Any]
    kernel: LearnedKernel

    @property
    def summary(self) -> str:
        """What was learnt and how far the experiments agree, as the terminal prints it."""
        return "\n".join(" ".join(part for part in row if part) for row in summary_rows(self.result))

    def __repr__(self) -> str:
        where = "nothing kept" if self.out is None else str(self.out)
        return f"<Pooled {self.kernel} ({where})>"


@dataclass(frozen=True)
class _Found:
    """One experiment, opened and answered."""

    opened: Opened
    answered: Experiment
    own: Own

    @property
    def kernel(self) -> LearnedKernel:
        return LearnedKernel.from_fit(self.answered.answer.fit, self.opened.config.terms())


def pool(
    directories: Sequence[str | Path | Place],
    out: Path | Place | str | None = None,
    sets: Sequence[str] = (),
    observe: Observer | None = None,
) -> Pooled:
    """Learn one law from the equations of several finished runs; with ``out``, write pooled.json and its page there.

    Raises InputError before anything is written (`open_experiments`; an ``out`` that is none). The directories of the
    runs are only read.
    """
    tell = observe or Options().observe
    out = None if out is None else place(out)
    if out is not None:
        _refuse_another(out)
    opened = open_experiments(directories, sets)
    answered = []
    with single_threaded():
        for number, one in enumerate(opened):
            tell(Progress("pool", number, len(opened), "experiments"))
            answered.append(find_experiment(one.store, one.config))
        parts, keys = [one.part for one in answered], opened[0].config.fit
        criterion, most = keys.criterion, keys.max_terms
        fit = pooled_fit(parts, criterion=criterion, max_terms=most)
        groups = confounded(fit, pooled_equations(parts), 1.0, criterion=criterion, max_terms=most)
        agreed = agreement(parts, fit)
    found = [_Found(*row) for row in zip(opened, answered, agreed.each, strict=True)]
    learnt = LearnedKernel.from_fit(fit, opened[0].config.terms())
    curves = _curves(found, learnt)
    text = to_json({**_result(found, fit, learnt, agreed, curves), "confounded": groups})
    if out is not None:
        directory.make(out)
        with locked(out):
            write_pooled(text, curves, out)
    tell(Progress("pool", len(opened), len(opened), "experiments"))
    return Pooled(None if out is None else out.given, json.loads(text), learnt)


def _refuse_another(out: Place) -> None:
    """Raise InputError for a path that is no directory, and for a directory with anything but a former pool."""
    if out.is_file():
        raise InputError("--out", "must be a directory", f"{out}, which is a file", "choose another --out")
    others = sorted(set(out.names()) - {*FILES, ".lock"})
    if others:
        fix = "choose another --out, or an empty directory"
        raise InputError("--out", "must be new, empty or that of a former pool", f"{out}, which holds {others[0]}", fix)


def _curves(found: Sequence[_Found], learnt: LearnedKernel) -> Curves:
    """Return the kernels at common distances, up to the largest that an experiment saw; nan beyond its own."""
    radii = np.linspace(0.0, max(one.answered.reach for one in found), _RADII)
    value, lower, upper = learnt.band(radii)
    own = tuple(np.where(radii <= one.answered.reach, one.kernel(radii), np.nan) for one in found)
    return Curves(radii, value, lower, upper, own)


def _result(
    found: Sequence[_Found], fit: Fit, learnt: LearnedKernel, agreed: Agreement, curves: Curves
) -> dict[str, Any]:
    """Return pooled.json as a dictionary (docs/reference.md)."""
    config = found[0].opened.config
    unknowns = config.unknowns()
    return {
        "format": 1,
        "form": config.form,
        "selection": fit.selection,
        "criterion": config.fit.criterion,
        "particles": sum(one.answered.part.equations.particles for one in found),
        "terms": term_rows(fit, unknowns.kinds),
        "dropped": list(fit.dropped),
        "kernel": learnt.text,
        "potential": LearnedPotential.from_fit(fit, unknowns).text if unknowns.fields else None,
        "alternatives": alternative_rows(fit),
        "condition": fit.condition,
        "band": {"r": curves.radii, "value": curves.value, "lower": curves.lower, "upper": curves.upper},
        "experiments": [_experiment(one, fit) for one in found],
        "consistency": _chi2(agreed),
        "warnings": _warnings(found, fit, agreed),
        "versions": versions(_PACKAGES),
    }


def _experiment(one: _Found, fit: Fit) -> dict[str, Any]:
    config, answer, setup = one.opened.config, one.answered.answer, setup_of(one.opened.store)
    unknowns = config.unknowns()
    pooled = zip(fit.terms, one.own.coefficients, one.own.standard_errors, strict=True)
    return {
        "name": one.opened.name,
        "directory": str(one.opened.path),
        "dimension": setup.dimension,
        "particles": setup.particles,
        "replicas": setup.replicas,
        "slices": setup.slices,
        "diffusion": {"value": answer.diffusion.value, "standard_error": answer.diffusion.standard_error},
        "factor": answer.factor,
        "reach": one.answered.reach,
        "reason": answer.reason or config.form_reason,
        "unresolved": list(answer.unresolved),
        "terms": term_rows(answer.fit, unknowns.kinds),
        "kernel": one.kernel.text,
        "pooled_terms": [
            {"name": fit.basis[k], "coefficient": float(z), "standard_error": float(error)} for k, z, error in pooled
        ],
        "consistency": _chi2(one.own),
    }


def _chi2(test: Agreement | Own) -> dict[str, Any]:
    return {"chi2": test.chi2, "degrees_of_freedom": test.degrees_of_freedom, "p_value": test.p_value}


def _warnings(found: Sequence[_Found], fit: Fit, agreed: Agreement) -> list[str]:
    """Return what should lower the trust, of the pool first."""
    warnings = _disagreement(found, agreed) + _shared_noise(found)
    kept = {fit.basis[k] for k in fit.terms}
    for one in found:
        name, answer = one.opened.name, one.answered.answer
        warnings += [f"{name}: {warning}" for warning in answer.warnings]
        warnings += [
            f"{name} has no say on {term}, which the pool keeps, and counts as if it were not there: leave {name} out"
            for term in answer.unresolved
            if term in kept
        ]
        if answer.settled is False:
            warnings.append(
                f"{name}: its slices are far apart, and its answer, solved forward, does not lead to itself"
            )
    return warnings


def _disagreement(found: Sequence[_Found], agreed: Agreement) -> list[str]:
    """Say that experiments do not agree: p of all below 0.01, or of one below its share of it."""
    limit = DISAGREE / len(found)
    apart = [f"{one.opened.name} (p = {one.own.p_value:.1g})" for one in found if one.own.p_value < limit]
    if not (apart or agreed.p_value < DISAGREE):
        return []
    which = f"; apart from the others: {', '.join(apart)}" if apart else ""
    size = f"chi^2 = {agreed.chi2:.4g} on {agreed.degrees_of_freedom} degrees of freedom, p = {agreed.p_value:.1g}"
    return [f"the experiments do not agree: {size}{which}; pooled errors are too small"]


def _shared_noise(found: Sequence[_Found]) -> list[str]:
    """Say which simulations have one seed: the same noise, whatever their initial laws, moves their particles."""
    seeds: dict[int, list[str]] = {}
    for one in found:
        if one.opened.config.data.source == "simulate":
            seeds.setdefault(one.opened.config.run.seed, []).append(one.opened.name)
    return [
        f"{' and '.join(names)} were simulated with one run.seed and share their noise: pooled errors may be too small"
        for names in seeds.values()
        if len(names) > 1
    ]
