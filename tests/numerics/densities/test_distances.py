"""Pair distances from counts against the double loop over particles."""

import numpy as np
import pytest

from ipsdist.model.mesh import Mesh
from ipsdist.numerics.densities.distances import pair_distances


def all_pairs(weights, mesh):
    """Distances and weights of all ordered pairs of nodes."""
    nodes = np.stack(np.meshgrid(*mesh.axes(), indexing="ij"), axis=-1).reshape(-1, mesh.dimension)
    distance = np.sqrt(((nodes[:, None] - nodes[None]) ** 2).sum(axis=-1))
    flat = weights.ravel()
    return distance, np.outer(flat, flat) / flat.sum() ** 2


def test_one_dimension_is_exact():
    """In 1-D every distance is a multiple of the spacing: the shares are those of the pairs."""
    mesh = Mesh(0.25, (-4,), (13,))
    weights = np.random.default_rng(0).poisson(3.0, 13).astype(float)
    radii, shares = pair_distances(weights, mesh)
    distance, pairs = all_pairs(weights, mesh)
    expected = [pairs[np.abs(distance - r) < 1e-9].sum() for r in radii]
    np.testing.assert_allclose(shares, expected, atol=1e-14)
    assert radii.tolist() == [0.25 * k for k in range(len(radii))]
    assert len(radii) == 13


@pytest.mark.parametrize("shape", [(7, 10), (4, 5, 3)])
def test_more_dimensions_keep_mass_and_mean(shape):
    """Sharing between radii keeps the number of pairs, their mean distance and, to a spacing, their distribution."""
    mesh = Mesh(0.5, (0,) * len(shape), shape)
    weights = np.random.default_rng(1).poisson(2.0, shape).astype(float)
    radii, shares = pair_distances(weights, mesh)
    distance, pairs = all_pairs(weights, mesh)
    assert shares.sum() == pytest.approx(1.0)
    assert shares @ radii == pytest.approx((distance * pairs).sum())
    for r in radii:
        assert (
            pairs[distance <= r - 0.5].sum() - 1e-12
            <= shares[radii <= r].sum()
            <= pairs[distance < r + 0.5].sum() + 1e-12
        )


def test_normal_particles_have_a_folded_normal_law():
    """Distances of normal particles are |N(0, 2)|: mean 2 / sqrt(pi), and the share below 1 is erf(1/2)."""
    mesh = Mesh(2.0**-6, (-400,), (801,))
    x = mesh.axes()[0]
    radii, shares = pair_distances(np.exp(-(x**2) / 2), mesh)
    assert shares @ radii == pytest.approx(2 / np.sqrt(np.pi), rel=2e-5)
    below = shares[radii < 1].sum() + shares[radii == 1].sum() / 2
    assert below == pytest.approx(0.5204998778, abs=1e-5)


def test_far_empty_nodes_are_left_out():
    """Radii end where the last pair is, however wide the mesh."""
    mesh = Mesh(1.0, (0,), (50,))
    weights = np.zeros(50)
    weights[[3, 5]] = 2.0
    radii, shares = pair_distances(weights, mesh)
    assert radii[-1] == 2.0
    np.testing.assert_allclose(shares, [0.5, 0.0, 0.5], atol=1e-15)
