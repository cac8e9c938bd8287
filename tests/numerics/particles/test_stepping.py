"""Steps of a replica: same bits for any chunk and after a restart, exact laws, measured orders, blow-ups."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipsdist.model.deposits import COUNT_ONE
from ipsdist.model.errors import InputError, RunError
from ipsdist.model.expression import Expression
from ipsdist.model.radial import RadialKernel
from ipsdist.model.system import Mixture, System
from ipsdist.numerics.densities.deposit import deposit
from ipsdist.numerics.particles.initial import sample
from ipsdist.numerics.particles.noise import STEPPING, normals, stream_of
from ipsdist.numerics.particles.stepping import Stepper

DIMENSIONS = pytest.mark.parametrize("dimension", [1, 2, 3])


def _system(dimension=1, particles=501, text="3*r**2", diffusion=2.0, potential=None, cutoff=None):
    kernel = RadialKernel.parse(text, cutoff)
    well = None if potential is None else Expression.parse(potential, ("x", "y", "z")[:dimension], "system.potential")
    return System(dimension, particles, 1, kernel, well, diffusion)


def _start(system, seed=1):
    law = Mixture((0.5, 0.5), ((1.0,) * system.dimension, (-1.0,) * system.dimension), (0.25, 0.25))
    return sample(law, system.dimension, seed, 0, 0, system.particles)


def _run(system, steps, *, step=0.01, spacing=0.125, seed=1, replica=0, force="mesh", chunk=None, positions=None):
    stepper = Stepper(system, step, seed, replica, spacing, force, chunk)
    state = stepper.start(_start(system) if positions is None else positions)
    stepper.advance(state, steps)
    return state


@DIMENSIONS
@settings(max_examples=6, deadline=None)
@given(chunk=st.integers(1, 130).map(lambda k: 4 * k), cut=st.integers(0, 30))
def test_chunks_and_restarts(dimension, chunk, cut):
    """Any chunk size, and a restart from (step, positions, mesh) at any step, give the same bits."""
    system, spacing = _system(dimension), 0.125 * dimension
    whole = _run(system, 30, spacing=spacing)
    half = _run(system, cut, chunk=chunk, spacing=spacing)
    stepper = Stepper(system, 0.01, 1, 0, spacing, chunk=chunk + 4)
    state = stepper.start(half.positions.copy(), half.step, half.mesh)
    assert np.array_equal(state.count, half.count)
    stepper.advance(state, 30 - cut)
    assert state.step == whole.step == 30
    assert np.array_equal(state.positions, whole.positions)
    assert state.mesh == whole.mesh
    assert np.array_equal(state.count, whole.count)


@pytest.mark.parametrize("force", ["prefix", "direct"])
def test_restarts_of_exact_forces(force):
    """The exact methods restart and chunk with the same bits, mesh included."""
    system = _system()
    whole = _run(system, 30, force=force, chunk=8)
    half = _run(system, 17, force=force)
    stepper = Stepper(system, 0.01, 1, 0, 0.125, force)
    state = stepper.start(half.positions, half.step, half.mesh)
    stepper.advance(state, 13)
    assert np.array_equal(state.positions, whole.positions)
    assert state.mesh == whole.mesh
    assert np.array_equal(state.count, whole.count)


@DIMENSIONS
def test_mesh_grows_and_loses_nobody(dimension):
    """Free particles spread far beyond the first mesh; every one stays deposited."""
    system = _system(dimension, text="0*r", diffusion=50.0)
    stepper = Stepper(system, 0.01, 1, 0, dimension**2 / 4)
    state = stepper.start(_start(system))
    first = state.mesh
    for _ in range(20):
        stepper.advance(state, 5)
        assert state.mesh.holds(state.positions.min(0), state.positions.max(0))
        assert state.count.sum() == system.particles * COUNT_ONE
        assert np.array_equal(state.count, deposit(state.positions, state.mesh).count)
    assert all(a < b for a, b in zip(first.shape, state.mesh.shape, strict=True))


def test_seeds_and_replicas_are_independent():
    """Another seed or replica moves every particle differently."""
    system = _system()
    base = _run(system, 1).positions
    assert not (_run(system, 1, seed=2).positions == base).any()
    assert not (_run(system, 1, replica=1).positions == base).any()


@pytest.mark.parametrize(("force", "tolerance"), [("prefix", 2e-3), ("direct", 2e-3)])
def test_mesh_follows_exact_forces(force, tolerance):
    """With the same noise, mesh and exact forces move the particles alike."""
    system = _system(particles=2000)
    exact, mesh = _run(system, 50, force=force), _run(system, 50, spacing=2.0**-5)
    assert np.abs(exact.positions - mesh.positions).max() < tolerance


def test_auto_is_the_mesh():
    """force.method "auto" steps as "mesh"."""
    system = _system()
    assert np.array_equal(_run(system, 5, force="auto").positions, _run(system, 5).positions)


def test_external_potential_relaxes_to_the_gibbs_law():
    """In V = x**2/2 without interaction the variance of Euler's chain is diffusion / (2 - step)."""
    n, step = 100_000, 0.1
    system = _system(particles=n, text="0*r", diffusion=2.0, potential="x**2/2")
    x = _run(system, 100, step=step, positions=_start(system)).positions
    expected = 2.0 / (2 - step)
    assert abs(x.var() - expected) < 4 * expected * math.sqrt(2 / n)
    assert abs(x.mean()) < 4 * math.sqrt(expected / n)


