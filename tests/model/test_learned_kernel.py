"""The learnt kernel: values, band, texts."""

import copy
import pickle

import numpy as np
import pytest

from ipsdist.model.dictionary import Dictionary
from ipsdist.model.errors import InputError
from ipsdist.model.fit import Fit
from ipsdist.model.learned_kernel import LearnedKernel
from ipsdist.model.radial import RadialKernel

R = np.linspace(0, 3, 7)


def learned(texts, coefficients, covariance, cutoff=None):
    return LearnedKernel(Dictionary.parse(texts, cutoff).terms, np.array(coefficients), np.array(covariance))


def test_value_and_potential_are_the_sums():
    """Kernel and potential are the linear combinations of the terms."""
    kernel = learned(["r**2", "r"], [3.0, -0.5], np.eye(2) * 1e-4)
    np.testing.assert_allclose(kernel(R), 3 * R**2 - 0.5 * R, rtol=1e-14)
    np.testing.assert_allclose(kernel.potential(R), R**3 - 0.25 * R**2, rtol=1e-13, atol=1e-15)


def test_band_covers_as_promised():
    """Of many draws of the coefficients, 95 % of the curves lie in the band at every radius."""
    covariance = np.array([[0.04, -0.03], [-0.03, 0.05]])
    kernel = learned(["r**2", "r"], [3.0, -0.5], covariance)
    value, lower, upper = kernel.band(R[1:])
    draws = np.random.default_rng(1).multivariate_normal([3.0, -0.5], covariance, 20000)
    curves = draws @ np.array([R[1:] ** 2, R[1:]])
    inside = ((lower <= curves) & (curves <= upper)).mean(0)
    np.testing.assert_allclose(value, kernel(R[1:]), rtol=0)
    np.testing.assert_allclose(inside, 0.95, atol=0.006)
    np.testing.assert_allclose(
        kernel.band(R, 0.5)[2] - kernel(R), 0.6745 / 1.96 * (kernel.band(R)[2] - kernel(R)), rtol=1e-4
    )
    with pytest.raises(ValueError, match="`level` must be between 0 and 1; got 1"):
        kernel.band(R, 1)


def test_text_parses_back():
    """The text has all digits: parsed, it is the same function."""
    kernel = learned(["r**2", "r-r**-1.5", "1"], [3.0031234567891, -0.5, -1e-7], np.eye(3) * 1e-4, 0.05)
    assert kernel.text == "3.0031234567891*r**2 - 0.5*(r-r**-1.5) - 1e-07"
    np.testing.assert_allclose(RadialKernel.parse(kernel.text, 0.05)(R), kernel(R), rtol=1e-12)


def test_formulas_for_people():
    """Numbers are rounded to two digits of their errors, signs stand between the terms."""
    kernel = learned(["r**2", "r", "1"], [3.00312, -0.5, 2.0], np.diag([0.012, 0.03, 1.5]) ** 2)
    assert str(kernel) == "(3.003 +- 0.012) r**2 - (0.500 +- 0.030) r + (2.0 +- 1.5)"
    assert kernel.latex() == r"3.003\,r^{2} - 0.500\,r + 2.0"
    assert learned(["r**2"], [3.003], [[0.012**2]]).text == "3.003*r**2"


def test_formulas_of_sums_and_missing_errors():
    """A term that is a sum has brackets; without an error six digits are shown."""
    kernel = learned(["r-r**2", "-exp(-r)"], [-1.23456789, 2.0], np.diag([0.0, np.nan]))
    assert str(kernel) == "-(1.23457 +- 0) (r-r**2) + (2 +- nan) (-exp(-r))"
    assert kernel.latex() == r"-1.23457\,\left(- r^{2} + r\right) + 2\,\left(- e^{- r}\right)"


def test_nothing_kept_is_zero():
    """No terms are the kernel 0."""
    kernel = LearnedKernel((), np.zeros(0), np.zeros((0, 0)))
    assert kernel.text == str(kernel) == kernel.latex() == "0"
    np.testing.assert_array_equal(np.array(kernel.band(R)), np.zeros((3, 7)))
    np.testing.assert_array_equal(kernel.potential(R), np.zeros(7))


def test_from_fit_takes_the_kept_terms():
    """A fit and its dictionary make the kernel."""
    dictionary = Dictionary.parse(["1", "r", "r**2"])
    fit = Fit(dictionary.names, (0, 2), np.array([1.0, 3.0]), np.eye(2), 1.0, "best_subset")
    assert LearnedKernel.from_fit(fit, dictionary).text == "1.0 + 3.0*r**2"


def test_frozen_pickled_and_copied():
    """Arrays are copies that cannot be written; pickles and copies are the same function."""
    given = np.array([3.0])
    kernel = LearnedKernel(Dictionary.parse(["r"]).terms, given, np.eye(1))
    given[0] = 5.0
    assert kernel.coefficients[0] == 3.0
    with pytest.raises(ValueError, match="read-only"):
        kernel.coefficients[0] = 1.0
    for other in (pickle.loads(pickle.dumps(kernel)), copy.deepcopy(kernel)):
        np.testing.assert_array_equal(other(R), kernel(R))


def test_shapes_are_checked():
    """Coefficients that do not fit the terms are refused."""
    with pytest.raises(ValueError, match=r"`coefficients` must have shape \(1,\) for 1 terms; got \(2,\)"):
        LearnedKernel(Dictionary.parse(["r"]).terms, np.zeros(2), np.eye(2))


# --- as a piecewise polynomial --------------------------------------------------------------------------------------


