"""Grams of slices over very many functions: the velocities at the nodes and the sparse sum over particles between."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ipsdist.arrays.namespace import batches, contracted, for_columns, host, is_host, like, namespace, scaled
from ipsdist.model.deposits import COUNT_ONE, PRODUCT_ONE, Deposits, neighbour_offsets
from ipsdist.numerics.convolution import convolve
from ipsdist.numerics.equations.tables import ExternalTables, PairTables

__all__ = ["make_grams"]

Array = npt.NDArray[np.float64]
Box = tuple[Any, ...]
"""An index into (..., nodes...)."""


def make_grams(
    deposits: Sequence[Deposits], tables: PairTables, external: Sequence[ExternalTables] = ()
) -> Iterator[Array]:
    """Yield sum_i V_k(X_i) . V_l(X_i) (M, M) of every slice, all on the mesh of the tables.

    One slice at a time on the host; on a device, where tables and deposits lie, as many as its calls should be large.
    """
    if not deposits or is_host(deposits[0].count):
        for one in deposits:
            weights = scaled(one.count, 1.0 / COUNT_ONE)
            yield _gram(weights, one.products, one.particles, _box(weights), tables, external) * one.worth
        return
    xp, d = namespace(deposits[0].count), tables.mesh.dimension
    box = _box(host(xp.any(xp.stack([one.count for one in deposits]) != 0, axis=0)))
    found = []
    for batch in batches(len(deposits), 16 * max(1, tables.force.size)):
        part = deposits[batch]
        weights = scaled(xp.stack([one.count for one in part]), 1.0 / COUNT_ONE)
        particles = np.array([float(one.particles) for one in part]).reshape(-1, *[1] * (d + 2))
        products = xp.stack([one.products for one in part])
        found.append(_gram(weights, products, like(particles, weights), box, tables, external))
    for one, gram in zip(deposits, (gram for several in found for gram in host(several)), strict=True):
        yield gram * one.worth


def _box(weights: npt.NDArray[Any]) -> Box:
    """Return the part of the mesh that holds particles; only there they count."""
    return (..., *(slice(int(nodes.min()), int(nodes.max()) + 1) for nodes in np.nonzero(weights)))


def _gram(
    weights: Any, products: Any, particles: Any, box: Box, tables: PairTables, external: Sequence[ExternalTables]
) -> Any:
    """Return V W V' (..., M, M), W the sparse sum over particles of weights times weights, of (..., nodes...).

    Slices may lead on a device: then ``products`` are (..., offsets, nodes...), ``particles`` (..., 1, 1, 1...).
    """
    xp, d = namespace(weights), tables.mesh.dimension
    velocity = convolve(tables.force, weights, tables.mesh)[box] / -particles
    if external:
        drift = xp.stack([e.drift[box] for e in external])
        velocity = xp.concat([velocity, xp.broadcast_to(drift, (*weights.shape[:-d], *drift.shape))], axis=-d - 2)
    summed = _summed_jumps if is_host(velocity) else _summed_halves
    weighted = summed(velocity, weights[box], products[box])
    flat = (*velocity.shape[: -d - 1], -1, velocity.shape[-1])
    gram = contracted(xp.reshape(weighted, flat), xp.reshape(velocity, flat))
    return 0.5 * (gram + xp.matrix_transpose(gram))


def _summed_jumps(velocity: Array, weights: Array, products: npt.NDArray[np.int64]) -> Array:
    """Return W V (M, d, nodes...) through the jumps of V between neighbours, which stay in the cache."""
    weighted = velocity * weights
    for offset, product in zip(neighbour_offsets(weights.ndim), products, strict=True):
        here, there = _ends(offset, weights.shape)
        pull = (velocity[there] - velocity[here]) * (product[here] / PRODUCT_ONE)
        weighted[here] += pull
        weighted[there] -= pull
    return weighted


def _summed_halves(velocity: Any, weights: Any, products: Any) -> Any:
    """Return (D + 2 U) V (S, M, d, nodes...), where W = D + U + U': for a Gram the same, and half the memory traffic.

    D, what a particle's weights leave of it, is the count less its products with the neighbours on both sides.
    """
    d = velocity.ndim - 3
    ends = [_ends(offset, velocity.shape[-d:]) for offset in neighbour_offsets(d)]
    pairs = [scaled(products[:, k, ...], 1.0 / PRODUCT_ONE)[here] for k, (here, _) in enumerate(ends)]
    own = weights + 0.0
    for pair, (here, there) in zip(pairs, ends, strict=True):
        own[here] -= pair
        own[there] -= pair
    weighted = velocity * for_columns(own, d)
    for pair, (here, there) in zip(pairs, ends, strict=True):
        weighted[here] += velocity[there] * for_columns(2.0 * pair, d)
    return weighted


def _ends(offset: tuple[int, ...], shape: tuple[int, ...]) -> tuple[Box, Box]:
    """Return the index into (..., nodes...) of all nodes a with a neighbour a + offset, and of those neighbours."""
    here = [slice(max(0, -step), n - max(0, step)) for step, n in zip(offset, shape, strict=True)]
    there = [slice(h.start + step, h.stop + step) for h, step in zip(here, offset, strict=True)]
    return (..., *here), (..., *there)
