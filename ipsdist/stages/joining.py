"""Joining: the pairings of all slices become the normal equations of a form, on the driver."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ipsdist.config import RunConfig
from ipsdist.model.normal_equations import NormalEquations
from ipsdist.numerics.equations.diffusion import Diffusion, richardson
from ipsdist.numerics.equations.forms.action import action_equations
from ipsdist.numerics.equations.forms.likelihood import likelihood_equations
from ipsdist.numerics.equations.forms.weak import weak_equations
from ipsdist.numerics.equations.pairings import Pairings
from ipsdist.stages.base import fitted_times, setup_of
from ipsdist.stages.blocks import TWO_APART, block_group, slice_blocks
from ipsdist.stages.equations import load_pairings
from ipsdist.stages.outside import tests_of
from ipsdist.stages.radial import follow, load_projected
from ipsdist.stages.snapshots import joined, rule_of
from ipsdist.storage import Store

__all__ = ["equations_of", "moment_slope", "pairings_of", "sigma_squared"]


def pairings_of(store: Store, config: RunConfig) -> list[Pairings]:
    """Return the pairings of every replica with the dictionary, by way of the radial basis if it was not assembled.

    They are those of every ``fit.every``-th slice: a slice is paired by itself, so that nothing is assembled anew.
    """
    found = load_projected(store, config) if follow(config, setup_of(store)) else load_pairings(store)
    return [pairings.every(config.fit.every) for pairings in found]


def sigma_squared(store: Store, config: RunConfig) -> Diffusion:
    """Return sigma^2: what the run file says, else the Richardson value of the labelled displacements."""
    if not config.estimates_diffusion:
        return Diffusion(float(config.system.diffusion or 0.0), None)
    setup = setup_of(store)
    each = [
        richardson(
            setup.slice_times,
            _moves(store, r, "squared_move")[:-1],
            _moves(store, r, TWO_APART)[:-2],
            spacing=setup.spacing,
            particles=setup.particles,
            dimension=setup.dimension,
        )
        for r in range(setup.replicas)
    ]
    errors = [d.standard_error for d in each if d.standard_error is not None]
    return Diffusion(float(np.mean([d.value for d in each])), float(np.sqrt(np.sum(np.square(errors))) / len(each)))


def _moves(store: Store, replica: int, name: str) -> npt.NDArray[Any]:
    """Read sums over the displacements of a replica, one a slice."""
    setup = setup_of(store)
    blocks = slice_blocks(setup.slices, setup.dimension)
    return np.concatenate([store.read(f"{block_group(replica, b)}/{name}") for b in blocks])


def equations_of(
    config: RunConfig, store: Store, pairings: Sequence[Pairings], diffusion: float | None
) -> NormalEquations:
    """Return the equations of the configured form by its time rule, replica after replica.

    ``diffusion`` None, which the weak form takes, makes sigma^2 one more unknown.
    """
    setup, names = setup_of(store), config.unknowns().names
    times, n = fitted_times(config, setup), setup.particles
    if config.form == "likelihood":
        return joined([likelihood_equations(p, times, basis=names, particles=n) for p in pairings])
    rule = rule_of(config, times)
    if config.form == "weak":
        told: dict[str, Any] = {"basis": names, "tests": len(tests_of(store, config)), "particles": n}
        told["scatter"] = config.data.source != "mean_field"
        return joined([weak_equations(p, times, diffusion=diffusion, quadrature=rule, **told) for p in pairings])
    if diffusion is None:
        raise ValueError("only the weak form learns sigma^2 with the rest")
    return joined(
        [action_equations(p, times, basis=names, diffusion=diffusion, quadrature=rule, particles=n) for p in pairings]
    )


def moment_slope(
    config: RunConfig, store: Store, pairings: Sequence[Pairings], plain: NormalEquations
) -> npt.NDArray[np.float64]:
    """Return the derivative (M,) by sigma^2 of the moment of all panels, which is linear in it.

    ``plain`` are the `equations_of` these pairings by the time rule alone, with a sigma^2 that stands in the moment.
    """
    if plain.diffusion is None:
        raise ValueError(f"no sigma^2 stands in the moment of the {plain.form} form")
    twice = equations_of(config, store, pairings, 2.0 * plain.diffusion)
    return np.asarray((twice.moment - plain.moment).sum(axis=0) / plain.diffusion)
