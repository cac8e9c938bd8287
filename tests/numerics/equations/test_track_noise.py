"""What displacements say, against the theory of the motion that made them."""

from dataclasses import replace

import numpy as np
import pytest

from ipsdist.model.errors import InputError
from ipsdist.model.tracks import Ragged
from ipsdist.numerics.equations.track_noise import displacement_noise


def tracks(kind="diffusion", seed=0, particles=60, slices=120, uneven=False, absent=0.02):
    """Motion with sigma^2 = 2 in the plane, or of a ``kind``, with gaps."""
    rng = np.random.default_rng(seed)
    gaps = rng.choice([0.5, 1.0, 2.0], slices - 1) if uneven else np.ones(slices - 1)
    times, gap = np.concatenate([[0.0], np.cumsum(gaps)]), gaps[:, None, None]
    shape = (slices - 1, particles, 2)
    moves = rng.normal(size=shape) * np.sqrt(2.0 * gap)
    if kind == "drift":
        moves += gap * np.array([0.3, -0.1])
    elif kind == "own drift":
        moves += gap * rng.normal(size=(1, particles, 2)) * 0.5
    elif kind == "two sorts":
        moves *= np.sqrt(np.where(np.arange(particles) % 2, 0.5, 1.5))[:, None]
    elif kind == "persistent":
        velocity = rng.normal(size=shape)
        for k in range(1, slices - 1):
            velocity[k] = 0.8 * velocity[k - 1] + 0.6 * velocity[k]
        moves = 0.1 * moves + 0.3 * velocity
    positions = np.concatenate([np.zeros((1, particles, 2)), np.cumsum(moves, axis=0)])
    if kind == "blurred":
        positions += 0.7 * rng.normal(size=positions.shape)
    positions[rng.random((slices, particles)) < absent] = np.nan
    return Ragged.of_array(times, positions)


def near(estimate, truth, errors=4.0):
    """Whether an estimate has a standard error and lies within some of it from the truth."""
    return estimate.standard_error > 0 and abs(estimate.value - truth) < errors * estimate.standard_error


@pytest.mark.parametrize("uneven", [False, True])
def test_diffusion(uneven):
    """Brownian motion: sigma^2 by both roads, and nothing else; Richardson's error is that of theory."""
    found = displacement_noise(tracks(uneven=uneven))
    for estimate, truth in (
        (found.diffusion, 2.0),
        (found.lasting, 2.0),
        (found.localisation, 0.0),
        (found.kurtosis, 0.0),
    ):
        assert near(estimate, truth)
    assert len(found.correlation) >= 2
    assert all(near(c, 0.0) for c in (*found.correlation, *found.drift))
    assert found.diffusion.standard_error < 0.03 * 2.0
    assert not found.remembers
    assert found.motion == found.diffusion


@pytest.mark.parametrize("uneven", [False, True])
def test_noise_of_positions(uneven):
    """White noise of variance 0.49: found, taken off the lasting sigma^2, in the correlation as -s^2/(2 + 2 s^2)."""
    found = displacement_noise(tracks("blurred", uneven=uneven))
    assert near(found.localisation, 0.49)
    assert near(found.motion, 2.0)
    assert found.motion == found.lasting
    assert found.diffusion.value > 3.2
    assert abs(found.correlation[1].value) < 4 * found.correlation[1].standard_error
    if not uneven:
        assert near(found.correlation[0], -0.49 / 2.98)


@pytest.mark.parametrize("absent", [0.0, 0.3])
def test_persistent_motion(absent):
    """Velocities that remember by 0.8 an interval: correlations 0.09 0.8^k / 0.11, sigma^2 lasting 0.02 + 0.09 * 9.

    With gaps too: a displacement before a gap is no neighbour of one behind it.
    """
    found = displacement_noise(tracks("persistent", particles=120, absent=absent))
    for lag in (1, 2, 5):
        assert near(found.correlation[lag - 1], 0.09 * 0.8**lag / 0.11)
    assert near(found.lasting, 0.02 + 0.09 * 9)
    assert found.remembers
    assert found.motion == found.lasting
    assert found.localisation.value < -5 * found.localisation.standard_error


