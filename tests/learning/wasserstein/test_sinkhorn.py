"""The debiased Sinkhorn divergence against closed forms and the line's exact distance, where H^-1 is no distance."""

import numpy as np
import pytest

from ipsdist.learning.wasserstein import sinkhorn
from tests.learning.wasserstein.test_sobolev import PLANE, along, exact, normal, round_normal


@pytest.mark.parametrize("distance", [2e-4, 1e-2, 0.1, 1.0])
def test_shifts_and_scalings(distance):
    """Shifts are exact to rounding; scalings to the square of the blur over the variance."""
    half = 0.5 * distance
    value, blur, settled = sinkhorn.sinkhorn_distance(round_normal(-half, 0.5), round_normal(half, 0.5), PLANE)
    assert value == pytest.approx(distance, rel=1e-5)
    assert settled
    assert blur == pytest.approx(4 * 0.08**2)
    wider = 0.4 + distance / np.sqrt(2)
    value, *_ = sinkhorn.sinkhorn_distance(round_normal(0.0, 0.4), round_normal(0.0, min(wider, 0.8)), PLANE)
    assert value == pytest.approx(np.sqrt(2) * (min(wider, 0.8) - 0.4), rel=1e-3)


@pytest.mark.parametrize("moved", [0.01, 0.1, 0.3])
@pytest.mark.parametrize("apart", [1.5, 2.0])
def test_mass_that_crosses_a_gap(moved, apart):
    """Two clouds four to seven deviations apart exchange mass: within 1 %, settled, in few over-relaxed turns."""

    def clouds(share):
        return lambda x: (1 + share) * normal(x, -apart, 0.3) + (1 - share) * normal(x, apart, 0.3)

    value, _, settled = sinkhorn.sinkhorn_distance(along(clouds(0.0)), along(clouds(moved)), PLANE)
    assert settled
    assert value == pytest.approx(exact(clouds(0.0), clouds(moved)), rel=0.01)


def test_over_relaxation_changes_no_digit(monkeypatch):
    """With and without, the same divergence; without, three times the turns are not enough here."""
    a, b = (along(lambda x, e=e: (1 + e) * normal(x, -1, 0.5) + (1 - e) * normal(x, 1, 0.5)) for e in (0.0, 0.05))
    fast = sinkhorn.sinkhorn_distance(a, b, PLANE)
    monkeypatch.setattr(sinkhorn, "_NEAR", 0.0)
    slow = sinkhorn.sinkhorn_distance(a, b, PLANE)
    assert fast[2]
    assert slow[2]
    assert fast[0] == pytest.approx(slow[0], rel=1e-8)
    monkeypatch.setattr(sinkhorn, "_MOST_TURNS", 300)
    assert not sinkhorn.sinkhorn_distance(a, b, PLANE)[2]
    monkeypatch.setattr(sinkhorn, "_NEAR", 0.05)
    assert sinkhorn.sinkhorn_distance(a, b, PLANE)[2]
