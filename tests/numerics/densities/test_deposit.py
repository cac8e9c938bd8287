"""Deposits against the slow twin; chunks and permutations add to the same integers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipsdist.model.deposits import COUNT_ONE, MOVE_ONE, PRODUCT_ONE, move_one, neighbour_offsets
from ipsdist.model.errors import RunError
from ipsdist.model.mesh import Mesh
from ipsdist.numerics.densities.deposit import deposit, deposit_flux, squared_moves
from tests.references import corner_weights, slow_deposit, slow_flux

FLUX_ONE = COUNT_ONE * MOVE_ONE
DIMENSIONS = pytest.mark.parametrize("dimension", [1, 2, 3])


def _positions(dimension, particles=200, seed=0):
    x = np.random.default_rng(seed).normal(-0.2, 0.7, (particles, dimension))
    x[:4] = np.array([0.0, 0.25, 0.25 - 1e-9, -1e-20])[:, None]  # on nodes, just below, and where q - floor(q) is 1
    return x, Mesh.around(x.min(0), x.max(0), 0.25)


@DIMENSIONS
def test_deposit_equals_slow_twin(dimension):
    """Counts and products are the exact integers of a loop over particles and corners."""
    x, mesh = _positions(dimension)
    found = deposit(x, mesh)
    count, products = slow_deposit(x, mesh, neighbour_offsets(dimension))
    assert found.particles == len(x)
    assert (found.count == count).all()
    assert (found.products == products).all()


@DIMENSIONS
def test_counts_conserve_particles_and_mean(dimension):
    """Weights sum to the particle number exactly; their first moment is that of the particles to the quantum."""
    x, mesh = _positions(dimension)
    count = deposit(x, mesh).count
    assert count.sum() == len(x) * COUNT_ONE
    for a, axis in enumerate(mesh.axes()):
        line = count.sum(axis=tuple(b for b in range(dimension) if b != a))
        assert abs(line @ axis / count.sum() - x[:, a].mean()) < 2 * mesh.spacing / COUNT_ONE


@DIMENSIONS
def test_products_complete_the_square(dimension):
    """The squared weights and twice the products of all pairs of corners sum to one a particle."""
    x, mesh = _positions(dimension)
    squares = sum(w * w for p in x for w in corner_weights(p, mesh).values())
    assert squares + 2 * int(deposit(x, mesh).products.sum()) == len(x) * PRODUCT_ONE


@DIMENSIONS
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_chunks_in_any_order(dimension, data):
    """However the particles are shuffled and cut, the sum of the chunks' deposits is the same integers."""
    x, mesh = _positions(dimension)
    order = np.random.default_rng(data.draw(st.integers(0, 99))).permutation(len(x))
    cuts = sorted(data.draw(st.lists(st.integers(1, len(x) - 1), max_size=4)))
    parts = [deposit(part, mesh) for part in np.split(x[order], cuts)]
    total = parts[0]
    for part in parts[1:]:
        total = part + total
    whole = deposit(x, mesh)
    assert np.array_equal(total.count, whole.count)
    assert np.array_equal(total.products, whole.products)
    assert total.particles == whole.particles


@DIMENSIONS
def test_extent_of_the_mesh_does_not_matter(dimension):
    """A larger mesh holds the same integers at the same lattice nodes."""
    x, mesh = _positions(dimension)
    large = Mesh(mesh.spacing, tuple(low - 3 for low in mesh.lower), tuple(n + 7 for n in mesh.shape))
    inner = tuple(slice(3, 3 + n) for n in mesh.shape)
    assert np.array_equal(deposit(x, large).count[inner], deposit(x, mesh).count)


@DIMENSIONS
def test_flux_equals_slow_twin(dimension):
    """Flux and squared move are the exact integers of a loop, and sum to the displacement of the particles."""
    x, mesh = _positions(dimension)
    y = x + np.random.default_rng(1).normal(0.01, 0.2, x.shape)
    flux, square = deposit_flux(x, y, mesh)
    slow, slow_square = slow_flux(x, y, mesh)
    assert (flux == slow).all()
    assert square == slow_square
    moved = flux.reshape(dimension, -1).sum(axis=1) * mesh.spacing / FLUX_ONE
    np.testing.assert_allclose(moved, (y - x).sum(axis=0), atol=len(x) * mesh.spacing / MOVE_ONE)
    assert square * mesh.spacing**2 / MOVE_ONE == pytest.approx(((y - x) ** 2).sum(), rel=1e-5)


@pytest.mark.parametrize("position", [-10.0, 10.0, np.nan, np.inf])
def test_off_the_mesh(position):
    """A position off the mesh or not finite is refused, not lost."""
    x, mesh = _positions(1)
    x[7] = position
    with pytest.raises(ValueError, match=r"`mesh` must hold every particle; 1 of 200 are off it"):
        deposit(x, mesh)
    with pytest.raises(ValueError, match=r"1 of 200 are off it"):
        deposit_flux(x, x, mesh)


