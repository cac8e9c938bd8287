"""Slices too far apart for a time rule: noticed from their own pairings, and bridged by the mean-field prediction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ipsdist.config import RunConfig
from ipsdist.learning.choice import TOLERATED, Choice, choose_form, choose_rule, time_error
from ipsdist.learning.few_snapshots import fit_few_snapshots
from ipsdist.model.deposits import Deposits
from ipsdist.model.errors import InputError, RunError
from ipsdist.model.fit import Fit
from ipsdist.model.learned_kernel import LearnedKernel
from ipsdist.model.learned_potential import LearnedPotential
from ipsdist.model.normal_equations import NormalEquations
from ipsdist.model.setup import Setup
from ipsdist.model.system import Grid
from ipsdist.model.unknowns import Unknowns
from ipsdist.numerics.densities.bandwidth import standard_deviations
from ipsdist.numerics.densities.meanfield import solve_mean_field
from ipsdist.numerics.densities.start import starting_density
from ipsdist.numerics.equations.control_variate import (
    controlled_action_equations,
    model_grid,
    model_pairings,
    model_tables,
    model_times,
)
from ipsdist.numerics.equations.pairings import Pairings
from ipsdist.stages.base import fitted_times, setup_of
from ipsdist.stages.blocks import slice_blocks
from ipsdist.stages.continuum import first_density
from ipsdist.stages.densities import slice_totals
from ipsdist.stages.outside import Outside
from ipsdist.stages.tracks import sums_directly
from ipsdist.storage import Store

__all__ = ["Bridged", "bridge", "density_of", "ends", "joined", "judged", "rule_of", "smallest_deviations"]

_PARTS = ("gram", "energy", "laplacian", "work")
_PREDICTED = (1, 2)
"""Dimensions in which the mean-field equation is solved in reasonable time."""


@dataclass(frozen=True)
class Bridged:
    """An answer whose time integrals a prediction carries, with the equations that it solves."""

    fit: Fit
    equations: NormalEquations
    settled: bool
    """Whether the answer, solved forward, leads to itself."""


def rule_of(config: RunConfig, times: npt.ArrayLike) -> str:
    """Return the time rule: the configured one, or what suits the spacing of the slices."""
    if config.fit.quadrature != "auto":
        return config.fit.quadrature
    rule = choose_rule(times)
    # The weak form needs panels: what tested the first slice of a single one would be old at its end.
    return "spline" if config.form == "weak" and rule == "gauss_lobatto" else rule


def judged(config: RunConfig, store: Store, pairings: Sequence[Pairings], diffusion: float) -> Choice:
    """Return the time rule, its error in standard errors, whether a prediction is to carry the integrals, and why.

    ``pairings`` are those of every replica; they add, and so does what the rule makes of them.
    """
    setup = setup_of(store)
    times = fitted_times(config, setup)
    together = Pairings(*(sum(getattr(p, name) for p in pairings) for name in _PARTS))
    told: dict[str, Any] = {
        "basis": config.unknowns().names,
        "diffusion": diffusion,
        "particles": setup.particles * setup.replicas,
        "criterion": config.fit.criterion,
        "max_terms": config.fit.max_terms,
    }
    rule = rule_of(config, times)
    if config.fit.quadrature == "auto":
        choice = choose_form(together, times, labelled=setup.labelled, **told)
    else:
        error = time_error(together, times, rule, **told)
        choice = Choice("action", rule, not error <= TOLERATED, error, f"action form by {rule}, as fit.quadrature says")
    mean_field = setup.dimension in _PREDICTED and not sums_directly(config, setup)
    able = mean_field and config.selection == "best_subset"
    wanted = {"on": True, "off": False, "auto": choice.control}[config.fit.prediction] and able
    if choice.control and not wanted:
        choice = replace(choice, reason=f"action form; the slices are too far apart for {rule}")
    elif wanted and (not choice.control or config.fit.quadrature != "auto"):
        choice = replace(choice, reason=f"action form with a mean-field prediction between the slices, by {rule}")
    return replace(choice, control=wanted)


def bridge(
    config: RunConfig,
    store: Store,
    pairings: list[Pairings],
    plain: NormalEquations,
    diffusion: float,
    unknowns: Unknowns,
    rule: str,
    bias: Callable[[Fit], npt.NDArray[np.float64]] | None = None,
) -> Bridged | None:
    """Fit and predict in turn until the answer stands; None when not even a first model can be solved forward.

    ``pairings`` with the unknowns are those of every replica, ``plain`` the equations of the time rule alone, of
    which the first model is taken. ``bias`` tells what a replica's moment (M,) has too much of by a fit near the law.
    """
    keys = config.fit
    try:
        predict = _predictor(config, store, pairings, diffusion, unknowns, rule, bias)
        found = fit_few_snapshots(plain, predict, diffusion, criterion=keys.criterion, max_terms=keys.max_terms)
    except RunError:
        return None
    return Bridged(found.fit, found.equations, found.settled)


def _predictor(
    config: RunConfig,
    store: Store,
    pairings: list[Pairings],
    diffusion: float,
    unknowns: Unknowns,
    rule: str,
    bias: Callable[[Fit], npt.NDArray[np.float64]] | None,
) -> Callable[[Fit], NormalEquations]:
    """Return what leads from a fit to the equations with the integrals of its mean-field density.

    The prediction starts from the first slice's counts, all replicas added. Raises RunError where no grid serves it.
    """
    setup, known = setup_of(store), config.known()
    outside = [f.potential for f in unknowns.fields] + ([] if known is None else [known])
    grid = _model_grid(store, setup)
    start = _starting(store, config, setup, grid)
    times = fitted_times(config, setup)
    fine, tables = model_times(times), model_tables(unknowns.dictionary, grid, outside)

    def predict(fit: Fit) -> NormalEquations:
        excess: npt.NDArray[np.float64] | float = 0.0 if bias is None else bias(fit)
        kernel = LearnedKernel.from_fit(fit, unknowns.dictionary)
        external = Outside(known, LearnedPotential.from_fit(fit, unknowns)) if outside else None
        try:
            densities = solve_mean_field(
                start,
                grid,
                kernel.potential,
                diffusion,
                fine - fine[0],
                external=external,
                scheme=config.mean_field.fitting_scheme,
                step=config.mean_field.fixed_step,
            )
        except InputError as error:
            raise RunError(str(error)) from error
        model = model_pairings(densities, fine, tables, setup.particles)
        z = np.zeros(len(unknowns))
        z[list(fit.terms)] = fit.coefficients
        return joined(
            [
                controlled_action_equations(
                    replica,
                    times,
                    model,
                    z,
                    basis=unknowns.names,
                    diffusion=diffusion,
                    particles=setup.particles,
                    quadrature=rule,
                    bias=excess,
                )
                for replica in pairings
            ]
        )

    return predict


def _starting(store: Store, config: RunConfig, setup: Setup, grid: Grid) -> npt.NDArray[np.float64]:
    """Return the density of the first slice at the points of a grid, not negative, of mass 1."""
    if config.data.source == "mean_field":
        return first_density(store, config, grid)
    return density_of(slice_totals(store, setup.replicas, setup.slices, setup.dimension, 0)[0], grid)


def ends(store: Store, setup: Setup) -> tuple[Deposits, Deposits]:
    """Return the deposits of the first and of the last slice of particles, replicas added."""
    last = slice_blocks(setup.slices, setup.dimension)[-1].number
    first, final = (slice_totals(store, setup.replicas, setup.slices, setup.dimension, k) for k in (0, last))
    return first[0], final[-1]


def density_of(total: Deposits, grid: Grid) -> npt.NDArray[np.float64]:
    """Return the density of a slice at the points of a grid, not negative, of mass 1."""
    return starting_density(total.density_weights(), total.mesh, total.particles, grid)


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


def _model_grid(store: Store, setup: Setup) -> Grid:
    """Return the density grid divided so finely that the prediction's own error does not show at any slice."""
    return model_grid(setup.grid, smallest_deviations(store, setup))


def smallest_deviations(store: Store, setup: Setup) -> npt.NDArray[np.float64]:
    """Return the standard deviations (d,) of the particles along the axes, the smallest of all slices."""
    blocks = slice_blocks(setup.slices, setup.dimension)
    deviations = []
    for block in blocks:
        totals = slice_totals(store, setup.replicas, setup.slices, setup.dimension, block.number)
        deviations += [standard_deviations(t.density_weights(), t.mesh) for t in totals]
    return np.asarray(np.min(deviations, axis=0))
