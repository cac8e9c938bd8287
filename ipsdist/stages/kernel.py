"""Kernel: the selection on the driver, from normal equations to terms with errors; no particle is seen again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from ipsdist.config import RunConfig
from ipsdist.model.fit import Candidate, Fit, Iteration
from ipsdist.model.normal_equations import NormalEquations
from ipsdist.numerics.equations.diffusion import Diffusion
from ipsdist.runtime.threads import single_threaded
from ipsdist.stages.answer import find_answer, phases
from ipsdist.stages.base import Payload, Stage, Task, Tick, nothing_shared
from ipsdist.stages.doubts import doubts
from ipsdist.stages.equations import read_equations, write_equations
from ipsdist.stages.radial import unheld
from ipsdist.storage import Store

__all__ = ["KERNEL", "load_diffusion", "load_fit", "load_uniform_history", "load_used_equations"]

_EQUATIONS = "kernel/equations"


def _no_tasks(*_: Any) -> Sequence[Task]:
    return ()


def _nothing(task: Task, tick: Tick) -> Payload:
    raise RuntimeError(f"the kernel stage has no tasks; got {task.record}")


def _finish(store: Store, config: RunConfig, payloads: Sequence[Payload]) -> Payload:
    """Select; keep beside it the two phases, with and without importance sampling, on the same equations."""
    with single_threaded():
        found = find_answer(store, config)
        equations, fit, diffusion = found.equations, found.fit, found.diffusion
        history = fit.history
        if config.selection != "two_phase":
            history = phases(config, equations, diffusion.value, importance=True).history
        uniform: tuple[Iteration, ...] = ()
        if config.fit.assembly == "whole":  # even draws would assemble other slices, for nothing but a figure
            uniform = phases(config, equations, diffusion.value, importance=False).history
        told = doubts(config, found)
    write_equations(store, _EQUATIONS, equations)
    store.write("kernel/coefficients", fit.coefficients, dims=("kept",))
    store.write("kernel/covariance", fit.covariance, dims=("kept", "other_kept"))
    return {
        "form": equations.form,
        "equations_basis": list(equations.basis),
        "equations_diffusion": equations.diffusion,
        "particles": equations.particles,
        "diffusion": {"value": diffusion.value, "standard_error": diffusion.standard_error},
        "unresolved": list(found.unresolved),
        "bridged": found.bridged,
        "slice_error": found.slice_error,
        "warnings": [*found.warnings, *unheld(store, config)],
        "form_reason": found.reason or config.form_reason,
        "settled": found.settled,
        "factor": found.factor,
        "noise": found.noise,
        **told,
        "basis": list(fit.basis),
        "terms": list(fit.terms),
        "coefficients": fit.coefficients.tolist(),
        "covariance": fit.covariance.tolist(),
        "condition": fit.condition,
        "selection": fit.selection,
        "alternatives": [asdict(a) for a in fit.alternatives],
        "history": [asdict(i) for i in history],
        "history_uniform": [asdict(i) for i in uniform],
    }


def load_used_equations(store: Store) -> NormalEquations:
    """Read the equations that the fit solves: those of the time rule, or those of the prediction."""
    record = store.record("kernel/done") or {}
    basis = tuple(record["equations_basis"])
    return read_equations(
        store, [_EQUATIONS], record["form"], basis, record["particles"], record["equations_diffusion"]
    )


def load_diffusion(store: Store) -> Diffusion:
    """Read sigma^2 with its standard error (None where it was given)."""
    record = store.record("kernel/done") or {}
    return Diffusion(record["diffusion"]["value"], record["diffusion"]["standard_error"])


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


def _keys(config: RunConfig) -> Payload:
    """Return what the answer depends on; the prediction that bridges distant slices is solved on the density grid."""
    values = config.values("fit", "grid", "dictionary", "system.diffusion")
    values["fit"] = {**values["fit"], "sampled_fraction": config.fit.share}
    return {**values, "form": config.form, "seed": config.run.seed}


KERNEL = Stage(
    name="kernel",
    unit="fits",
    needs=lambda config: ("equations",),
    keys=_keys,
    prepare=nothing_shared,
    tasks=_no_tasks,
    do=_nothing,
    finish=_finish,
    revision=2,
)
