"""Kernels in pieces as truth: break points, coefficients on the pieces, and how far an answer is from them."""

import numpy as np

from ipsdist.learning.errors import break_errors
from ipsdist.learning.truth import true_pieces
from ipsdist.model.dictionary import Dictionary
from ipsdist.model.radial import RadialKernel

TERMS = Dictionary.parse(["r", "r**2"])


def test_pieces_of_the_truth():
    """Places and a row a piece; neighbours with the same law are one piece, a formula is one without breaks."""
    kernel = RadialKernel.from_pieces([(1.0, "0.5*r"), (1.5, "r/2"), (2.0, "r - 3*r**2"), (None, "0")])
    places, values = true_pieces(kernel, TERMS)
    assert places == (1.5, 2.0)
    np.testing.assert_allclose(values, [[0.5, 0.0], [1.0, -3.0], [0.0, 0.0]])
    places, values = true_pieces(RadialKernel.parse("2*r**2"), TERMS)
    assert places == ()
    np.testing.assert_allclose(values, [[0.0, 2.0]])


def test_other_terms_are_no_pieces_of_the_dictionary():
    """One formula that is no combination of the terms leaves the truth unknown."""
    assert true_pieces(RadialKernel.from_pieces([(1.0, "r"), (None, "exp(-r)")]), TERMS) is None


def test_errors_of_pieces():
    """Places and coefficients less the true ones; the support is that of every piece; nothing for another number."""
    truth = ((1.5, 2.0), [[0.5, 0.0], [1.0, 0.0], [0.0, 0.0]])
    found = break_errors([1.51, 1.98], [[0.5, 0.0], [0.9, 0.1], [0.0, 0.0]], *truth)
    assert (found["number_correct"], found["support_correct"]) == (True, False)
    np.testing.assert_allclose(found["places"], [0.01, -0.02])
    np.testing.assert_allclose(found["values"], [[0.0, 0.0], [-0.1, 0.1], [0.0, 0.0]])
    assert break_errors([1.51, 1.98], [[0.4, 0.0], [0.9, 0.0], [0.0, 0.0]], *truth)["support_correct"]
    other = break_errors([1.5], [[0.5, 0.0], [0.0, 0.0]], *truth)
    assert other == {"number_correct": False, "places": None, "values": None, "support_correct": False}
