"""Kernel: the selection on the driver, from normal equations to terms with errors; no particle is seen again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ipsdist.config import RunConfig
from ipsdist.learning.choice import Choice
from ipsdist.learning.resolution import fine_terms, fit_resolved, widened
from ipsdist.learning.subset import best_subset
from ipsdist.learning.two_phase import two_phase
from ipsdist.model.dictionary import Dictionary
from ipsdist.model.fit import Candidate, Fit, Iteration
from ipsdist.model.normal_equations import NormalEquations
from ipsdist.numerics.equations.pairings import Pairings
from ipsdist.runtime.threads import single_threaded
from ipsdist.stages.base import Payload, Stage, Task, Tick, nothing_shared, setup_of
from ipsdist.stages.equations import load_diffusion, load_equations, load_pairings, write_equations
from ipsdist.stages.radial import radial_basis
from ipsdist.stages.snapshots import TOLERATED, bridge, judged
from ipsdist.storage import Store

__all__ = ["KERNEL", "load_fit", "load_uniform_history", "load_used_equations", "select"]

_BRIDGED = "kernel/equations"


def select(config: RunConfig, equations: NormalEquations, diffusion: float) -> Fit:
    """Return what the configured selection finds in the equations."""
    fit = config.fit
    if config.selection == "best_subset":
        return best_subset(equations, diffusion, criterion=fit.criterion, max_terms=fit.max_terms)
    return _two_phase(config, equations, diffusion, importance=True)


def _two_phase(config: RunConfig, equations: NormalEquations, diffusion: float, *, importance: bool) -> Fit:
    fit = config.fit
    return two_phase(
        equations,
        diffusion=diffusion,
        seed=config.run.seed,
        alpha=fit.alpha,
        penalty=fit.penalty,
        penalize_refit=fit.penalize_refit,
        scale_columns=fit.scale_columns,
        sampled_fraction=fit.sampled_fraction,
        iterations=fit.iterations,
        importance=importance,
    )


def _no_tasks(*_: Any) -> Sequence[Task]:
    return ()


def _nothing(task: Task, tick: Tick) -> Payload:
    raise RuntimeError(f"the kernel stage has no tasks; got {task.record}")


def _finish(store: Store, config: RunConfig, payloads: Sequence[Payload]) -> Payload:
    """Select; keep beside it the two phases, with and without importance sampling, on the same equations."""
    equations, diffusion = load_equations(store), load_diffusion(store).value
    with single_threaded():
        found = _found(store, config, equations, diffusion)
        phases = found.fit
        if config.selection != "two_phase":
            phases = _two_phase(config, found.equations, diffusion, importance=True)
        uniform = _two_phase(config, found.equations, diffusion, importance=False)
    fit = found.fit
    if found.bridged:
        write_equations(store, _BRIDGED, found.equations)
    store.write("kernel/coefficients", fit.coefficients, dims=("kept",))
    store.write("kernel/covariance", fit.covariance, dims=("kept", "other_kept"))
    return {
        "unresolved": list(found.unresolved),
        "bridged": found.bridged,
        "slice_error": found.slice_error,
        "warnings": list(found.warnings),
        "form_reason": found.reason or config.form_reason,
        "settled": found.settled,
        "basis": list(fit.basis),
        "terms": list(fit.terms),
        "coefficients": fit.coefficients.tolist(),
        "covariance": fit.covariance.tolist(),
        "condition": fit.condition,
        "selection": fit.selection,
        "alternatives": [asdict(a) for a in fit.alternatives],
        "history": [asdict(i) for i in phases.history],
        "history_uniform": [asdict(i) for i in uniform.history],
    }


@dataclass(frozen=True)
class _Found:
    """What the selection found, on which equations, and what should lower the trust in it."""

    fit: Fit
    equations: NormalEquations
    bridged: bool = False
    unresolved: tuple[str, ...] = ()
    slice_error: float | None = None
    """Estimated error of the time rule in standard errors; None where it cannot be told or does not matter."""
    warnings: tuple[str, ...] = ()
    reason: str = ""
    """Why these equations, in a line."""
    settled: bool | None = None
    """Whether a bridged answer, solved forward, leads to itself; None where nothing was bridged."""


def _found(store: Store, config: RunConfig, equations: NormalEquations, diffusion: float) -> _Found:
    """Select on the equations of the time rule, or on those that a prediction between distant slices carries."""
    if config.form != "action":
        return _resolved(config, equations, diffusion, None, ())
    pairings = load_pairings(store)
    choice = judged(config, store, pairings, diffusion)
    if choice.control:
        bridged = _bridged(store, config, pairings, equations, diffusion, choice)
        if bridged is not None:
            return bridged
        choice = replace(choice, reason="action form; no prediction could be solved forward")
    told = choice.error if np.isfinite(choice.error) else None
    doubts: tuple[str, ...] = ()
    if not choice.error <= TOLERATED:
        size = "cannot be told" if told is None else f"is up to {told:.1g} standard errors"
        doubts = (f"the slices are far apart: the error of the time rule {size}",)
    return replace(_resolved(config, equations, diffusion, told, doubts), reason=choice.reason)


def _bridged(
    store: Store,
    config: RunConfig,
    pairings: list[Pairings],
    plain: NormalEquations,
    diffusion: float,
    choice: Choice,
) -> _Found | None:
    """Let a prediction carry the integrals, for the terms that particles do not outrun between two slices."""
    setup, dictionary = setup_of(store), config.terms()
    length = float(np.sqrt(diffusion * np.diff(setup.slice_times).max()))
    fine = fine_terms(dictionary, radial_basis(store).reach, length)
    kept = [k for k in range(len(dictionary)) if k not in fine]
    if not kept:
        return None
    columns = [*kept, *range(len(dictionary), pairings[0].gram.shape[1])]
    some = Dictionary(tuple(dictionary.terms[k] for k in kept))
    part = plain.change_basis(np.eye(len(dictionary))[:, kept], some.names)
    found = bridge(config, store, [p.columns(columns) for p in pairings], part, diffusion, some, choice.quadrature)
    if found is None:
        return None
    unresolved = tuple(dictionary.names[k] for k in fine)
    doubts = [f"the slices do not resolve {name}: it was left out" for name in unresolved]
    fit = widened(found.fit, dictionary.names, kept)
    error = choice.error if np.isfinite(choice.error) else None
    used = _wide(found.equations, dictionary.names, kept)
    return _Found(fit, used, True, unresolved, error, tuple(doubts), choice.reason, found.settled)


def _wide(equations: NormalEquations, names: tuple[str, ...], kept: list[int]) -> NormalEquations:
    """Return equations over all terms; those of the terms left out are 0."""
    return equations.change_basis(np.eye(len(names))[kept], names)


def _resolved(
    config: RunConfig, equations: NormalEquations, diffusion: float, error: float | None, doubts: tuple[str, ...]
) -> _Found:
    fit, unresolved = fit_resolved(equations, diffusion, lambda e: select(config, e, diffusion))
    named = tuple(f"the slices do not resolve {name}: it was left out" for name in unresolved)
    return _Found(fit, equations, unresolved=unresolved, slice_error=error, warnings=(*doubts, *named))


def load_used_equations(store: Store) -> NormalEquations:
    """Read the equations that the fit solves: those of the time rule, or those of the prediction."""
    bridged = (store.record("kernel/done") or {})["bridged"]
    plain = load_equations(store)
    if not bridged:
        return plain
    gram, moment = (store.read(f"{_BRIDGED}/{name}") for name in ("gram", "moment"))
    return replace(plain, gram=gram, moment=moment)


def load_fit(store: Store) -> Fit:
    """Read the fit of a store; every float as it was, bit for bit."""
    record = store.record("kernel/done") or {}
    kept = len(record["terms"])
    return Fit(
        tuple(record["basis"]),
        tuple(record["terms"]),
        np.array(record["coefficients"], dtype=np.float64),
        np.array(record["covariance"], dtype=np.float64).reshape(kept, kept),
        record["condition"],
        record["selection"],
        tuple(Candidate(tuple(a["terms"]), tuple(a["coefficients"]), a["score"]) for a in record["alternatives"]),
        _iterations(record["history"]),
    )


def load_uniform_history(store: Store) -> tuple[Iteration, ...]:
    """Read the iterations of the two phases with slices drawn uniformly instead of by importance."""
    return _iterations((store.record("kernel/done") or {})["history_uniform"])


def _iterations(records: Sequence[dict[str, Any]]) -> tuple[Iteration, ...]:
    return tuple(Iteration(tuple(i["mask"]), tuple(i["coefficients"]), i["sampled"], i["loss"]) for i in records)


KERNEL = Stage(
    name="kernel",
    unit="fits",
    needs=lambda config: ("equations",),
    # The prediction that bridges distant slices is solved on the density grid, made finer.
    keys=lambda config: {**config.values("fit", "grid"), "seed": config.run.seed},
    prepare=nothing_shared,
    tasks=_no_tasks,
    do=_nothing,
    finish=_finish,
)
