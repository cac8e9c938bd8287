"""The time steps: their order, what holds between any two of them, and how a fixed step fails."""

import numpy as np
import pytest

from ipsdist.learning.energy import free_energy
from ipsdist.model.errors import InputError, RunError
from ipsdist.model.system import Grid
from ipsdist.numerics.densities.meanfield import PotentialField, solve_mean_field
from ipsdist.numerics.densities.meanfield.carrillo_chertock_huang import CarrilloChertockHuang
from ipsdist.numerics.densities.meanfield.centred import Centred
from ipsdist.numerics.densities.meanfield.scharfetter_gummel import ScharfetterGummel
from ipsdist.numerics.densities.meanfield.time_steps import RungeKutta4, StrongStability
from tests.numerics.densities.meanfield.laws import CASES, cubic, mixture, normal, two_modes


class Watched(StrongStability):
    """Steps that keep every stage and the end of every step that was taken."""

    def __init__(self, scheme, **options):
        super().__init__(self, **options)
        self.scheme, self.stages, self.steps = scheme, [], []

    def change(self, u):
        """Return the scheme's derivative and bound; keep the stage."""
        self.stages.append(u.copy())
        return self.scheme.change(u)

    def _step(self, u, change, step, stages):
        del self.stages[:]
        after = super()._step(u, change, step, stages)
        if after is not None:
            self.steps.append(([u, *self.stages], after.copy()))
        return after


def boxes(x, y):
    return np.where(np.abs(x) + np.abs(y) < 1.5, 0.1, 0.0)


@pytest.mark.parametrize("scheme", [ScharfetterGummel, CarrilloChertockHuang])
@pytest.mark.parametrize("case", ["cubic", "power_law", "two", "ring", "boxes"])
def test_every_stage_of_every_step(scheme, case):
    """From stage to stage and step to step: no rise of the free energy above rounding, no loss of mass, no minus."""
    if case in CASES:
        grid, first, second, potential, diffusion = CASES[case]
        u, interval = two_modes(grid.axes()[0], first, second), 2.0
    else:
        grid, potential, diffusion, interval = Grid((-4.0, -4.0), (4.0, 4.0), (48, 48)), cubic, 2.0, 0.3
        plane = np.meshgrid(*grid.axes(), indexing="ij")
        u = boxes(*plane) if case == "boxes" else mixture(case, *plane)
    u /= u.sum() * np.prod(grid.spacing)
    watched = Watched(scheme(grid, PotentialField(grid, potential), 0.5 * diffusion), transient=True)
    watched.advance(u, interval)
    assert len(watched.steps) > 5
    for stages, after in watched.steps:
        before, *inside, last = [free_energy(v, grid, diffusion, potential) for v in (*stages, after)]
        rounding = 1e-12 * max(1.0, abs(before))
        assert np.diff([before, *inside]).max() <= rounding
        assert last <= before + rounding
        assert after.min() >= 0.0
        assert after.sum() == pytest.approx(u.sum(), rel=1e-12)


@pytest.mark.parametrize(
    ("scheme", "order", "step"),
    [("scharfetter_gummel", 2, 0.05), ("carrillo_chertock_huang", 2, 0.05), ("runge_kutta_4", 4, 0.02)],
)
def test_order_in_time(scheme, order, step):
    """Halving a fixed step cuts the time error by two to the order."""
    grid = Grid((-5.0,), (5.0,), (30,))
    start = two_modes(grid.axes()[0], (1, 0.5), (-1, 0.5))
    last = [
        solve_mean_field(start, grid, lambda r: 0.5 * r * r, 1.0, [0.0, 0.4], scheme=scheme, step=h)[-1]
        for h in (step, step / 2, step / 4, step / 64)
    ]
    errors = [np.abs(u - last[-1]).max() for u in last[:-1]]
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    assert orders.min() > order - 0.3


