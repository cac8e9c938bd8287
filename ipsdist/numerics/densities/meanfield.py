"""Mean-field equation on the density grid: conservative, positive, energy-decreasing finite volumes.

    d_t u = div(u grad U) + (sigma**2 / 2) Lap u,    U = Phi * u + V    (docs/method.md, section 1)

Grid points are the centres of cells of the grid spacing; nothing crosses the outermost faces. The flux through a face
is that of Scharfetter and Gummel, exact for a constant force between two centres:

    J = D (B(-p) u_right - B(p) u_left) / dx,  p = (U_right - U_left) / D,  B(p) = p / (exp(p) - 1),  D = sigma**2 / 2

so that exp(-U / D) is stationary and the discrete free energy (learning/energy.py) decays; for D -> 0 it is the
upwind flux. Time goes by SSPRK(s, 2), a convex combination of Euler steps, each below the bound at which a cell would
give away more than it holds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.fft

from ipsdist.model.errors import InputError, RunError
from ipsdist.model.system import Grid

__all__ = ["PotentialField", "solve_mean_field"]

Array = npt.NDArray[np.float64]
Function = Callable[..., npt.NDArray[Any]]

_STAGES = 10
"""Most stages of a step; s stages make s - 1 Euler steps of progress, in second order."""
_SAFETY = 0.9
"""Share of the Euler bound that a step plans with; the bound is checked again in every stage."""
_MOST_EULER_STEPS = 1e5
"""Over all times of one call; a force that asks for more is a mistake, not a model."""
_EXPONENT_LIMIT = 700.0


class PotentialField:
    """The potential U = Phi * u + V that a density on the grid makes, by zero-padded FFT.

    Parameters
    ----------
    grid
        Points of the density.
    potential
        Phi(r), vectorised, Phi(0) = 0.
    external
        V(x, ...), one array of coordinates an axis; None for none.
    """

    def __init__(self, grid: Grid, potential: Function, external: Function | None = None) -> None:
        self.shape = tuple(n + 1 for n in grid.cells)
        self.volume = math.prod(grid.spacing)
        self._axes = tuple(range(len(self.shape)))
        self._lengths = [scipy.fft.next_fast_len(2 * n - 1, real=True) for n in self.shape]
        # Entry k of a transform of length m stands for the lags k and k - m: fftfreq, up to the factor m.
        lags = [scipy.fft.fftfreq(m, 1.0 / m) * dx for m, dx in zip(self._lengths, grid.spacing, strict=True)]
        radius = np.sqrt(sum(lag**2 for lag in np.meshgrid(*lags, indexing="ij", sparse=True)))
        self._spectrum = scipy.fft.rfftn(np.asarray(potential(radius), dtype=np.float64) * self.volume)
        coordinates = np.meshgrid(*grid.axes(), indexing="ij")
        self.external = np.zeros(self.shape)
        if external is not None:
            self.external += external(*coordinates)
        if not (np.isfinite(self._spectrum).all() and np.isfinite(self.external).all()):
            raise InputError("system.kernel", "and system.potential must have finite potentials on the grid")

    def interaction(self, density: Array) -> Array:
        """Return Phi * u (points...)."""
        if len(self.shape) == 1:  # the same numbers as below, with half the overhead
            n, m = self.shape[0], self._lengths[0]
            return np.asarray(scipy.fft.irfft(self._spectrum * scipy.fft.rfft(density, m), m)[:n])
        product = self._spectrum * scipy.fft.rfftn(density, self._lengths, axes=self._axes)
        whole = scipy.fft.irfftn(product, self._lengths, axes=self._axes)
        return np.asarray(whole[tuple(slice(0, n) for n in self.shape)])

    def __call__(self, density: Array) -> Array:
        """Return U (points...)."""
        return self.interaction(density) + self.external


def solve_mean_field(
    initial: Array,
    grid: Grid,
    potential: Function,
    diffusion: float,
    times: npt.ArrayLike,
    external: Function | None = None,
) -> Array:
    """Return the density at the times (T, points...), the first of which is that of ``initial``.

    Parameters
    ----------
    initial
        (points...), not negative; its mass, whatever it is, is kept to rounding.
    potential
        Phi(r) of the interaction, vectorised (`RadialKernel.potential`), Phi(0) = 0.
    diffusion
        sigma**2 >= 0, length**2 / time.
    times
        (T,) increasing; every one is a step's end.
    external
        V(x, ...), vectorised.

    Raises
    ------
    InputError
        Negative or non-finite initial density, negative diffusion, times that do not increase, a potential that is not
        finite on the grid.
    RunError
        The force is so large that a step would be hopelessly small.
    """
    moments = np.atleast_1d(np.asarray(times, dtype=np.float64))
    u = np.array(initial, dtype=np.float64)
    _check(u, grid, diffusion, moments)
    flow = _Flow(grid, PotentialField(grid, potential, external), 0.5 * diffusion)
    out = np.empty((len(moments), *u.shape))
    out[0] = u
    for k, interval in enumerate(np.diff(moments)):
        u = flow.advance(u, float(interval))
        out[k + 1] = u
    return out


def _check(initial: Array, grid: Grid, diffusion: float, times: Array) -> None:
    """Refuse what `solve_mean_field` cannot start from."""
    shape = tuple(n + 1 for n in grid.cells)
    if initial.shape != shape:
        raise InputError("initial", f"must be a density on the grid {shape}", got=initial.shape)
    if not (np.isfinite(initial).all() and initial.min() >= 0.0):
        raise InputError("initial", "must be finite and not negative", got=initial.min(), fix="clip and normalise it")
    if not 0.0 <= diffusion < math.inf:
        raise InputError("system.diffusion", "must be finite and not negative", got=diffusion)
    if not (np.isfinite(times).all() and (np.diff(times) > 0).all()):
        raise InputError("times", "must be finite and increase", got=times)


class _Flow:
    """Right-hand side and time step of the scheme."""

    def __init__(self, grid: Grid, field: PotentialField, constant: float) -> None:
        self._spacing = grid.spacing
        self._field = field
        self._constant = constant
        self._left = _MOST_EULER_STEPS

    def advance(self, u: Array, interval: float) -> Array:
        """Return the density ``interval`` later, in steps of up to ten stages."""
        left, largest = interval, math.inf
        while left > 0.0:
            change, rate = self.change(u)
            if not rate * left <= self._left:
                needed = _MOST_EULER_STEPS - self._left + rate * left
                raise RunError(
                    f"the mean-field equation would take {needed:.1e} time steps: the potential is too steep for "
                    "the grid (use a narrower grid or another kernel)"
                )
            euler = min(largest, _SAFETY / rate) if rate > 0.0 else largest
            steps = math.ceil(left / (euler * (_STAGES - 1)) * (1.0 - 1e-12))
            step = left / max(steps, 1)
            stages = min(max(2, math.ceil(step / euler * (1.0 - 1e-12)) + 1), _STAGES)
            after = self._step(u, change, step, stages)
            self._left -= stages
            if after is None:  # the force grew within the step
                largest = 0.5 * step / (stages - 1)
                continue
            u, left = after, 0.0 if steps <= 1 else left - step
        return u

    def _step(self, u: Array, change: Array, step: float, stages: int) -> Array | None:
        """Return SSPRK(stages, 2) of u, ``change`` being its derivative; None when a stage breaks the Euler bound."""
        part = step / (stages - 1)
        stage = u + part * change
        for _ in range(stages - 1):
            change, rate = self.change(stage)
            if rate * part > 1.0:
                return None
            stage = stage + part * change
        return np.asarray((u + (stages - 1) * stage) / stages)

    def change(self, u: Array) -> tuple[Array, float]:
        """Return du/dt (points...) and the largest rate at which a cell gives mass away."""
        potential = self._field(u)
        change, rate = np.zeros_like(u), np.zeros_like(u)
        for axis, dx in enumerate(self._spacing):
            # Views with the axis first: the loop below is written once for every axis.
            v, du, out = np.moveaxis(u, axis, 0), np.moveaxis(change, axis, 0), np.moveaxis(rate, axis, 0)
            forth, back = _exchange(np.diff(np.moveaxis(potential, axis, 0), axis=0), self._constant)
            forth *= dx**-2
            back *= dx**-2
            out[:-1] += forth
            out[1:] += back
            flow = forth * v[:-1] - back * v[1:]
            du[:-1] -= flow
            du[1:] += flow
        return change, float(rate.max())


def _exchange(rise: Array, constant: float) -> tuple[Array, Array]:
    """Return D B(p) and D B(-p), p = rise / D: what crosses a face forwards and backwards, times dx**2.

    Written for any D >= 0: D B(p) = rise / expm1(p) and D B(-p) = rise + D B(p); no diffusion leaves the upwind flux.
    """
    if constant == 0.0:
        return np.maximum(-rise, 0.0), np.maximum(rise, 0.0)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        exponent = np.clip(rise / constant, -_EXPONENT_LIMIT, _EXPONENT_LIMIT)
        forth = np.where(exponent == 0.0, constant, rise / np.expm1(exponent))
    # Rounding may leave -1e-16 where the backward part is exponentially small.
    return forth, np.maximum(forth + rise, 0.0)
