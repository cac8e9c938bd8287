"""The CUDA text of deposits, flux, squares, extents and losses against Numba and NumPy, bit for bit."""

import math

import numpy as np
import pytest

from ipsdist.model.deposits import neighbour_offsets
from ipsdist.model.mesh import Mesh
from ipsdist.numerics.densities.deposit import deposit, moves_of, squares_of
from tests.host_device import COMPILER
from tests.numerics.device.cuda_launches import DTYPES, Particles, mesh_arguments

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no g++ to compile CUDA text for the host")
NEAR = pytest.mark.parametrize("near", [0, 1, 3, 14])
"""Lines that a launch holds in shared memory; 0: it adds in global memory."""
cases = pytest.mark.parametrize(("dimension", "real"), [(d, real) for d in (1, 2, 3) for real in DTYPES])


def cloud(dimension, real, particles=503, spacing=0.25):
    """Positions on both sides of 0, some on nodes and next to 0, and a mesh around them."""
    rng = np.random.default_rng(dimension)
    x = rng.normal(0.02, 0.3, (particles, dimension))
    x[::7] = np.round(x[::7] / spacing) * spacing
    x[1::9] *= 1e-14
    x = x.astype(DTYPES[real])
    return x, Mesh.around(x.min(0), x.max(0), spacing)


def added(kernels, name, given, lines, words, sums, near):
    """Let a kernel add to ``sums``: ``near`` lines a launch in shared memory, all in global memory if that is 0."""
    nodes = sums[0].shape[-1]
    for first in range(0, lines, near or lines):
        number = min(near, lines - first)
        which = (np.uint32(first), np.uint32(number)) if near else ()
        kernels.launch(f"{name}_near" if near else name, *given, *which, *sums, shared=4 * words * nodes * number)


def deposited(kernels, x, mesh, near):
    """Count, products and number off the mesh."""
    nodes = math.prod(mesh.shape)
    count, lost = np.zeros(nodes, np.uint64), np.zeros(1, np.uint64)
    products = np.zeros((len(neighbour_offsets(mesh.dimension)), nodes), np.int64)
    given = x, np.uint64(len(x)), *mesh_arguments(mesh)
    added(kernels, "deposit", given, 1 + len(products), 1, (count, products, lost), near)
    return count.reshape(mesh.shape), products.reshape(-1, *mesh.shape), int(lost[0])


def fluxed(kernels, x, after, mesh, unit, near):
    """Flux, sum of squares, reach and number off the mesh."""
    flux, sums = np.zeros((mesh.dimension, math.prod(mesh.shape)), np.int64), np.zeros(2, np.int64)
    reach, lost = np.zeros(1, np.uint64), np.zeros(1, np.uint64)
    given = x, after, np.uint64(len(x)), *mesh_arguments(mesh), np.float64(unit)
    added(kernels, "flux", given, mesh.dimension, 2, (flux, sums, reach, lost), near)
    return flux.reshape(-1, *mesh.shape), sums, reach.view(np.float64)[0], int(lost[0])


@cases
@pytest.mark.parametrize("threads", [1, 3])
@NEAR
def test_deposits(dimension, real, threads, near):
    """Count and products are Numba's integers for any number of particles; who is off the mesh is only counted."""
    kernels = Particles(dimension, real, threads=threads)
    x, mesh = cloud(dimension, real)
    for particles in (1, 2, 503):
        expected = deposit(x[:particles], mesh)
        count, products, lost = deposited(kernels, x[:particles].copy(), mesh, near)
        assert lost == 0
        assert np.array_equal(count, expected.count)
        assert np.array_equal(products, expected.products)
    bad = x.copy()
    bad[[0, 100, 502], -1] = np.nan, np.inf, -1e30
    count, products, lost = deposited(kernels, bad, mesh, near)
    expected = deposit(np.delete(x, [0, 100, 502], axis=0), mesh)
    assert lost == 3
    assert np.array_equal(count, expected.count)
    assert np.array_equal(products, expected.products)


@cases
@NEAR
def test_flux_and_squares(dimension, real, near):
    """Flux in any unit, squares and reach are Numba's, and so are the squares without a mesh."""
    x, mesh = cloud(dimension, real)
    after = (x + np.random.default_rng(9).normal(0, 2, x.shape)).astype(x.dtype)
    after[::5] -= 30  # squares of more than 32 bits
    kernels = Particles(dimension, real, threads=2)
    for unit in (2**20, 2**11):
        expected, squares, reach = moves_of(x, after, mesh, unit)
        flux, sums, farthest, lost = fluxed(kernels, x, after, mesh, unit, near)
        assert np.array_equal(flux, expected)
        assert np.array_equal(sums, squares)
        assert (farthest, lost) == (reach, 0)
    bad = x.copy()
    bad[[0, 100, 502], -1] = np.nan, np.inf, -1e30
    rest = [np.delete(y, [0, 100, 502], axis=0) for y in (x, after)]
    got = fluxed(kernels, bad, after, mesh, 2**9, near)
    for one, other in zip(got, (*moves_of(*rest, mesh, 2**9), 3), strict=True):
        assert np.array_equal(one, other)


