"""Particles of phi = 3 r^2 seen at given times, and the prediction between: what few-snapshot learning is tried on."""

from functools import lru_cache

import numpy as np

from ipsdist.model.dictionary import Dictionary
from ipsdist.model.learned_kernel import LearnedKernel
from ipsdist.model.mesh import Mesh
from ipsdist.model.radial import RadialKernel
from ipsdist.model.system import Grid, Mixture, System
from ipsdist.numerics.densities.deposit import deposit
from ipsdist.numerics.densities.meanfield import solve_mean_field
from ipsdist.numerics.densities.start import starting_density
from ipsdist.numerics.equations.control_variate import (
    controlled_action_equations,
    model_pairings,
    model_tables,
    model_times,
)
from ipsdist.numerics.equations.forms.action import action_equations
from ipsdist.numerics.equations.pairings import pair_slice, stack
from ipsdist.numerics.equations.tables import pair_tables
from ipsdist.numerics.particles.initial import sample
from ipsdist.numerics.particles.stepping import Stepper
from tests.learning.rows import EIGHT

N, DIFFUSION, STEP, SPACING = 20_000, 2.0, 1e-3, 2.0**-5
DICTIONARY, GRID = Dictionary.parse(EIGHT), Grid((-4.0,), (4.0,), (100,))
COMMON = {"basis": DICTIONARY.names, "diffusion": DIFFUSION, "particles": N}


class Snapshots:
    """Pairings at the times (whole steps), and the equations with and without a prediction."""

    def __init__(self, steps, seed):
        system = System(1, N, 1, RadialKernel.parse("3*r**2"), None, DIFFUSION)
        stepper = Stepper(system, STEP, seed, 0, SPACING)
        law = Mixture((0.5, 0.5), ((1.0,), (-1.0,)), (0.25, 0.25))
        state = stepper.start(sample(law, 1, seed, 0, 0, N), mesh=Mesh(SPACING, (-256,), (513,)))
        first, tables = deposit(state.positions, state.mesh), pair_tables(DICTIONARY, state.mesh)
        parts = []
        for step in steps:
            stepper.advance(state, step - state.step)
            parts.append(pair_slice(deposit(state.positions, state.mesh), tables))
        self.pairings, self.times = stack(parts), np.array(steps) * STEP
        self.start = starting_density(first.density_weights(), first.mesh, N, GRID)
        self.tables = model_tables(DICTIONARY, GRID)

    def plain(self, rule):
        """The action form by a rule alone."""
        return action_equations(self.pairings, self.times, quadrature=rule, **COMMON)

    def predict(self, fit, rule="simpson"):
        """The equations with the integrals of the fit's own mean-field density."""
        kernel, times = LearnedKernel.from_fit(fit, DICTIONARY), model_times(self.times)
        densities = solve_mean_field(self.start, GRID, kernel.potential, DIFFUSION, times)
        model = model_pairings(densities, times, self.tables, N)
        z = np.zeros(len(DICTIONARY))
        z[list(fit.terms)] = fit.coefficients
        return controlled_action_equations(self.pairings, self.times, model, z, quadrature=rule, **COMMON)


@lru_cache
def snapshots(steps, seed=11):
    """Particles seen at these steps of 1e-3 (a tuple); simulated once."""
    return Snapshots(steps, seed)
