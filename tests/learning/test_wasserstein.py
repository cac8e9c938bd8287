"""Wasserstein distances against closed forms and POT."""

import numpy as np
import ot
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipsdist.learning.wasserstein import data_loss, wasserstein2, wasserstein2_curve
from ipsdist.model.errors import InputError
from ipsdist.model.system import Grid

LINE = Grid((-8.0,), (8.0,), (320,))
PLANE = Grid((-4.0, -4.0), (4.0, 4.0), (64, 64))


def normal(x, mean, deviation):
    return np.exp(-0.5 * ((x - mean) / deviation) ** 2) / deviation


def round_normal(mean, deviation, grid=PLANE):
    x, y = np.meshgrid(*grid.axes(), indexing="ij")
    return normal(x, mean, deviation) * normal(y, 0.0, deviation)


@pytest.mark.parametrize(("mean", "deviation"), [(0.001, 1.0), (0.5, 1.0), (0.0, 1.2), (0.0, 1.0005), (-2.0, 0.6)])
def test_normals_on_the_line(mean, deviation):
    """Between normals W2**2 = (difference of means)**2 + (difference of deviations)**2, below a cell as well."""
    x = LINE.axes()[0]
    value, method = wasserstein2(normal(x, 0.0, 1.0), normal(x, mean, deviation), LINE)
    assert method == "quantiles"
    assert value == pytest.approx(np.hypot(mean, deviation - 1.0), rel=3e-4)


def test_shift_by_whole_cells_is_exact():
    """A density moved by seven cells is seven cells away, gaps in its support or not."""
    u = np.zeros(321)
    u[[30, 31, 80, 200]] = [0.3, 2.0, 0.1, 1.0]
    value, _ = wasserstein2(u, np.roll(u, 7), LINE)
    assert value == pytest.approx(0.35, rel=1e-12)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**32))
def test_line_against_pot(seed):
    """Rough densities with empty cells: POT's one-dimensional solver, on many points a cell, agrees."""
    rng = np.random.default_rng(seed)
    grid = Grid((0.0,), (1.0,), (10,))
    u, v = np.maximum(rng.normal(size=(2, 11)), 0.0) + np.eye(11)[:2]
    fine = (np.arange(11)[:, None] * 0.1 + 0.1 * ((np.arange(500) + 0.5) / 500 - 0.5)).ravel()
    masses = [np.repeat(w / w.sum() / 500, 500) for w in (u, v)]
    peer = np.sqrt(ot.emd2_1d(fine, fine, masses[0], masses[1], metric="sqeuclidean"))
    assert wasserstein2(u, v, grid)[0] == pytest.approx(peer, abs=1e-4)


def test_distance_is_a_metric_on_scale_and_order():
    """Symmetric, zero on equal densities, blind to mass and to negative lobes that count as empty."""
    x = LINE.axes()[0]
    u, v = normal(x, 0.0, 1.0), normal(x, 1.0, 0.5)
    assert wasserstein2(u, u, LINE)[0] == 0.0
    assert wasserstein2(u, v, LINE)[0] == pytest.approx(wasserstein2(v, u, LINE)[0], rel=1e-12)
    lobes = np.where(v > 1e-3, v, -1e-3)
    assert wasserstein2(3.0 * u, lobes, LINE) == wasserstein2(u, np.maximum(lobes, 0.0), LINE)


@pytest.mark.parametrize(
    ("mean", "deviation"), [(0.001, 0.7), (0.5, 0.7), (0.0, 0.71), (0.0, 0.7002), (0.3, 0.5), (2.0, 0.3)]
)
def test_normals_in_the_plane(mean, deviation):
    """Within 0.3 per cent of the closed form, far below a cell as well; the road follows the distance."""
    u, v = round_normal(0.0, 0.7), round_normal(mean, deviation)
    value, method = wasserstein2(u, v, PLANE)
    known = np.sqrt(mean**2 + 2 * (deviation - 0.7) ** 2)
    assert value == pytest.approx(known, rel=3e-3)
    assert method.partition("(")[0] == ("sobolev" if known < 0.1 else "debiased_sinkhorn")
    for name in ("sobolev", "sinkhorn") if known < 0.1 else ("sinkhorn",):  # each checks the other
        assert wasserstein2(u, v, PLANE, name)[0] == pytest.approx(known, rel=3e-3)


