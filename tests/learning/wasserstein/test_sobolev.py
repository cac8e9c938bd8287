"""The weighted H^-1 norm against closed forms, the line's exact distance, and its own two solvers."""

import numpy as np
import pytest

from ipsdist.learning.wasserstein import quantiles, sobolev
from ipsdist.model.system import Grid

PLANE = Grid((-4.0, -4.0), (4.0, 4.0), (100, 100))
LINE = Grid((-4.0,), (4.0,), (6400,))


def normal(x, mean, deviation):
    return np.exp(-0.5 * ((x - mean) / deviation) ** 2) / deviation


def masses(density):
    return density / density.sum()


def round_normal(mean, deviation, grid=PLANE):
    axes = np.meshgrid(*grid.axes(), indexing="ij")
    return masses(np.prod([normal(x, mean if k == 0 else 0.0, deviation) for k, x in enumerate(axes)], axis=0))


def along(profile, grid=PLANE, width=0.6):
    """Density of that profile along the first axis and normal along the second, so that W2 is that of the profile."""
    x, y = grid.axes()
    return masses(profile(x)[:, None] * normal(y, 0.0, width))


def exact(one, other):
    x = LINE.axes()[0]
    return quantiles.quantile_distance(masses(one(x)), masses(other(x)), LINE)


@pytest.mark.parametrize("distance", [2e-4, 1e-2, 0.1])
@pytest.mark.parametrize("deviation", [0.25, 0.5, 0.7])
def test_shifts_and_scalings(distance, deviation):
    """Far below a cell, and for clouds three cells wide, the distance is the known one to a few in 10 000."""
    start = round_normal(0.0, deviation)
    half = 0.5 * distance
    shifted, _ = sobolev.sobolev_distance(round_normal(-half, deviation), round_normal(half, deviation), PLANE)
    assert shifted == pytest.approx(distance, rel=3e-4)
    scaled, steepness = sobolev.sobolev_distance(start, round_normal(0.0, deviation + distance / np.sqrt(2)), PLANE)
    assert scaled == pytest.approx(distance, rel=1e-4 + 0.05 * min(steepness, 0.2))


def test_fourth_order_in_the_cells():
    """Halving the cells cuts the error of a ripple on a cloud about sixteen-fold."""
    errors = []
    for cells in (40, 80):
        grid = Grid((-4.0, -4.0), (4.0, 4.0), (cells, cells))
        x, y = np.meshgrid(*grid.axes(), indexing="ij")
        mean = normal(x, 0.0, 0.8) * normal(y, 0.0, 0.8)
        wave, slope_x, slope_y = np.sin(3 * x) * np.sin(2 * y + 1), np.cos(3 * x), np.cos(2 * y + 1)
        slope_x, slope_y = 3 * slope_x * np.sin(2 * y + 1), 2 * np.sin(3 * x) * slope_y
        source = -1e-6 * mean * (-13 * wave - (x * slope_x + y * slope_y) / 0.8**2)
        a, b = (mean + 0.5 * source) / mean.sum(), (mean - 0.5 * source) / mean.sum()
        known = 1e-6 * np.sqrt(np.sum(mean * (slope_x**2 + slope_y**2)) / mean.sum())
        errors.append(sobolev.sobolev_distance(a, b, grid)[0] / known - 1.0)
    assert abs(errors[1]) < 2e-4
    assert abs(errors[0] / errors[1]) > 10.0


def test_second_order_in_the_distance():
    """With the middle density as weight, the error of a shift falls four-fold or more when the distance halves."""
    errors = [
        sobolev.sobolev_distance(round_normal(-0.5 * w, 0.5), round_normal(0.5 * w, 0.5), PLANE)[0] / w - 1.0
        for w in (0.6, 0.3)
    ]
    assert 0.0 < 4.0 * errors[1] < errors[0] < 0.01


@pytest.mark.parametrize("moved", [1e-4, 1e-3, 1e-2, 0.1])
@pytest.mark.parametrize("apart", [1.0, 1.5, 2.0])
def test_steepness_says_where_it_holds(moved, apart):
    """Mass through a neck between two clouds: wherever the steepness is at most 0.1, the distance is W2 within 1 %."""

    def clouds(share):
        return lambda x: (1 + share) * normal(x, -apart, 0.5) + (1 - share) * normal(x, apart, 0.5)

    value, steepness = sobolev.sobolev_distance(along(clouds(0.0)), along(clouds(moved)), PLANE)
    error = value / exact(clouds(0.0), clouds(moved)) - 1.0
    assert abs(error) < 0.01 if steepness <= 0.1 else error > 0.005
    assert steepness > 0.1 or moved < 0.1


def test_the_order_of_axes_and_of_densities_does_not_matter():
    """Oblong grids are solved with the long axis first; the distance of the transposed densities is the same."""
    grid, turned = Grid((-4.0, -2.0), (4.0, 2.0), (80, 30)), Grid((-2.0, -4.0), (2.0, 4.0), (30, 80))
    a, b = (along(lambda x, m=m: normal(x, m, 0.7), grid, 0.5) for m in (0.0, 0.02))
    value, steepness = sobolev.sobolev_distance(a, b, grid)
    assert value == pytest.approx(0.02, rel=1e-3)
    assert sobolev.sobolev_distance(a.T, b.T, turned) == (value, steepness)
    assert sobolev.sobolev_distance(b, a, grid)[0] == pytest.approx(value, rel=1e-12)
    assert sobolev.sobolev_distance(a, a, grid) == (0.0, 0.0)


def test_conjugate_gradients_agree(monkeypatch):
    """Where the band is too wide the equation is iterated: the same number, empty cells or not."""
    a, b = round_normal(0.0, 0.5), round_normal(0.05, 0.52)
    a[:, 70:] = 0.0
    direct = sobolev.sobolev_distance(a, b, PLANE)[0]
    monkeypatch.setattr(sobolev, "_MOST_WORK", 0)
    assert sobolev.sobolev_distance(a, b, PLANE)[0] == pytest.approx(direct, rel=1e-6)


def test_three_dimensions():
    """A shift and a scaling on 40 cells an axis."""
    grid = Grid((-3.0,) * 3, (3.0,) * 3, (40,) * 3)
    start = round_normal(0.0, 0.6, grid)
    assert sobolev.sobolev_distance(start, round_normal(0.01, 0.6, grid), grid)[0] == pytest.approx(0.01, rel=1e-3)
    scaled = sobolev.sobolev_distance(start, round_normal(0.0, 0.601, grid), grid)[0]
    assert scaled == pytest.approx(0.001 * np.sqrt(3), rel=1e-3)
