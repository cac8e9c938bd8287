"""From deposits, counts or positions to a density: one answer, for every rule; and the fast binning behind it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipsdist.model.errors import InputError
from ipsdist.model.mesh import Mesh
from ipsdist.model.system import Grid
from ipsdist.numerics.densities import binning
from ipsdist.numerics.densities.binning import bin_positions, binning_mesh
from ipsdist.numerics.densities.deposit import deposit
from ipsdist.numerics.densities.estimate import density_of_counts, density_of_positions, estimate_density
from tests.references import linear_counts

RULES = ["scott", "silverman", "isj", "self_consistent", 0.3]


@pytest.mark.parametrize("rule", RULES)
def test_deposits_counts_and_positions_agree(rule):
    """Chunks of deposits, their counts and the positions give the same bits for every rule."""
    x = np.random.default_rng(1).normal(size=(5000, 1))
    grid = Grid((-4.0,), (4.0,), (50,))
    mesh, count = bin_positions(x)
    chunks = deposit(x[:1234], mesh) + deposit(x[1234:], mesh)
    u = estimate_density(chunks, grid, rule, 0.5)
    np.testing.assert_array_equal(u, density_of_positions(x, grid, rule, 0.5))
    np.testing.assert_array_equal(u, density_of_counts(count / 2**16, mesh, 5000, grid, rule, 0.5))
    assert np.sum(u) * grid.spacing[0] == pytest.approx(1.0, abs=2e-3)


@pytest.mark.parametrize("rule", RULES)
def test_moving_the_particles_moves_the_density(rule):
    """A shift by whole nodes, of particles and grid alike, leaves the values."""
    x = np.random.default_rng(2).normal(size=(5000, 1))
    mesh = Mesh.around(x.min(0), x.max(0), 1 / 64)
    moved = Mesh(1 / 64, (mesh.lower[0] + 128,), mesh.shape)
    u = estimate_density(deposit(x, mesh), Grid((-4.0,), (4.0,), (64,)), rule)
    v = estimate_density(deposit(x + 2.0, moved), Grid((-2.0,), (6.0,), (64,)), rule)
    np.testing.assert_allclose(u, v, atol=1e-4)


def test_plane():
    """In two dimensions the density of positions is close to the law they were drawn from."""
    x = np.random.default_rng(3).normal(size=(20_000, 2))
    grid = Grid((-3.0, -3.0), (3.0, 3.0), (20, 20))
    a, b = np.meshgrid(*grid.axes(), indexing="ij")
    u = density_of_positions(x, grid)
    assert np.abs(u - np.exp(-0.5 * (a * a + b * b)) / (2 * np.pi)).max() < 0.02


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32), st.permutations(range(6)))
def test_counts_are_the_deposits(seed, order):
    """Packed binning of any permutation of the particles gives the deposit's integers, nodes and edges included."""
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.normal(size=300), rng.integers(-8, 8, 60) / 4.0])[:, None]
    mesh = Mesh.around([-6.0], [6.0], 1 / 4)
    expected = deposit(x, mesh).count
    shuffled = np.concatenate([x[k::6] for k in order])
    np.testing.assert_array_equal(bin_positions(shuffled, mesh)[1], expected)
    np.testing.assert_allclose(expected / 2**16, linear_counts(x, mesh), atol=360 / 2**17)


def test_blocks_of_positions_add(monkeypatch):
    """Emptying the packed cells between blocks changes nothing."""
    x = np.random.default_rng(4).normal(size=(1000, 1))
    mesh, whole = bin_positions(x)
    monkeypatch.setattr(binning, "_BLOCK", 7)
    np.testing.assert_array_equal(bin_positions(x, mesh)[1], whole)


def test_outlier_that_the_first_guess_misses():
    """A particle far outside the sampled extent is counted all the same."""
    x = np.random.default_rng(5).normal(size=(50_000, 1))
    x[12_347] = 300.0
    mesh, count = bin_positions(x)
    assert count.sum() == 50_000 * 2**16
    assert mesh.holds([300.0], [300.0])


def test_mesh_of_one_place():
    """Particles at one place have a mesh, too."""
    mesh = binning_mesh(np.full((10, 2), 0.3))
    assert mesh.holds([0.3, 0.3], [0.3, 0.3])


def test_refusals():
    """Positions of the wrong shape, off a given mesh, or not finite are refused."""
    grid = Grid((0.0,), (1.0,), (4,))
    with pytest.raises(InputError, match=r"`positions` must be \(N, 1\) with N > 0; got \(3,\)"):
        density_of_positions(np.zeros(3), grid)
    with pytest.raises(ValueError, match="`mesh` must hold every particle; 1 of 2 are off it"):
        bin_positions(np.array([[0.5], [9.0]]), Mesh(1.0, (0,), (3,)))
    with pytest.raises(InputError, match="`positions` must be finite; got 1 that are not"):
        density_of_positions(np.array([[0.5], [np.nan]]), grid)
