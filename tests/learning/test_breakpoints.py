"""Break points from equations over hats whose law is exact: number, places, terms, what is merged and what is said."""

import numpy as np
import pytest

from ipsdist.learning.breakpoints import break_points, pieces_fit
from ipsdist.learning.columns import columns_fit
from ipsdist.learning.pieces import HatSystem, all_columns
from ipsdist.model.dictionary import Dictionary
from ipsdist.model.errors import InputError
from tests.learning import hats

KEPT = ((0, 0), (1, 0))
PLACES, VALUES = (1.53, 2.21), (0.5, 1.0)


def found_in(data, terms=hats.TERMS, **more):
    return break_points(data, hats.basis(), terms, hats.SIGMA2, **more)


def test_number_places_and_terms_are_found():
    """Two breaks between nodes, slopes and the last piece dropped, in ten of ten; errors as said, told nothing."""
    scaled, right = [], 0
    for seed in range(10):
        found = found_in(hats.equations(PLACES, KEPT, VALUES, seed))
        right += found.kept == KEPT
        assert len(found.places) == 2
        if found.kept == KEPT:
            scaled.extend((found.places - PLACES) / (np.diff(found.intervals, axis=1)[:, 0] / 3.92))
            scaled.extend((found.coefficients - VALUES) / np.sqrt(np.diag(found.covariance)))
    assert right >= 9
    assert 0.6 < np.sqrt(np.mean(np.square(scaled))) < 1.4


def test_three_breaks_and_a_continuous_one():
    """A kernel that is 1, then r (continuous at 1), then 0 from 1.9 to 2.7, then -0.5: terms 1 and r."""
    terms = Dictionary.parse(["1", "r"])
    kept = ((0, 0), (1, 1), (3, 0))
    data = hats.equations((1.0, 1.9, 2.7), kept, (1.0, 1.0, -0.5), 5, terms=terms)
    found = found_in(data, terms)
    assert found.kept == kept
    np.testing.assert_allclose(found.places, (1.0, 1.9, 2.7), atol=0.1)
    np.testing.assert_allclose(found.coefficients, (1.0, 1.0, -0.5), atol=0.05)
    assert np.diff(found.intervals[0])[0] > 3 * np.diff(found.intervals[1])[0]  # a kink says less of its place


def test_no_break_where_there_is_none():
    """phi = r**2, and no force at all: no break in ten of ten by the usual criterion."""
    for seed in range(5):
        found = found_in(hats.equations((), ((0, 1),), (0.7,), seed))
        assert (len(found.places), found.kept) == (0, ((0, 1),))
        empty = found_in(hats.of_nodes(np.zeros(len(hats.basis())), seed))
        assert (len(empty.places), empty.kept, empty.score) == (0, (), 0.0)


def test_a_smooth_kernel_is_said_to_be_smooth():
    """sin(2 r) takes several pieces of r and r**2; a spline does better, which a kernel with jumps does not allow."""
    nodes = np.arange(len(hats.basis())) * hats.WIDTH
    waves = found_in(hats.of_nodes(np.sin(2.0 * nodes), 2))
    assert len(waves.places) >= 2
    assert waves.smooth[1] < 0
    jumps = found_in(hats.equations(PLACES, KEPT, VALUES, 2))
    assert jumps.smooth[1] > 20


def test_alternatives_are_worse_and_of_every_number():
    """Runners-up come best first, with other terms or other numbers of breaks, none of them an idle break."""
    found = found_in(hats.equations(PLACES, KEPT, VALUES, 1))
    scores = [r.score for r in found.alternatives]
    assert scores == sorted(scores)
    assert scores[0] > 0
    assert {0, 1} <= {len(r.places) for r in found.alternatives}
    one = HatSystem.of(hats.equations(PLACES, KEPT, VALUES, 1), hats.basis(), hats.TERMS, hats.SIGMA2)
    best, single = one.settled(found.places, found.kept), next(r for r in found.alternatives if len(r.places) == 1)
    worse = one.settled(single.places, single.kept)
    fewer = (len(found.kept) + 2) - (len(single.kept) + 1)
    assert single.score == pytest.approx(best.gain - worse.gain - fewer * np.log(20_000), abs=15)


