"""Radial equations: the slices paired once with a radial basis, summed to blocks of panels; any dictionary follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ipsdist.arrays.namespace import contracted, host, is_host, like, namespace, rfftn, scaled, zeros
from ipsdist.model.deposits import COUNT_ONE, PRODUCT_ONE, Deposits
from ipsdist.model.mesh import Mesh
from ipsdist.model.normal_equations import NormalEquations
from ipsdist.numerics.convolution import padded_lengths
from ipsdist.numerics.equations.block_rule import BlockRule, between_slices
from ipsdist.numerics.equations.forms.known import fold_known
from ipsdist.numerics.equations.grams import make_grams
from ipsdist.numerics.equations.pairings import Pairings, pair_slice, stack
from ipsdist.numerics.equations.tables import ExternalTables, PairTables

__all__ = [
    "RadialPairings",
    "added_grams",
    "join_radial",
    "occupied",
    "pair_radial",
    "pair_slices",
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
    xp = namespace(deposits[0].count)
    seen = host(xp.any(xp.stack([d.count for d in deposits]) != 0, axis=0))
    places = np.nonzero(seen)
    first = [int(p.min()) for p in places]
    shape = tuple(max(2, _rounded_up(int(p.max()) - a + 1)) for p, a in zip(places, first, strict=True))
    taken = [slice(a, min(a + n, m)) for a, n, m in zip(first, shape, seen.shape, strict=True)]
    kept = [slice(0, t.stop - t.start) for t in taken]

    def boxed(values: Any) -> Any:
        whole = zeros((*values.shape[: values.ndim - len(shape)], *shape), values)
        whole[(..., *kept)] = values[(..., *taken)]
        return whole

    old = deposits[0].mesh
    mesh = Mesh(old.spacing, tuple(a + b for a, b in zip(old.lower, first, strict=True)), shape)
    return [
        replace(
            d,
            mesh=mesh,
            count=boxed(d.count),
            products=boxed(d.products),
            flux=None if d.flux is None else boxed(d.flux),
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
    Gram is made. Deposits may lie on a device: that is where they are paired; tables are moved there once.
    """
    meshes = {d.mesh for d in deposits}
    if len(meshes) != 1 or table_mesh(meshes.pop()) != table_mesh(tables.mesh):
        raise ValueError("deposits must be on one mesh, of the spacing and shape of the tables")
    tables, external = _beside(deposits, tables, external)
    columns = len(tables.energy_near) + len(external)
    gram = np.zeros((len(made), columns, columns))
    for row, one in zip(gram, make_grams([deposits[s] for s in made], tables, external), strict=True):
        row[:] = one
    counts = scaled(namespace(deposits[0].count).stack([d.count for d in deposits]), 1.0 / COUNT_ONE)
    spectra = rfftn(counts, padded_lengths(tables.mesh))
    energy, laplacian = _quadratics(deposits, spectra, tables)
    work = _works(deposits, spectra, tables, external)
    for column in external:
        energy = np.column_stack([energy, _sums(counts, column.value)])
        laplacian = np.column_stack([laplacian, _sums(counts, column.laplacian)])
    worth = deposits[0].worth
    return RadialPairings(made, gram, energy * worth, laplacian * worth, work * worth)


def _beside(
    deposits: Sequence[Deposits], tables: PairTables, external: Sequence[ExternalTables]
) -> tuple[PairTables, list[ExternalTables]]:
    """Return the tables where the deposits lie."""
    count = deposits[0].count
    return tables.on(count), [e.on(count) for e in external]


def pair_slices(deposits: Sequence[Deposits], tables: PairTables, external: Sequence[ExternalTables] = ()) -> Pairings:
    """Pair slices (of a whole replica), all on the mesh of the tables, with the dictionary: S of them.

    On the host one `pair_slice` after the other. Deposits may lie on a device: that is where they are paired, many
    slices at a time, as `pair_radial` does it.
    """
    if is_host(deposits[0].count):
        return stack([pair_slice(one, tables, external) for one in deposits])
    whole = pair_radial(deposits, tables, np.arange(len(deposits)), external)
    return Pairings(whole.gram, whole.energy, whole.laplacian, whole.work)


