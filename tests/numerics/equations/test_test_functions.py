"""Test functions: their scale, their span, their derivatives, and their tables against sums over particles."""

import numpy as np
import pytest

from ipsdist.model.dictionary import Dictionary
from ipsdist.model.errors import InputError
from ipsdist.model.mesh import Mesh
from ipsdist.numerics.convolution import prefilter
from ipsdist.numerics.densities.deposit import deposit
from ipsdist.numerics.equations.pairings import pair_slice
from ipsdist.numerics.equations.tables import pair_tables
from ipsdist.numerics.equations.test_functions import DEGREE, SplineTest, spline_tables, spline_tests
from tests.references import particle_pairings


@pytest.mark.parametrize(("particles", "number"), [(20_000, 16), (1000, 10), (10, 5)])
def test_number_in_one_dimension(particles, number):
    """N^(1/3) functions, between 5 and 16."""
    assert len(spline_tests((-1.0,), (2.0,), particles)) == number


@pytest.mark.parametrize(("dimension", "number"), [(2, 37), (3, 57)])
def test_corners_are_left_out(dimension, number):
    """In 2-D and 3-D at most 37 and 57 functions, with the middle and the ends of every axis, without the corners."""
    lower, upper = (-2.0, -1.0, 0.0)[:dimension], (2.0, 3.0, 1.0)[:dimension]
    tests = spline_tests(lower, upper, 10**6)
    assert len(tests) == number
    centres = np.array([test.centre for test in tests])
    middle = (np.array(lower) + np.array(upper)) / 2
    assert np.abs(centres - middle).sum(axis=1).min() == 0
    ends = centres.max(axis=0)
    assert not (np.abs(centres - ends) < 1e-12).all(axis=1).any()
    np.testing.assert_allclose(ends - middle, middle - centres.min(axis=0))


def test_there_are_more_tests_than_columns():
    """In 1-D the number follows the unknowns: a constant is among the tests' combinations, and one is spare."""
    assert len(spline_tests((0.0,), (1.0,), 20_000, columns=20)) == 22


@pytest.mark.parametrize("particles", [10, 20_000])
def test_polynomials_are_combinations(particles):
    """On the box x^p is a combination of the tests for p = 0 .. 4."""
    x = np.linspace(-1.5, 2.5, 401)
    tests = spline_tests((-1.5,), (2.5,), particles)
    values = np.stack([test.value(x[:, None]) for test in tests], axis=1)
    for power in range(DEGREE + 1):
        combination = np.linalg.lstsq(values, x**power, rcond=None)[0]
        np.testing.assert_allclose(values @ combination, x**power, atol=1e-9)


@pytest.mark.parametrize("width", [(0.3,), (0.3, 0.7), (0.3, 0.7, 0.5)])
def test_slopes_have_mean_square_one(width):
    """|grad psi|^2 has mean 1 over the support, so that the Gram counts particles."""
    test = SplineTest(tuple(np.arange(len(width)) - 0.5), width)
    points = 200 if len(width) < 3 else 40
    inside = (np.arange(points) + 0.5) / points * 5 - 2.5
    axes = [c + w * inside for c, w in zip(test.centre, width, strict=True)]
    grid = np.stack([a.ravel() for a in np.meshgrid(*axes, indexing="ij")], axis=1)
    assert (test.gradient(grid) ** 2).sum(axis=1).mean() == pytest.approx(1.0, rel=1e-3)
    outside = grid[:1] + 5 * np.array(width)
    assert test.value(outside)[0] == test.laplacian(outside)[0] == 0
    assert (test.gradient(outside) == 0).all()


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_derivatives_are_those_of_the_value(dimension):
    """Gradient and Laplacian agree with central differences of the value."""
    test = SplineTest((0.1, -0.2, 0.3)[:dimension], (0.5, 0.4, 0.6)[:dimension])
    x = np.random.default_rng(dimension).uniform(-1, 1, size=(50, dimension))
    step = 1e-4 * np.eye(dimension)
    up, down = ([test.value(x + sign * s) for s in step] for sign in (1, -1))
    np.testing.assert_allclose(test.gradient(x), (np.array(up) - down).T / 2e-4, atol=1e-6)
    second = sum((a - 2 * test.value(x) + b) / 1e-8 for a, b in zip(up, down, strict=True))
    np.testing.assert_allclose(test.laplacian(x), second, atol=1e-5)


@pytest.mark.parametrize(("dimension", "spacing", "worst"), [(1, 2**-5, 2e-4), (2, 2**-4, 2e-3), (3, 2**-2, 5e-3)])
def test_tables_are_sums_over_particles(dimension, spacing, worst):
    """Gram with the kernel and with each other, value and Laplacian of the tests are those at the particles."""
    x = 0.7 * np.random.default_rng(dimension).normal(size=(300, dimension))
    tests = spline_tests((-2.0,) * dimension, (2.0,) * dimension, 300)
    mesh, dictionary = Mesh.around(x.min(axis=0), x.max(axis=0), spacing), Dictionary.parse(["r**2"])
    got = pair_slice(deposit(x, mesh), pair_tables(dictionary, mesh), spline_tables(tests, mesh))
    gram, energy, laplacian = particle_pairings(dictionary, tests, x)
    size = np.sqrt(np.diag(gram))
    assert np.abs((got.gram[0] - gram) / np.outer(size, size)).max() < worst
    assert np.abs(got.energy[0] - energy).max() < worst * np.abs(energy).max()
    assert np.abs(got.laplacian[0, 1:] - laplacian[1:]).max() < worst * np.abs(laplacian[1:]).max()


def test_tables_are_prefiltered_along_every_axis():
    """A product of filtered vectors is the filtered product: the tables are those of the whole array."""
    test = SplineTest((0.2, -0.1), (0.5, 0.4))
    mesh = Mesh(2.0**-3, (-12, -10), (25, 21))
    wide = Mesh(mesh.spacing, tuple(n - 1 for n in mesh.lower), tuple(n + 2 for n in mesh.shape))
    points = np.stack([a.ravel() for a in np.meshgrid(*wide.axes(), indexing="ij")], axis=1)
    (tables,) = spline_tables([test], mesh)
    for got, want in (
        (tables.value, test.value(points)),
        (tables.laplacian, test.laplacian(points)),
        (tables.drift[1], -test.gradient(points)[:, 1]),
    ):
        np.testing.assert_allclose(got, prefilter(want.reshape(wide.shape), times=1), atol=1e-12)


def test_an_empty_box_is_refused():
    """A box without extent along an axis is refused in one line."""
    with pytest.raises(InputError, match=r"`grid` must have upper above lower on every axis; got .*; widen it"):
        spline_tests((0.0, 1.0), (1.0, 1.0), 100)
