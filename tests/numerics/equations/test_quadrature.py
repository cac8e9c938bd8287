"""Time rules against exact integrals of polynomials."""

import numpy as np
import pytest

from ipsdist.model.errors import InputError
from ipsdist.numerics.equations.quadrature import INTERVALS, growth, observation_times, panels


@pytest.mark.parametrize("rule", list(INTERVALS))
@pytest.mark.parametrize("intervals", [1, 2, 3, 4, 5, 7, 8, 11])
def test_rules_integrate_polynomials(rule, intervals):
    """A rule integrates polynomials of its degree exactly over all panels, for even and uneven times."""
    random = np.random.default_rng(intervals)
    for times in (np.linspace(0.3, 1.7, intervals + 1), np.sort(random.uniform(0, 2, intervals + 1))):
        degree = min(INTERVALS[rule], intervals)
        got = sum(p.weights @ times[p.first : p.last + 1] ** degree for p in panels(times, rule))
        want = (times[-1] ** (degree + 1) - times[0] ** (degree + 1)) / (degree + 1)
        assert got == pytest.approx(want, rel=1e-10)


def test_simpson_is_simpson():
    """On even times the weights are Simpson's, and 3/8 in a last panel of three intervals."""
    rule = panels(np.arange(8) * 0.5, "simpson")
    np.testing.assert_allclose(rule[0].weights, np.array([1, 4, 1]) / 6)
    np.testing.assert_allclose(rule[-1].weights, np.array([3, 9, 9, 3]) / 16)


def test_panels_join_at_their_ends():
    """Panels cover all slices: each begins where the last one ended."""
    rule = panels(np.linspace(0, 1, 12), "boole")
    assert [p.first for p in rule[1:]] == [p.last for p in rule[:-1]]
    assert (rule[0].first, rule[-1].last) == (0, 11)


@pytest.mark.parametrize(("rule", "order"), [("trapezoid", 2), ("simpson", 4), ("boole", 6)])
def test_order_of_convergence(rule, order):
    """The error on a smooth function falls with the declared order."""

    def error(intervals: int) -> float:
        times = np.linspace(0, 1, intervals + 1)
        return abs(
            sum(p.weights @ np.exp(3 * times[p.first : p.last + 1]) for p in panels(times, rule)) - np.expm1(3) / 3
        )

    measured = np.log2(error(16) / error(32))
    assert measured == pytest.approx(order, abs=0.15)


def total(times, values, rule):
    """The integral of values at the slices by all panels of a rule."""
    return sum(p.weights @ values[p.first : p.last + 1] for p in panels(times, rule))


@pytest.mark.parametrize("intervals", [1, 2, 3, 8, 15, 16, 17, 30])
def test_spline_integrates_cubics(intervals):
    """The spline is exact for cubics (as far as it has slices) on times of any spacing, and its panels join."""
    times = np.concatenate([[0.0], np.cumsum(np.random.default_rng(intervals).lognormal(0, 1, intervals))])
    degree = min(3, intervals)
    got = total(times, times**degree, "spline")
    assert got == pytest.approx(times[-1] ** (degree + 1) / (degree + 1), rel=1e-10)
    rule = panels(times, "spline")
    assert [p.first for p in rule[1:]] == [p.last for p in rule[:-1]]
    assert (rule[0].first, rule[-1].last) == (0, intervals)


def test_spline_is_of_fourth_order_on_uneven_times():
    """Halving all intervals of graded times divides the error by 16."""

    def error(intervals):
        times = np.linspace(0, 1, intervals + 1) ** 2
        return abs(total(times, np.exp(3 * times), "spline") - np.expm1(3) / 3)

    assert np.log2(error(64) / error(128)) == pytest.approx(4, abs=0.3)


def test_spline_beats_simpson_on_uneven_times():
    """On times graded as t^3 Simpson's rule is of third order, and the spline four times as accurate or more."""
    times = np.linspace(0, 1, 33) ** 3
    error = {rule: abs(total(times, np.exp(3 * times), rule) - np.expm1(3) / 3) for rule in ("simpson", "spline")}
    assert 4 * error["spline"] < error["simpson"]


def test_growth_tells_ragged_times():
    """The weights of even times sum to the duration in size; those of slices in close pairs to several times that."""
    assert growth(np.linspace(0, 3, 17), "spline") == pytest.approx(1)
    ragged = np.sort(np.concatenate([np.arange(17.0), np.arange(16.0) + 0.05]))
    assert growth(ragged, "trapezoid") == pytest.approx(1)
    assert growth(ragged, "spline") > 3


def test_lobatto_is_lobatto():
    """Five nodes and weights of the Gauss-Lobatto rule are those of the tables, and it is exact to degree seven."""
    times = observation_times(2.0, 5, "gauss_lobatto", 1e-12)
    np.testing.assert_allclose(times - 1, [-1, -np.sqrt(3 / 7), 0, np.sqrt(3 / 7), 1], atol=1e-11)
    (panel,) = panels(times, "gauss_lobatto")
    np.testing.assert_allclose(panel.weights, np.array([9, 49, 64, 49, 9]) / 90, atol=1e-11)
    assert total(times, times**7, "gauss_lobatto") == pytest.approx(2**8 / 8, rel=1e-10)


@pytest.mark.parametrize("rule", ["gauss_lobatto", "chebyshev"])
def test_chosen_times_are_steps_and_keep_their_accuracy(rule):
    """Times are whole steps with both ends; the weights of the rounded times integrate exp(3 t) to rounding."""
    times = observation_times(1.0, 20, rule, 1e-4)
    np.testing.assert_allclose(times * 1e4, np.rint(times * 1e4), atol=1e-9)
    assert (times[0], times[-1], len(times)) == (0.0, 1.0, 20)
    assert total(times, np.exp(3 * times), "gauss_lobatto") == pytest.approx(np.expm1(3) / 3, rel=1e-12)


def test_even_times_are_even():
    """The even schedule is the usual one."""
    np.testing.assert_allclose(observation_times(1.0, 11, "even", 1e-3), np.linspace(0, 1, 11))


def test_chosen_times_are_refused_where_they_collide():
    """More slices than steps near the ends, one slice and an unknown rule are refused."""
    with pytest.raises(InputError, match="a step between any two slices"):
        observation_times(1.0, 50, "chebyshev", 1e-2)
    with pytest.raises(InputError, match="at least 2"):
        observation_times(1.0, 1, "even", 1e-2)
    with pytest.raises(InputError, match="gauss_lobatto"):
        observation_times(1.0, 5, "gauss", 1e-2)


def test_whole_range_refuses_even_times():
    """The polynomial through 21 even times oscillates: refused, with the rule to use instead."""
    with pytest.raises(InputError, match=r"crowd at both ends.*spline"):
        panels(np.linspace(0, 1, 21), "gauss_lobatto")
