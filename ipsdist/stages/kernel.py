"""Kernel: the selection on the driver, from normal equations to terms with errors; no particle is seen again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from ipsdist.config import RunConfig
from ipsdist.learning.resolution import fit_resolved
from ipsdist.learning.subset import best_subset
from ipsdist.learning.two_phase import two_phase
from ipsdist.model.fit import Candidate, Fit, Iteration
from ipsdist.model.normal_equations import NormalEquations
from ipsdist.runtime.threads import single_threaded
from ipsdist.stages.base import Payload, Stage, Task, Tick, nothing_shared
from ipsdist.stages.equations import load_diffusion, load_equations
from ipsdist.storage import Store

__all__ = ["KERNEL", "load_fit", "load_uniform_history", "select"]


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
    """Select; keep beside it, for the report, the two phases with and without importance sampling."""
    equations, diffusion = load_equations(store), load_diffusion(store).value
    with single_threaded():
        fit, unresolved = fit_resolved(equations, diffusion, lambda e: select(config, e, diffusion))
        phases = fit if config.selection == "two_phase" else _two_phase(config, equations, diffusion, importance=True)
        uniform = _two_phase(config, equations, diffusion, importance=False)
    store.write("kernel/coefficients", fit.coefficients, dims=("kept",))
    store.write("kernel/covariance", fit.covariance, dims=("kept", "other_kept"))
    return {
        "unresolved": list(unresolved),
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
    keys=lambda config: {**config.values("fit"), "seed": config.run.seed},
    prepare=nothing_shared,
    tasks=_no_tasks,
    do=_nothing,
    finish=_finish,
)
