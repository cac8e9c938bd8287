"""The time step of a simulation, where it is felt: found from the chain that the particles follow, and taken away."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ipsdist.config import RunConfig
from ipsdist.model.deposits import Deposits
from ipsdist.model.errors import RunError
from ipsdist.model.fit import Fit
from ipsdist.model.normal_equations import NormalEquations
from ipsdist.model.system import Grid
from ipsdist.model.unknowns import Unknowns
from ipsdist.numerics.equations.control_variate import ModelTables, model_tables
from ipsdist.numerics.equations.diffusion import Diffusion
from ipsdist.numerics.equations.pairings import Pairings
from ipsdist.numerics.equations.quadrature import panels
from ipsdist.numerics.equations.step_bias import StepBias, chain_grid, chain_pieces, step_bias, strain
from ipsdist.stages.base import fitted_times, setup_of
from ipsdist.stages.snapshots import density_of, ends, rule_of, smallest_deviations
from ipsdist.stages.tracks import sums_directly
from ipsdist.storage import Store

__all__ = ["TimeStep", "felt_step", "less_step", "stepped"]

Array = npt.NDArray[np.float64]

_FELT = 0.3
"""Standard errors by which a time step may shift the answer before anything is done: in truth it does a fifth of it."""
_DOUBTED = 3.0
"""The same, of what stays in the answer, before it is told."""
_POINTS = 2**14
"""Of a grid on which the strain is looked at."""
_PER_DEVIATION = {1: 16, 2: 8}
"""Grid points of the chain in the smallest standard deviation of the particles."""
_SAME = 0.05
"""Standard errors by which the shift may be off because another law near by was taken for it."""
_TAIL = 1e-5
"""Share of the particles a side that the chain may do without: those on its grid's ends stay there."""


@dataclass(frozen=True)
class TimeStep:
    """The Euler-Maruyama step of a simulation whose scores it shifts by more than chance."""

    store: Store
    config: RunConfig
    unknowns: Unknowns
    """Of the equations."""
    diffusion: float
    rate: float
    """The strain of the drift, 1 / time."""
    size: float
    """Standard errors by which it shifts the answer at most."""
    gram: Array
    """(M, M) of all panels: what a law is measured by."""

    def doubts(self, *, removed: bool) -> tuple[str, ...]:
        """Return what lowers the trust: all that the step adds, or, once removed, what no power series of it tells."""
        step = self.config.times().step
        left = self.size * (self.rate * step) ** 2 if removed else self.size
        if not left > _DOUBTED:
            return ()
        how = f"{left:.1g}" if left < 10 else f"{left:.0f}"
        shift = f"time.step = {step:g} may shift the answer by up to {how} standard errors"
        return (f"{shift}: simulate with smaller steps",)

    @cached_property
    def removable(self) -> bool:
        """Whether its part is to be taken away, and can be: on a line or in the plane, where a grid serves chains."""
        try:
            return self.config.fit.time_step == "auto" and self._pieces > 0 and math.prod(self._grid.cells) > 0
        except RunError:
            return False

    def bias(self, fit: Fit) -> Array:
        """Return what the step adds to the moment (M,) of one replica, from the first slice to the last.

        ``fit`` is near the law. Only where it is `removable`.
        """
        return np.asarray(self._found(fit).score[-1])

    def removed(self, equations: NormalEquations, fit: Fit) -> NormalEquations:
        """Return the action form's equations by the time rule, of one or more replicas, without what the step adds."""
        times = fitted_times(self.config, setup_of(self.store))
        between = times[[(p.first, p.last) for p in panels(times, rule_of(self.config, times))]]
        return self._found(fit).removed(equations, between - times[0])

    def _found(self, fit: Fit) -> StepBias:
        z = np.zeros(len(self.unknowns))
        z[list(fit.terms)] = fit.coefficients
        for law, found in self._known:
            if self._apart(z, law) <= _SAME:
                return found
        self._known[:] = [(z, self._computed(z))]
        return self._known[0][1]

    def _apart(self, z: Array, law: Array) -> float:
        """Return how much the shifts by two laws differ at most, in standard errors."""
        change = z - law
        apart, whole = (max(float(v @ self.gram @ v), 0.0) for v in (change, law))
        return self.size * math.sqrt(apart / whole) if whole > 0 else math.inf

    def _computed(self, z: Array) -> StepBias:
        tables = _tables(self.unknowns, self._grid, self.config)
        law = np.concatenate([z, np.ones(int(self.config.known() is not None))])
        how = self.diffusion, self.config.times().step, self._horizon, self._pieces
        found = step_bias(self._start, tables, law, *how, setup_of(self.store).particles)
        return replace(found, score=found.score[:, : len(z)])

    @cached_property
    def _known(self) -> list[tuple[Array, StepBias]]:
        """The law whose shift was computed last, and that shift: a law near by has the same."""
        return []

    @cached_property
    def _horizon(self) -> float:
        times = fitted_times(self.config, setup_of(self.store))
        return float(times[-1] - times[0])

    @cached_property
    def _pieces(self) -> int:
        return chain_pieces(self.config.system.dimension, self.config.times().step, self._horizon, self.rate)

    @cached_property
    def _grid(self) -> Grid:
        setup = setup_of(self.store)
        finest = smallest_deviations(self.store, setup) / _PER_DEVIATION[setup.dimension]
        grid = _holding(setup.grid, ends(self.store, setup))
        return chain_grid(grid, self._pieces, finest, self.diffusion, self._horizon)

    @cached_property
    def _start(self) -> Array:
        return density_of(ends(self.store, setup_of(self.store))[0], self._grid)