def test_roads_meet_on_noisy_densities():
    """A density of 20 000 points against a smooth one: the roads differ by less than 0.5 %, and both are taken."""
    rng = np.random.default_rng(4)
    grid = Grid((-4.0, -4.0), (4.0, 4.0), (80, 80))
    points = rng.normal(0.0, 0.65, size=(20_000, 2, 1))
    u = np.einsum("nx,ny->xy", *(np.exp(-0.5 * ((z - points[:, k]) / 0.2) ** 2) for k, z in enumerate(grid.axes())))
    roads = set()
    for mean in (0.05, 0.1, 0.3):
        v = round_normal(mean, np.hypot(0.65, 0.2), grid)
        small, large = (wasserstein2(u, v, grid, name)[0] for name in ("sobolev", "sinkhorn"))
        assert small == pytest.approx(large, rel=5e-3)
        roads.add(wasserstein2(u, v, grid)[1].partition("(")[0])
    assert roads == {"sobolev", "debiased_sinkhorn"}


def test_plane_against_pot():
    """Two and three modes: the linear programme over all cells agrees to half the square of a cell, its own error."""
    grid = Grid((-4.0, -4.0), (4.0, 4.0), (40, 40))
    u = round_normal(1.0, 0.5, grid) + round_normal(-1.0, 0.5, grid)
    v = round_normal(2.0, 0.4, grid) + round_normal(-1.5, 0.6, grid) + 0.5 * round_normal(0.0, 0.4, grid)
    value, method = wasserstein2(u, v, grid, "emd")
    assert method == "emd(41 x 41)"
    assert wasserstein2(u, v, grid)[0] ** 2 == pytest.approx(value**2, abs=0.5 * 0.2**2)


def test_linear_programme_sums_over_blocks():
    """Above 48 cells an axis the cells are summed over blocks, and a shift by whole blocks is found to rounding."""
    grid = Grid((0.0, 0.0), (99.0, 19.0), (99, 19))
    u = np.zeros((100, 20))
    u[3:9, 4:7] = np.arange(18.0).reshape(6, 3)
    value, method = wasserstein2(u, np.roll(u, (30, 0), (0, 1)), grid, "emd")
    assert method == "emd(34 x 20)"
    assert value == pytest.approx(30.0, rel=1e-9)


def test_far_apart_in_the_plane():
    """Densities so far apart that the narrow kernel underflows are blurred more, and the shift is found."""
    grid = Grid((-80.0, -4.0), (80.0, 4.0), (160, 8))
    value, method = wasserstein2(round_normal(-70.0, 1.5, grid), round_normal(70.0, 1.5, grid), grid)
    assert value == pytest.approx(140.0, rel=1e-3)
    assert float(method.split("(")[1][:-1]) == 64.0


def test_little_mass_across_empty_space_says_so():
    """A few in 100 000 between clouds far apart: the turns do not suffice, and the label tells."""
    u, v = ((1 + e) * round_normal(-2.5, 0.3) + (1 - e) * round_normal(2.5, 0.3) for e in (0.0, 1e-4))
    value, method = wasserstein2(u, v, PLANE)
    assert method.endswith(", not settled)")
    assert value < 5 * np.sqrt(0.5e-4)


def test_curve_counts_the_roads():
    """Equal starts are at distance 0; the method is the one of all times, or tells how often each was taken."""
    us = [round_normal(0.0, 0.7)] * 3
    vs = [us[0], round_normal(0.01, 0.7), round_normal(1.0, 0.7)]
    values, method = wasserstein2_curve(us, vs, PLANE)
    assert values[0] == 0.0
    assert values[1:] == pytest.approx([0.01, 1.0], rel=1e-3)
    assert method == "sobolev at 2 times, debiased_sinkhorn at 1 times"
    assert wasserstein2_curve(us[:2], vs[:2], PLANE)[1] == "sobolev"


def test_data_loss():
    """The mean of the squared difference over times and points."""
    assert data_loss([[0.0, 1.0], [2.0, 3.0]], [[0.0, 0.0], [0.0, 3.0]]) == 1.25


def test_refusals():
    """Unknown method, wrong shape and empty density are refused by name."""
    u = np.ones(321)
    with pytest.raises(InputError) as caught:
        wasserstein2(u, u, LINE, "sliced")
    assert str(caught.value) == "`method` must be one of auto, sobolev, sinkhorn, emd; got 'sliced'"
    with pytest.raises(InputError, match=r"`v` must be a density on the grid \(321,\); got \(3,\)"):
        wasserstein2(u, np.ones(3), LINE)
    with pytest.raises(InputError, match=r"`u` must be finite with a positive mass; got the sum 0\.0"):
        wasserstein2(-u, u, LINE)
    with pytest.raises(InputError, match="`v` must be finite with a positive mass; got the sum nan"):
        wasserstein2(u, u * np.nan, LINE)
