"""The two faces of an answer: result.json, and the arrays that the report draws."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from ipsdist.config import RunConfig
from ipsdist.model.fit import Fit
from ipsdist.model.learned_kernel import LearnedKernel
from ipsdist.model.learned_potential import LearnedPotential
from ipsdist.numerics.equations.diffusion import Diffusion
from ipsdist.report.data import ReportData
from ipsdist.runs.assess import Assessment
from ipsdist.runs.rows import alternative_rows, term_rows, versions
from ipsdist.stages.base import setup_of
from ipsdist.stages.devices import stepped_on
from ipsdist.stages.kernel import load_uniform_history
from ipsdist.stages.network import load_network
from ipsdist.stages.tracks import units_of
from ipsdist.storage import Store

__all__ = ["report_data", "result_of"]

_PACKAGES = (
    "ipsdist", "numpy", "scipy", "numba", "zarr", "dask", "distributed", "sympy", "matplotlib", "POT",
    "jax", "jaxlib", "equinox", "optax", "cupy-cuda12x", "cupy-cuda13x",
)  # fmt: skip
_STAGES = ("particles", "densities", "equations", "kernel")


def result_of(
    store: Store,
    config: RunConfig,
    fit: Fit,
    learnt: LearnedKernel,
    diffusion: Diffusion,
    assessment: Assessment,
    workers: int,
) -> dict[str, Any]:
    """Return result.json as a dictionary (docs/reference.md)."""
    value, lower, upper = assessment.band
    kernel, unknowns = store.record("kernel/done") or {}, config.unknowns()
    kinds = unknowns.kinds if "runners" not in kernel else ("kernel",) * len(fit.basis)
    errors = assessment.errors or dict.fromkeys(
        ("kernel_relative_l2", "coefficients", "support_correct", "cramer_rao_ratio")
    )
    return {
        "format": 1,
        "case": config.name,
        "seed": config.run.seed,
        "system": _system(store, config),
        "form": config.form,
        "form_reason": kernel.get("form_reason", config.form_reason),
        "selection": fit.selection,
        "terms": term_rows(fit, kinds),
        "dropped": list(fit.dropped),
        "confounded": kernel.get("confounded", []),
        **{key: kernel.get(key) for key in ("noise", "stability", "slice_error", "settled")},
        "kernel": learnt.text,
        "potential": LearnedPotential.from_fit(fit, unknowns).text if unknowns.fields else None,
        "diffusion": {"value": diffusion.value, "standard_error": diffusion.standard_error},
        "breakpoints": kernel.get("breakpoints", []),
        "breakpoint_roads": _roads(store),
        "alternatives": kernel.get("runners", alternative_rows(fit)),
        "condition": fit.condition,
        "band": {"r": assessment.radii, "value": value, "lower": lower, "upper": upper},
        "units": units_of(store),
        "nonparametric": _nonparametric(assessment),
        "errors": errors,
        "wasserstein2": assessment.wasserstein,
        "free_energy": assessment.energy,
        "data_loss": assessment.data_loss,
        "warnings": [*_warnings(store), *assessment.warnings],
        "history": [asdict(iteration) for iteration in fit.history],
        "cost": _cost(store, config),
        "versions": versions(_PACKAGES),
        "device": stepped_on(store) or "cpu",
        "workers": workers,
    }


def report_data(store: Store, config: RunConfig, fit: Fit, assessment: Assessment) -> ReportData:
    """Return the arrays that the figures are drawn from."""
    a = assessment
    truth = None if a.truth is None else {n: float(z) for n, z in zip(fit.basis, a.truth, strict=True) if z != 0.0}
    final = np.zeros(len(fit.basis))
    final[list(fit.terms)] = fit.coefficients
    distance = a.wasserstein
    return ReportData(
        grid=tuple(setup_of(store).grid.axes()),
        times=a.times,
        density_data=a.density_data,
        density_true=a.density_true,
        density_learnt=a.density_learnt,
        radii=a.radii,
        rho=a.rho,
        kernel_value=a.band[0],
        kernel_lower=a.band[1],
        kernel_upper=a.band[2],
        free_value=None if a.free is None else a.free.value,
        free_lower=None if a.free is None else a.free.lower_everywhere,
        free_upper=None if a.free is None else a.free.upper_everywhere,
        kernel_true=a.kernel_true,
        names=fit.basis,
        truth=truth,
        energy_times=None if a.energy is None else a.times,
        energy_data=None if a.energy is None else _array(a.energy["data"]),
        energy_true=None if a.energy is None else _array(a.energy["true"]),
        energy_learnt=None if a.energy is None else _array(a.energy["learnt"]),
        wasserstein_times=None if distance is None else _array(distance["times"]),
        wasserstein_values=None if distance is None else _array(distance["values"]),
        wasserstein_solutions=None if distance is None else _array(distance["solutions"]),
        history=fit.history,
        history_uniform=load_uniform_history(store),
        history_final=final if fit.selection == "two_phase" else None,
        length_unit=units_of(store)["length"],
        time_unit=units_of(store)["time"],
        config=config.to_toml(),
        command=f"ipsdist run config.toml --out {'.' if config.data.source == 'import' else 'again'}",
    )


def _nonparametric(assessment: Assessment) -> dict[str, Any] | None:
    free = assessment.free
    if free is None:
        return None
    curves = {"r": free.radii, "value": free.value, "lower": free.lower, "upper": free.upper}
    everywhere = {"lower": free.lower_everywhere, "upper": free.upper_everywhere}
    return {**curves, "everywhere": everywhere, "degrees_of_freedom": free.degrees_of_freedom}


def _roads(store: Store) -> dict[str, Any] | None:
    """Return how break points were found, the network's curves with them; None where none were sought."""
    roads = (store.record("kernel/done") or {}).get("breakpoint_roads")
    return None if roads is None else {**roads, "network": load_network(store)}


