"""Radial equations: the slices paired once with a radial basis, summed to blocks of panels; any dictionary follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy.fft

from ipsdist.model.deposits import PRODUCT_ONE, Deposits, neighbour_offsets
from ipsdist.model.mesh import Mesh
from ipsdist.model.normal_equations import NormalEquations
from ipsdist.numerics.convolution import convolve, padded_lengths
from ipsdist.numerics.equations.block_rule import BlockRule, between_slices
from ipsdist.numerics.equations.forms.known import fold_known
from ipsdist.numerics.equations.pairings import Pairings
from ipsdist.numerics.equations.tables import ExternalTables, PairTables

__all__ = [
    "RadialPairings",
    "added_grams",
    "join_radial",
    "occupied",
    "pair_radial",
    "panel_equations",
    "project_radial",
    "radial_equations",
    "table_mesh",
    "without_columns",
]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RadialPairings:
    """Pairings of neighbouring slices (S' of them) with the functions, then the external columns: M columns in all."""

    made: npt.NDArray[np.intp]
    """(G,) those of these slices at which a Gram is made, increasing."""
    gram: Array
    """(G, M, M) as in `Pairings`."""
    energy: Array
    """(S', M) as in `Pairings`."""
    laplacian: Array
    """(S', M) as in `Pairings`."""
    work: Array
    """(S', M) as in `Pairings`; NaN where the displacement is unknown."""


def join_radial(parts: Sequence[RadialPairings]) -> RadialPairings:
    """Join the slices of parts that follow each other in time."""
    first = np.cumsum([0, *(len(p.energy) for p in parts[:-1])])
    made = np.concatenate([p.made + n for p, n in zip(parts, first, strict=True)])
    rest = (np.concatenate([getattr(p, name) for p in parts]) for name in ("gram", "energy", "laplacian", "work"))
    return RadialPairings(made, *rest)


def without_columns(whole: RadialPairings, first: int, count: int) -> RadialPairings:
    """Return the pairings without ``count`` columns from ``first`` on."""
    kept = [k for k in range(whole.energy.shape[1]) if not first <= k < first + count]
    rest = (part[:, kept] for part in (whole.energy, whole.laplacian, whole.work))
    return RadialPairings(whole.made, whole.gram[:, kept][:, :, kept], *rest)


def project_radial(whole: RadialPairings, times: npt.ArrayLike, matrix: npt.ArrayLike) -> Pairings:
    """Return the pairings at all times (S,) of columns that are combinations (M, K) of the functions.

    Between the slices where it was made, the Gram is taken to be a parabola in time (`between_slices`).
    """
    p = np.asarray(matrix, dtype=np.float64)
    gram = np.tensordot(between_slices(times, whole.made), p.T @ whole.gram @ p, 1)
    return Pairings(gram, whole.energy @ p, whole.laplacian @ p, whole.work @ p)


def occupied(deposits: Sequence[Deposits]) -> list[Deposits]:
    """Return the deposits on one common box around their particles, for shorter transforms.

    Its sides are 4, 5, 6 or 7 times a power of two, or below: tables of few shapes serve all blocks of a run.
    """
    seen = np.stack([d.count for d in deposits]).any(axis=0)
    places = np.nonzero(seen)
    first = [int(p.min()) for p in places]
    shape = tuple(max(2, _rounded_up(int(p.max()) - a + 1)) for p, a in zip(places, first, strict=True))
    taken = [slice(a, a + n) for a, n in zip(first, shape, strict=True)]
    pad = [(0, n - len(range(*t.indices(m)))) for n, t, m in zip(shape, taken, seen.shape, strict=True)]

    def moved(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        leading = values.ndim - len(shape)
        return np.pad(values[tuple([slice(None)] * leading + taken)], [(0, 0)] * leading + pad)

    old = deposits[0].mesh
    mesh = Mesh(old.spacing, tuple(a + b for a, b in zip(old.lower, first, strict=True)), shape)
    return [
        replace(
            d,
            mesh=mesh,
            count=moved(d.count),
            products=moved(d.products),
            flux=None if d.flux is None else moved(d.flux),
        )
        for d in deposits
    ]


def table_mesh(mesh: Mesh) -> Mesh:
    """Return the mesh of this spacing and shape at the origin; tables know lags only, so that it stands for all."""
    return Mesh(mesh.spacing, (0,) * mesh.dimension, mesh.shape)


def _rounded_up(nodes: int) -> int:
    unit = 1 << max(0, (nodes - 1).bit_length() - 3)
    return -(-nodes // unit) * unit


def pair_radial(
    deposits: Sequence[Deposits],
    tables: PairTables,
    made: npt.NDArray[np.intp],
    external: Sequence[ExternalTables] = (),
) -> RadialPairings:
    """Pair neighbouring slices of one replica, all on one mesh of the tables' spacing and shape, with a basis.

    A Gram is made at the slices ``made`` alone. Same sums as `pair_slice`, for many functions: energy, Laplacian and
    work of all slices by one matrix product each over frequencies; V at the nodes by inverse transforms only where a
    Gram is made.
    """
    meshes = {d.mesh for d in deposits}
    if len(meshes) != 1 or table_mesh(meshes.pop()) != table_mesh(tables.mesh):
        raise ValueError("deposits must be on one mesh, of the spacing and shape of the tables")
    columns = len(tables.energy) + len(external)
    gram = np.zeros((len(made), columns, columns))
    for row, s in zip(gram, made, strict=True):
        row[:] = _gram(deposits[s], tables, external)
    counts = np.stack([d.density_weights() for d in deposits])
    spectra = scipy.fft.rfftn(counts, padded_lengths(tables.mesh), axes=range(1, counts.ndim)).reshape(len(counts), -1)
    energy, laplacian = _quadratics(deposits, spectra, tables)
    work = _works(deposits, spectra, tables)
    for column in external:
        energy = np.column_stack([energy, np.tensordot(counts, column.value, column.value.ndim)])
        laplacian = np.column_stack([laplacian, np.tensordot(counts, column.laplacian, column.value.ndim)])
        work = np.column_stack([work, [_drift_work(d, column) for d in deposits]])
    worth = deposits[0].worth
    return RadialPairings(made, gram, energy * worth, laplacian * worth, work * worth)


def added_grams(
    deposits: Sequence[Deposits], tables: PairTables, weights: Array, external: Sequence[ExternalTables] = ()
) -> Array:
    """Return the Grams (K, M, M) of K blocks of panels, added over slices with weights (K, S'); one is held at a time.

    Slices without weight are passed over. As `pair_radial`, for bases so large that one Gram a slice is too much.
    """
    columns = len(tables.energy) + len(external)
    total = np.zeros((len(weights), columns, columns))
    for one, row in zip(deposits, weights.T, strict=True):
        if row.any():
            gram = _gram(one, tables, external)
            for k in np.flatnonzero(row):
                total[k] += row[k] * gram
    return total


def radial_equations(
    whole: RadialPairings,
    rule: BlockRule,
    *,
    basis: Sequence[str],
    diffusion: float,
    particles: int,
) -> NormalEquations:
    """Return the equations of K blocks of panels over the functions (and further unknown columns) named in ``basis``.

    ``whole`` covers all slices of the rule. Columns beyond ``basis`` are known potentials, folded in.
    `NormalEquations.change_basis` with the matrix of `project` then gives the equations of any dictionary.
    Raises ValueError for the likelihood form without displacements.
    """
    gram = np.tensordot(rule.gram[:, whole.made], whole.gram, 1)
    return panel_equations(gram, whole, rule, basis=basis, diffusion=diffusion, particles=particles)


def panel_equations(
    gram: Array,
    whole: RadialPairings,
    rule: BlockRule,
    *,
    basis: Sequence[str],
    diffusion: float,
    particles: int,
) -> NormalEquations:
    """Return the equations of K blocks whose Grams (K, M, M) are added up already; ``whole`` has none to be looked at.

    Otherwise as `radial_equations`.
    """
    if rule.form == "likelihood":
        if np.isnan(whole.work[:-1]).any():
            raise ValueError("the likelihood form needs the displacements of labelled particles")
        moment = rule.difference[:, :-1] @ whole.work[:-1]
        return fold_known("likelihood", basis, gram, moment, particles)
    moment = 0.5 * diffusion * (rule.integral @ whole.laplacian) - rule.difference @ whole.energy
    return fold_known("action", basis, gram, moment, particles, diffusion)


def _gram(one: Deposits, tables: PairTables, external: Sequence[ExternalTables]) -> Array:
    """Return sum_i V_k(X_i) . V_l(X_i) (M, M) as V W V', W the sparse sum over particles of weights times weights."""
    weights = one.density_weights()
    velocity = -convolve(tables.force, weights, tables.mesh) / one.particles
    if external:
        velocity = np.concatenate([velocity, np.stack([e.drift for e in external])])
    # Only the box of nodes that hold particles counts.
    box = tuple(slice(int(nodes.min()), int(nodes.max()) + 1) for nodes in np.nonzero(weights))
    velocity = np.ascontiguousarray(velocity[(slice(None), slice(None), *box)])
    weighted = velocity * weights[box]
    for offset, product in zip(neighbour_offsets(weights.ndim), one.products, strict=True):
        here, there = _ends(offset, velocity.shape[2:])
        pull = (velocity[there] - velocity[here]) * (product[box][here[2:]] / PRODUCT_ONE)
        weighted[here] += pull
        weighted[there] -= pull
    terms = len(velocity)
    gram = weighted.reshape(terms, -1) @ velocity.reshape(terms, -1).T
    return np.asarray(0.5 * (gram + gram.T) * one.worth)


def _ends(offset: tuple[int, ...], shape: tuple[int, ...]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return the index into (M, d, nodes...) of all nodes a with a neighbour a + offset, and of those neighbours."""
    whole = [slice(None), slice(None)]
    here = [slice(max(0, -step), n - max(0, step)) for step, n in zip(offset, shape, strict=True)]
    there = [slice(h.start + step, h.stop + step) for h, step in zip(here, offset, strict=True)]
    return (*whole, *here), (*whole, *there)


def _quadratics(
    deposits: Sequence[Deposits], spectra: npt.NDArray[np.complex128], tables: PairTables
) -> tuple[Array, Array]:
    """Return energy and Laplacian (S', M) without the pair i = i, as in `pair_slice`."""
    power = spectra.real**2 + spectra.imag**2
    n = np.array([float(d.particles) for d in deposits])[:, None]
    pairs = np.stack([d.products.reshape(len(d.products), -1).sum(axis=1) / PRODUCT_ONE for d in deposits])
    own = np.column_stack([n[:, 0] - 2.0 * pairs.sum(axis=1), 2.0 * pairs])
    energy = (power @ tables.energy.T - own @ tables.energy_near.T) / (2.0 * n)
    laplacian = (power @ tables.laplacian.T - own @ tables.laplacian_near.T) / n
    return energy, laplacian


def _works(deposits: Sequence[Deposits], spectra: npt.NDArray[np.complex128], tables: PairTables) -> Array:
    """Return sum_x V_k(x) . j(x) (S', M) by Parseval: no V at the nodes is needed. NaN rows where there is no flux."""
    mesh, terms = tables.mesh, len(tables.energy)
    lengths, d = padded_lengths(mesh), mesh.dimension
    work = np.full((len(deposits), terms), np.nan)
    moved = [s for s, one in enumerate(deposits) if one.flux is not None]
    if not moved:
        return work
    flux = np.stack([f for one in deposits if (f := one.flux) is not None]) * (mesh.spacing / deposits[0].flux_one)
    target = scipy.fft.rfftn(flux, lengths, axes=range(2, 2 + d))
    twice = np.full(target.shape[-1], 2.0)
    twice[0] = 1.0
    if lengths[-1] % 2 == 0:
        twice[-1] = 1.0
    target *= twice / np.prod(lengths)
    # The operator `*` may or may not reuse a temporary, with its factors exchanged then: other last bits.
    rows = np.multiply(spectra[moved].reshape(len(moved), 1, *target.shape[2:]), target.conj())
    # Re(K c j*): a force is odd, so its spectrum K is imaginary and only the other factor's imaginary part counts.
    flat = rows.imag.reshape(len(moved), -1) @ tables.force.imag.reshape(terms, -1).T
    n = np.array([float(deposits[s].particles) for s in moved])[:, None]
    work[moved] = flat / n
    return work


def _drift_work(one: Deposits, external: ExternalTables) -> float:
    if one.flux is None:
        return float("nan")
    return float(np.vdot(external.drift, one.flux.astype(np.float64))) * one.mesh.spacing / one.flux_one
