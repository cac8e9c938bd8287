"""Direct pairings against theory, sums over pairs and the mesh."""

import math
from itertools import pairwise

import numpy as np
import pytest

from ipsdist.model.dictionary import Dictionary
from ipsdist.model.expression import Expression
from ipsdist.model.mesh import Mesh
from ipsdist.model.radial_basis import RadialBasis, project
from ipsdist.numerics.densities.deposit import deposit
from ipsdist.numerics.equations.direct import PotentialField, blur_length, blur_of_pairs, pair_positions
from ipsdist.numerics.equations.pairings import pair_slice, stack
from ipsdist.numerics.equations.tables import pair_tables
from tests.references import pair_gram, pair_velocity

TERMS = Dictionary.parse(["r", "r**2", "exp(-r)", "sin(r)"])
BASIS = RadialBasis.graded(9.0, 0.15)


def clouds(dimension, slices=3, particles=60, spread=0.8):
    return spread * np.random.default_rng(dimension).normal(size=(slices, particles, dimension))


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_dictionary_from_direct_sums_is_the_exact_one(dimension):
    """Gram, energy and work are sums over pairs of the terms themselves, to the error of their projection."""
    x = clouds(dimension)
    matrix, error = project(TERMS, BASIS)
    got = pair_positions(x, BASIS, blur=0.01, labelled=True).project(matrix)
    assert error.max() < 1e-6
    n = x.shape[1]
    for s in range(3):
        distance = np.sqrt(((x[s][:, None] - x[s][None]) ** 2).sum(axis=-1))[~np.eye(n, dtype=bool)]
        np.testing.assert_allclose(got.gram[s], pair_gram(TERMS, x[s]), rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(got.energy[s], TERMS.potentials(distance).sum(axis=1) / (2 * n), rtol=1e-7)
        # phi' + (d - 1) phi / r of r and r**2
        laplacian = [n * (n - 1) * dimension / n, (dimension + 1) * distance.sum() / n]
        np.testing.assert_allclose(got.laplacian[s, :2], laplacian, rtol=1e-6)
    for s, (before, after) in enumerate(pairwise(x)):
        want = np.einsum("kia,ia->k", pair_velocity(TERMS, before), after - before)
        np.testing.assert_allclose(got.work[s], want, rtol=1e-6, atol=1e-6)
    assert np.isnan(got.work[-1]).all()


def test_unlabelled_slices_have_no_work():
    """Without labels every work is unknown, and nothing else changes."""
    x = clouds(2)
    a, b = (pair_positions(x, BASIS, blur=0.1, labelled=labelled) for labelled in (True, False))
    assert np.isnan(b.work).all()
    np.testing.assert_array_equal(a.gram, b.gram)
    np.testing.assert_array_equal(a.laplacian, b.laplacian)


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_divergence_balances_the_pull_to_the_middle(dimension):
    """E sum_i div V_i = E sum_i V_i . X_i / s^2 in a normal cloud, for every function: contact and reach included.

    Integration by parts. The first function has phi(0) = 1, the last ends at the reach with 1, short of many pairs.
    """
    basis = RadialBasis.graded(2.2, 0.15, intervals=10)
    x = clouds(dimension, slices=400, particles=20)
    names = ("x", "y", "z")[:dimension]
    centre = PotentialField.of(Expression.parse("+".join(f"{a}**2/2" for a in names), names), dimension)
    blurred, blind = (pair_positions(x, basis, [centre], blur=b, labelled=False) for b in (0.15, 0.0))
    # The column of V = |x|^2 / 2 has the velocity -x.
    excess, unseen = (-p.laplacian[:, :-1] + p.gram[:, -1, :-1] / 0.8**2 for p in (blurred, blind))
    error = excess.std(axis=0) / math.sqrt(len(x))
    assert (np.abs(excess.mean(axis=0)) < 4.0 * error).all()
    jumps = [0, -1] if dimension == 1 else [-1]
    assert (np.abs(unseen.mean(axis=0)) > 5.0 * error)[jumps].all()


def test_contact_in_one_dimension_is_the_density_of_pairs():
    """phi = 1 in 1-D: Lap H = 2 (N - 1) f(0), f the density of X_i - X_j, here normal, within the error of counting."""
    x = clouds(1, slices=200, particles=40)
    matrix, _ = project(Dictionary.parse(["1"]), BASIS)
    got = pair_positions(x, BASIS, blur=0.2, labelled=False).project(matrix).laplacian[:, 0]
    want = 2 * 39 / (2 * math.sqrt(math.pi) * 0.8)
    assert got.mean() == pytest.approx(want, abs=4 * got.std() / math.sqrt(200))
    assert got.std() / math.sqrt(200) < 0.02 * want


def test_blur_tames_contact_in_the_plane():
    """phi = 1 in 2-D: Lap H has the mean (N - 1) sqrt(pi) / (2 s) with and without blur, and less scatter with it."""
    x = clouds(2, slices=400, particles=20)
    matrix, _ = project(Dictionary.parse(["1"]), BASIS)
    want = 19 * math.sqrt(math.pi) / (2 * 0.8)
    sharp, blurred = (
        pair_positions(x, BASIS, blur=b, labelled=False).project(matrix).laplacian[:, 0] for b in (0.0, 0.2)
    )
    for got in (sharp, blurred):
        assert got.mean() == pytest.approx(want, abs=4 * got.std() / math.sqrt(400))
    assert blurred.std() < 0.9 * sharp.std()


@pytest.mark.parametrize(("dimension", "spacing"), [(1, 2**-6), (2, 2**-4)])
def test_mesh_gives_the_same_numbers(dimension, spacing):
    """The mesh leads to the same pairings, to the error of the mesh; at contact in 1-D to that of its own window."""
    x = clouds(dimension, particles=300)
    matrix, _ = project(TERMS, BASIS)
    got = pair_positions(x, BASIS, blur=0.1, labelled=False).project(matrix)
    mesh = Mesh.around(x.min(axis=(0, 1)), x.max(axis=(0, 1)), spacing)
    want = stack([pair_slice(deposit(p, mesh), pair_tables(TERMS, mesh)) for p in x])
    size = np.sqrt(np.einsum("skk->sk", want.gram))
    np.testing.assert_array_less(np.abs(got.gram - want.gram), 1e-3 * size[:, :, None] * size[:, None])
    np.testing.assert_allclose(got.energy, want.energy, rtol=2e-4)
    smooth = [0, 1, 3]
    np.testing.assert_allclose(got.laplacian[:, smooth], want.laplacian[:, smooth], rtol=2e-3)
    np.testing.assert_allclose(got.laplacian[:, 2], want.laplacian[:, 2], rtol=0.3 if dimension == 1 else 0.05)


def test_external_columns_are_sums_over_particles():
    """V, -grad V and Lap V at the particles, after the functions; a constant drift is V = -x."""
    x = clouds(2)
    fields = [PotentialField.of(Expression.parse(text, ("x", "y")), 2) for text in ("x**2*y+y**4/4", "0-x")]
    got = pair_positions(x, BASIS, fields, blur=0.1, labelled=True)
    m, (a, b) = len(BASIS), (x[..., 0], x[..., 1])
    np.testing.assert_allclose(got.energy[:, m], (a**2 * b + b**4 / 4).sum(axis=1), rtol=1e-12)
    np.testing.assert_allclose(got.laplacian[:, m:], np.stack([(2 * b + 3 * b**2).sum(axis=1), 0 * a[:, 0]], axis=1))
    np.testing.assert_allclose(got.gram[:, m, m], (4 * a**2 * b**2 + (a**2 + b**3) ** 2).sum(axis=1), rtol=1e-12)
    np.testing.assert_allclose(got.gram[:, m, m + 1], -(2 * a * b).sum(axis=1), rtol=1e-9)
    np.testing.assert_allclose(got.work[:-1, m + 1], np.diff(a.sum(axis=1)), rtol=1e-9, atol=1e-12)


def test_parts_of_a_run_have_the_bits_of_the_whole():
    """Slices are paired one by one: blocks of them, with a slice in common for the work, change no bit."""
    x = clouds(2, slices=5)
    whole = pair_positions(x, BASIS, blur=0.1, labelled=True)
    part = pair_positions(x[1:4], BASIS, blur=0.1, labelled=True)
    for name in ("gram", "energy", "laplacian", "work"):
        np.testing.assert_array_equal(getattr(part, name)[:2], getattr(whole, name)[1:3])


def test_blur_lengths():
    """sqrt(2 sigma^2 D) of the median gap; of pairs alone, the share 0.1**d of a normal cloud, by its law."""
    assert blur_length(np.array([0.0, 0.02, 0.04, 1.0]), 0.5) == pytest.approx(math.sqrt(0.02))
    line, plane = (blur_of_pairs(list(clouds(d, slices=8, particles=300))) for d in (1, 2))
    assert line == pytest.approx(0.1257 * math.sqrt(2) * 0.8, rel=0.05)
    assert plane == pytest.approx(math.sqrt(-4 * 0.64 * math.log(0.99)), rel=0.1)
