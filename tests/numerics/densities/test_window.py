"""The Gaussian window against closed forms, direct sums and SciPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import erf
from scipy.stats import gaussian_kde

from ipsdist.model.errors import InputError
from ipsdist.model.mesh import Mesh
from ipsdist.model.system import Grid
from ipsdist.numerics.densities.window import coarsened, density, window_matrix
from tests.references import direct_window, linear_counts


def normal(x, variance):
    return np.exp(-0.5 * x * x / variance) / np.sqrt(2.0 * np.pi * variance)


def expected_shares(mesh):
    """Mean linear shares of a standard normal at the nodes: second differences of the antiderivative of its CDF."""
    x = (mesh.lower[0] - 1 + np.arange(mesh.shape[0] + 2)) * mesh.spacing
    primitive = 0.5 * x * (1.0 + erf(x / np.sqrt(2.0))) + normal(x, 1.0)
    return np.diff(primitive, 2) / mesh.spacing


@pytest.mark.parametrize(("spacing", "bandwidth"), [(1 / 8, 0.15), (1 / 8, 0.4), (1 / 128, 0.4)])
def test_normal_law_becomes_normal_with_added_variance(spacing, bandwidth):
    """A normal of variance 1 seen through the window has variance 1 + h**2, binning variance included."""
    mesh = Mesh.around([-9.0], [9.0], spacing)
    grid = Grid((-4.0,), (4.0,), (83,))
    u = density(expected_shares(mesh), mesh, grid, [bandwidth])
    assert np.abs(u - normal(grid.axes()[0], 1.0 + bandwidth**2)).max() < 1e-5


def test_binning_variance_would_show():
    """Without taking spacing**2 / 6 off, the closed form is missed a hundred times as far."""
    mesh, grid, h = Mesh.around([-9.0], [9.0], 1 / 4), Grid((-4.0,), (4.0,), (83,)), 0.3
    weights, x = expected_shares(mesh), grid.axes()[0]
    exact = normal(x, 1.0 + h * h)
    wider = density(weights, mesh, grid, [np.sqrt(h * h + mesh.spacing**2 / 6)])
    assert np.abs(wider - exact).max() > 100 * np.abs(density(weights, mesh, grid, [h]) - exact).max()


def test_matches_scipy():
    """On a fine mesh the estimate is scipy.stats.gaussian_kde's."""
    x = np.random.default_rng(1).normal(size=(2000, 1)) * [0.7]
    mesh, grid = Mesh.around(x.min(0), x.max(0), 2.0**-8), Grid((-3.0,), (3.0,), (60,))
    peer = gaussian_kde(x[:, 0])
    u = density(linear_counts(x, mesh), mesh, grid, [float(np.sqrt(peer.covariance[0, 0]))])
    np.testing.assert_allclose(u, peer(grid.axes()[0]), rtol=2e-3, atol=1e-5)


@pytest.mark.parametrize("d", [2, 3])
def test_matches_direct_sum(d):
    """In two and three dimensions, with a bandwidth of its own on every axis, the sum over particles comes out."""
    x = np.random.default_rng(d).normal(size=(200, d)) * 0.5
    mesh = Mesh.around(x.min(0), x.max(0), 1 / 16)
    grid = Grid((-1.0, -1.5, -0.5)[:d], (1.0, 1.0, 1.5)[:d], (9, 7, 5)[:d])
    h = np.array([0.5, 0.6, 0.7])[:d]
    u = density(linear_counts(x, mesh), mesh, grid, h)
    np.testing.assert_allclose(u, direct_window(x, grid.axes(), h), rtol=2e-3, atol=1e-6)


def test_mass_is_one():
    """The sum over a grid that holds everything is 1, not the mass inside the mesh or the number of particles."""
    x = np.random.default_rng(3).normal(size=(500, 2))
    mesh, grid = Mesh.around(x.min(0), x.max(0), 1 / 8), Grid((-8.0, -8.0), (8.0, 8.0), (64, 64))
    u = density(linear_counts(x, mesh), mesh, grid, [0.5, 0.5])
    assert np.sum(u) * np.prod(grid.spacing) == pytest.approx(1.0, abs=1e-10)


def test_grid_narrower_than_the_mesh_sees_the_same_values():
    """The density at a point does not depend on the grid around it."""
    x = np.random.default_rng(4).normal(size=(500, 1))
    mesh = Mesh.around(x.min(0), x.max(0), 1 / 32)
    weights = linear_counts(x, mesh)
    wide = density(weights, mesh, Grid((-6.0,), (6.0,), (96,)), [0.2])
    narrow = density(weights, mesh, Grid((-1.0,), (1.0,), (16,)), [0.2])
    np.testing.assert_array_equal(narrow, wide[40:57])


@pytest.mark.parametrize("d", [1, 2])
def test_slices_do_not_change_their_neighbours(d):
    """A batch has, bit for bit, the slices one by one, with a shared window and with one each."""
    rng = np.random.default_rng(5)
    mesh = Mesh(1 / 8, (-20,) * d, (41,) * d)
    grid = Grid((-2.0,) * d, (2.0,) * d, (30,) * d)
    weights = rng.integers(0, 2**20, size=(7, *mesh.shape)) / 2**16
    h = 0.2 + rng.random((7, d))
    single = [density(w, mesh, grid, h[0]) for w in weights]
    np.testing.assert_array_equal(density(weights, mesh, grid, h[0]), single)
    np.testing.assert_array_equal(density(weights[2:5], mesh, grid, h[0]), single[2:5])
    np.testing.assert_array_equal(
        density(weights, mesh, grid, h), [density(w, mesh, grid, b) for w, b in zip(weights, h, strict=True)]
    )


@settings(deadline=None, max_examples=40)
@given(st.integers(-50, 50), st.integers(1, 4), st.integers(0, 2**32))
def test_coarse_counts_are_those_of_the_coarse_mesh(lower, halvings, seed):
    """Coarsening counts is depositing on the coarse mesh, mass and all, wherever the mesh begins."""
    factor = 2**halvings
    x = np.random.default_rng(seed).integers(0, 30 * 64, size=(50, 1)) / 64.0 + lower
    fine = Mesh(1.0, (lower,), (32,))
    weights, first = coarsened(linear_counts(x, fine), lower, factor)
    coarse = Mesh(float(factor), (first,), weights.shape)
    np.testing.assert_array_equal(weights, linear_counts(x, coarse))


def test_bandwidth_below_the_mesh_is_refused():
    """A window narrower than the mesh is refused in words that name the key and the remedy."""
    with pytest.raises(InputError) as caught:
        window_matrix(np.zeros(1), 0, 5, 0.25, 0.2)
    assert str(caught.value) == (
        "`density.bandwidth` must be finite and at least the spacing 0.25 of the force mesh; got 0.2; "
        "give a larger density.bandwidth or a smaller force.spacing"
    )


def test_empty_slice_and_wrong_shape_are_refused():
    """No particles is bad input; a bandwidth array of the wrong shape is a programming error."""
    mesh, grid = Mesh(1.0, (0,), (4,)), Grid((0.0,), (3.0,), (3,))
    with pytest.raises(InputError, match="`weights` must hold at least one particle a slice"):
        density(np.zeros(4), mesh, grid, [1.0])
    with pytest.raises(ValueError, match="`bandwidths` must be"):
        density(np.ones(4), mesh, grid, [1.0, 1.0])
