"""Strong form: least squares on the mean-field residual at the grid points ([S] eq. 17; docs/method.md, 4.1)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.fft

from ipsdist.arrays.namespace import (
    batches,
    contracted,
    for_columns,
    host,
    irfftn,
    is_host,
    like,
    moved,
    namespace,
    rfftn,
)
from ipsdist.model.dictionary import Dictionary
from ipsdist.model.errors import InputError
from ipsdist.model.expression import Expression
from ipsdist.model.normal_equations import NormalEquations
from ipsdist.model.system import Grid
from ipsdist.model.unknowns import AXES, Unknowns

__all__ = ["StrongForm", "strong_equations"]

Array = npt.NDArray[np.float64]
Spectrum = npt.NDArray[np.complex128]


@dataclass(frozen=True)
class StrongForm:
    """What all panels of two neighbouring slices share, made once; they are then assembled one by one, in any order."""

    grid: Grid
    names: tuple[str, ...]
    diffusion: float
    particles: int
    spectra: Spectrum
    """(kernel terms, d, frequencies...) of K_k(j h) h^d."""
    fields: tuple[Array, ...]
    """grad V_l (d, points...) of the unknown fields."""
    known: Array | None
    """grad V (d, points...) of the known potential."""

    @classmethod
    def of(
        cls, grid: Grid, unknowns: Unknowns, diffusion: float, particles: int, external: Expression | None = None
    ) -> StrongForm:
        """Prepare the form; parameters and InputError as in `strong_equations`."""
        if min(grid.cells) < 2:
            rule = "must be at least 2 on every axis for the strong form"
            raise InputError("grid.cells", rule, grid.cells, "raise grid.cells")
        return cls(
            grid,
            unknowns.names,
            diffusion,
            particles,
            _kernel_spectra(grid, unknowns.dictionary) * math.prod(grid.spacing),
            tuple(_gradient(f.potential, grid) for f in unknowns.fields),
            None if external is None else _gradient(external, grid),
        )

    def on(self, array: Any) -> StrongForm:
        """Return the form with its arrays where ``array`` lies, moved there once."""
        return moved(self, ("spectra", "fields", "known"), array)

    def products(self, density: Array, later: Array, duration: float | Array) -> Array:
        """Return A_n, b_n and c_n of one panel as one symmetric matrix (M + 1, M + 1): features F, then the target y.

        ``density`` and ``later`` (points...) are the two slices, ``duration`` the time between them. Densities may lie
        on a device; then panels may lead, (P, points...) and (P,), and matrices (P, M + 1, M + 1) are returned.
        """
        d, xp, lead = len(self.grid.cells), namespace(density), density.shape[: -len(self.grid.cells)]
        if is_host(density):
            flat = self._rows(density, later, duration).reshape(len(self.names) + 1, -1)
            # einsum adds in an order of its own that depends on the shape alone; BLAS may follow the number of threads.
            return np.asarray(np.einsum("kx,lx->kl", flat, flat) * (duration * math.prod(self.grid.spacing)))
        lengths = np.reshape(np.asarray(duration, dtype=np.float64), (*lead, *[1] * d))
        rows = self.on(density)._rows(density, later, like(lengths, density))
        flat = xp.reshape(rows, (*lead, len(self.names) + 1, -1, rows.shape[-1]))
        return host(contracted(flat, flat)) * (lengths.reshape(*lead, 1, 1) * math.prod(self.grid.spacing))

    def _rows(self, density: Array, later: Array, duration: Any) -> Any:
        """Return the features and the target at the inner points (..., M + 1, points - 2...) of (..., points...)."""
        xp, spacing, d = namespace(density), self.grid.spacing, len(self.grid.cells)
        spread = for_columns(density, d)
        rows = [_divergence(spread * _convolve(self.spectra, density, self.grid), spacing)]
        rows += [_divergence(spread * field, spacing) for field in self.fields]
        target = _inside(later - density, d) / duration - 0.5 * self.diffusion * _laplacian(density, spacing)
        target = xp.expand_dims(target, axis=-d - 1)
        if self.known is not None:
            target = target - _divergence(spread * self.known, spacing)
        return xp.concat([*rows, target], axis=-d - 1)

    def equations(self, products: Array) -> NormalEquations:
        """Return the equations of panels from their products (P, M + 1, M + 1)."""
        return NormalEquations(
            form="strong",
            basis=self.names,
            gram=products[:, :-1, :-1].copy(),
            moment=products[:, :-1, -1].copy(),
            energy=products[:, -1, -1].copy(),
            particles=self.particles,
            diffusion=self.diffusion,
        )


def strong_equations(
    densities: Array,
    times: npt.ArrayLike,
    grid: Grid,
    unknowns: Unknowns,
    diffusion: float,
    particles: int,
    external: Expression | None = None,
) -> NormalEquations:
    """Return the equations of the S - 1 panels of two neighbouring slices, energy included.

    At the grid points x whose neighbours are all on the grid, and with h^d the volume of a cell, panel n holds

        y   = (u_{n+1} - u_n) / D - (sigma^2 / 2) Lap u_n - div(u_n grad V),     D = t_{n+1} - t_n,
        F_k = div(u_n (K_k * u_n)),     (K_k * u)(x) = sum_j K_k(j h) u(x - j h) h^d,     F_l = div(u_n grad V_l),
        A_n = D h^d F F',  b_n = D h^d F y,  c_n = D h^d y'y,

    with second-order centred differences, so that sums over panels approximate integrals over space and time. Each
    panel reads its two slices alone, in arrays of one shape: blocks that share a slice give the same bits as the whole.
    Densities may lie on a device: panels are assembled there, many at a time.

    Parameters
    ----------
    densities : (S, points...) density at the grid points, integral 1.
    times : (S,) increasing.
    particles : particles behind the densities, replicas counted.
    external : known potential V(x, y, z), its gradient taken symbolically; None for none.

    Raises InputError when the shapes disagree, the times do not increase or an axis of the grid has fewer than 2 cells.
    """
    when = np.asarray(times, dtype=np.float64)
    form = StrongForm.of(grid, unknowns, diffusion, particles, external)
    _check(densities, when, grid)
    durations, panels = np.diff(when), len(when) - 1
    if is_host(densities):
        each = [form.products(densities[n], densities[n + 1], float(d)) for n, d in enumerate(durations)]
        return form.equations(np.stack(each))
    parts = [
        form.products(densities[b.start : b.stop, ...], densities[b.start + 1 : b.stop + 1, ...], durations[b])
        for b in batches(panels, 16 * max(1, form.spectra.size))
    ]
    return form.equations(np.concatenate(parts))


def _check(densities: Array, times: Array, grid: Grid) -> None:
    points = tuple(n + 1 for n in grid.cells)
    if times.ndim != 1 or densities.shape != (len(times), *points):
        raise InputError(
            "densities",
            "must be one array (points...) for every time on the grid",
            f"shape {densities.shape} for {times.size} times and {points} points",
            "estimate them on the same [grid]",
        )
    if len(times) < 2 or not (np.diff(times) > 0).all():
        raise InputError(
            "times", "must be at least two and increase", f"{len(times)} times", "sort them and drop repeats"
        )


def _gradient(potential: Expression, grid: Grid) -> Array:
    """Return grad V at the grid points (d, points...)."""
    points = np.meshgrid(*grid.axes(), indexing="ij")
    slopes = [potential.derivative(name)(*points) for name in AXES[: len(points)]]
    return np.stack([np.broadcast_to(slope, points[0].shape) for slope in slopes])


def _lengths(grid: Grid) -> list[int]:
    """Transform lengths that keep the 2 n - 1 lags of n points from wrapping around onto the grid."""
    return [scipy.fft.next_fast_len(2 * n + 1, real=True) for n in grid.cells]


def _kernel_spectra(grid: Grid, dictionary: Dictionary) -> Spectrum:
    """Return the real FFT of K_k(j h) = phi_k(|j h|) j h / |j h| over all lags of the grid (M, d, frequencies...).

    K is odd, so it is 0 at lag 0 whatever phi(0).
    """
    lags = [np.arange(-n, n + 1) * h for n, h in zip(grid.cells, grid.spacing, strict=True)]
    vectors = np.stack(np.meshgrid(*lags, indexing="ij"))
    radii = np.sqrt((vectors**2).sum(axis=0))
    towards = np.divide(vectors, radii, out=np.zeros_like(vectors), where=radii > 0)
    lengths = _lengths(grid)
    circular = np.zeros((len(dictionary), len(lags), *lengths))
    index = np.ix_(*[np.arange(-n, n + 1) % m for n, m in zip(grid.cells, lengths, strict=True)])
    for k, values in enumerate(dictionary.values(radii)):
        for axis, component in enumerate(towards):
            circular[k, axis][index] = values * component
    return np.asarray(scipy.fft.rfftn(circular, axes=range(2, circular.ndim)))


def _convolve(spectra: Any, density: Any, grid: Grid) -> Any:
    """Return the velocities K_k * u at the grid points (..., M, d, points...) of (..., points...)."""
    lengths = _lengths(grid)
    whole = irfftn(namespace(density).multiply(spectra, for_columns(rfftn(density, lengths), len(lengths))), lengths)
    return whole[_last(slice(0, n + 1) for n in grid.cells)]


def _last(slices: Iterable[slice]) -> tuple[Any, ...]:
    """Return the index that takes these slices of the last axes and all of the others."""
    return (..., *slices)


def _shifted(values: Any, dimension: int, axis: int, by: int) -> Any:
    """Return the values of the last ``dimension`` axes at the inner points, moved ``by`` points along ``axis``."""
    index = [slice(1, -1)] * dimension
    size = values.shape[values.ndim - dimension + axis]
    index[axis] = slice(1 + by, size - 1 + by)
    return values[_last(index)]


def _inside(values: Any, dimension: int) -> Any:
    return _shifted(values, dimension, 0, 0)


def _divergence(flux: Any, spacing: tuple[float, ...]) -> Any:
    """Return the centred divergence of (..., d, points...) at the inner points (..., points - 2...)."""
    d = len(spacing)
    parts = [flux[(..., axis, *[slice(None)] * d)] for axis in range(d)]
    slopes = [
        (_shifted(f, d, axis, 1) - _shifted(f, d, axis, -1)) / (2.0 * h)
        for axis, (f, h) in enumerate(zip(parts, spacing, strict=True))
    ]
    return sum(slopes)


def _laplacian(values: Any, spacing: tuple[float, ...]) -> Any:
    d = len(spacing)
    curvatures = [
        (_shifted(values, d, axis, 1) - 2.0 * _inside(values, d) + _shifted(values, d, axis, -1)) / h**2
        for axis, h in enumerate(spacing)
    ]
    return sum(curvatures)
