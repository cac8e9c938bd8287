"""The automatic choice on particles whose dense and few slices are known to need another road."""

import numpy as np
import pytest

from ipsdist.learning.choice import choose_form, choose_rule, time_error
from ipsdist.numerics.equations.quadrature import observation_times
from tests.learning.snapshots import COMMON, DIFFUSION, snapshots


def test_dense_slices_need_no_prediction():
    """201 slices: Simpson's rule, an error far below a standard error, and one line that says so."""
    data = snapshots(tuple(range(0, 1001, 5)))
    choice = choose_form(data.pairings, data.times, labelled=True, **COMMON)
    assert (choice.form, choice.quadrature, choice.control) == ("action", "simpson", False)
    assert choice.error < 0.3
    assert choice.reason.startswith("action form by Simpson's rule: 201 slices of trajectories are dense enough")
    assert "\n" not in choice.reason


def test_few_snapshots_need_one():
    """11 snapshots: predicted in between, and the line says how uncertain the rule is."""
    data = snapshots(tuple(range(0, 1001, 100)))
    choice = choose_form(data.pairings, data.times, labelled=False, **COMMON)
    assert choice.control
    assert choice.error > 10
    assert "mean-field prediction" in choice.reason
    assert "11 slices of unlabelled snapshots" in choice.reason


def test_error_estimate_is_cautious():
    """At 101, 51 and 21 slices the estimate is above the true change of the coefficient by finer slices."""
    fine = snapshots(tuple(range(0, 1001, 5))).plain("simpson")
    z = np.array([0, 0, 3.0, 0, 0, 0, 0, 0])
    for every in (10, 20, 50):
        data = snapshots(tuple(range(0, 1001, every)))
        plain = data.plain("simpson")
        change = (plain.moment.sum(0) - fine.moment.sum(0) - (plain.gram.sum(0) - fine.gram.sum(0)) @ z)[2]
        true = abs(change) / np.sqrt(DIFFUSION * fine.gram.sum(0)[2, 2])
        assert time_error(data.pairings, data.times, "simpson", **COMMON) > true


def test_four_slices_say_nothing():
    """Fewer than five slices: the error cannot be told, so the prediction is needed."""
    data = snapshots((0, 300, 600, 1000))
    choice = choose_form(data.pairings, data.times, labelled=False, **COMMON)
    assert choice.error == np.inf
    assert choice.control
    assert "blind" in choice.reason


@pytest.mark.parametrize(
    ("times", "rule"),
    [
        (np.linspace(0, 1, 21), "simpson"),
        ([0.0, 1.0], "simpson"),
        (np.linspace(0, 1, 21) ** 2, "spline"),
        (observation_times(1.0, 20, "gauss_lobatto", 1e-4), "gauss_lobatto"),
        (observation_times(1.0, 20, "chebyshev", 1e-4), "gauss_lobatto"),
    ],
)
def test_rule_follows_the_times(times, rule):
    """Even, two, graded and chosen times have their own rules."""
    assert choose_rule(times) == rule


def test_ragged_few_slices_take_the_trapezoid():
    """Slices in close pairs: the rule that makes least of noise, under a prediction."""
    data = snapshots((0, 2, 100, 102, 300, 302, 500, 502, 700, 702, 998, 1000))
    choice = choose_form(data.pairings, data.times, labelled=False, **COMMON)
    assert (choice.quadrature, choice.control) == ("trapezoid", True)