def added_grams(
    deposits: Sequence[Deposits], tables: PairTables, weights: Array, external: Sequence[ExternalTables] = ()
) -> Array:
    """Return the Grams (K, M, M) of K blocks of panels, added over slices with weights (K, S'); one is held at a time.

    Slices without weight are passed over. As `pair_radial`, for bases so large that one Gram a slice is too much.
    """
    seen = np.flatnonzero(weights.any(axis=0))
    columns = len(tables.energy_near) + len(external)
    total = np.zeros((len(weights), columns, columns))
    if not len(seen):
        return total
    tables, external = _beside(deposits, tables, external)
    for row, gram in zip(weights.T[seen], make_grams([deposits[int(s)] for s in seen], tables, external), strict=True):
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


def _quadratics(deposits: Sequence[Deposits], spectra: Any, tables: PairTables) -> tuple[Array, Array]:
    """Return energy and Laplacian (S', M) without the pair i = i, as in `pair_slice`."""
    xp = namespace(spectra)
    power = xp.real(spectra) ** 2 + xp.imag(spectra) ** 2
    n = np.array([float(d.particles) for d in deposits])[:, None]
    products = [xp.reshape(d.products, (d.products.shape[0], -1)) for d in deposits]
    pairs = host(xp.stack([xp.sum(p, axis=1) for p in products])) / PRODUCT_ONE
    own = np.column_stack([n[:, 0] - 2.0 * pairs.sum(axis=1), 2.0 * pairs])
    energy = (_by_rows(power, tables.energy) - own @ tables.energy_near.T) / (2.0 * n)
    laplacian = (_by_rows(power, tables.laplacian) - own @ tables.laplacian_near.T) / n
    return energy, laplacian


def _by_rows(slices: Any, terms: Any) -> Array:
    """Return the sums over frequencies of (S, frequencies...) times (M, frequencies...), however flat: (S, M)."""
    xp, last = namespace(slices), slices.shape[-1]
    return host(contracted(*(xp.reshape(x, (x.shape[0], -1, last)) for x in (slices, terms))))


def _works(deposits: Sequence[Deposits], spectra: Any, tables: PairTables, external: Sequence[ExternalTables]) -> Array:
    """Return sum_x V_k(x) . j(x) (S', M) by Parseval: no V at the nodes is needed. NaN rows where there is no flux."""
    mesh, terms, xp = tables.mesh, len(tables.energy_near), namespace(spectra)
    lengths = padded_lengths(mesh)
    work = np.full((len(deposits), terms + len(external)), np.nan)
    moved = [s for s, one in enumerate(deposits) if one.flux is not None]
    if not moved:
        return work
    flux = scaled(xp.stack([f for one in deposits if (f := one.flux) is not None]), mesh.spacing / deposits[0].flux_one)
    target = rfftn(flux, lengths)
    twice = np.full(target.shape[-1], 2.0)
    twice[0] = 1.0
    if lengths[-1] % 2 == 0:
        twice[-1] = 1.0
    target *= like(twice / np.prod(lengths), target)
    # The operator `*` may or may not reuse a temporary, with its factors exchanged then: other last bits.
    there = xp.take(spectra, like(np.array(moved), spectra), axis=0)[:, None, ...]
    rows = xp.multiply(there, xp.conj(target))
    # Re(K c j*): a force is odd, so its spectrum K is imaginary and only the other factor's imaginary part counts.
    flat = _by_rows(xp.imag(rows), xp.imag(tables.force))
    n = np.array([float(deposits[s].particles) for s in moved])[:, None]
    work[moved, :terms] = flat / n
    if external:
        work[moved, terms:] = _drift_works([deposits[s] for s in moved], flux, external)
    return work


def _drift_works(deposits: Sequence[Deposits], flux: Any, external: Sequence[ExternalTables]) -> Array:
    """Return sum_x drift(x) . j(x) (S', columns) of slices with a flux: ``flux`` (S', d, nodes...) in length units."""
    if not is_host(flux):
        return _by_rows(flux, namespace(flux).stack([e.drift for e in external]))
    return np.array([[_drift_work(one, e) for e in external] for one in deposits])


def _drift_work(one: Deposits, external: ExternalTables) -> float:
    assert one.flux is not None
    return float(np.vdot(external.drift, one.flux.astype(np.float64))) * one.mesh.spacing / one.flux_one


def _sums(counts: Any, values: Any) -> Array:
    """Return the sums over nodes of (S, nodes...) times (nodes...)."""
    return host(namespace(counts).tensordot(counts, values, axes=values.ndim))