@DIMENSIONS
def test_attraction_conserves_the_mean(dimension):
    """Pair forces cancel: the mean of the particles moves by the mean of the noise alone."""
    system = _system(dimension)
    x = _start(system)
    state = _run(system, 20, positions=x)
    words = system.particles * dimension
    noise = sum(normals(1, stream_of(0, STEPPING), k, 0, words).astype(np.float64) for k in range(20))
    expected = x.mean(axis=0) + math.sqrt(2 * 0.01) * noise.reshape(-1, dimension).mean(axis=0)
    np.testing.assert_allclose(state.positions.mean(axis=0), expected, atol=1e-5)


def _linear_variance(steps):
    """Variance at time 1 of phi = r from a point, one million particles, diffusion 2."""
    system = _system(particles=1_000_000, text="r")
    x = np.zeros((system.particles, 1))
    return _run(system, steps, step=1 / steps, spacing=2.0**-6, positions=x).positions.var()


def test_weak_order_is_one():
    """With phi = r, var(1) = 1 - exp(-2) from a point: errors halve with the step, as Euler's recursion has them."""
    exact, errors = 1 - math.exp(-2), []
    for steps in (4, 8, 16):
        variance = _linear_variance(steps)
        step = 1 / steps
        euler = 2 * step * sum((1 - step) ** (2 * k) for k in range(steps))
        assert abs(variance - euler) < 4 * euler * math.sqrt(2e-6)
        errors.append(variance - exact)
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert (np.abs(orders - 1) < 0.2).all(), (errors, orders)


def test_strong_order_is_one():
    """Against a fine path with the same Brownian path (additive noise), Euler's error is proportional to the step."""
    system = _system(particles=400, text="sin(r)", diffusion=0.5, potential="x**4/4")
    n, fine = 1024, 1 / 1024
    x = _start(system)
    words = [normals(1, stream_of(0, STEPPING), k, 0, system.particles).astype(np.float64) for k in range(n)]
    brownian = math.sqrt(0.5 * fine) * np.concatenate([np.zeros((1, system.particles)), np.cumsum(words, axis=0)])
    path = _run(system, n, step=fine, spacing=2.0**-7, positions=x).positions[:, 0]

    def euler(stride):
        y = x[:, 0].copy()
        for k in range(0, n, stride):
            pairs = np.sin(y) * np.cos(y).mean() - np.cos(y) * np.sin(y).mean()  # the mean of sin(y_i - y_j)
            drift = -pairs - y**3
            y = y + stride * fine * drift + (brownian[k + stride] - brownian[k])
        return y

    assert np.abs(euler(1) - path).max() < 2e-4  # the stepper is this recursion, bar the mesh
    errors = [np.sqrt(((euler(stride) - euler(1)) ** 2).mean()) for stride in (16, 32, 64)]
    orders = np.log2(np.array(errors[1:]) / errors[:-1])
    assert (orders > 0.9).all(), (errors, orders)


@pytest.mark.parametrize(("force", "step"), [("mesh", 5.0), ("moments", 5.0)])
def test_blow_up(force, step):
    """A step far too large ends with the step, the particles and the remedy, not with a crash."""
    system = _system(text="r**3", particles=200)
    message = rf"the particles blew up at step \d+: \d+ of 200 particles .*; use a smaller time.step \(now {step:g}\)"
    with pytest.raises(RunError, match=message):
        _run(system, 200, step=step, spacing=2.0**-4, force=force)


def test_not_finite_is_told():
    """Positions that stop being finite are counted."""
    system = _system(dimension=2, particles=10)
    stepper = Stepper(system, 0.01, 1, 0, 0.125, "direct")
    state = stepper.start(_start(system))
    state.positions[3:5] = np.inf
    with pytest.raises(
        RunError, match=r"at step 1: 10 of 10 particles have no finite position; use a smaller time.step"
    ):
        stepper.advance(state, 1)


def test_states_are_not_edited():
    """Positions that someone moved off the mesh are refused before anything reads beyond it."""
    stepper = Stepper(_system(), 0.01, 1, 0, 0.125)
    state = stepper.start(_start(_system()))
    state.positions[3] = 1e9
    with pytest.raises(ValueError, match=r"`state.positions` must lie on `state.mesh`; make states with Stepper.start"):
        stepper.advance(state, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chunk": 6}, "`run.chunk` must be a positive multiple of 4; got 6; use 1048576"),
        ({"chunk": 0}, "`run.chunk` must be a positive multiple of 4; got 0; use 1048576"),
        ({"force": "tree"}, "`force.method` must be one of auto, mesh, direct, prefix, moments; got 'tree'"),
        ({"positions": np.zeros((3, 1))}, "`initial` must be positions of shape (501, 1); got (3, 1)"),
        ({"positions": np.full((501, 1), np.nan)}, "`initial` must be finite; got 501 particles that are not"),
    ],
)
def test_refusals(change, message):
    """Bad arguments are refused by name."""
    with pytest.raises(InputError) as caught:
        _run(_system(), 1, **change)
    assert str(caught.value) == message


def test_unknown_kernel_is_refused():
    """A system of foreign data cannot be simulated."""
    with pytest.raises(InputError, match=r"`system.kernel` is needed to simulate; got none; give an expression in r"):
        Stepper(System(1, 10, 1, None, None, 1.0), 0.01, 0, 0, 0.1)
