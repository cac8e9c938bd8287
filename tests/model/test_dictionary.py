"""The dictionary: names, tables, and terms that no data tell apart."""

import pickle

import numpy as np
import pytest

from ipsdist.model.dictionary import Dictionary
from ipsdist.model.errors import InputError

TERMS = ["1", "r", "r**2", "r**3", "exp(r)", "exp(-r)", "sin(r)", "cos(r)", "r**-0.5", "r**-1", "r**-1.5", "r**-2"]


def test_names_values_and_potentials():
    """Rows are the terms in order, shaped like the distances."""
    dictionary = Dictionary.parse([" r ** 2", "exp(-r)"])
    r = np.linspace(0, 3, 6).reshape(2, 3)
    assert dictionary.names == ("r**2", "exp(-r)")
    assert len(dictionary) == 2
    np.testing.assert_allclose(dictionary.values(r), [r**2, np.exp(-r)], rtol=1e-14)
    np.testing.assert_allclose(dictionary.potentials(r), [r**3 / 3, 1 - np.exp(-r)], rtol=1e-14, atol=1e-15)


def test_the_twelve_terms_are_finite_and_picklable():
    """The built-in terms with a cut-off are finite at 0, and the dictionary is a value."""
    dictionary = Dictionary.parse(TERMS, 0.05)
    assert np.isfinite(dictionary.values(np.array([0.0, 1.0]))).all()
    assert pickle.loads(pickle.dumps(dictionary)) == dictionary


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["r*r", "r**2"], "`dictionary.terms` must not have two equal terms; got r*r and r**2; leave one out"),
        (["r", "r"], "`dictionary.terms` must not have two equal terms; got r and r; leave one out"),
        (
            ["1", "sin(r)**2", "1-cos(r)**2"],
            "`dictionary.terms` must not have two equal terms; got sin(r)**2 and 1-cos(r)**2; leave one out",
        ),
        (
            ["r", "1", "-2*r"],
            "`dictionary.terms` must not have two terms that are multiples of each other; got r and -2*r; "
            "leave one out",
        ),
        (["r-r"], "`dictionary.terms` must not have a term that is 0 everywhere; got r-r; leave it out"),
        ([], '`dictionary.terms` must have at least one term; got none; for example terms = ["1", "r", "r**2"]'),
        (
            ["r", "1/r"],
            "`dictionary.terms` has 1/r unbounded at r = 0 and no cut-off; got 1/r; "
            "set dictionary.cutoff, for example dictionary.cutoff = 0.05",
        ),
    ],
)
def test_refusals(texts, message):
    """Terms that no data tell apart, and no terms, are refused with their names."""
    with pytest.raises(InputError) as refused:
        Dictionary.parse(texts)
    assert str(refused.value) == message


def test_terms_that_are_nearly_alike_stay():
    """Close functions are two terms: only equality up to rounding is refused."""
    assert len(Dictionary.parse(["exp(-r)", "exp(-1.0001*r)", "sin(r)", "sin(1.0001*r)"])) == 4
