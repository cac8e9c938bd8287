"""Made-up results and arrays of a run, shaped as a real one, for the tests of the report."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ipsdist.model.fit import Iteration
from ipsdist.report.data import ReportData

CUBIC = ("1", "r", "r**2", "r**3", "exp(r)", "exp(-r)", "sin(r)", "cos(r)")


def normal(x, mean, variance):
    """Return the normal density."""
    return np.exp(-((x - mean) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)


def sample_result(**changes: Any) -> dict[str, Any]:
    """Return a result.json as of a cubic run."""
    times = np.linspace(0, 1, 21)
    energy = -0.9 - 0.5 * (1 - np.exp(-4 * times))
    result = {
        "format": 1,
        "case": "cubic",
        "seed": 1,
        "system": {
            "dimension": 1,
            "particles": 20000,
            "replicas": 1,
            "kernel": "3*r**2",
            "cutoff": None,
            "potential": None,
            "diffusion": 2.0,
        },
        "form": "action",
        "form_reason": "Every step of the particles is read, and the energy difference is exact.",
        "selection": "best_subset",
        "terms": [
            {
                "name": "r**2",
                "kind": "kernel",
                "coefficient": 3.00312,
                "standard_error": 0.01168,
                "interval95": [2.98023, 3.02601],
            }
        ],
        "dropped": [n for n in CUBIC if n != "r**2"],
        "confounded": [],
        "kernel": "3.00312*r**2",
        "diffusion": {"value": 2.0, "standard_error": None},
        "breakpoints": [],
        "breakpoint_roads": None,
        "alternatives": [
            {"terms": ["r**2", "sin(r)"], "coefficients": [3.01, -0.021], "score_difference": 11.9},
            {"terms": ["r", "r**3"], "coefficients": [2.2, 0.9], "score_difference": 14.2},
        ],
        "condition": 3.1e11,
        "band": {"r": [0.0, 1.0], "value": [0.0, 3.0], "lower": [0.0, 2.98], "upper": [0.0, 3.03]},
        "errors": {
            "kernel_relative_l2": 0.00104,
            "coefficients": {"r**2": 0.00312},
            "support_correct": True,
            "cramer_rao_ratio": {"r**2": 0.267},
        },
        "wasserstein2": {
            "times": times.tolist(),
            "values": (0.004 + 0.006 * times).tolist(),
            "solutions": (5e-4 * times).tolist(),
            "method": "quantiles",
        },
        "free_energy": {
            "times": times.tolist(),
            "data": energy.tolist(),
            "true": energy.tolist(),
            "learnt": energy.tolist(),
            "source_normalisation": {"data": energy.tolist(), "true": energy.tolist(), "learnt": energy.tolist()},
        },
        "data_loss": 1.2e-6,
        "history": [],
        "cost": {
            "wall_seconds": {"particles": 8.1, "densities": 0.6, "equations": 0.9, "kernel": 0.1},
            "cpu_seconds": {"particles": 8.0, "densities": 0.6, "equations": 0.9, "kernel": 0.1},
            "peak_bytes": 310_000_000,
            "particle_steps_per_second": 2.6e7,
        },
        "versions": {"ipsdist": "0.1.0", "numpy": "2.4.6", "python": "3.11.7"},
        "device": "cpu",
        "workers": 0,
    }
    return result | changes


def sample_history(turns: int = 8, importance: bool = True) -> tuple[Iteration, ...]:
    """Return turns of Phase I that close in on 3 r**2."""
    rng = np.random.default_rng(7 if importance else 8)
    start = 4 * rng.standard_normal(len(CUBIC))
    made = []
    for k in range(turns):
        share = np.exp(-(1.1 if importance else 0.5) * k)
        z = start * share
        z[2] = 3 + (start[2] - 3) * share
        mask = np.abs(z) >= 0.3 * np.abs(z).max()
        made.append(
            Iteration(tuple(bool(m) for m in mask), tuple(float(v) for v in z * mask), 300, float(0.02 + 40 * share**2))
        )
    return tuple(made)


def sample_data(**changes: Any) -> ReportData:
    """Return the arrays of a cubic run in one dimension."""
    rng = np.random.default_rng(3)
    x, times, r = np.linspace(-4, 4, 161), np.linspace(0, 1, 101), np.linspace(0.0, 5.0, 201)

    def density(width):
        return np.array(
            [
                0.5 * (normal(x, np.exp(-4 * t), 0.25 + width * t) + normal(x, -np.exp(-4 * t), 0.25 + width * t))
                for t in times
            ]
        )

    true = density(0.15)
    energy_times = np.linspace(0, 1, 21)
    energy = -0.9 - 0.5 * (1 - np.exp(-4 * energy_times))
    data = ReportData(
        grid=(x,),
        times=times,
        density_data=np.abs(true + 0.004 * rng.standard_normal(true.shape)),
        density_true=true,
        density_learnt=density(0.152),
        radii=r,
        rho=normal(r, 0, 1.2) * 2,
        kernel_true=3 * r**2,
        kernel_value=3.00312 * r**2,
        kernel_lower=(3.00312 - 0.0229) * r**2,
        kernel_upper=(3.00312 + 0.0229) * r**2,
        names=CUBIC,
        truth={"r**2": 3.0},
        energy_times=energy_times,
        energy_data=energy + 0.004,
        energy_true=energy,
        energy_learnt=energy + 0.001,
        wasserstein_times=energy_times,
        wasserstein_values=0.004 + 0.006 * energy_times,
        wasserstein_solutions=5e-4 * energy_times,
        history=sample_history(),
        history_uniform=sample_history(12, importance=False),
        history_final=np.array([0, 0, 3.004, 0, 0, 0, 0, 0.0]),
        config='name = "cubic"\n\n[system]\nkernel = "3*r**2"\n',
    )
    return replace(data, **changes)


def sample_plane(dimension: int = 2) -> ReportData:
    """Return the arrays of a run in two or three dimensions, with no truth known and no prediction."""
    axes = tuple(np.linspace(-3, 3, n) for n in (61, 49, 21)[:dimension])
    times = np.array([0.0, 0.4, 1.0])
    mesh = np.meshgrid(*axes, indexing="ij")
    others = [normal(z, 0, 0.3) for z in mesh[1:]]
    density = np.array(
        [0.5 * (normal(mesh[0], 1 - t, 0.25) + normal(mesh[0], t - 1, 0.25)) * np.prod(others, axis=0) for t in times]
    )
    return sample_data(
        grid=axes, times=times, density_data=density, density_true=None, density_learnt=None,
        kernel_true=None, truth=None, energy_true=None, energy_learnt=None,
        wasserstein_times=None, wasserstein_values=None, wasserstein_solutions=None,
        history=(), history_uniform=(), history_final=None,
    )  # fmt: skip