def test_drift_of_all_and_of_each():
    """A common drift is found and taken off; drifts of each leave Richardson's value and a level correlation."""
    common = displacement_noise(tracks("drift"))
    assert all(near(d, truth) for d, truth in zip(common.drift, (0.3, -0.1), strict=True))
    assert near(common.lasting, 2.0)
    assert near(common.correlation[0], 0.0)
    own = displacement_noise(tracks("own drift"))
    assert near(own.diffusion, 2.0)
    assert near(own.localisation, 0.0)
    assert near(own.correlation[0], 0.25 / 2.25)
    assert own.motion == own.diffusion


def test_livelier_particles_have_heavy_tails():
    """Half with 3 times the sigma^2 of the others: mean sigma^2 2, kurtosis 3 (1 + 1/4) - 3, errors by particles."""
    found, plain = (displacement_noise(tracks(kind)) for kind in ("two sorts", "diffusion"))
    assert near(found.diffusion, 2.0)
    assert near(found.kurtosis, 0.75)
    assert found.diffusion.standard_error > 2 * plain.diffusion.standard_error


@pytest.mark.parametrize("kind", ["diffusion", "blurred", "persistent"])
def test_standard_errors_are_the_scatter(kind):
    """Over 60 experiments the mean standard error is the scatter, or up to half more: the larger of two is taken."""
    found = [displacement_noise(tracks(kind, seed, particles=40, slices=80)) for seed in range(60)]
    for get in (
        lambda f: f.diffusion,
        lambda f: f.lasting,
        lambda f: f.localisation,
        lambda f: f.correlation[0],
        lambda f: f.drift[0],
        lambda f: f.kurtosis,
    ):
        values = [get(f).value for f in found]
        ratio = np.mean([get(f).standard_error for f in found]) / np.std(values)
        assert 0.75 < ratio < 1.6


def test_gaps_are_not_bridged():
    """A particle that a slice misses moves from neither side of the gap: displacements are between neighbours."""
    whole = tracks(particles=5, slices=30, absent=0.0)
    positions = np.stack([whole.slice(k)[1] for k in range(30)])
    positions[10, 2] = np.nan
    positions[11:, 2] += 1e6
    found = displacement_noise(Ragged.of_array(whole.times, positions))
    assert found.displacements == 5 * 29 - 2
    assert found.diffusion.value < 4.0


def test_weights_are_those_of_the_smallest_variance():
    """Three intervals of 1, three of 100 in turn: the error stays that of theory, not far from that of even ones.

    The variance of a pair is 2 for even intervals, 102 for 1 and 100: weighted, 2.97 for the mix; plainly, 35.
    """
    rng = np.random.default_rng(3)

    def of(gaps):
        times = np.concatenate([[0.0], np.cumsum(gaps)])
        moves = rng.normal(size=(len(gaps), 200, 1)) * np.sqrt(2.0 * gaps[:, None, None])
        return displacement_noise(Ragged.of_array(times, np.cumsum(np.vstack([np.zeros((1, 200, 1)), moves]), 0)))

    mixed = of(np.where(np.arange(60) % 6 < 3, 1.0, 100.0))
    even = of(np.ones(60))
    assert near(mixed.diffusion, 2.0)
    assert mixed.diffusion.standard_error < 1.5 * even.diffusion.standard_error


def test_two_slices_say_little():
    """One displacement each: no neighbour, so no sigma^2 by differences; unknown, not 0."""
    found = displacement_noise(tracks(slices=2, absent=0.0))
    assert found.displacements == 60
    assert np.isnan([found.diffusion.value, found.lasting.value, found.localisation.value]).all()
    assert near(found.drift[0], 0.0)
    assert not found.remembers


def test_unlabelled_and_single_sightings_are_refused():
    """One line each."""
    whole = tracks(slices=3)
    with pytest.raises(InputError) as unlabelled:
        displacement_noise(replace(whole, ids=None))
    assert str(unlabelled.value) == (
        "`data.labelled` must be true for displacements to be known; got false; name the column of the particles"
    )
    alone = np.full((4, 4, 2), np.nan)
    alone[np.arange(4), np.arange(4)] = 0.0
    with pytest.raises(InputError) as single:
        displacement_noise(Ragged.of_array(np.arange(4.0), alone))
    assert str(single.value) == "`data.file` must have a particle in two slices in a row; got none"
