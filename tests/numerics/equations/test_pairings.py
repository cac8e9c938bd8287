"""Pairings and forms against sums over pairs of particles."""

import numpy as np
import pytest

from ipsdist.model.dictionary import Dictionary
from ipsdist.model.expression import Expression
from ipsdist.model.mesh import Mesh
from ipsdist.numerics.densities.deposit import deposit, deposit_flux
from ipsdist.numerics.equations.pairings import pair_slice
from ipsdist.numerics.equations.tables import external_tables, pair_tables
from tests.references import pair_gram, pair_velocity

TERMS = ["1", "r", "r**2", "exp(-r)", "sin(r)"]


def cloud(dimension: int, particles: int = 300) -> np.ndarray:
    return 0.8 * np.random.default_rng(dimension).normal(size=(particles, dimension))


def mesh_for(positions: np.ndarray, spacing: float) -> Mesh:
    return Mesh.around(positions.min(axis=0), positions.max(axis=0), spacing)


@pytest.mark.parametrize(("dimension", "spacing"), [(1, 2**-6), (2, 2**-4), (3, 2**-3)])
def test_gram_is_the_sum_over_particles(dimension, spacing):
    """The Gram from deposits is that of exact pair forces at the particles, to the error of the mesh."""
    x, dictionary = cloud(dimension), Dictionary.parse(TERMS)
    mesh = mesh_for(x, spacing)
    got = pair_slice(deposit(x, mesh), pair_tables(dictionary, mesh)).gram[0]
    want = pair_gram(dictionary, x)
    np.testing.assert_allclose(got, want, rtol=2e-3)


def test_gram_error_falls_with_the_spacing():
    """For smooth forces the error of the Gram falls at least 6 times for half the spacing while the mesh dominates."""
    x, dictionary = cloud(2), Dictionary.parse(["r**2", "r**3"])
    want = pair_gram(dictionary, x)
    errors = []
    for spacing in (1.0, 0.5, 0.25):
        mesh = mesh_for(x, spacing)
        got = pair_slice(deposit(x, mesh), pair_tables(dictionary, mesh)).gram[0]
        errors.append(np.abs(got / want - 1).max())
    assert errors[0] > 6 * errors[1] > 36 * errors[2]


def test_linear_force_is_exact():
    """phi = r is linear in the positions: Gram, energy and Laplacian are exact up to the fixed point of the weights."""
    x, dictionary = cloud(2), Dictionary.parse(["r"])
    n, mesh = len(x), mesh_for(x, 0.25)
    pairing = pair_slice(deposit(x, mesh), pair_tables(dictionary, mesh))
    centred = x - x.mean(axis=0)
    np.testing.assert_allclose(pairing.gram[0, 0, 0], np.sum(centred**2), rtol=1e-5)
    np.testing.assert_allclose(pairing.laplacian[0, 0], 2 * (n - 1), rtol=1e-9)


@pytest.mark.parametrize(("dimension", "spacing"), [(1, 2**-6), (2, 2**-4)])
def test_energy_and_laplacian_leave_the_self_pair_out(dimension, spacing):
    """H_k and Lap H_k are sums over pairs i != j, also for exp(-r), whose self term would be infinite."""
    x, dictionary = cloud(dimension), Dictionary.parse(["r**2", "exp(-r)"])
    n, mesh = len(x), mesh_for(x, spacing)
    got = pair_slice(deposit(x, mesh), pair_tables(dictionary, mesh))
    distance = np.sqrt(((x[:, None] - x[None]) ** 2).sum(axis=-1))[~np.eye(n, dtype=bool)]
    np.testing.assert_allclose(got.energy[0], dictionary.potentials(distance).sum(axis=1) / (2 * n), rtol=2e-4)
    laplacian = 2 * distance + (dimension - 1) * distance  # phi' + (d - 1) phi / r for phi = r**2
    np.testing.assert_allclose(got.laplacian[0, 0], laplacian.sum() / n, rtol=1e-3)


def test_work_is_force_times_displacement():
    """b_k = sum_i V_k(X_i) . dX_i with exact pair forces, for labelled slices."""
    x, dictionary = cloud(2), Dictionary.parse(["r", "r**2"])
    after = x + 0.05 * np.random.default_rng(9).normal(size=x.shape)
    mesh = mesh_for(x, 2**-5)
    flux, move = deposit_flux(x, after, mesh)
    here = deposit(x, mesh)
    got = pair_slice(type(here)(mesh, len(x), here.count, here.products, flux, move), pair_tables(dictionary, mesh))
    want = np.einsum("kia,ia->k", pair_velocity(dictionary, x), after - x)
    np.testing.assert_allclose(got.work[0], want, rtol=1e-4, atol=1e-3)


def test_external_column_is_the_sum_over_particles():
    """A known potential enters with -grad V, V and Lap V at the particles."""
    x, dictionary = cloud(2), Dictionary.parse(["r"])
    mesh = mesh_for(x, 2**-4)
    potential = Expression.parse("x**2/2 + y**4/4", variables=("x", "y"), argument="system.potential")
    tables = pair_tables(dictionary, mesh)
    got = pair_slice(deposit(x, mesh), tables, (external_tables(potential, mesh),))
    gradient = np.stack([x[:, 0], x[:, 1] ** 3], axis=1)
    np.testing.assert_allclose(got.gram[0, 1, 1], np.sum(gradient**2), rtol=2e-3)
    np.testing.assert_allclose(got.energy[0, 1], np.sum(x[:, 0] ** 2 / 2 + x[:, 1] ** 4 / 4), rtol=2e-3)
    np.testing.assert_allclose(got.laplacian[0, 1], np.sum(1 + 3 * x[:, 1] ** 2), rtol=2e-3)


def test_deposits_and_tables_must_share_a_mesh():
    """Tables of another mesh are refused."""
    x, dictionary = cloud(1), Dictionary.parse(["r"])
    mesh = mesh_for(x, 0.25)
    other = mesh.grown(mesh.axes()[0][0] - 5, 0.0)
    with pytest.raises(ValueError, match="one mesh"):
        pair_slice(deposit(x, mesh), pair_tables(dictionary, other))