@cases
def test_squares(dimension, real):
    """Squares without a mesh are Numba's; so is the reach, whichever thread has it, and whatever it ends with."""
    x, mesh = cloud(dimension, real)
    after = (x + np.random.default_rng(9).normal(0, 2, x.shape)).astype(x.dtype)
    kernels, inverse = Particles(dimension, real, threads=3), np.float64(1 / mesh.spacing)
    for far in (0, 1, 502):
        after[far] = 1e5
        # As far but for the last bits: only the low halves tell them apart.
        after[250] = np.nextafter(after.dtype.type(1e5), after.dtype.type(0)) - x[far] + x[250]
        sums, reach = np.zeros(2, np.int64), np.zeros(1, np.uint64)
        kernels.launch("squares", x, after, np.uint64(len(x)), inverse, sums, reach)
        expected, farthest = squares_of(x, after, mesh)
        assert np.array_equal(sums, expected)
        assert reach.view(np.float64)[0] == farthest
        after[far] = x[far]


@NEAR
def test_flux_overflows_without_harm(near):
    """Sums wrap around modulo 2**64; the reach tells, also where a displacement is not finite."""
    mesh = Mesh(1.0, (-2,), (6,))
    x, after = np.full((40, 1), 0.5), np.full((40, 1), 2.0**29)
    kernels = Particles(1, "double")
    flux, _, reach, _ = fluxed(kernels, x, after, mesh, 2**20, near)
    assert np.array_equal(flux, moves_of(x, after, mesh, 2**20)[0])
    assert reach == 2.0**29 - 0.5
    after[7] = np.nan
    assert np.isnan(fluxed(kernels, x, after, mesh, 2**20, near)[2])


@pytest.mark.parametrize("threads", [1, 3])
@NEAR
def test_more_than_halves_hold(threads, near):
    """Sums of 32 bits overflow many times over: 250 001 particles on one node, or between two, moving either way."""
    n, one = 250_001, 2**16
    mesh, kernels = Mesh(1.0, (-2,), (6,)), Particles(1, "float", threads=threads)
    kernels.device._blocks = 1
    for where, low in ((0.0, one), (0.5, one // 2)):
        x = np.full((n, 1), where, np.float32)
        count, products, lost = deposited(kernels, x, mesh, near)
        assert (count.tolist(), lost) == ([0, 0, n * low, n * (one - low), 0, 0], 0)
        assert products.tolist() == [[0, 0, n * low * (one - low), 0, 0, 0]]
        for step in (-1.0, 0.75, -(2.0**-20)):
            after = (x.astype(np.float64) + step).astype(np.float32)
            amount = int(np.rint((float(after[0, 0]) - where) * 2**20))
            flux, sums, _, _ = fluxed(kernels, x, after, mesh, 2**20, near)
            assert flux.tolist() == [[0, 0, n * low * amount, n * (one - low) * amount, 0, 0]]
            assert sums[0] + (int(sums[1]) << 32) == n * int(np.rint((amount / 2**20) ** 2 * 2**20))


def extent(kernels, x):
    """Keys and number of broken particles, from the keys of nothing."""
    d = x.shape[1]
    keys, broken = np.zeros(2 * d, np.uint64), np.zeros(1, np.uint64)
    keys[:d] = np.iinfo(np.uint64).max
    kernels.launch("extent", x, np.uint64(len(x)), keys, broken)
    sign = np.uint64(2**63)
    bits = np.where(keys & sign, keys ^ sign, ~keys).view(np.float64)
    return bits[:d], bits[d:], int(broken[0])


@cases
def test_extent(dimension, real):
    """Lowest and highest corner are those of the finite particles; the others are counted once each."""
    x, _ = cloud(dimension, real)
    kernels = Particles(dimension, real, threads=2)
    for some in (x, x[:1], np.abs(x) + 1, -np.abs(x) - 1):
        lowest, highest, broken = extent(kernels, some.copy())
        assert np.array_equal(lowest, some.min(0))
        assert np.array_equal(highest, some.max(0))
        assert broken == 0
    bad = x * 3
    bad[0], bad[7, -1], bad[502, 0] = np.inf, np.nan, -np.inf
    rest = np.delete(bad, [0, 7, 502], axis=0)
    lowest, highest, broken = extent(kernels, bad)
    assert np.array_equal(lowest, rest.min(0))
    assert np.array_equal(highest, rest.max(0))
    assert broken == 3


@cases
def test_off(dimension, real):
    """Who is off the mesh: below, on the upper end, beyond, infinite or no number."""
    x, mesh = cloud(dimension, real)
    upper = np.array(mesh.lower) + np.array(mesh.shape) - 1
    ends = upper[-1] * mesh.spacing, mesh.lower[-1] * mesh.spacing
    outside = [ends[0], np.nextafter(x.dtype.type(ends[1]), x.dtype.type(-99)), 1e30, -1e30, np.inf, -np.inf, np.nan]
    x[20:27, -1] = outside
    x[30, -1], x[31, -1] = ends[1], np.nextafter(x.dtype.type(ends[0]), x.dtype.type(0))
    number = np.zeros(1, np.uint64)
    Particles(dimension, real).launch("off", x, np.uint64(len(x)), *mesh_arguments(mesh), number)
    assert number[0] == 7