@pytest.mark.parametrize("criterion", ["bic", "ebic", "2lnN"])
def test_prices(criterion):
    """The score of the truth is its price less its gain."""
    data = hats.equations(PLACES, KEPT, VALUES, 4)
    found = found_in(data, criterion=criterion)
    assert found.kept == KEPT
    one = HatSystem.of(data, hats.basis(), hats.TERMS, hats.SIGMA2)
    price = found.score + one.solve(tuple(found.places), KEPT).gain
    nodes = round(one.reach / one.width)
    extra = 2 * np.log(15) + 2 * np.log(nodes * (nodes - 1) / 2)
    expected = {"bic": 4 * np.log(20_000), "2lnN": 8 * np.log(20_000), "ebic": 4 * np.log(20_000) + extra}
    assert price == pytest.approx(expected[criterion], abs=1e-5)


def test_no_more_breaks_than_allowed():
    """One where there are two: the best single one, which the runners-up of two confirm."""
    data = hats.equations(PLACES, KEPT, VALUES, 1)
    assert len(found_in(data, max_breaks=1).places) == 1


def test_given_places_are_merged_and_pruned():
    """Of seven candidates the two true ones stay, where they are; what the pieces need is kept."""
    data = hats.equations((1.5, 2.25), KEPT, VALUES, 6)
    candidates = (0.8, 1.1, 1.5, 1.8, 2.25, 2.6, 3.1)
    for places in (candidates, candidates[:6]):  # left out in turn, and all subsets
        found = pieces_fit(data, hats.basis(), hats.TERMS, places, hats.SIGMA2)
        assert found.places.tolist() == [1.5, 2.25]
        assert found.kept == KEPT
        assert found.intervals.tolist() == [[1.5, 1.5], [2.25, 2.25]]
        assert found.curves == ()
    one = HatSystem.of(data, hats.basis(), hats.TERMS, hats.SIGMA2)
    columns = one.columns((1.5, 2.25), KEPT)
    np.testing.assert_allclose(found.covariance, np.linalg.inv(columns.T @ one.gram @ columns), rtol=1e-9)


def test_given_places_that_cannot_stand_are_passed_over():
    """Near 0, beyond the pairs, and too near to another."""
    data = hats.equations((1.5,), ((0, 0),), (0.5,), 6)
    found = pieces_fit(data, hats.basis(), hats.TERMS, (0.01, 1.5, 1.51, 3.99, 9.0), hats.SIGMA2)
    assert found.places.tolist() == [1.5]
    assert found.values(0).keys() == {"r"}
    assert found.values(1) == {}


def test_columns_of_standing_pieces():
    """The same columns as the search keeps; more than twelve are left out one by one, to the same end."""
    data = hats.equations(PLACES, KEPT, VALUES, 1)
    for terms, names in ((("r", "r**2"), 2), (("r", "r**2", "r**3", "exp(-r)", "sin(r)"), 5)):
        dictionary = Dictionary.parse(terms)
        one = HatSystem.of(data, hats.basis(), dictionary, hats.SIGMA2)
        over = data.change_basis(one.columns(PLACES, all_columns(2, names)), [f"c{k}" for k in range(3 * names)])
        fit = columns_fit(over, hats.SIGMA2)
        assert fit.terms == (0, names)
        np.testing.assert_allclose(fit.coefficients, VALUES, atol=0.02)


def test_an_unknown_criterion_is_refused():
    """By its key."""
    data = hats.equations(PLACES, KEPT, VALUES, 1)
    with pytest.raises(InputError, match=r"fit\.criterion` must be bic, ebic or 2lnN"):
        found_in(data, criterion="aic")