def _array(values: Any) -> Any:
    return None if values is None else np.asarray(values, dtype=np.float64)


def _system(store: Store, config: RunConfig) -> dict[str, Any]:
    setup, kernel, potential = setup_of(store), config.kernel(), config.potential()
    return {
        "dimension": setup.dimension,
        "particles": setup.particles,
        "replicas": setup.replicas,
        "slices": setup.slices,
        "horizon": setup.times[-1] - setup.times[0],
        "labelled": setup.labelled,
        "kernel": None if kernel is None else kernel.name,
        "cutoff": config.system.cutoff,
        "potential": None if potential is None else potential.text,
        "diffusion": config.system.diffusion,
        "source": config.data.source,
        "force": setup.force,
        "mesh_spacing": setup.spacing,
    }


def _warnings(store: Store) -> list[str]:
    """Return what the stages noticed that should lower the reader's trust."""
    kernel = store.record("kernel/done") or {}
    found = list(kernel.get("warnings", ()))
    processors = {p for name in _STAGES for p in (store.record(f"{name}/done") or {})["processors"]}
    if len(processors) > 1:
        found.append(
            f"made on processors of several kinds ({', '.join(sorted(processors))}): bits may differ in a repeat"
        )
    return found


def _cost(store: Store, config: RunConfig) -> dict[str, Any]:
    """Wall and CPU seconds of every stage as it was done, whenever that was, and the peak memory of any process."""
    records = {name: store.record(f"{name}/done") or {} for name in _STAGES}
    costs = {name: record["cost"] for name, record in records.items()}
    particles = records["particles"]
    wall = 0.0 if config.data.source == "mean_field" else costs["particles"]["wall_seconds"]
    return {
        "wall_seconds": {name: cost["wall_seconds"] for name, cost in costs.items()},
        "cpu_seconds": {name: cost["cpu_seconds"] for name, cost in costs.items()},
        "peak_bytes": max(int(cost["peak_bytes"]) for cost in costs.values()),
        # What was done before a stop took its time then.
        "particle_steps_per_second": costs["particles"].get("work", particles["work"]) / wall if wall > 0 else None,
    }
