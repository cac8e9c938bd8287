"""The radial basis against SciPy's B-splines, and what it holds of dictionaries."""

import numpy as np
import pytest
from scipy.interpolate import BSpline

from ipsdist.model.dictionary import Dictionary
from ipsdist.model.radial_basis import RadialBasis, project

SMOOTH = ["1", "r", "r**2", "r**3", "exp(r)", "exp(-r)", "sin(r)", "cos(r)"]
POWERS = ["r**-0.5", "r**-1", "r**-1.5", "r**-2"]


@pytest.mark.parametrize(("kink", "degree"), [(None, 5), (0.05, 5), (None, 3), (0.3, 3)])
def test_values_and_potentials_are_those_of_scipy(kink, degree):
    """B_m and its integral from 0, at knots and both ends too."""
    basis = RadialBasis.graded(6.0, 0.06, kink, degree=degree)
    twin = BSpline(np.array(basis.knots), np.eye(len(basis)), degree)
    r = np.unique(np.concatenate([np.linspace(0, 6, 501), basis.breaks]))
    np.testing.assert_allclose(basis.values(r), twin(r).T, atol=1e-14)
    np.testing.assert_allclose(basis.potentials(r), twin.antiderivative()(r).T, atol=1e-14)
    np.testing.assert_allclose(basis.values(r).sum(axis=0), 1.0, atol=1e-14)


def test_derivatives_are_those_of_scipy():
    """Second and third derivatives, between the knots."""
    basis = RadialBasis.graded(6.0, 0.06)
    r = 0.5 * (basis.breaks[1:] + basis.breaks[:-1])
    for order in (2, 3):
        twin = BSpline(np.array(basis.knots), np.eye(len(basis)), 5).derivative(order)(r).T
        np.testing.assert_allclose(basis.derivatives(r, order), twin, atol=1e-12 * np.abs(twin).max())


def test_derivatives_beside_a_kink():
    """With a repeated knot the third derivative of r**4 is 24 r on both sides of it."""
    basis = RadialBasis.graded(6.0, 0.06, 0.3)
    coefficients = basis.coordinates(lambda r: r[None] ** 4)[:, 0]
    r = np.array([0.05, 0.29, 0.31, 2.0])
    np.testing.assert_allclose(coefficients @ basis.derivatives(r, 3), 24 * r, rtol=1e-6)


def test_terms_are_the_rows_of_values():
    """A single function gives its row, 0 beyond the reach; potentials stay constant there."""
    basis = RadialBasis.graded(4.0, 0.1, 0.2)
    r = np.array([[0.0, 0.1, 0.2], [3.0, 4.0, 4.5]])
    np.testing.assert_array_equal(np.array([term(r) for term in basis]), basis.values(r))
    assert not basis.values(4.5).any()
    np.testing.assert_array_equal(basis.potentials(4.5), basis.potentials(4.0))
    assert basis.names == tuple(term.name for term in basis.terms)


def test_smooth_terms_are_held_to_1e_7():
    """The eight usual terms over a reach of 6 and of 10."""
    for reach, tolerance in ((6.0, 1e-8), (10.0, 2e-7)):
        _, error = project(Dictionary.parse(SMOOTH), RadialBasis.graded(reach, 1 / 16))
        assert error.max() < tolerance


def test_singular_terms_are_held_at_their_kink_only():
    """Powers frozen at the basis' kink are held to 2e-5; frozen elsewhere, the error says that they are not."""
    basis = RadialBasis.graded(10.7, 1 / 256, 0.05)
    assert project(Dictionary.parse(POWERS, 0.05), basis)[1].max() < 2e-5
    assert project(Dictionary.parse(POWERS, 0.07), basis)[1].min() > 1e-3


def test_projection_reproduces_the_terms():
    """P B(r) is phi(r) within the stated error."""
    basis, terms = RadialBasis.graded(6.0, 1 / 16), Dictionary.parse(SMOOTH)
    matrix, error = project(terms, basis)
    r = np.linspace(0, 6, 997)
    wrong = np.abs(matrix.T @ basis.values(r) - terms.values(r)).max(axis=1)
    assert (wrong <= 1.2 * error * np.abs(terms.values(r)).max(axis=1) + 1e-13).all()


def test_error_stops_at_the_asked_distance():
    """A term that grows beyond what the basis can follow is good where pairs are."""
    basis, terms = RadialBasis.graded(40.0, 0.2), Dictionary.parse(["sin(r)"])
    assert project(terms, basis, upto=1.0)[1][0] < 1e-6 < 1e-4 < project(terms, basis)[1][0]


def test_coarsened_is_a_subspace_and_keeps_the_kink():
    """Functions of the coarser basis are combinations of the finer one's, also beside a kink below the resolution."""
    fine = RadialBasis.graded(6.0, 0.03, 0.05)
    coarse = fine.coarsened(0.3, 3.0)
    assert len(coarse) < len(fine)
    assert coarse.knots.count(0.05) == 5
    r = np.linspace(0, 6, 701)
    np.testing.assert_allclose(fine.coordinates(coarse.values).T @ fine.values(r), coarse.values(r), atol=1e-10)


def test_impossible_lengths_are_refused():
    """The finest interval and the kink lie inside the reach."""
    for arguments in ((1.0, 2.0), (1.0, 0.0), (1.0, 0.1, 1.5)):
        with pytest.raises(ValueError, match="between 0 and"):
            RadialBasis.graded(*arguments)


def test_sites_stay_on_the_basis():
    """The mean of equal knots may round beyond the last one; the site of the last function must not."""
    for reach in np.linspace(5.0, 9.0, 401):
        basis = RadialBasis.graded(float(reach), 0.3)
        assert basis.sites()[-1] <= basis.reach
        assert np.linalg.cond(basis.values(basis.sites())) < 1e6
