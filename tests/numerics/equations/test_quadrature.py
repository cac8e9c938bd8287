"""Time rules against exact integrals of polynomials."""

import numpy as np
import pytest

from ipsdist.numerics.equations.quadrature import INTERVALS, panels


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
