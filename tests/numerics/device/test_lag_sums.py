"""Sums over lags: the bits of a plain loop, the values of the transforms, and where one road becomes the other."""

import numpy as np
import pytest

from ipsdist.model.expression import Expression
from ipsdist.model.mesh import Mesh
from ipsdist.model.radial import RadialKernel
from ipsdist.numerics.convolution import convolve, force_spectra
from ipsdist.numerics.device.lag_sums import lag_sums
from ipsdist.numerics.particles.forces import mesh as road
from ipsdist.numerics.particles.forces.mesh import MeshForce


def _slow(table, weights):
    n = len(weights)
    out = []
    for a in range(n):
        total = 0.0
        for b in range(n):
            total = total + float(table[a - b + n - 1]) * float(weights[b])
        out.append(total)
    return np.array(out)


@pytest.mark.parametrize("nodes", [1, 2, 3, 17, 100])
def test_bits_of_a_plain_loop(nodes):
    """One rounding an operation, b increasing; counts are integers, some of them none."""
    rng = np.random.default_rng(nodes)
    table, weights = rng.normal(size=2 * nodes - 1), rng.integers(0, 2**50, nodes)
    weights[::3] = 0
    out = np.empty(nodes)
    lag_sums(table, weights, out)
    assert out.tobytes() == (_slow(table, weights) + 0.0).tobytes()


@pytest.mark.parametrize("potential", [None, "x**2/2 - cos(x)"])
def test_both_roads_agree(potential, monkeypatch):
    """A line that is short enough for sums has, to rounding, the drift that transforms find."""
    kernel = RadialKernel.parse("r - 2*exp(-r)")
    outside = None if potential is None else Expression.parse(potential, ("x",), "system.potential")
    mesh = Mesh(2.0**-4, (-90,), (180,))
    count = np.random.default_rng(0).integers(0, 2**30, mesh.shape)
    particles = int(count.sum()) // 2**16
    short = MeshForce(kernel, outside, particles)
    found = short.node_drift(mesh, count)
    table, external = short.lag_table(mesh)
    monkeypatch.setattr(road, "SHORT", 0)
    long = MeshForce(kernel, outside, particles)
    expected = long.node_drift(mesh, count)
    assert long.lag_table(mesh) is None
    assert np.abs(found - expected).max() < 1e-13 * np.abs(expected).max()
    again = np.empty(mesh.shape)
    lag_sums(table, count, again)
    assert np.array_equal(again + external, found[0])
    whole = convolve(force_spectra(mesh, kernel), count / -(2.0**16 * particles), mesh)
    np.testing.assert_allclose(found[0] - external, whole[0], atol=1e-13 * np.abs(whole).max())


def test_lines_beyond_the_limit_take_transforms():
    """And the step after a mesh has grown beyond it does as well."""
    force = MeshForce(RadialKernel.parse("r"), None, 10)
    assert force.lag_table(Mesh(0.5, (0,), (400,))) is not None
    assert force.lag_table(Mesh(0.5, (0,), (401,))) is None
    assert force.lag_table(Mesh(0.5, (0, 0), (20, 20))) is None
    assert MeshForce(None, None, 10).lag_table(Mesh(0.5, (0,), (20,))) is None
