"""Mean-field force by particle-mesh: linear weights to the nodes, one convolution, linear interpolation back."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from ipsdist.arrays import Device, DeviceArray
from ipsdist.arrays.namespace import like, namespace
from ipsdist.model.deposits import COUNT_ONE
from ipsdist.model.expression import Expression
from ipsdist.model.mesh import Mesh
from ipsdist.numerics.convolution import convolve, force_spectra, force_table, prefilter, trim

__all__ = ["SHORT", "MeshForce", "external_drift", "interpolate"]

Array = npt.NDArray[np.float64]
_AXES = "xyz"
SHORT = 400
"""Nodes of a line up to which sums over lags cost less than transforms."""


def external_drift(potential: Expression, coordinates: list[Array]) -> Array:
    """Return -grad V at broadcastable coordinates, one array an axis: (d, ...)."""
    values = [coordinates[_AXES.index(name)] for name in potential.variables]
    shape = np.broadcast_shapes(*[c.shape for c in coordinates])
    drift = np.zeros((len(coordinates), *shape))
    for name in potential.variables:
        drift[_AXES.index(name)] = -potential.derivative(name)(*values)
    return drift


def interpolate(values: Array, mesh: Mesh, positions: Array) -> Array:
    """Return node values (d, nodes...) at positions (N, d) on the mesh, multilinear: (N, d)."""
    scaled = positions / mesh.spacing
    floor = np.floor(scaled)
    upper = scaled - floor
    cell = floor.astype(np.int64) - np.array(mesh.lower)
    total = np.zeros((len(positions), len(values)))
    for corner in itertools.product((0, 1), repeat=mesh.dimension):
        weight = np.prod(np.where(np.array(corner, dtype=bool), upper, 1.0 - upper), axis=1)
        total += weight[:, None] * values[(slice(None), *(cell + np.array(corner)).T)].T
    return total


class MeshForce:
    """Drift at the nodes, -(K_phi * count) / N - grad V (docs/method.md, section 1); tables follow the mesh."""

    def __init__(self, kernel: Callable[[Array], Array] | None, potential: Expression | None, particles: int) -> None:
        self._kernel = kernel
        self._potential = potential
        self._scale = -1.0 / (COUNT_ONE * particles)
        self._mesh: Mesh | None = None
        self._spectra: npt.NDArray[np.complex128]
        self._lags: Array | None = None
        self._line: tuple[Array, Array] | None = None
        self._moved: tuple[Any, Any] | None = None
        """Spectra and external drift on a device."""

    def node_drift(self, mesh: Mesh, count: npt.NDArray[np.int64]) -> Array:
        """Return the drift (d, nodes...) that deposits ``count`` (nodes...) of all particles cause. O(n log n)."""
        if mesh != self._mesh:
            self._prepare(mesh)
        if self._kernel is None:
            return self._external
        if self._lags is not None:
            return self._summed(self._lags, count)
        weights = count.astype(np.float64) * self._scale
        drift = np.ascontiguousarray(convolve(self._spectra, weights, mesh))
        if self._potential is not None:
            drift += self._external
        return drift

    def drift_on(self, device: Device, mesh: Mesh, count: npt.NDArray[np.int64], dtype: npt.DTypeLike) -> DeviceArray:
        """Return the drift (d, nodes) on a device, whose transforms round as they do."""
        if mesh != self._mesh:
            self._prepare(mesh)
        if self._kernel is None or self._lags is not None:
            return device.array(self.node_drift(mesh, count).reshape(mesh.dimension, -1).astype(dtype))
        with device.computing():
            weights: Any = device.array(count.astype(np.float64) * self._scale)
            if self._moved is None:
                self._moved = like(self._spectra, weights), like(self._external, weights)
            spectra, external = self._moved
            xp = namespace(weights)
            drift = xp.reshape(convolve(spectra, weights, mesh) + external, (mesh.dimension, -1))
            return cast(DeviceArray, xp.astype(drift, getattr(xp, np.dtype(dtype).name)))

    def lag_table(self, mesh: Mesh) -> tuple[Array, Array] | None:
        """Return what a device needs to find the drift itself, None where it is not found by sums over lags.

        The drift at node a is sum_b table[a - b + n - 1] count_b, b increasing, plus external_a: (2 n - 1,) and (n,).
        """
        if mesh != self._mesh:
            self._prepare(mesh)
        return self._line

    def _summed(self, lags: Array, count: npt.NDArray[np.int64]) -> Array:
        from ipsdist.numerics.device.lag_sums import lag_sums

        drift = np.empty((1, *count.shape))
        lag_sums(lags, count, drift[0])
        if self._potential is not None:
            drift += self._external
        return drift

    def _prepare(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self._external = np.zeros((mesh.dimension, *mesh.shape))
        self._lags = self._moved = self._line = None
        if mesh.dimension == 1 and mesh.shape[0] <= SHORT and self._kernel is not None:
            table = trim(prefilter(force_table(mesh, self._kernel)[0]), mesh)
            self._lags = np.ascontiguousarray(table * self._scale)
        elif self._kernel is not None:
            self._spectra = force_spectra(mesh, self._kernel)
        if self._potential is not None:
            # One more node on every side for the stencil; once, because V is interpolated but not deposited.
            around = Mesh(mesh.spacing, tuple(low - 1 for low in mesh.lower), tuple(n + 2 for n in mesh.shape))
            slopes = external_drift(self._potential, list(np.meshgrid(*around.axes(), indexing="ij", sparse=True)))
            self._external = np.stack([prefilter(slope, times=1) for slope in slopes])
        if self._lags is not None:
            self._line = self._lags, self._external[0]
