"""Deposits of a density: those of infinitely many particles, as integers that every form reads like any others.

A density stands here as its averages over the cells of a box. Their running sum is the mass up to each face, without
an error; a quintic spline through it has the density as its derivative, of sixth order where the density is smooth, and
keeps the mass of every cell. With hat_a the weight of node a (1 at the node, 0 at its neighbours),

    count_a = N int hat_a u,    products_a = N int hat_a hat_(a + offset) u    (docs/method.md, section 3)

by Gauss quadrature on every interval between two nodes, an axis at a time: hats and splines are products over the axes.
"""

from __future__ import annotations

import math
from functools import reduce

import numpy as np
import numpy.typing as npt
import scipy.interpolate
import scipy.sparse

from ipsdist.model.deposits import COUNT_ONE, PRODUCT_ONE, Deposits, neighbour_offsets
from ipsdist.model.mesh import Mesh
from ipsdist.model.system import Grid

__all__ = ["DEPOSITED", "CellDensity", "DensityDeposits", "box_mesh", "cells_of", "extrapolated", "lengths", "wall"]

Array = npt.NDArray[np.float64]

DEPOSITED = 2**30
"""Particles that a density deposits: rounding is then 1e-14 of the mass at a node, and no sum leaves 63 bits."""
_DEGREE = 5
"""Of the spline through the mass up to each face."""
_GAUSS = 4
"""Points in a piece of quadrature: exact to degree 7."""
_NOTHING = 1e-14
_ROUNDING = 1e-9
"""Share of the box by which a point may lie beyond its face and count as on it."""


def cells_of(lower: tuple[float, ...], upper: tuple[float, ...], cells: tuple[int, ...]) -> Grid:
    """Return the centres of ``cells[a]`` cells an axis that fill a box, as the grid on which an equation is solved."""
    half = [0.5 * (b - a) / n for a, b, n in zip(lower, upper, cells, strict=True)]
    first = tuple(a + h for a, h in zip(lower, half, strict=True))
    last = tuple(b - h for b, h in zip(upper, half, strict=True))
    return Grid(first, last, tuple(n - 1 for n in cells))


def box_mesh(lower: tuple[float, ...], upper: tuple[float, ...], spacing: float) -> Mesh:
    """Return the smallest force mesh with a box."""
    first = [math.floor(a / spacing) for a in lower]
    shape = [math.ceil(b / spacing) - a + 1 for a, b in zip(first, upper, strict=True)]
    return Mesh(spacing, tuple(first), tuple(shape))


def extrapolated(coarse: Array, fine: Array) -> Array:
    """Return the averages of fourth order of those of a second-order scheme on cells and on their halves (cells...)."""
    halves = fine
    for axis in range(coarse.ndim):
        first = np.moveaxis(halves, axis, 0)
        halves = np.moveaxis(0.5 * (first[::2] + first[1::2]), 0, axis)
    return np.asarray((4.0 * halves - coarse) / 3.0)


def lengths(averages: Array, centres: Grid) -> Array:
    """Return the length on which a density (cells...) varies along every axis (d,): |u| / (sqrt(2) |d_a u|), L2 norms.

    That of a normal density is its standard deviation.
    """
    square = float(np.sum(averages**2))
    slopes = [np.sum(np.diff(averages, axis=a) ** 2) / dx**2 for a, dx in enumerate(centres.spacing)]
    return np.array([math.sqrt(square / (2.0 * s)) if s > 0 else math.inf for s in map(float, slopes)])


def wall(averages: Array) -> float:
    """Return the mean density in the outermost cells of the side that has most, relative to that of the whole box."""
    ends = [float(averages.take(k, axis=a).mean()) for a in range(averages.ndim) for k in (0, -1)]
    return max(ends) / float(averages.mean())


class CellDensity:
    """The density between averages over cells, axis by axis.

    Parameters
    ----------
    centres
        Centres of the cells (`cells_of`), at least six an axis.
    """

    def __init__(self, centres: Grid) -> None:
        self._widths = centres.spacing
        self._faces = [
            np.append(x - 0.5 * dx, x[-1] + 0.5 * dx) for x, dx in zip(centres.axes(), centres.spacing, strict=True)
        ]

    def coefficients(self, averages: Array) -> Array:
        """Return the coefficients of the spline of the density (coefficients...) of averages (cells...)."""
        c = averages
        for axis, (faces, width) in enumerate(zip(self._faces, self._widths, strict=True)):
            shape = list(c.shape)
            shape[axis] = 1
            mass = np.concatenate([np.zeros(shape), np.cumsum(c, axis=axis) * width], axis=axis)
            spline = scipy.interpolate.make_interp_spline(faces, mass, _DEGREE, axis=axis).derivative()
            # SciPy puts the axis first and pads the derivative of a spline to as many coefficients as before.
            c = np.moveaxis(spline.c[: len(faces) - 1], 0, axis)
        return np.ascontiguousarray(c)

    def matrix(self, axis: int, points: Array) -> scipy.sparse.csr_array:
        """Return what leads from coefficients along an axis to the values at points (points, coefficients).

        Outside the box the density is 0.
        """
        faces = self._faces[axis]
        spline = scipy.interpolate.make_interp_spline(faces, np.zeros(len(faces)), _DEGREE).derivative()
        nearest = np.clip(points, faces[0], faces[-1])
        matrix = scipy.interpolate.BSpline.design_matrix(nearest, spline.t, spline.k)
        there = np.abs(points - nearest) <= _ROUNDING * (faces[-1] - faces[0])
        return scipy.sparse.csr_array(scipy.sparse.diags_array(there.astype(np.float64)) @ matrix)

    def at(self, averages: Array, grid: Grid) -> Array:
        """Return the density at the points of a grid (points...), of averages (cells...); 0 outside the box.

        What is below rounding is 0 too: far out it would be noise of either sign.
        """
        matrices = [self.matrix(axis, points) for axis, points in enumerate(grid.axes())]
        u = _along_axes(matrices, self.coefficients(averages))
        return np.where(np.abs(u) > _NOTHING * u.max(), u, 0.0)

    def faces(self, axis: int) -> Array:
        """Return the faces of the cells along an axis (cells + 1,)."""
        return self._faces[axis]


