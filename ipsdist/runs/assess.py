"""Assessment of a finished fit: errors against the truth, predicted densities, W2, energies (docs/method.md, 6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ipsdist.config import RunConfig
from ipsdist.learning.band import KernelBand, kernel_band
from ipsdist.learning.choice import TOLERATED
from ipsdist.learning.energy import free_energies, source_normalisation
from ipsdist.learning.wasserstein import data_loss, wasserstein2_curve
from ipsdist.model.errors import InputError, RunError
from ipsdist.model.fit import Fit
from ipsdist.model.learned_kernel import LearnedKernel
from ipsdist.model.learned_potential import LearnedPotential
from ipsdist.model.normal_equations import NormalEquations
from ipsdist.model.radial import RadialKernel
from ipsdist.model.setup import Setup
from ipsdist.model.system import Grid
from ipsdist.numerics.densities.distances import distance_of, pair_distances
from ipsdist.numerics.densities.meanfield import chosen_scheme, solve_mean_field
from ipsdist.runs.against_truth import errors_of, truth_of
from ipsdist.stages.base import setup_of
from ipsdist.stages.blocks import slice_blocks
from ipsdist.stages.continuum import density_warnings
from ipsdist.stages.densities import slice_totals
from ipsdist.stages.outside import Outside
from ipsdist.stages.radial import has_radial, load_radial, radial_basis
from ipsdist.stages.tracked import radial_of_tracks
from ipsdist.stages.tracks import sums_directly
from ipsdist.storage import Store

__all__ = ["Assessment", "assess"]

Array = npt.NDArray[np.float64]

_LOOKS = 101
"""Times at which densities are compared and drawn, at most."""
_TRANSPORTED_LOOKS = 21
"""Of these, times at which W2 is found in two and three dimensions, at most."""
_RHO_SLICES = 11
_RADII = 257
_RESOLUTION = {1: 8, 2: 4, 3: 4}
"""Details of the kernel without a dictionary, in mesh spacings, at least."""
_TAIL = 0.999
"""The kernel is drawn up to the distance below which this share of the pairs lies."""


@dataclass(frozen=True)
class Assessment:
    """Everything of a run that is computed after its fit. Arrays as in `ReportData`."""

    looks: npt.NDArray[np.intp]
    """(T,) indices of the slices looked at."""
    times: Array
    density_data: Array
    density_true: Array | None
    density_learnt: Array | None
    radii: Array
    rho: Array
    free: KernelBand | None
    """phi(r) without a dictionary; None where it is not made, or where the slices are too far apart for it."""
    band: tuple[Array, Array, Array]
    """Value, lower and upper end of the learnt kernel at the radii."""
    kernel_true: Array | None
    truth: Array | None
    """(M,) true coefficients; None when the truth is unknown or no combination of the dictionary."""
    errors: dict[str, Any] | None
    wasserstein: dict[str, Any] | None
    energy: dict[str, Any] | None
    """None for few particles, whose density is no mean field."""
    data_loss: float | None
    warnings: tuple[str, ...]
    """What should lower the reader's trust, one sentence each."""


@dataclass(frozen=True)
class _Law:
    """An interaction and a potential from outside, with which densities are predicted."""

    name: str
    kernel: RadialKernel | LearnedKernel
    external: Outside


