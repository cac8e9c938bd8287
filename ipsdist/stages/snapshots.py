"""Slices too far apart for a time rule: noticed from their own pairings, and bridged by the mean-field prediction."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ipsdist.config import RunConfig
from ipsdist.learning.choice import choose_rule, time_error
from ipsdist.learning.few_snapshots import fit_few_snapshots
from ipsdist.model.dictionary import Dictionary
from ipsdist.model.errors import InputError, RunError
from ipsdist.model.fit import Fit
from ipsdist.model.learned_kernel import LearnedKernel
from ipsdist.model.normal_equations import NormalEquations
from ipsdist.model.system import Grid
from ipsdist.numerics.densities.meanfield import solve_mean_field
from ipsdist.numerics.densities.start import starting_density
from ipsdist.numerics.equations.control_variate import (
    controlled_action_equations,
    model_pairings,
    model_tables,
    model_times,
)
from ipsdist.numerics.equations.pairings import Pairings
from ipsdist.stages.base import setup_of
from ipsdist.stages.densities import slice_totals
from ipsdist.storage import Store

__all__ = ["TOLERATED", "Bridged", "bridge", "joined", "rule_of", "slice_error", "wanted"]

TOLERATED = 0.3
"""Largest error of the time rule, in standard errors of the answer, that is left alone."""
_CELLS = {1: 320, 2: 64}
"""Cells an axis of the prediction's grid, at least; three dimensions are not predicted."""


@dataclass(frozen=True)
class Bridged:
    """An answer whose time integrals a prediction carries, with the equations that it solves."""

    fit: Fit
    equations: NormalEquations
    settled: bool
    """Whether the answer, solved forward, leads to itself."""


def rule_of(config: RunConfig, times: npt.ArrayLike) -> str:
    """Return the time rule: the configured one, or what suits the spacing of the slices."""
    return choose_rule(times) if config.fit.quadrature == "auto" else config.fit.quadrature


def slice_error(config: RunConfig, store: Store, pairings: Pairings, diffusion: float) -> float:
    """Return the estimated error of the time rule in standard errors; infinite where it cannot be told."""
    setup = setup_of(store)
    return time_error(
        pairings,
        setup.slice_times,
        rule_of(config, setup.slice_times),
        basis=config.terms().names,
        diffusion=diffusion,
        particles=setup.particles,
        criterion=config.fit.criterion,
        max_terms=config.fit.max_terms,
    )


def wanted(config: RunConfig, error: float, dimension: int) -> bool:
    """Tell whether the prediction is to carry the integrals: asked for, or automatic and needed."""
    if config.fit.prediction == "on":
        return True
    needed = config.fit.prediction == "auto" and not error <= TOLERATED
    return needed and dimension in _CELLS and config.selection == "best_subset"


def bridge(
    config: RunConfig,
    store: Store,
    pairings: list[Pairings],
    plain: NormalEquations,
    diffusion: float,
    dictionary: Dictionary,
) -> Bridged | None:
    """Fit and predict in turn until the answer stands; None when not even a first model can be solved forward.

    ``pairings`` with the dictionary are those of every replica, ``plain`` the equations of the time rule alone. The prediction starts from
    the first slice's counts, all replicas added.
    """
    setup, external = setup_of(store), config.potential()
    grid = _finer(setup.grid)
    first = slice_totals(store, setup.replicas, setup.slices, setup.dimension, 0)[0]
    start = starting_density(first.density_weights(), first.mesh, first.particles, grid)
    fine, tables = model_times(setup.slice_times), model_tables(dictionary, grid, external)
    rule = rule_of(config, setup.slice_times)

    def predict(fit: Fit) -> NormalEquations:
        kernel = LearnedKernel.from_fit(fit, dictionary)
        try:
            densities = solve_mean_field(start, grid, kernel.potential, diffusion, fine - fine[0], external=external)
        except InputError as error:
            raise RunError(str(error)) from error
        model = model_pairings(densities, fine, tables, setup.particles)
        z = np.zeros(len(dictionary))
        z[list(fit.terms)] = fit.coefficients
        return joined(
            [
                controlled_action_equations(
                    replica,
                    setup.slice_times,
                    model,
                    z,
                    basis=dictionary.names,
                    diffusion=diffusion,
                    particles=setup.particles,
                    quadrature=rule,
                )
                for replica in pairings
            ]
        )

    try:
        found = fit_few_snapshots(
            plain, predict, diffusion, criterion=config.fit.criterion, max_terms=config.fit.max_terms
        )
    except RunError:
        return None
    return Bridged(found.fit, found.equations, found.settled)


def joined(replicas: list[NormalEquations]) -> NormalEquations:
    """Put the panels of the replicas one after the other; the particles behind them add."""
    energies = [e.energy for e in replicas if e.energy is not None]
    return replace(
        replicas[0],
        gram=np.concatenate([e.gram for e in replicas]),
        moment=np.concatenate([e.moment for e in replicas]),
        energy=np.concatenate(energies) if energies else None,
        particles=sum(e.particles for e in replicas),
    )


def _finer(grid: Grid) -> Grid:
    """Return the grid with cells halved until there are enough for the scheme's second order."""
    least, cells = _CELLS[len(grid.cells)], grid.cells
    while min(cells) < least:
        cells = tuple(2 * n for n in cells)
    return replace(grid, cells=cells)