def test_shapes():
    """Positions of another dimension, and two slices of different particles, are refused."""
    x, mesh = _positions(2)
    with pytest.raises(ValueError, match=r"`positions` must be \(N, 2\); got \(200,\)"):
        deposit(x[:, 0], mesh)
    with pytest.raises(ValueError, match=r"must be the same particles; got \(200, 2\) and \(199, 2\)"):
        deposit_flux(x, x[1:], mesh)


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_single_precision_is_deposited_as_what_it_is(dimension):
    """Positions in float32 leave the integers of the same numbers in float64: nothing is computed in float32."""
    random = np.random.default_rng(dimension)
    x, y = (random.normal(size=(501, dimension)).astype(np.float32) for _ in range(2))
    mesh = Mesh.around(x.min(0), x.max(0), 0.125)
    here, wide = deposit(x, mesh), deposit(x.astype(np.float64), mesh)
    assert np.array_equal(here.count, wide.count)
    assert np.array_equal(here.products, wide.products)
    (flux, move), (wide_flux, wide_move) = (
        deposit_flux(x, y, mesh),
        deposit_flux(x.astype(float), y.astype(float), mesh),
    )
    assert np.array_equal(flux, wide_flux)
    assert move == wide_move == squared_moves(x, y, mesh)


def test_squared_moves_add_exactly():
    """Any cut of the particles adds to the same integer, that of NumPy's floats up to half a unit a particle."""
    random = np.random.default_rng(5)
    x, y = random.normal(size=(2, 1000, 2))
    mesh = Mesh.around(x.min(0), x.max(0), 0.25)
    whole = squared_moves(x, y, mesh)
    assert whole == squared_moves(x[:333], y[:333], mesh) + squared_moves(x[333:], y[333:], mesh)
    assert whole == pytest.approx(np.sum((y - x) ** 2) / mesh.spacing**2 * MOVE_ONE, abs=500)


@DIMENSIONS
def test_displacements_that_would_overflow_are_refused(dimension):
    """2**14 particles of a node go 2**13 spacings together: their flux is 2**63, too much for int64."""
    x, mesh = np.zeros((2**14, dimension)), Mesh(0.25, (0,) * dimension, (3,) * dimension)
    for spacings in (4096.0, -4096.0):
        flux, square = deposit_flux(x, x + spacings * mesh.spacing, mesh)
        assert (flux.reshape(dimension, -1)[:, 0] == int(spacings) * 2**14 * FLUX_ONE).all()
        assert square == dimension * 4096**2 * 2**14 * MOVE_ONE
    with pytest.raises(RunError, match=r"particles move by up to 8\.19e\+03 mesh spacings between two slices, too far"):
        deposit_flux(x, x + 8192.0 * mesh.spacing, mesh)
    half = x[: 2**13], x[: 2**13] + 8192.0 * mesh.spacing
    deposit_flux(*half, mesh)
    with pytest.raises(RunError, match="observe more often"):
        deposit_flux(*half, mesh, int(deposit(x, mesh).count.max()))


@DIMENSIONS
def test_squares_that_would_overflow_are_refused(dimension):
    """The square of 2**20 spacings is exact; beyond it is refused, not wrapped."""
    x, mesh = np.zeros((1, dimension)), Mesh(0.25, (0,) * dimension, (3,) * dimension)
    for deposited in (squared_moves, lambda *given: deposit_flux(*given)[1]):
        assert deposited(x, x + 2.0**20 * mesh.spacing, mesh) == dimension * 2**40 * MOVE_ONE
        with pytest.raises(RunError, match="too far for exact sums"):
            deposited(x, x - (2.0**20 + 1) * mesh.spacing, mesh)


def test_very_many_particles_have_coarser_units():
    """Powers of two, so that a flux rounds like one with finer units, and reaches farther."""
    assert [move_one(n) for n in (1, 2**26, 2**26 + 1, 10**9, 2**46, 2**60)] == [2**20, 2**20, 2**19, 2**16, 1, 1]
    x, mesh = _positions(1)
    y = x + np.random.default_rng(1).normal(0.0, 0.3, x.shape)
    fine, square = deposit_flux(x, y, mesh)
    coarse, same = deposit_flux(x, y, mesh, unit=2**16)
    assert square == same
    per_particle = 0.5 / 2**16 + 0.5 / 2**20
    assert np.abs(fine / FLUX_ONE - coarse / (COUNT_ONE * 2**16)).max() <= len(x) * per_particle
    rounded = np.rint((y - x) / mesh.spacing * 2**16)
    assert coarse.sum() == (rounded * COUNT_ONE).sum()
    far = np.repeat(x[:1], 2**14, axis=0), np.repeat(x[:1], 2**14, axis=0) + 8192.0 * mesh.spacing
    with pytest.raises(RunError):
        deposit_flux(*far, mesh)
    deposit_flux(*far, mesh, unit=2**16)
