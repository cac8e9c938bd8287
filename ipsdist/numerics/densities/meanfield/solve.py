"""From an initial density to the densities at the asked times."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ipsdist.model.errors import InputError
from ipsdist.model.system import Grid
from ipsdist.numerics.densities.meanfield.carrillo_chertock_huang import CarrilloChertockHuang
from ipsdist.numerics.densities.meanfield.centred import Centred
from ipsdist.numerics.densities.meanfield.field import PotentialField
from ipsdist.numerics.densities.meanfield.scharfetter_gummel import ScharfetterGummel
from ipsdist.numerics.densities.meanfield.time_steps import RungeKutta4, StrongStability, TimeSteps

__all__ = ["SCHEMES", "chosen_scheme", "solve_mean_field"]

Array = npt.NDArray[np.float64]
Function = Callable[..., npt.NDArray[Any]]

_SMALL_DIFFUSION = 1.0
"""Change of the potential over a cell, in units of D = sigma**2 / 2, beyond which exponential fitting smears fronts."""


def solve_mean_field(
    initial: Array,
    grid: Grid,
    potential: Function,
    diffusion: float,
    times: npt.ArrayLike,
    external: Function | None = None,
    *,
    scheme: str = "scharfetter_gummel",
    step: float | None = None,
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
    scheme
        One of `SCHEMES`.
    step
        Length of a time step, shortened so that whole ones fill the time between two slices; None for as long as the
        scheme is stable.

    Raises
    ------
    InputError
        Negative or non-finite initial density, negative diffusion, times that do not increase, a potential that is not
        finite on the grid, an unknown scheme, a step beyond the bound of the scheme.
    RunError
        The force is so large that a step would be hopelessly small; a fixed step becomes unstable as the force grows;
        the densities of runge_kutta_4 oscillate below zero.
    """
    moments = np.atleast_1d(np.asarray(times, dtype=np.float64))
    u = np.array(initial, dtype=np.float64)
    _check(u, grid, diffusion, moments)
    _check_keys(scheme, step)
    steps = SCHEMES[scheme](grid, PotentialField(grid, potential, external), 0.5 * diffusion, step)
    steps.check(u)
    out = np.empty((len(moments), *u.shape))
    out[0] = u
    for k, interval in enumerate(np.diff(moments)):
        u = steps.advance(u, float(interval))
        out[k + 1] = u
    return out


def chosen_scheme(
    initial: Array, grid: Grid, potential: Function, diffusion: float, external: Function | None = None
) -> str:
    """Return the scheme for a density (points...): carrillo_chertock_huang where diffusion is small on this grid.

    The measure is the root mean square of |U_right - U_left| / D over the particles. Scharfetter and Gummel's flux is
    of second order where it is small, tends to the upwind flux, of first order, where it is large; below 1 its two
    guarantees, for sign and energy at any step, are free.
    """
    pull = PotentialField(grid, potential, external)(initial)
    squared = 0.0
    for axis in range(initial.ndim):
        rise = np.diff(np.moveaxis(pull, axis, 0), axis=0)
        u = np.moveaxis(initial, axis, 0)
        squared += float(np.sum(0.5 * (u[1:] + u[:-1]) * rise**2))
    typical = math.sqrt(squared / float(initial.sum()))
    return "scharfetter_gummel" if typical <= 0.5 * diffusion * _SMALL_DIFFUSION else "carrillo_chertock_huang"


def _scharfetter_gummel(grid: Grid, field: PotentialField, constant: float, step: float | None) -> TimeSteps:
    return StrongStability(ScharfetterGummel(grid, field, constant), step)


def _carrillo_chertock_huang(grid: Grid, field: PotentialField, constant: float, step: float | None) -> TimeSteps:
    # Mass that enters empty cells asks for short steps until the front has passed.
    return StrongStability(CarrilloChertockHuang(grid, field, constant), step, transient=True)


def _runge_kutta_4(grid: Grid, field: PotentialField, constant: float, step: float | None) -> TimeSteps:
    return RungeKutta4(Centred(grid, field, constant), step)


SCHEMES: dict[str, Callable[[Grid, PotentialField, float, float | None], TimeSteps]] = {
    "scharfetter_gummel": _scharfetter_gummel,
    "carrillo_chertock_huang": _carrillo_chertock_huang,
    "runge_kutta_4": _runge_kutta_4,
}
"""How the equation can be solved: the flux in space with its time steps, by name (mean_field.scheme)."""


def _check_keys(scheme: str, step: float | None) -> None:
    if scheme not in SCHEMES:
        raise InputError("mean_field.scheme", f"must be one of {', '.join(SCHEMES)}", got=scheme)
    if step is not None and not 0.0 < step < math.inf:
        raise InputError("mean_field.step", "must be positive", got=step)


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
