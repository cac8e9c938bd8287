"""The largest step that a force allows."""

import math

import numpy as np
import pytest

from ipsdist.model.errors import RunError
from ipsdist.model.expression import Expression
from ipsdist.model.radial import RadialKernel
from ipsdist.model.system import System
from ipsdist.numerics.particles.stability import largest_step, lipschitz_constant
from ipsdist.numerics.particles.stepping import Stepper


def _system(text, dimension=1, potential=None, particles=2000):
    well = None if potential is None else Expression.parse(potential, ("x", "y", "z")[:dimension])
    return System(dimension, particles, 1, RadialKernel.parse(text), well, 0.02)


def _positions(dimension, particles=2000):
    return np.random.default_rng(0).uniform(-1, 1, (particles, dimension))


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_linear_force(dimension):
    """The kernel 4 r has Lipschitz constant 4: the largest step is 0.5 / 4 = 0.125, rounded down to 0.1."""
    system = _system("4*r", dimension)
    assert lipschitz_constant(system, _positions(dimension), 0.125) == pytest.approx(4, rel=1e-4)
    assert largest_step(system, _positions(dimension), 0.125) == 0.1


def test_potential_adds():
    """An external well adds its own stiffness: phi = r and V = 24.5 x**2 make 50, the step 0.01."""
    system = _system("r", potential="24.5*x**2")
    assert lipschitz_constant(system, _positions(1), 2.0**-6) == pytest.approx(50, rel=1e-3)
    assert largest_step(system, _positions(1), 2.0**-6) in (0.01, 0.009)


def test_no_force():
    """Without force every step will do."""
    assert largest_step(_system("0*r"), _positions(1), 0.125) == math.inf


@pytest.mark.parametrize("dimension", [1, 2])
def test_step_keeps_particles_together(dimension):
    """At the largest step the steepest dictionary power stays bounded; at fifty times that step it blows up."""
    system, x = _system("30*r**3", dimension, particles=500), _positions(dimension, 500)
    step = largest_step(system, x, 2.0**-4)
    stepper = Stepper(system, step, 1, 0, 2.0**-4)
    state = stepper.start(x)
    stepper.advance(state, 200)
    assert np.abs(state.positions).max() < 2
    far = Stepper(system, 50 * step, 1, 0, 2.0**-4)
    with pytest.raises(RunError, match="the particles blew up at step"):
        far.advance(far.start(x), 200)
