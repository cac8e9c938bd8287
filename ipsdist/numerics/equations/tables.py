"""The dictionary on the force mesh: for every term the tables of its pair force, pair energy and pair Laplacian."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ipsdist.arrays.namespace import moved
from ipsdist.model.deposits import neighbour_offsets
from ipsdist.model.dictionary import Dictionary
from ipsdist.model.expression import Expression
from ipsdist.model.mesh import Mesh
from ipsdist.model.radial_basis import RadialBasis
from ipsdist.model.unknowns import AXES
from ipsdist.numerics.convolution import (
    Radial,
    differentiate,
    force_table,
    lag_radii,
    padded_lengths,
    prefilter,
    spectrum,
    trim,
)

__all__ = ["ExternalTables", "PairTables", "external_tables", "pair_tables"]

Array = npt.NDArray[np.float64]
Spectrum = npt.NDArray[np.complex128]


@dataclass(frozen=True)
class PairTables:
    """Spectra of M terms on one mesh of d axes, and their tables at the lags that join corners of one cell."""

    mesh: Mesh
    force: Spectrum
    """(M, d, frequencies...) of K_k."""
    energy: Array
    """(M, frequencies) of Phi_k, flattened and weighted so that energy @ |FFT(c)|**2 = sum_ab c_a c_b Phi_k(a - b)."""
    laplacian: Array
    """(M, frequencies) of Lap Phi_k = div K_k, in the same layout."""
    energy_near: Array
    """(M, 1 + offsets) of the prefiltered Phi_k at lag 0 and at `neighbour_offsets`."""
    laplacian_near: Array
    """(M, 1 + offsets), likewise."""

    def on(self, array: Any) -> PairTables:
        """Return these tables where ``array`` lies, moved there once; those near stay on the host."""
        return moved(self, ("force", "energy", "laplacian"), array)


@dataclass(frozen=True)
class ExternalTables:
    """A known external potential V at the nodes, prefiltered once (only the interpolation smooths it)."""

    drift: Array
    """(d, nodes...) -grad V."""
    value: Array
    """(nodes...) V."""
    laplacian: Array
    """(nodes...) Lap V."""

    def on(self, array: Any) -> ExternalTables:
        """Return these tables where ``array`` lies, moved there once."""
        return moved(self, ("drift", "value", "laplacian"), array)


def pair_tables(dictionary: Dictionary | RadialBasis, mesh: Mesh) -> PairTables:
    """Tabulate every term of the dictionary on the mesh. Cost a term: d + 2 transforms, phi and Phi evaluated once.

    The Laplacian is the fourth-order divergence of the force table, so that a jump of K at 0 (phi(0) != 0 in 1-D)
    enters with the right moments instead of as an infinite value.
    """
    radii = lag_radii(mesh)
    potentials = dictionary.potentials(radii)
    force: list[Spectrum] = []
    energy: list[Array] = []
    laplacian: list[Array] = []
    near_energy: list[Array] = []
    near_laplacian: list[Array] = []
    terms: tuple[Radial, ...] = dictionary.terms
    for term, potential in zip(terms, potentials, strict=True):
        table = force_table(mesh, term, radii)
        force.append(np.stack([spectrum(trim(prefilter(k), mesh), mesh) for k in table]))
        divergence = sum(differentiate(k, axis, mesh.spacing) for axis, k in enumerate(table))
        for whole, spectra, near in (
            (potential, energy, near_energy),
            (np.asarray(divergence), laplacian, near_laplacian),
        ):
            filtered = trim(prefilter(whole), mesh)
            spectra.append(_quadratic(spectrum(filtered, mesh), mesh))
            near.append(_near(filtered, mesh))
    return PairTables(
        mesh, np.stack(force), np.stack(energy), np.stack(laplacian), np.stack(near_energy), np.stack(near_laplacian)
    )


def _quadratic(spectra: Spectrum, mesh: Mesh) -> Array:
    """Weight the real spectrum of an even table for Parseval's sum over the half-spectrum of the last axis."""
    lengths = padded_lengths(mesh)
    twice = np.full(spectra.shape[-1], 2.0)
    twice[0] = 1.0
    if lengths[-1] % 2 == 0:
        twice[-1] = 1.0
    return np.ascontiguousarray((spectra.real * twice / np.prod(lengths)).reshape(-1))


def _near(table: Array, mesh: Mesh) -> Array:
    centre = tuple(n - 1 for n in mesh.shape)
    lags = [(0,) * mesh.dimension, *neighbour_offsets(mesh.dimension)]
    return np.array([table[tuple(c + k for c, k in zip(centre, lag, strict=True))] for lag in lags])


def external_tables(potential: Expression, mesh: Mesh) -> ExternalTables:
    """Tabulate a known external potential V(x, y, z) on the mesh."""
    names = AXES[: mesh.dimension]
    gradient = [potential.derivative(name) for name in names]

    def at_nodes(expression: Callable[..., Array]) -> Array:
        axes = [np.concatenate([a[:1] - mesh.spacing, a, a[-1:] + mesh.spacing]) for a in mesh.axes()]
        points = np.meshgrid(*axes, indexing="ij")
        return prefilter(np.broadcast_to(expression(*points), points[0].shape), times=1)

    return ExternalTables(
        drift=-np.stack([at_nodes(g) for g in gradient]),
        value=at_nodes(potential),
        laplacian=np.asarray(sum(at_nodes(g.derivative(n)) for g, n in zip(gradient, names, strict=True))),
    )