def stepped(config: RunConfig) -> bool:
    """Tell whether the data are particles that took steps of a size that is known."""
    return config.data.source == "simulate"


def felt_step(
    store: Store, config: RunConfig, equations: NormalEquations, fit: Fit, unknowns: Unknowns, diffusion: float
) -> TimeStep | None:
    """Return the time step of a simulation that may show in the answer ``fit`` of these equations; else None.

    By h/2 times the rate at which the drift changes along it (`strain`), relative to the drift: in standard errors of
    the whole law, sqrt(z'Az / sigma^2) times as many.
    """
    setup = setup_of(store)
    if not stepped(config) or not fit.terms or sums_directly(config, setup):
        return None
    kept, total = list(fit.terms), equations.total()
    law = float(fit.coefficients @ total.gram[0][np.ix_(kept, kept)] @ fit.coefficients) / diffusion
    columns = sorted({0, *kept})  # the first is of the kernel, without which there are no tables
    z = np.zeros(len(columns) + int(config.known() is not None))
    z[[columns.index(k) for k in kept]] = fit.coefficients
    z[len(columns) :] = 1.0
    seen = ends(store, setup)
    grid = _coarse(_holding(setup.grid, seen))
    tables = _tables(unknowns.keep(columns), grid, config)
    rate = max(strain(density_of(one, grid), tables, z) for one in seen)
    size = 0.5 * config.times().step * rate * math.sqrt(max(law, 0.0))
    return TimeStep(store, config, unknowns, diffusion, rate, size, total.gram[0]) if size > _FELT else None


def less_step(
    store: Store, config: RunConfig, pairings: Sequence[Pairings], fit: Fit, diffusion: Diffusion
) -> Diffusion:
    """Return sigma^2 of the labelled moves of a simulation without what its step adds to it, by an answer near the law.

    Richardson's value is sigma^2 (1 - h <div V> / d) on average, d the dimension, whatever the distance of the slices:
    the noise of a step moves the particles to where the drift of all later ones is another (docs/method.md, section 4).
    """
    if diffusion.standard_error is None or not stepped(config):
        return diffusion
    setup = setup_of(store)
    times = fitted_times(config, setup)
    z = np.zeros(pairings[0].laplacian.shape[1])
    z[list(fit.terms)] = fit.coefficients
    if config.known() is not None:
        z[-1] = 1.0
    # V_k = -grad H_k, of all particles.
    whole = -sum(float(np.trapezoid(p.laplacian @ z, times)) for p in pairings)
    mean = whole / (setup.particles * setup.replicas * float(times[-1] - times[0]))
    return replace(diffusion, value=diffusion.value / (1.0 - config.times().step * mean / setup.dimension))


def _tables(unknowns: Unknowns, grid: Grid, config: RunConfig) -> ModelTables:
    known = config.known()
    outside = [f.potential for f in unknowns.fields] + ([] if known is None else [known])
    return model_tables(unknowns.dictionary, grid, outside)


def _holding(grid: Grid, seen: tuple[Deposits, ...]) -> Grid:
    """Return the grid with as many more of its cells as hold the particles of some slices, but for `_TAIL` a side."""
    spacing = np.array(grid.spacing)
    lower, upper = np.array(grid.lower), np.array(grid.upper)
    for total in seen:
        for axis, nodes in enumerate(total.mesh.axes()):
            others = tuple(a for a in range(total.mesh.dimension) if a != axis)
            share = np.cumsum(total.count.sum(axis=others)) / total.count.sum()
            lower[axis] = min(lower[axis], nodes[np.searchsorted(share, _TAIL)])
            upper[axis] = max(upper[axis], nodes[np.searchsorted(share, 1.0 - _TAIL)])
    below = np.ceil((np.array(grid.lower) - lower) / spacing)
    above = np.ceil((upper - np.array(grid.upper)) / spacing)
    return Grid(
        tuple((np.array(grid.lower) - below * spacing).tolist()),
        tuple((np.array(grid.upper) + above * spacing).tolist()),
        tuple(n + int(k) for n, k in zip(grid.cells, below + above, strict=True)),
    )


def _coarse(grid: Grid) -> Grid:
    """Return the grid with fewer cells, where it has too many points."""
    share = min(1.0, (_POINTS / math.prod(grid.cells)) ** (1.0 / len(grid.cells)))
    return replace(grid, cells=tuple(max(1, int(n * share)) for n in grid.cells))