def assess(
    store: Store, config: RunConfig, fit: Fit, learnt: LearnedKernel, equations: NormalEquations, diffusion: float
) -> Assessment:
    """Compare what was learnt with the data and, where it is known, with the truth."""
    setup = setup_of(store)
    laws = _laws(config, fit, learnt)
    grid = setup.grid
    every = setup.slice_times
    looks = _spread(len(every), _LOOKS)
    densities = store.read("densities/density")[looks]
    kernel = config.kernel()
    truth = truth_of(store, config)
    radii, rho = _distances(store, setup)
    band = learnt.band(radii)
    warnings: list[str] = []
    few = sums_directly(config, setup)  # no mean-field limit is assumed, so none is predicted
    wanted = (None, None) if few else laws
    predicted = _predictions(densities[0], grid, wanted, diffusion, every[looks], config, warnings)
    return Assessment(
        looks=looks,
        times=every[looks],
        density_data=densities,
        density_true=predicted[0],
        density_learnt=predicted[1],
        radii=radii,
        rho=rho,
        free=_free_band(store, config, radii, diffusion),
        band=band,
        kernel_true=None if kernel is None else kernel(radii),
        truth=truth,
        errors=errors_of(store, config, fit, learnt, equations, diffusion, radii, rho),
        wasserstein=_wasserstein(densities, predicted, grid, every[looks]),
        energy=None if few else _energies(densities, predicted, grid, laws, diffusion, every[looks]),
        data_loss=None if predicted[1] is None else data_loss(densities, predicted[1]),
        warnings=tuple(warnings) + _outside(store, setup) + density_warnings(store, config),
    )


def _free_band(store: Store, config: RunConfig, radii: Array, diffusion: float) -> KernelBand | None:
    """Return phi(r) from the radial equations; it trusts the time rule, so it needs close slices, and all.

    Solved densities have none: the Gram of functions without the scatter of particles is singular to rounding, and
    the noise by which the band chooses how smooth phi is is not there.
    """
    setup, kernel = setup_of(store), store.record("kernel/done") or {}  # of earlier versions: with fewer keys
    error = kernel.get("slice_error")
    timed = config.form == "action" and not setup.ragged
    far = kernel.get("bridged") or (timed and (error is None or error > TOLERATED))
    solved = config.data.source == "mean_field"
    if far or solved or config.fit.every > 1 or not has_radial(config, setup):
        return None
    basis = radial_basis(store)
    equations = (
        radial_of_tracks(store, config, diffusion, kernel["factor"], kernel["noise"]["doubt"])
        if kernel.get("noise") is not None
        else load_radial(store, config, diffusion)
    )
    if len(equations.basis) > len(basis):
        equations = equations.profiled(range(len(basis), len(equations.basis)))
    return kernel_band(
        equations,
        basis,
        diffusion * kernel.get("factor", 1.0),
        np.minimum(radii, basis.reach),
        resolution=_RESOLUTION[setup.dimension] * setup.spacing,
    )


def _outside(store: Store, setup: Setup) -> tuple[str, ...]:
    """Warn of particles that leave the density grid: densities, predictions and W2 do not see them."""
    worst = 0.0
    for number in {0, len(slice_blocks(setup.slices, setup.dimension)) - 1}:
        total = slice_totals(store, setup.replicas, setup.slices, setup.dimension, number)[-1]
        weights = total.density_weights()
        for axis, nodes in enumerate(total.mesh.axes()):
            out = (nodes < setup.grid.lower[axis]) | (nodes > setup.grid.upper[axis])
            worst = max(worst, float(weights.take(np.flatnonzero(out), axis=axis).sum()) / total.particles)
    return () if worst <= 0.01 else (f"{worst:.0%} of the particles leave the density grid: widen [grid]",)


def _distances(store: Store, setup: Setup) -> tuple[Array, Array]:
    """Return radii (R,) from 0 to the 99.9 % quantile of the pair distances, and their density, a mean over slices."""
    n, d, slices = setup.replicas, setup.dimension, setup.slices
    chosen = np.unique(np.linspace(0, slices - 1, min(_RHO_SLICES, slices)).round().astype(int)).tolist()
    pairs = []
    for block in slice_blocks(slices, d):
        looks = [k - block.first for k in chosen if block.first <= k < block.stop]
        totals = slice_totals(store, n, slices, d, block.number) if looks else []
        pairs += [pair_distances(totals[k].density_weights(), totals[k].mesh) for k in looks]
    reach = max(distance_of(r, p, _TAIL) for r, p in pairs)
    radii = np.linspace(0.0, reach, _RADII)
    return radii, np.mean([np.interp(radii, r, p, right=0.0) for r, p in pairs], axis=0)