class DensityDeposits:
    """What densities on the cells of a box leave on a mesh; tabulated once.

    Parameters
    ----------
    centres
        Centres of the cells (`cells_of`).
    mesh
        Force mesh, which must hold the box.
    worth
        Particles of the system that a deposited one stands for.
    """

    def __init__(self, centres: Grid, mesh: Mesh, worth: float = 1.0) -> None:
        self._density = CellDensity(centres)
        self._mesh, self._worth = mesh, worth
        self._axes = [self._axis_matrices(axis) for axis in range(mesh.dimension)]

    def __call__(self, averages: Array) -> Deposits:
        """Return the deposits of `DEPOSITED` particles of a density (cells...); its mass counts as 1, exactly.

        Nodes get less than nothing where the density has gone below zero, by its own error.
        """
        coefficients = self._density.coefficients(averages)
        hats = _along_axes([axis["hat"] for axis in self._axes], coefficients)
        scale = DEPOSITED / hats.sum()
        count = np.rint(hats * (scale * COUNT_ONE)).astype(np.int64)
        # What rounding has lost goes where it is felt least.
        count.reshape(-1)[count.argmax()] += DEPOSITED * COUNT_ONE - int(count.sum())
        products = np.empty((len(neighbour_offsets(self._mesh.dimension)), *self._mesh.shape), dtype=np.int64)
        for product, offset in zip(products, neighbour_offsets(self._mesh.dimension), strict=True):
            chosen = [axis[step] for axis, step in zip(self._axes, offset, strict=True)]
            product[...] = np.rint(_along_axes(chosen, coefficients) * (scale * PRODUCT_ONE)).astype(np.int64)
        return Deposits(self._mesh, DEPOSITED, count, products, worth=self._worth)

    def _axis_matrices(self, axis: int) -> dict[str | int, scipy.sparse.csr_array]:
        """Return the integrals of the spline's pieces against hat_a, hat_a**2 and hat_a hat_(a +- 1) (nodes, c)."""
        mesh, faces = self._mesh, self._density.faces(axis)
        nodes = mesh.axes()[axis]
        if not (nodes[0] <= faces[0] and faces[-1] <= nodes[-1]):
            raise ValueError("`mesh` must hold the cells of the density")
        # Between two neighbouring faces or nodes everything is a polynomial.
        ends = np.unique(np.concatenate([faces, nodes[(nodes > faces[0]) & (nodes < faces[-1])]]))
        places, weights = np.polynomial.legendre.leggauss(_GAUSS)
        half = 0.5 * np.diff(ends)[:, None]
        x = (0.5 * (ends[1:] + ends[:-1])[:, None] + half * places).reshape(-1)
        w = (half * weights).reshape(-1)
        values = self._density.matrix(axis, x)
        cell = np.clip(np.floor(x / mesh.spacing).astype(np.int64) - mesh.lower[axis], 0, len(nodes) - 2)
        upper = x / mesh.spacing - (cell + mesh.lower[axis])
        lower, columns = 1.0 - upper, np.arange(len(x))

        def summed(*parts: tuple[npt.NDArray[np.int64], Array]) -> scipy.sparse.csr_array:
            rows, entries = (np.concatenate([part[k] for part in parts]) for k in (0, 1))
            places = (rows, np.tile(columns, len(parts)))
            return scipy.sparse.csr_array((entries, places), shape=(len(nodes), len(x))) @ values

        both = w * lower * upper
        return {
            "hat": summed((cell, w * lower), (cell + 1, w * upper)),
            0: summed((cell, w * lower**2), (cell + 1, w * upper**2)),
            1: summed((cell, both)),
            -1: summed((cell + 1, both)),
        }


def _along_axes(matrices: list[scipy.sparse.csr_array], values: Array) -> Array:
    """Apply a matrix (m, n) to every axis of values (n, ...); a sparse product adds in order, on any machine."""

    def along(values: Array, step: tuple[int, scipy.sparse.csr_array]) -> Array:
        axis, matrix = step
        first = np.moveaxis(values, axis, 0)
        product = matrix @ first.reshape(len(first), -1)
        return np.moveaxis(product.reshape(-1, *first.shape[1:]), 0, axis)

    return np.ascontiguousarray(reduce(along, enumerate(matrices), values))