def test_fixed_step_is_taken():
    """The step is that of the run file, or the next shorter one that fills the time between two slices."""
    grid = Grid((-2.0,), (2.0,), (16,))
    watched = Watched(ScharfetterGummel(grid, PotentialField(grid, np.zeros_like), 0.5), fixed=0.04)
    watched.advance(normal(grid.axes()[0], 0.0, 0.3), 0.4)
    assert len(watched.steps) == 10
    watched.advance(normal(grid.axes()[0], 0.0, 0.3), 0.41)
    assert len(watched.steps) == 21


def test_bound_of_runge_kutta_4_is_sharp():
    """At the bound a spike stays finite for thousands of steps; at 1.02 times it, a checkerboard blows up."""
    grid = Grid((-4.0,), (4.0,), (80,))
    scheme = Centred(grid, PotentialField(grid, np.zeros_like), 1.0)
    spike = np.where(np.arange(81) == 40, 10.0, 0.0)
    longest = 1.0 / scheme.change(spike)[1]
    inside, beyond = RungeKutta4(scheme), RungeKutta4(scheme)
    u, v = spike, spike
    for _ in range(2000):
        u = inside._step(u, scheme.change(u)[0], longest)
        v = beyond._step(v, scheme.change(v)[0], 1.02 * longest)
    assert np.abs(u).max() < 1.0
    assert np.abs(v).max() > 1e10


def test_bound_of_runge_kutta_4_with_a_velocity():
    """Drift alone: |R(i y)| <= 1 up to y = 2.828; drift and diffusion together stand between the two bounds."""
    grid = Grid((-4.0,), (4.0,), (80,))
    drift = PotentialField(grid, np.zeros_like, lambda x: 2.0 * x)
    u = np.ones(81)
    assert Centred(grid, drift, 0.0).change(u)[1] == pytest.approx(20.0 / 2.828, rel=2e-3)
    diffusive = Centred(grid, PotentialField(grid, np.zeros_like), 0.1).change(u)[1]
    assert diffusive == pytest.approx(40.0 / 2.785, rel=2e-3)
    assert diffusive <= Centred(grid, drift, 0.1).change(u)[1] <= diffusive + 20.0 / 2.828


@pytest.mark.parametrize("scheme", ["scharfetter_gummel", "carrillo_chertock_huang", "runge_kutta_4"])
def test_fixed_step_that_becomes_unstable(scheme):
    """Where the force grows, a step that was just short enough ends the run by name instead of in noise."""
    grid = Grid((-8.0,), (8.0,), (80,))
    given = (normal(grid.axes()[0], 0.0, 0.1), grid, lambda r: -(r**4), 0.2, [0.0, 1.0])
    with pytest.raises(InputError, match="must be at most") as refused:
        solve_mean_field(*given, scheme=scheme, step=1.0)
    longest = float(str(refused.value).split("at most ")[1].split(" ")[0])
    with pytest.raises(RunError, match=r"mean_field.step = .* has become unstable as the force grew \(make it shorter"):
        solve_mean_field(*given, scheme=scheme, step=0.98 * longest)


def test_oscillations_end_runge_kutta_4():
    """Without diffusion a collapsing density goes far below zero on any grid: no answer, and told."""
    grid, first, second, potential, _ = CASES["cubic"]
    start = two_modes(grid.axes()[0], first, second)
    with pytest.raises(RunError, match="runge_kutta_4 has oscillations below zero: the grid is too wide"):
        solve_mean_field(start, grid, potential, 0.0, [0.0, 1.0], scheme="runge_kutta_4")


def test_too_short_a_step():
    """A step that would take all day is refused by its own name."""
    grid = Grid((0.0,), (1.0,), (8,))
    with pytest.raises(RunError, match=r"2.0e\+09 time steps: mean_field.step is too short"):
        solve_mean_field(np.ones(9), grid, np.zeros_like, 1.0, [0.0, 1.0], step=1e-9)
