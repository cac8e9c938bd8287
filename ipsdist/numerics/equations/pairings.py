"""What the equations need of one slice: the dictionary paired with the particles through the slice's deposits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ipsdist.model.deposits import PRODUCT_ONE, Deposits, neighbour_offsets
from ipsdist.model.mesh import Mesh
from ipsdist.numerics.convolution import convolve, forward
from ipsdist.numerics.equations.tables import ExternalTables, PairTables

__all__ = ["Pairings", "pair_slice", "stack"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Pairings:
    """Pairings of S slices with M columns; with V_k = -K_k * u at the particles (docs/method.md, section 4).

    Columns are the terms of the dictionary, then external potentials: unknown ones, and last the known ones.
    """

    gram: Array
    """(S, M, M) sum_i V_k(X_i) . V_l(X_i)."""
    energy: Array
    """(S, M) H_k = (1/2N) sum_{i != j} Phi_k(X_i - X_j); sum_i V(X_i) for an external column."""
    laplacian: Array
    """(S, M) sum_i Lap_i H_k, pairs i = j left out."""
    work: Array
    """(S, M) sum_i V_k(X_i) . (X_i(next) - X_i); NaN where the displacement is unknown."""

    def __len__(self) -> int:
        return len(self.gram)

    def columns(self, kept: Sequence[int]) -> Pairings:
        """Return the pairings of some columns, in the order given."""
        chosen = list(kept)
        gram = self.gram[:, chosen][:, :, chosen]
        return Pairings(gram, self.energy[:, chosen], self.laplacian[:, chosen], self.work[:, chosen])

    def every(self, number: int) -> Pairings:
        """Return the pairings of every ``number``-th slice from the first on; their next slice is another one then."""
        if number == 1:
            return self
        unknown = np.full_like(self.work[::number], np.nan)
        return Pairings(self.gram[::number], self.energy[::number], self.laplacian[::number], unknown)

    def project(self, matrix: npt.ArrayLike) -> Pairings:
        """Return the pairings of columns that are combinations of these: column'_l = sum_k matrix[k, l] column_k."""
        p = np.asarray(matrix, dtype=np.float64)
        return Pairings(p.T @ self.gram @ p, self.energy @ p, self.laplacian @ p, self.work @ p)


def stack(parts: Sequence[Pairings]) -> Pairings:
    """Join the slices of several pairings in the order given."""
    return Pairings(*(np.concatenate([getattr(p, f) for p in parts]) for f in ("gram", "energy", "laplacian", "work")))


def pair_slice(deposits: Deposits, tables: PairTables, external: Sequence[ExternalTables] = ()) -> Pairings:
    """Pair one slice (of a whole replica) with the dictionary: S = 1.

    The Gram comes from the particles, not from the nodes: V is the linear interpolant at the particle, so
    sum_i V_k V_l = sum_a c_a V_k V_l - sum_offsets sum_a products_a (jump of V_k) (jump of V_l), an identity for
    weights that sum to 1. Cost: M d inverse transforms and 1 + len(neighbour_offsets) products of (M, d nodes)
    matrices.
    """
    if deposits.mesh != tables.mesh:
        raise ValueError("deposits and tables must be on one mesh")
    weights, n = deposits.density_weights(), deposits.particles
    velocity = -convolve(tables.force, weights, tables.mesh) / n
    power = _power(weights, tables.mesh)
    pairs = deposits.products.reshape(len(deposits.products), -1).sum(axis=1) / PRODUCT_ONE
    own = np.concatenate([[n - 2.0 * pairs.sum()], 2.0 * pairs])
    energy = (tables.energy @ power - tables.energy_near @ own) / (2.0 * n)
    laplacian = (tables.laplacian @ power - tables.laplacian_near @ own) / n
    if external:
        velocity = np.concatenate([velocity, np.stack([e.drift for e in external])])
        energy = np.append(energy, [np.sum(weights * e.value) for e in external])
        laplacian = np.append(laplacian, [np.sum(weights * e.laplacian) for e in external])
    gram = _gram(velocity, weights, deposits.products)
    work = np.full(len(energy), np.nan)
    if deposits.flux is not None:
        flux = deposits.flux.reshape(-1) * (tables.mesh.spacing / deposits.flux_one)
        work = velocity.reshape(len(velocity), -1) @ flux
    parts = (gram, energy, laplacian, work)  # sums over deposited particles, each worth so many of the system
    return Pairings(*(part[None] * deposits.worth for part in parts))


def _power(weights: Array, mesh: Mesh) -> Array:
    transform = forward(weights, mesh)
    return np.asarray(transform.real**2 + transform.imag**2).reshape(-1)


def _gram(velocity: Array, weights: Array, products: npt.NDArray[np.int64]) -> Array:
    """Return sum_i V_k(X_i) . V_l(X_i) from velocity (M, d, nodes...), counts (nodes...), products (offsets, nodes...).

    Only nodes that particles touch are read: in three dimensions they are few.
    """
    terms, dimension = velocity.shape[:2]
    flat = velocity.reshape(terms, dimension, -1)
    touched = np.flatnonzero(weights)
    gram = _weighted(flat[:, :, touched], weights.reshape(-1)[touched])
    strides = np.array([math.prod(weights.shape[a + 1 :]) for a in range(dimension)])
    for offset, product in zip(neighbour_offsets(dimension), products, strict=True):
        here = np.flatnonzero(product)
        jump = flat[:, :, here + int(strides @ offset)] - flat[:, :, here]
        gram -= _weighted(jump, product.reshape(-1)[here] / PRODUCT_ONE)
    return 0.5 * (gram + gram.T)


def _weighted(flat: Array, weights: Array) -> Array:
    """Return sum over axes and nodes of flat_k flat_l weights: (M, d, n) and (n,) to (M, M)."""
    terms = len(flat)
    return np.asarray((flat * weights).reshape(terms, -1) @ flat.reshape(terms, -1).T)
