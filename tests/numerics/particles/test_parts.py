"""A replica in parts, one a member of a gang: the same bits as the whole, growth and errors included; float32."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipsdist.model.errors import RunError
from ipsdist.model.radial import RadialKernel
from ipsdist.model.system import System
from ipsdist.numerics.particles.noise import STEPPING, normals, stream_of
from ipsdist.numerics.particles.stepping import Stepper
from tests.gangs import Gang

N = 501


def _system(dimension, text="3*r**2", diffusion=2.0, particles=N):
    return System(dimension, particles, 1, RadialKernel.parse(text, None), None, diffusion)


def _start(dimension, particles=N, seed=0):
    return np.random.default_rng(seed).normal(size=(particles, dimension))


def _bounds(size, particles=N):
    rows = -(-particles // size)
    rows += -rows % 4
    return [(min(r * rows, particles), min((r + 1) * rows, particles)) for r in range(size)]


def _together(system, x, size, steps, spacing=0.25, step=0.01, chunk=None):
    """Return the states of the members, and the number of exchanges."""
    gang = Gang(size)

    def member(together):
        first, stop = _bounds(size, len(x))[together.rank]
        stepper = Stepper(system, step, 1, 0, spacing, chunk=chunk, part=(first, stop))
        state = stepper.start(x[first:stop], together=together)
        stepper.advance(state, steps, together)
        return state

    return gang.all(member), gang.exchanges


@pytest.mark.parametrize("dimension", [1, 2, 3])
@settings(max_examples=6, deadline=None)
@given(size=st.integers(2, 9), single=st.booleans(), wide=st.booleans())
def test_parts_have_the_bits_of_the_whole(dimension, size, single, wide):
    """Any number of members, some without particles, leave positions, counts and mesh of one; some meshes grow."""
    system = _system(dimension, "0*r", 50.0) if wide else _system(dimension)
    x = _start(dimension).astype(np.float32 if single else np.float64)
    spacing = 2.0 if wide else 0.25
    whole = Stepper(system, 0.01, 1, 0, spacing)
    expected = whole.start(x)
    first = expected.mesh
    whole.advance(expected, 20)
    assert wide == (expected.mesh != first)
    states, _ = _together(system, x, size, 20, spacing, chunk=64)
    assert np.concatenate([s.positions for s in states]).tobytes() == expected.positions.tobytes()
    for state in states:
        assert state.mesh == expected.mesh
        assert np.array_equal(state.count, expected.count)


def test_more_members_than_particles():
    """Members beyond the particles have none and do no harm."""
    system, x = _system(1, particles=9), _start(1, 9)
    whole = Stepper(system, 0.01, 1, 0, 0.25)
    expected = whole.start(x)
    whole.advance(expected, 5)
    states, _ = _together(system, x, 5, 5)
    assert [len(s.positions) for s in states] == [4, 4, 1, 0, 0]
    assert np.array_equal(np.concatenate([s.positions for s in states]), expected.positions)


def test_one_exchange_a_step():
    """While nobody leaves the mesh, members exchange once a step; the start takes two exchanges."""
    _, exchanges = _together(_system(1), _start(1), 3, 10)
    assert exchanges == 10 + 2


@pytest.mark.parametrize("size", [1, 3])
def test_members_fail_alike(size):
    """A blow-up counts the particles of all members, and every member raises the same error."""
    system, x = _system(1, "r**3"), 3 * _start(1)
    gang, told = Gang(size), []

    def member(together):
        part = _bounds(size)[together.rank]
        stepper = Stepper(system, 5.0, 1, 0, 0.0625, part=part)
        try:
            stepper.advance(stepper.start(x[slice(*part)], together=together), 200, together)
        except RunError as error:
            told.append(str(error))

    gang.all(member)
    assert len(told) == size
    assert len(set(told)) == 1
    stepper = Stepper(system, 5.0, 1, 0, 0.0625)
    with pytest.raises(RunError) as caught:
        stepper.advance(stepper.start(x), 200)
    assert str(caught.value) == told[0]


def test_a_broken_member_stops_all():
    """Positions off the mesh of one member are refused by every member, not waited for."""
    gang, told = Gang(2), []

    def member(together):
        part = _bounds(2)[together.rank]
        stepper = Stepper(_system(1), 0.01, 1, 0, 0.25, part=part)
        state = stepper.start(_start(1)[slice(*part)], together=together)
        if together.rank == 1:
            state.positions[3] = 1e9
        try:
            stepper.advance(state, 1, together)
        except ValueError as error:
            told.append(str(error))

    gang.all(member)
    assert told == ["`state.positions` must lie on `state.mesh`; make states with Stepper.start"] * 2


@pytest.mark.parametrize("force", ["mesh", "direct"])
def test_single_precision_rounds_once_a_step(force):
    """Without forces, float32 positions are the float64 sum of position and noise, rounded to float32, to the bit."""
    system, x = _system(2, "0*r"), _start(2).astype(np.float32)
    stepper = Stepper(system, 0.01, 1, 0, 0.25, force)
    state = stepper.start(x)
    stepper.advance(state, 3)
    for number in range(3):
        noise = normals(1, stream_of(0, STEPPING), number, 0, x.size).reshape(x.shape).astype(np.float64)
        x = (x.astype(np.float64) + np.sqrt(2.0 * 0.01) * noise).astype(np.float32)
    assert state.positions.dtype == np.float32
    assert state.positions.tobytes() == x.tobytes()


def test_single_precision_follows_double():
    """With forces, paths in float32 stay within a few roundings a step of those in float64."""
    system, x = _system(1), _start(1)
    found = []
    for kind in (np.float32, np.float64):
        stepper = Stepper(system, 0.01, 1, 0, 0.0625)
        state = stepper.start(x.astype(kind))
        stepper.advance(state, 50)
        found.append(state.positions)
    assert 0 < np.abs(found[0] - found[1]).max() < 50 * 2e-7


def test_positions_may_be_handed_over():
    """Without a copy the state owns the array that it was given."""
    x = _start(1)
    stepper = Stepper(_system(1), 0.01, 1, 0, 0.25)
    assert np.shares_memory(stepper.start(x, copy=False).positions, x)
    assert not np.shares_memory(stepper.start(x).positions, x)


def test_parts_that_cannot_be():
    """Parts begin at a whole Philox block, and exact forces need all particles."""
    with pytest.raises(ValueError, match="a part must begin at a multiple of 4; got 6"):
        Stepper(_system(1), 0.01, 1, 0, 0.25, part=(6, N))
    with pytest.raises(ValueError, match="force method direct needs all particles in one part"):
        Stepper(_system(1), 0.01, 1, 0, 0.25, "direct", part=(0, 8))
