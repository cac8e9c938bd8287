"""Compiled pair sums over a radial basis against the basis itself, one pair at a time."""

import numpy as np
import pytest

from ipsdist.model.radial_basis import RadialBasis
from ipsdist.numerics.device.pair_basis import add_blurred, add_jumps, add_pairs, basis_pieces
from tests.references import pair_fields

BASES = [
    RadialBasis.graded(3.0, 0.2, intervals=8),
    RadialBasis.graded(3.0, 0.2, kink=0.5, intervals=6),
    RadialBasis((0.0, 0.0, 0.0, 0.0, 1.0, 3.0, 3.0, 3.0, 3.0), 3),
]


def sums(basis, positions):
    pieces = basis_pieces(basis)
    n, d = positions.shape
    velocity, divergence = np.zeros((n, d, len(basis))), np.zeros((n, len(basis)))
    powers = np.zeros((len(pieces.first), basis.degree + 2))
    beyond = add_pairs(
        positions, pieces.breaks, pieces.first, pieces.coefficients, pieces.interval, velocity, divergence, powers
    )
    return velocity, divergence, pieces.potentials @ powers.ravel() + beyond * pieces.farthest, beyond


@pytest.mark.parametrize("basis", BASES, ids=["graded", "kink", "cubic"])
@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_sums_are_those_of_the_functions(basis, dimension):
    """V, div V and the energy are the sums over pairs of B, B' + (d - 1) B / r and the integral of B."""
    x = np.random.default_rng(dimension).normal(size=(15, dimension))
    x[3] += 5.0  # beyond the reach of most
    velocity, divergence, energy, beyond = sums(basis, x)
    want = pair_fields(basis, x, x)
    distance = np.sqrt(((x[:, None] - x[None]) ** 2).sum(axis=-1))[np.triu_indices(15, 1)]
    np.testing.assert_allclose(velocity, want[0], atol=1e-12)
    np.testing.assert_allclose(divergence, want[1], atol=1e-12 * np.abs(want[1]).max())
    np.testing.assert_allclose(energy, basis.potentials(distance).sum(axis=1), rtol=1e-12)
    assert beyond == (distance > basis.reach).sum() > 0


def test_ends_of_intervals_belong_to_their_pieces():
    """Pairs exactly at a knot, at the reach and in one place: the values there, and nothing that is not finite."""
    basis = BASES[0]
    for r in (*basis.breaks[1:].tolist(), 0.0):
        velocity, _, energy, beyond = sums(basis, np.array([[0.0], [r]]))
        np.testing.assert_allclose(velocity[1, 0], -basis.values(r) * (r > 0), atol=1e-13)
        np.testing.assert_allclose(energy, basis.potentials(r), rtol=1e-12, atol=1e-15)
        assert beyond == 0


def test_bits_do_not_depend_on_later_particles():
    """The order of the additions is that of the particles: one more, out of reach, changes no bit of the others."""
    x = np.random.default_rng(5).normal(size=(40, 2))
    first, again, more = (sums(BASES[0], y) for y in (x, x.copy(), np.vstack([x, [[50.0, 0.0]]])))
    for a, b, c in zip(first[:2], again[:2], more[:2], strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c[:40])


def test_window_of_a_jump_has_its_moments():
    """Its integral is 1, its second moment 0; around distance 0 half of both is left; both of a pair see it."""
    places = np.linspace(0.0, 2.0, 4001)
    step = places[1]

    def at(distance, r):
        density = np.zeros(2)
        add_jumps(np.array([[0.0], [r]]), distance, 0.3, density)
        assert density[0] == density[1]
        return density[0]

    inner, contact = (np.array([at(c, r) for r in places]) for c in (1.0, 0.0))
    assert inner.sum() * step == pytest.approx(1.0, abs=1e-5)
    assert (inner * (places - 1.0) ** 2).sum() * step == pytest.approx(0.0, abs=1e-6)
    assert (contact.sum() - 0.5 * contact[0]) * step == pytest.approx(0.5, abs=1e-5)
    assert inner[places > 1.3].max() == 0.0


def test_blurred_inverse_distance_keeps_the_integrals_of_the_plane():
    """What takes the place of 1 / r has its integrals over the disc, times 1 and r^2, and joins it at the rim."""
    blur = 0.4
    nodes, weights = np.polynomial.legendre.leggauss(12)
    radii = 0.5 * blur * (1 + nodes)
    changes = []
    for r in radii:
        excess = np.zeros(2)
        add_blurred(np.array([[0.0, 0.0], [0.0, r]]), blur, excess)
        changes.append(excess[1])
    for power in (1, 3):
        assert (weights * radii**power) @ changes == pytest.approx(0.0, abs=1e-12)
    outside = np.zeros(2)
    add_blurred(np.array([[0.0, 0.0], [0.0, 1.0001 * blur]]), blur, outside)
    assert (outside == 0).all()
