"""Columns of a fit beside the kernel: their names and kinds, and what is refused."""

import numpy as np
import pytest

from ipsdist.learning.truth import true_fields
from ipsdist.model.dictionary import Dictionary
from ipsdist.model.errors import InputError
from ipsdist.model.expression import Expression
from ipsdist.model.fit import Fit
from ipsdist.model.learned_kernel import LearnedKernel
from ipsdist.model.learned_potential import LearnedPotential
from ipsdist.model.unknowns import Unknowns

TERMS = Dictionary.parse(["r", "r**2"])


def test_names_and_kinds_in_the_order_of_the_columns():
    """Terms first, then potentials, then the drift along every axis; a choice of columns keeps that order."""
    unknowns = Unknowns.parse(TERMS, ["x**2/2", "x*y"], drift=True, dimension=2)
    assert unknowns.names == ("r", "r**2", "x**2/2", "x*y", "drift_x", "drift_y")
    assert unknowns.kinds == ("kernel", "kernel", "potential", "potential", "drift", "drift")
    assert len(unknowns) == 6
    assert unknowns.keep([1, 3, 5]).names == ("r**2", "x*y", "drift_y")
    assert unknowns.fields[-1].potential(np.array([5.0]), np.array([2.0])) == -2.0


@pytest.mark.parametrize(
    ("potentials", "drift", "message"),
    [
        (
            ["x", "2*x + 1"],
            False,
            "must not have two potentials that push alike (a drift is a linear potential); got x and 2*x+1;",
        ),
        (
            ["x"],
            True,
            "must not have two potentials that push alike (a drift is a linear potential); got x and drift_x",
        ),
        (["3"], False, "must not have a constant, which moves nobody; got 3; drop it"),
        (["log(x)"], False, "must have formulas that are finite with their slopes everywhere; got log(x)"),
        (["r"], False, "`dictionary.potentials`"),
        (["y"], False, "`dictionary.potentials`"),
    ],
)
def test_potentials_that_cannot_be_told_or_used(potentials, drift, message):
    """Each is refused in one line that names the key."""
    with pytest.raises(InputError) as refused:
        Unknowns.parse(TERMS, potentials, drift, dimension=1)
    assert message in str(refused.value)


def test_a_fit_of_all_kinds_comes_apart():
    """The kernel has its terms alone, the potential its fields, each with its block of the covariance."""
    unknowns = Unknowns.parse(TERMS, ["x**2/2"], drift=True, dimension=1)
    covariance = np.diag([0.1, 0.2, 0.3]) + 0.01
    fit = Fit(unknowns.names, (1, 2, 3), np.array([3.0, 1.5, -0.5]), covariance, 1.0, "best_subset")
    kernel, potential = LearnedKernel.from_fit(fit, TERMS), LearnedPotential.from_fit(fit, unknowns)
    assert kernel.text == "3.0*r**2"
    np.testing.assert_array_equal(kernel.covariance, [[0.11]])
    np.testing.assert_array_equal(potential.covariance, covariance[1:, 1:])
    x = np.array([-1.0, 0.0, 2.0])
    np.testing.assert_allclose(potential(x), 1.5 * x**2 / 2 + 0.5 * x)
    assert potential.text == "1.5*(x**2/2) + -0.5*(-x)"


def test_true_coefficients_of_fields():
    """A potential that is a sum of fields has its coefficients, constants aside; another one has none."""
    unknowns = Unknowns.parse(TERMS, ["x**2/2", "x**4"], drift=True, dimension=1)
    found = true_fields(Expression.parse("3*x**2 - x + 7", ("x",)), unknowns.fields)
    np.testing.assert_allclose(found, [6.0, 0.0, 1.0], atol=1e-12)
    assert true_fields(Expression.parse("cos(x)", ("x",)), unknowns.fields) is None
    np.testing.assert_array_equal(true_fields(None, unknowns.fields), [0.0, 0.0, 0.0])