def dense(reach):
    """Many distances up to ``reach``, crowded near 0 and at no special places."""
    return np.concatenate(
        [[0.0], np.geomspace(1e-12, reach, 5001)[:-1], np.random.default_rng(0).random(20000) * reach]
    )


@pytest.mark.parametrize("tolerance", [1e-3, 1e-8, 1e-12])
@pytest.mark.parametrize(
    ("texts", "coefficients", "cutoff", "reach"),
    [
        (["exp(r)", "sin(r)"], [1.0, -2.0], None, 9.0),
        (["r", "r**-1.5"], [1.0, -1.0], 0.05, 6.5),
        (["sqrt(r)", "abs(r-1)"], [1.0, 1.0], None, 3.0),
        (["exp(-((r-2.345)/0.01)**2)"], [1.0], None, 10.0),
    ],
)
def test_ppoly_is_within_the_tolerance(texts, coefficients, cutoff, reach, tolerance):
    """Everywhere, relative to the largest |phi|; also across cut-offs, roots at 0, kinks inside terms, narrow bumps."""
    kernel = learned(texts, coefficients, np.eye(len(texts)), cutoff)
    polynomial = kernel.to_ppoly(reach, tolerance)
    r = dense(reach)
    error = np.abs(polynomial(r) - kernel(r)).max() / np.abs(kernel(r)).max()
    assert error <= tolerance
    assert len(polynomial.x) <= 150
    assert np.isnan(polynomial(1.001 * reach))


def test_ppoly_of_polynomials_has_no_more_breaks_than_needed():
    """Pieces that are polynomials are one interval each, exact to rounding, with their jumps at the right float."""
    term = RadialKernel.from_pieces([(0.5, "2"), (1.5, "r**3-r"), (None, "-1")])
    kernel = LearnedKernel((term, *Dictionary.parse(["r"]).terms), np.array([1.0, 0.25]), np.eye(2))
    polynomial = kernel.to_ppoly(2.0)
    assert polynomial.x.tolist() == [0.0, np.nextafter(0.5, 1), np.nextafter(1.5, 2), 2.0]
    ends = np.array([0.0, 0.5, np.nextafter(0.5, 1), 1.5, np.nextafter(1.5, 2), 2.0])
    np.testing.assert_allclose(polynomial(ends), kernel(ends), rtol=1e-14)
    np.testing.assert_allclose(polynomial(dense(2.0)), kernel(dense(2.0)), rtol=1e-13, atol=1e-14)
    assert kernel.to_ppoly(0.5).x.tolist() == [0.0, 0.5]  # an end at the reach is no break


def test_ppoly_breaks_at_cutoffs_of_singular_terms_alone():
    """The cut-off is a break, to the bit, where a term is frozen inside it; others have no kink there."""
    singular = learned(["r", "r**-1.5"], [1.0, -1.0], np.eye(2), 0.05).to_ppoly(1.0)
    assert 0.05 in singular.x
    assert learned(["r", "r**2"], [1.0, -1.0], np.eye(2), 0.05).to_ppoly(1.0).x.tolist() == [0.0, 1.0]


def test_ppoly_holds_jumps_inside_a_formula():
    """The jump of sign(r - 1.1) is found to the float."""
    kernel = learned(["sign(r-1.1)"], [3.0], np.eye(1))
    around = np.array([np.nextafter(1.1, 0), 1.1, np.nextafter(1.1, 2)])
    np.testing.assert_allclose(kernel.to_ppoly(3.0)(around), [-3.0, 0.0, 3.0], atol=1e-8)


def test_ppoly_integrates_to_the_potential():
    """SciPy's antiderivative of it is Phi, which is found without it."""
    kernel = learned(["r", "r**-1.5"], [1.0, -1.0], np.eye(2), 0.05)
    r = np.linspace(0, 3, 50)
    integral = kernel.to_ppoly(3.0, 1e-12).antiderivative()(r)
    np.testing.assert_allclose(integral, kernel.potential(r), atol=1e-10)


def test_ppoly_of_nothing_is_zero():
    """No terms are the polynomial 0."""
    polynomial = LearnedKernel((), np.zeros(0), np.zeros((0, 0))).to_ppoly(3.0)
    np.testing.assert_array_equal(polynomial(R), 0.0)


@pytest.mark.parametrize(
    ("text", "reach", "tolerance", "message"),
    [
        ("r", 0.0, 1e-8, "`reach` must be a positive distance; got 0.0; use the largest distance of a pair"),
        ("r", np.nan, 1e-8, "`reach` must be a positive distance; got nan; use the largest distance of a pair"),
        ("r", 1.0, -1.0, "`tolerance` must be a positive number; got -1.0; 1e-8 is the usual choice"),
        (
            "sin(100*r)",
            1e4,
            1e-8,
            "`tolerance` is not reached with 4096 intervals; got 1e-08; use a larger tolerance or a shorter reach",
        ),
        (
            "exp(r)",
            1.0,
            1e-17,
            "`tolerance` is not reached with 4096 intervals; got 1e-17; use a larger tolerance or a shorter reach",
        ),
        ("exp(r)", 1000.0, 1e-8, "`reach` must be a distance up to which phi is finite; got 1000; below 7"),
    ],
)
def test_ppoly_refuses(text, reach, tolerance, message):
    """A reach or a tolerance that cannot be had is one clear line."""
    with pytest.raises(InputError) as refused:
        learned([text], [1.0], np.eye(1)).to_ppoly(reach, tolerance)
    assert str(refused.value).startswith(message)
