"""Kernel: the selection on the driver, from normal equations to terms with errors; no particle is seen again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from ipsdist.config import RunConfig
from ipsdist.learning.breakpoints import BreakFit
from ipsdist.model.dictionary import Dictionary
from ipsdist.model.fit import Candidate, Fit, Iteration
from ipsdist.model.learned_kernel import LearnedKernel
from ipsdist.model.normal_equations import NormalEquations
from ipsdist.numerics.equations.diffusion import Diffusion
from ipsdist.runtime.threads import single_threaded
from ipsdist.stages.answer import find_answer
from ipsdist.stages.base import Payload, Stage, Task, Tick, nothing_shared
from ipsdist.stages.doubts import doubts
from ipsdist.stages.equations import read_equations, write_equations
from ipsdist.stages.network import network_road
from ipsdist.stages.pieces import on_pieces, road_of, roads_doubt, runner_rows
from ipsdist.stages.radial import unheld
from ipsdist.stages.selecting import phases
from ipsdist.storage import Store

__all__ = [
    "KERNEL", "load_dictionary", "load_diffusion", "load_fit", "load_kernel", "load_places",
    "load_uniform_history", "load_used_equations",
]  # fmt: skip

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
        road = network_road(store, config, diffusion.value) if found.breaks is not None else None
        disagree = () if found.breaks is None else roads_doubt(found.breaks.places.tolist(), road)
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
        "warnings": [*found.warnings, *disagree, *unheld(store, config)],
        "form_reason": (found.reason or config.form_reason) + _whose_errors(config),
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
        **_breaks(config, found.breaks, road),
        "history": [asdict(i) for i in history],
        "history_uniform": [asdict(i) for i in uniform],
    }


def _breaks(config: RunConfig, found: BreakFit | None, network: Payload | None) -> Payload:
    """Return what the record says of break points: where they are, how they were found, and the other numbers."""
    if found is None:
        return {}
    rows = zip(found.places.tolist(), found.intervals.tolist(), strict=True)
    return {
        "breakpoints": [{"place": place, "interval95": interval} for place, interval in rows],
        "breakpoint_roads": {"profile": road_of(found), "network": network},
        "runners": runner_rows(found, config.terms()),
    }


def load_dictionary(store: Store, config: RunConfig) -> Dictionary:
    """Return the terms that the fit's columns are: those of the run file, on every piece where it found pieces."""
    return on_pieces(config.terms(), load_places(store))


def load_places(store: Store) -> tuple[float, ...]:
    """Read the break points; none where none were sought."""
    record = store.record("kernel/done") or {}
    return tuple(row["place"] for row in record.get("breakpoints", ()))


def load_kernel(store: Store, config: RunConfig) -> LearnedKernel:
    """Return the kernel that a run learnt."""
    return LearnedKernel.from_fit(load_fit(store), load_dictionary(store, config))


def _whose_errors(config: RunConfig) -> str:
    """Say what standard errors mean where the data have no chance in them."""
    if config.data.source != "mean_field":
        return ""
    count = config.system.particles
    return f"; solved densities have no sampling error, and the errors shown are those that {count} particles have"


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
    values = config.values("fit", "grid", "dictionary", "mean_field", "system.diffusion")
    values["fit"] = {**values["fit"], "sampled_fraction": config.fit.share}
    del values["fit"]["device"]  # the equations know it
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
    revision=4,
)
