"""Initial laws: chunks, moments, distribution functions, refusals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import cumulative_simpson
from scipy.stats import kstest, norm

from ipsdist.model.errors import InputError
from ipsdist.model.system import FromArray, Mixture, Ring, Uniform
from ipsdist.numerics.particles.initial import sample

N = 2**17
MIXTURE = Mixture((0.25, 0.75), ((1.0, 0.0, 2.0), (-1.0, 0.5, 0.0)), (0.04, 0.25))
LAWS = {
    "mixture": MIXTURE,
    "uniform": Uniform((-1.0, 0.0, 2.0), (1.0, 0.5, 5.0)),
    "ring": Ring(1.0, 0.25),
    "array": FromArray(np.random.default_rng(0).normal(size=(300, 3))),
}


@pytest.mark.parametrize("name", LAWS)
@given(first=st.integers(0, 150), count=st.integers(0, 150))
def test_any_chunk(name, first, count):
    """A chunk holds the same bits as the whole, wherever it begins."""
    whole = sample(LAWS[name], 3, 5, 2, 0, 300)
    assert np.array_equal(sample(LAWS[name], 3, 5, 2, first, count), whole[first : first + count])


def test_blocks_join():
    """Many particles are made block by block without a seam."""
    whole = sample(MIXTURE, 3, 5, 0, 0, 2**16 + 9)
    assert np.array_equal(whole[2**16 - 3 :], sample(MIXTURE, 3, 5, 0, 2**16 - 3, 12))


def test_mixture():
    """Every coordinate follows the mixture's distribution function; weights are not tied to coordinates."""
    x = sample(MIXTURE, 3, 1, 0, 0, N)
    for a in range(3):

        def distribution(v, a=a):
            modes = zip(MIXTURE.weights, MIXTURE.means, MIXTURE.variances, strict=True)
            return sum(w * norm.cdf(v, m[a], np.sqrt(s)) for w, m, s in modes)

        assert kstest(x[:, a], distribution).pvalue > 1e-3
    near = x[:, 2] > 1.8  # only the first mode, bar a few
    assert abs(np.corrcoef(x[near, 0], x[near, 1])[0, 1]) < 4 / np.sqrt(near.sum())


def test_uniform():
    """Inside the box and uniform on each axis."""
    x = sample(LAWS["uniform"], 3, 1, 0, 0, N)
    for a, (low, high) in enumerate(zip(LAWS["uniform"].lower, LAWS["uniform"].upper, strict=True)):
        assert kstest(x[:, a], "uniform", args=(low, high - low)).pvalue > 1e-3


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("radius", [0.3, 2.0])
def test_ring(dimension, radius):
    """Radii follow r**(d-1) exp(-(r - R)**2 / (2 s^2)); directions are isotropic."""
    law = Ring(radius, 0.25)
    x = sample(law, dimension, 1, 0, 0, N)
    r = np.linalg.norm(x, axis=1)
    grid = np.linspace(0, radius + 6, 4001)
    integral = cumulative_simpson(grid ** (dimension - 1) * np.exp(-((grid - radius) ** 2) / 0.5), x=grid, initial=0)
    assert kstest(r, lambda v: np.interp(v, grid, integral / integral[-1])).pvalue > 1e-3
    direction = x / r[:, None]
    assert (np.abs(direction.mean(axis=0)) < 4 / np.sqrt(dimension * N)).all()
    np.testing.assert_allclose(direction.T @ direction / N, np.eye(dimension) / dimension, atol=4 / np.sqrt(N))


def test_seeds_and_replicas_differ():
    """Another seed or replica is another draw; an array starts every replica alike."""
    first = sample(MIXTURE, 3, 1, 0, 0, 100)
    assert not np.isin(sample(MIXTURE, 3, 2, 0, 0, 100), first).any()
    assert not np.isin(sample(MIXTURE, 3, 1, 1, 0, 100), first).any()
    assert np.array_equal(sample(LAWS["array"], 3, 1, 0, 0, 300), sample(LAWS["array"], 3, 9, 4, 0, 300))


def test_refusals():
    """A ring in one dimension and a law of another dimension are refused."""
    with pytest.raises(
        InputError, match=r"`initial.ring` needs dimension 2 or 3; got dimension 1; use initial.mixture"
    ):
        sample(LAWS["ring"], 1, 0, 0, 0, 1)
    for name in ("mixture", "uniform", "array"):
        with pytest.raises(InputError, match=r"`initial` must have system.dimension = 2 coordinates; got 3"):
            sample(LAWS[name], 2, 0, 0, 0, 1)
