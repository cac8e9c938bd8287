"""Pair sums in CUDA text, run on the host, against the Numba sums, bit for bit, and against double precision."""

import numpy as np
import pytest

from ipsdist.model.radial import RadialKernel
from ipsdist.numerics.particles.forces.device_direct import DeviceDirect, device_direct_sums, pairs_text
from ipsdist.numerics.particles.forces.direct import direct_sums
from tests.host_device import COMPILER, HostDevice
from tests.references import pair_drift

pytestmark = pytest.mark.skipif(COMPILER is None, reason="g++ compiles CUDA text for the host; there is none")

PIECES = RadialKernel.from_pieces([(1.5, "1-1/r"), (2.0, "r/7"), (None, "0")], 0.05)
EXACT = [RadialKernel.parse("3*r**2"), RadialKernel.parse("r-r**-1.5", 0.05), PIECES]
OTHER = [RadialKernel.parse("exp(-r)*sin(3*r)+sign(r-1)*log(1+r)"), RadialKernel.parse("cos(r)/(1+r)**0.3-r**(1/3)")]


def _positions(dimension, particles=700):
    x = np.random.default_rng(dimension).normal(0.3, 1.5, (particles, dimension))
    x[7] = x[9]  # two at one place exert no force on each other
    return x


def _sums(device, kernel, x, dtype=np.float64, arithmetic=np.float64, fast=False):
    out = device.zeros(x.shape, np.float64)
    positions = device.array(x.astype(dtype))
    DeviceDirect(device, kernel, x.shape[1], dtype, arithmetic, fast).add(positions, positions, out)
    return device.to_host(out)


@pytest.mark.parametrize("kernel", EXACT, ids=lambda k: k.name)
@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_bits_are_those_of_numba(kernel, dimension):
    """Products, quotients and roots alone, a cut-off and pieces: equal to the last bit, more than a tile of sources."""
    x = _positions(dimension)
    np.testing.assert_array_equal(_sums(HostDevice(), kernel, x), direct_sums(kernel)(x))


@pytest.mark.parametrize("kernel", OTHER, ids=lambda k: k.name)
def test_other_functions(kernel):
    """exp, log, sin, cos and real powers: a few units in the last place of the largest term of a sum."""
    x = _positions(2)
    largest = np.abs(kernel(np.linalg.norm(x[:, None] - x, axis=2))).max()
    found, expected = _sums(HostDevice(), kernel, x), direct_sums(kernel)(x)
    np.testing.assert_allclose(found, expected, rtol=0, atol=4 * np.spacing(largest * len(x)))


@pytest.mark.parametrize("threads", [1, 3])
def test_blocks_of_several_threads(threads):
    """Tiles that several threads load together, blocks that take several blockfuls: the same bits."""
    x = _positions(2, 530)
    device = HostDevice(threads=threads, blocks=2)
    np.testing.assert_array_equal(_sums(device, EXACT[1], x), direct_sums(EXACT[1])(x))


def test_float32_positions_are_exact_in_float64():
    """Positions kept in float32 give the sums of those positions in float64."""
    x = _positions(2, 100)
    expected = direct_sums(EXACT[1])(x.astype(np.float32).astype(np.float64))
    np.testing.assert_array_equal(_sums(HostDevice(), EXACT[1], x, np.float32), expected)


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("dimension", [1, 2])
@pytest.mark.parametrize("kernel", [*EXACT, *OTHER], ids=lambda k: k.name)
def test_float32_arithmetic(kernel, dimension, fast):
    """Pairs in float32: each within some 2**-21 of the largest; their sums, in double, keep that of random signs."""
    x = _positions(dimension).astype(np.float32).astype(np.float64)
    largest = np.abs(kernel(np.linalg.norm(x[:, None] - x, axis=2))).max()
    found = _sums(HostDevice(), kernel, x, np.float32, np.float32, fast)
    error = np.abs(found - direct_sums(kernel)(x)).max()
    assert 0 < error < 2.0**-21 * largest * len(x)


def test_sources_in_pieces():
    """Sources piece by piece continue one sum, targets in part are those rows, and the scale is the last rounding."""
    device, kernel, x = HostDevice(), EXACT[1], _positions(2, 90)
    direct = DeviceDirect(device, kernel, 2)
    positions, out = device.array(x), device.zeros((40, 2), np.float64)
    targets = positions[20:60]
    direct.add(targets, positions[:33], out)
    direct.add(targets, positions[33:], out, -1 / 90)
    np.testing.assert_array_equal(device.to_host(out), direct_sums(kernel)(x)[20:60] * (-1 / 90))


def test_drift_and_the_function_of_the_host():
    """The drift of all particles against the double loop; the function on arrays of the host has the bits of Numba."""
    device, kernel, x = HostDevice(), EXACT[0], _positions(2, 60)
    drift = device.to_host(DeviceDirect(device, kernel, 2).drift(device.array(x)))
    expected = pair_drift(kernel, x)
    np.testing.assert_allclose(drift, expected, rtol=0, atol=1e-12 * np.abs(expected).max())
    np.testing.assert_array_equal(device_direct_sums(device, kernel)(x), direct_sums(kernel)(x))


def test_not_finite_positions_spread():
    """A particle at infinity or nowhere makes every sum NaN, as in Numba."""
    for place in (np.inf, np.nan):
        x = _positions(1, 20)
        x[3] = place
        assert np.isnan(_sums(HostDevice(), EXACT[0], x)).all()
        assert np.isnan(direct_sums(EXACT[0])(x)).all()


def test_no_particles_and_no_sources():
    """None give nothing, and no launch of no blocks."""
    device = HostDevice()
    direct = DeviceDirect(device, EXACT[0], 2)
    assert device.to_host(direct.drift(device.zeros((0, 2), np.float64))).shape == (0, 2)
    out = device.array(np.ones((3, 2)))
    direct.add(device.zeros((3, 2), np.float64), device.zeros((0, 2), np.float64), out, 5.0)
    np.testing.assert_array_equal(device.to_host(out), 5.0)


def test_few_particles_are_spread_over_all_processors():
    """Blocks shrink until there is one for every processor, not below a warp; what is shared holds one tile."""
    device = HostDevice()
    device.processors = 20
    direct = DeviceDirect(device, EXACT[0], 3, np.float32, np.float32)
    for n in (1, 700, 20 * 256 + 1):
        x = device.zeros((n, 3), np.float32)
        direct.add(x, device.zeros((1, 3), np.float32), device.zeros((n, 3), np.float64))
    assert [(blocks, threads) for _, blocks, threads, _ in device.launches] == [(1, 32), (22, 32), (21, 256)]
    assert {shared for *_, shared in device.launches} == {3 * 512 * 4}


def test_refusals():
    """Types and shapes that do not fit, before a launch."""
    device = HostDevice()
    with pytest.raises(ValueError, match="`fast` needs arithmetic in float32"):
        pairs_text(EXACT[0], 1, np.float64, np.float64, fast=True)
    with pytest.raises(ValueError, match="`dtype` must be float32 or float64; got int32"):
        DeviceDirect(device, EXACT[0], 1, np.int32)
    direct, x, out = (
        DeviceDirect(device, EXACT[0], 2),
        device.zeros((4, 2), np.float64),
        device.zeros((4, 2), np.float32),
    )
    with pytest.raises(ValueError, match=r"an array \(4, 2\) float64 is needed; got \(4, 2\) float32"):
        direct.add(x, x, out)
    assert not device.launches