def _spread(count: int, most: int) -> npt.NDArray[np.intp]:
    """Return at most so many of ``count`` indices, spread evenly, both ends among them."""
    return np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(np.intp))


def _laws(config: RunConfig, fit: Fit, learnt: LearnedKernel) -> tuple[_Law | None, _Law]:
    """Return the true law, None where it is unknown, and the learnt one."""
    kernel, unknowns = config.kernel(), config.unknowns()
    outside = LearnedPotential.from_fit(fit, unknowns) if unknowns.fields else None
    return (
        None if kernel is None else _Law("true", kernel, Outside(config.potential(), None)),
        _Law("learnt", learnt, Outside(config.known(), outside)),
    )


def _predictions(
    first: Array,
    grid: Grid,
    laws: tuple[_Law | None, _Law | None],
    diffusion: float,
    times: Array,
    config: RunConfig,
    warnings: list[str],
) -> list[Array | None]:
    """Return the mean-field densities (T, points...) that follow the data's first one, under each law by one scheme.

    None, and a warning, for a kernel too wild for the grid: an answer that predicts nothing is still an answer to show.
    """
    start = np.maximum(first, 0.0)
    start = start / (start.sum() * np.prod(grid.spacing))
    known = [law for law in laws if law is not None]
    keys = config.mean_field
    scheme = _common_scheme(start, grid, known[-1], diffusion) if known and keys.scheme == "auto" else keys.scheme
    found: list[Array | None] = []
    for law in laws:
        if law is None:
            found.append(None)
            continue
        try:
            solved = solve_mean_field(
                start,
                grid,
                law.kernel.potential,
                diffusion,
                times - times[0],
                external=law.external,
                scheme=scheme,
                step=keys.fixed_step,
            )
        except (InputError, RunError) as error:
            warnings.append(f"no prediction with the {law.name} kernel: {error}")
            found.append(None)
        else:
            found.append(solved)
    return found


def _common_scheme(start: Array, grid: Grid, law: _Law, diffusion: float) -> str:
    """Return one scheme for both laws, or the difference of two would show in W2; whatever fails says so later."""
    try:
        return chosen_scheme(start, grid, law.kernel.potential, diffusion, law.external)
    except InputError:
        return "scharfetter_gummel"


def _wasserstein(data: Array, predicted: list[Array | None], grid: Grid, times: Array) -> dict[str, Any] | None:
    """W2 of the learnt law's prediction from the data, and from the true law's prediction where it is known."""
    true, learnt = predicted
    if learnt is None:
        return None
    held = _spread(len(times), _LOOKS if len(grid.cells) == 1 else _TRANSPORTED_LOOKS)
    values, method = wasserstein2_curve(data[held], learnt[held], grid)
    solutions = None
    if true is not None:
        solutions, other = wasserstein2_curve(true[held], learnt[held], grid)
        method = method if other == method else f"{method}; solutions: {other}"
    return {"times": times[held], "values": values, "solutions": solutions, "method": method}


def _energies(
    data: Array,
    predicted: list[Array | None],
    grid: Grid,
    laws: tuple[_Law | None, _Law],
    diffusion: float,
    times: Array,
) -> dict[str, Any]:
    """Free energies of data, truth and learnt law. The data's uses the true one where known, else the learnt one."""
    true, learnt = laws
    of_data = learnt if true is None else true

    def curve(densities: Array | None, law: _Law) -> Array | None:
        if densities is None:
            return None
        return free_energies(densities, grid, diffusion, law.kernel.potential, law.external)

    def source(densities: Array | None, law: _Law) -> Array | None:
        return None if densities is None else source_normalisation(densities, grid, law.kernel.potential)

    return {
        "times": times,
        "data": curve(data, of_data),
        "true": curve(predicted[0], of_data),
        "learnt": curve(predicted[1], learnt),
        "source_normalisation": {
            "data": source(data, of_data),
            "true": source(predicted[0], of_data),
            "learnt": source(predicted[1], learnt),
        },
    }
