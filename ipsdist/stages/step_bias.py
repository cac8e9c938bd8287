"""The time step of a simulation, where it is felt: found from the chain that the particles follow, and taken away."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ipsdist.config import RunConfig
from ipsdist.model.errors import RunError
from ipsdist.model.fit import Fit
from ipsdist.model.normal_equations import NormalEquations
from ipsdist.model.system import Grid
from ipsdist.model.unknowns import Unknowns
from ipsdist.numerics.equations.control_variate import ModelTables, model_tables
from ipsdist.numerics.equations.quadrature import panels
from ipsdist.numerics.equations.step_bias import StepBias, chain_grid, chain_pieces, step_bias, strain
from ipsdist.stages.base import fitted_times, setup_of
from ipsdist.stages.snapshots import ending, smallest_deviations, starting
from ipsdist.stages.tracks import sums_directly
from ipsdist.storage import Store

__all__ = ["TimeStep", "felt_step"]

Array = npt.NDArray[np.float64]

_FELT = 0.3
"""Standard errors by which a time step may shift the answer before anything is done: in truth it does a fifth of it."""
_DOUBTED = 3.0
"""The same before it is told, where nothing can be done."""
_POINTS = 2**14
"""Of a grid on which the strain is looked at."""
_PER_DEVIATION = 16


@dataclass(frozen=True)
class TimeStep:
    """The Euler-Maruyama step of a simulation whose scores it shifts by more than chance."""

    store: Store
    config: RunConfig
    diffusion: float
    rate: float
    """The strain of the drift, 1 / time."""
    size: float
    """Standard errors by which it shifts the answer at most."""

    @property
    def doubt(self) -> str:
        """What to say where it stays."""
        step = self.config.times().step
        how = f"{self.size:.1g}" if self.size < 10 else f"{self.size:.0f}"
        return f"time.step = {step:g} may shift the answer by up to {how} standard errors: simulate with smaller steps"

    @cached_property
    def removable(self) -> bool:
        """Whether its part can be taken away: on a line, where a grid serves the chain."""
        try:
            return self.config.system.dimension == 1 and self._pieces > 0 and len(self._grid.cells) == 1
        except RunError:
            return False

    def bias(self, fit: Fit, unknowns: Unknowns) -> Array:
        """Return what the step adds to the moment (M,) of one replica, from the first slice to the last.

        ``fit`` is over the ``unknowns`` and near the law. Only where it is `removable`.
        """
        return np.asarray(self._found(fit, unknowns).score[-1])

    def removed(self, equations: NormalEquations, fit: Fit, unknowns: Unknowns, rule: str) -> NormalEquations:
        """Return equations of the action form by a time rule, one or more replicas, without what the step adds."""
        times = fitted_times(self.config, setup_of(self.store))
        ends = times[[(p.first, p.last) for p in panels(times, rule)]]
        return self._found(fit, unknowns).removed(equations, ends - times[0])

    def _found(self, fit: Fit, unknowns: Unknowns) -> StepBias:
        known = self.config.known() is not None
        z = np.zeros(len(unknowns) + int(known))
        z[list(fit.terms)] = fit.coefficients
        z[len(unknowns) :] = 1.0
        tables = _tables(unknowns, self._grid, self.config)
        how = self.diffusion, self.config.times().step, self._horizon, self._pieces
        found = step_bias(self._start, tables, z, *how, setup_of(self.store).particles)
        return replace(found, score=found.score[:, : len(unknowns)])

    @cached_property
    def _horizon(self) -> float:
        times = fitted_times(self.config, setup_of(self.store))
        return float(times[-1] - times[0])

    @cached_property
    def _pieces(self) -> int:
        return chain_pieces(self.config.times().step, self._horizon, self.rate)

    @cached_property
    def _grid(self) -> Grid:
        setup = setup_of(self.store)
        finest = float(smallest_deviations(self.store, setup)[0]) / _PER_DEVIATION
        return chain_grid(setup.grid, self._pieces, finest, self.diffusion, self._horizon)

    @cached_property
    def _start(self) -> Array:
        return starting(self.store, self.config, setup_of(self.store), self._grid)


def felt_step(
    store: Store, config: RunConfig, equations: NormalEquations, fit: Fit, unknowns: Unknowns, diffusion: float
) -> TimeStep | None:
    """Return the time step of a simulation that may show in the answer ``fit`` of these equations; else None.

    By h/2 times the rate at which the drift changes along it (`strain`), relative to the drift: in standard errors of
    the whole law, sqrt(z'Az / sigma^2) times as many.
    """
    setup = setup_of(store)
    if config.data.source != "simulate" or not fit.terms or sums_directly(config, setup):
        return None
    kept, total = list(fit.terms), equations.total()
    law = float(fit.coefficients @ total.gram[0][np.ix_(kept, kept)] @ fit.coefficients) / diffusion
    some = unknowns.keep(kept)
    z = np.concatenate([fit.coefficients, np.ones(int(config.known() is not None))])
    grid = _coarse(setup.grid)
    tables, ends = _tables(some, grid, config), (starting(store, config, setup, grid), ending(store, setup, grid))
    rate = max(strain(u, tables, z) for u in ends)
    size = 0.5 * config.times().step * rate * math.sqrt(max(law, 0.0))
    return TimeStep(store, config, diffusion, rate, size) if size > _FELT else None


def told(step: TimeStep) -> tuple[str, ...]:
    """Return what lowers the trust where the part of a step stays in the answer."""
    return (step.doubt,) if step.size > _DOUBTED else ()


def _tables(unknowns: Unknowns, grid: Grid, config: RunConfig) -> ModelTables:
    known = config.known()
    outside = [f.potential for f in unknowns.fields] + ([] if known is None else [known])
    return model_tables(unknowns.dictionary, grid, outside)


def _coarse(grid: Grid) -> Grid:
    """Return the grid with fewer cells, where it has too many points."""
    share = min(1.0, (_POINTS / math.prod(grid.cells)) ** (1.0 / len(grid.cells)))
    return replace(grid, cells=tuple(max(1, int(n * share)) for n in grid.cells))
