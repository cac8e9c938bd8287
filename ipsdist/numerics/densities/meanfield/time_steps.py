"""Time steps of the mean-field schemes: strong-stability Runge-Kutta of many stages, and the classical one of four."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from ipsdist.model.errors import InputError, RunError

__all__ = ["RungeKutta4", "Scheme", "StrongStability", "TimeSteps", "faces"]

Array = npt.NDArray[np.float64]
Slices = tuple[slice, ...]

_STAGES = 10
"""Most stages of a step; s stages make s - 1 Euler steps of progress, in second order."""
_SAFETY = 0.9
"""Share of the bound that a step plans with; the bound is checked again in every stage."""
_MOST_STAGES = 1e5
"""Over all times of one call; a force that asks for more is a mistake, not a model."""
_NEGATIVE = 0.1
"""Share of the mass below zero at which a density of Runge-Kutta 4 is no answer any more."""
_WHOLE = 1.0 - 1e-12
"""A quotient that is whole up to rounding is not rounded up."""


class Scheme(Protocol):
    """What a time step asks of a scheme in space."""

    def change(self, u: Array) -> tuple[Array, float]:
        """Return du/dt (points...), a new array, and the rate (1 / time) whose inverse bounds the time step."""
        ...


def faces(shape: tuple[int, ...]) -> list[tuple[Slices, Slices, tuple[int, ...]]]:
    """Return, an axis, the slices of the points left and right of its inner faces, and the shape of those."""
    every = (slice(None),) * len(shape)

    def along(axis: int, part: slice) -> Slices:
        return (*every[:axis], part, *every[axis + 1 :])

    return [
        (along(a, slice(None, -1)), along(a, slice(1, None)), (*shape[:a], n - 1, *shape[a + 1 :]))
        for a, n in enumerate(shape)
    ]


class TimeSteps(ABC):
    """Steps of a scheme, as long as stable or of a fixed length.

    Parameters
    ----------
    scheme
        Right-hand side and bound.
    fixed
        Length of a step (time), shortened so that whole ones fill the interval; None for as long as stable.
    """

    reach: ClassVar[float]
    """Longest stable step, in units of the scheme's bound."""

    def __init__(self, scheme: Scheme, fixed: float | None = None) -> None:
        self._scheme = scheme
        self._fixed = fixed
        self._left = _MOST_STAGES

    def check(self, u: Array) -> None:
        """Raise InputError where the fixed step is beyond the bound at the density (points...)."""
        if self._fixed is None:
            return
        rate = self._scheme.change(u)[1]
        if not rate * self._fixed <= self.reach:
            rule = f"must be at most {self.reach / rate:.3g} on this grid, beyond which the scheme is unstable"
            raise InputError("mean_field.step", rule, got=self._fixed, fix='make it shorter or "auto"')

    @abstractmethod
    def advance(self, u: Array, interval: float) -> Array:
        """Return the density ``interval`` later."""

    def _afford(self, stages: float) -> None:
        """Raise RunError where more stages than are left are needed."""
        if not stages <= self._left:
            reason = "mean_field.step is too short (make it longer)"
            if self._fixed is None:
                reason = "the potential is too steep for the grid (use a narrower grid or another kernel)"
            needed = _MOST_STAGES - self._left + stages
            raise RunError(f"the mean-field equation would take {needed:.1e} time steps: {reason}")

    def _unstable(self) -> RunError:
        return RunError(
            f'mean_field.step = {self._fixed:g} has become unstable as the force grew (make it shorter or "auto")'
        )


class StrongStability(TimeSteps):
    """SSPRK(s, 2), a convex combination of Euler steps, each below the bound that the scheme gives.

    Parameters
    ----------
    scheme, fixed
        As in `TimeSteps`.
    transient
        The bound may be far shorter for a moment than it is later: an Euler step that a stage has cut doubles after
        each step again instead of staying for the interval, and the number of steps to come is judged with patience.
    """

    reach = _STAGES - 1.0

    def __init__(self, scheme: Scheme, fixed: float | None = None, *, transient: bool = False) -> None:
        super().__init__(scheme, fixed)
        self._recovery = 2.0 if transient else 1.0
        self._forecast = 1e-3 if transient else 1.0

    def advance(self, u: Array, interval: float) -> Array:
        """Return the density ``interval`` later, in steps of up to ten stages."""
        left, largest = interval, math.inf
        while left > 0.0:
            change, rate = self._scheme.change(u)
            euler = min(largest, _SAFETY / rate) if rate > 0.0 else largest
            self._afford(2.0 * left / self._fixed if self._fixed else self._forecast * rate * left)
            steps = math.ceil(left / (self._fixed or euler * (_STAGES - 1)) * _WHOLE)
            step = left / max(steps, 1)
            stages = min(max(2, math.ceil(step / euler * _WHOLE) + 1), _STAGES)
            after = self._step(u, change, step, stages)
            self._left -= stages
            if after is None:  # the force grew within the step
                if self._fixed is not None and stages == _STAGES:
                    raise self._unstable()
                largest = 0.5 * step / (stages - 1)
                continue
            u, left = after, 0.0 if steps <= 1 else left - step
            largest *= self._recovery
        return u

    def _step(self, u: Array, change: Array, step: float, stages: int) -> Array | None:
        """Return SSPRK(stages, 2) of u, ``change`` being its derivative; None when a stage breaks the Euler bound."""
        part = step / (stages - 1)
        change *= part
        stage = u + change
        for _ in range(stages - 1):
            change, rate = self._scheme.change(stage)
            if rate * part > 1.0:
                return None
            change *= part
            stage += change
        stage *= stages - 1
        stage += u
        stage /= stages
        return stage


class RungeKutta4(TimeSteps):
    """The classical Runge-Kutta method; keeps neither sign nor falling energy, so that both are watched."""

    reach = 1.0

    def advance(self, u: Array, interval: float) -> Array:
        """Return the density ``interval`` later.

        Raises RunError where a fixed step becomes unstable, or a tenth of the mass is below zero.
        """
        left = interval
        while left > 0.0:
            first, rate = self._scheme.change(u)
            if self._fixed is not None and rate * self._fixed > 1.0:
                raise self._unstable()
            longest = self._fixed or (_SAFETY / rate if rate > 0.0 else math.inf)
            self._afford(4.0 * left / longest)
            steps = math.ceil(left / longest * _WHOLE)
            step = left / max(steps, 1)
            u, left = self._step(u, first, step), 0.0 if steps <= 1 else left - step
            self._left -= 4
            if not -u.sum(where=u < 0.0) <= _NEGATIVE * abs(u.sum()):
                raise RunError(
                    "the mean-field density of runge_kutta_4 has oscillations below zero: the grid is too wide for the "
                    "diffusion (use more cells or another mean_field.scheme)"
                )
        return u

    def _step(self, u: Array, first: Array, step: float) -> Array:
        """Return the density one step later, ``first`` being its derivative."""
        second = self._scheme.change(u + 0.5 * step * first)[0]
        third = self._scheme.change(u + 0.5 * step * second)[0]
        fourth = self._scheme.change(u + step * third)[0]
        return np.asarray(u + step / 6.0 * (first + 2.0 * (second + third) + fourth))
