"""Jumps of a kernel on the mesh: nodes hold a step at its place, and the force of a jump is that of the pairs."""

import numpy as np
import pytest

from ipsdist.model.mesh import Mesh
from ipsdist.model.radial import RadialKernel
from ipsdist.numerics.convolution import force_table, lag_radii, spread_step
from ipsdist.numerics.densities.deposit import deposit
from ipsdist.numerics.particles.forces.direct import direct_sums
from ipsdist.numerics.particles.forces.mesh import MeshForce, interpolate


@pytest.mark.parametrize("place", [0.0, 0.2, 0.5, 0.93])
def test_spread_step_keeps_two_moments(place):
    """Against 1 and x, the nodes of distance 1 sum to the integrals of the step; a sampled one stands at 0.5."""
    nodes = np.arange(-5.0, 11.0)
    spread = spread_step(nodes - place)
    end = 10.0
    weights = np.where(nodes == end, 0.5, 1.0)
    assert (weights * spread).sum() == pytest.approx(end - place, abs=1e-12)
    assert (weights * nodes * spread).sum() == pytest.approx((end**2 - place**2) / 2, abs=1e-12)
    sampled = (weights * (nodes > place)).sum() - (end - place)
    assert sampled == pytest.approx(place - 0.5, abs=1e-12)
    assert spread_step(np.array([-1.0, 0.0, 1.0])).tolist() == [0.0, 0.5, 1.0]


def test_a_jump_in_the_table():
    """Of a kernel in pieces the nodes beside the jump are changed alone; a continuous one is as sampled."""
    mesh = Mesh(1 / 16, (-20,), (41,))
    radii = lag_radii(mesh)
    kernel = RadialKernel.from_pieces([(1.02, "0.5*r"), (None, "2")])
    table, sampled = force_table(mesh, kernel)[0], kernel(radii) * np.sign(np.arange(len(radii)) - len(radii) // 2)
    assert set(np.round(radii[np.abs(table - sampled) > 1e-12], 4)) == {1.0, 1.0625}
    smooth = RadialKernel.from_pieces([(1.0, "r"), (None, "2-r")])
    signs = np.sign(np.arange(len(radii)) - len(radii) // 2)
    np.testing.assert_allclose(force_table(mesh, smooth)[0], smooth(radii) * signs, atol=1e-15)


@pytest.mark.parametrize("place", [1.5, 1.52, 1.54])
def test_the_mesh_force_moves_no_break(place):
    """A thousand particles each at 0 and about a place: the mean force is that of exact pairs wherever the jump is.

    The particles about 1.5 spread over 0.3, so that a jump moved by dx changes the share of pairs beyond it by
    3.3 dx; half a cell of 1/16 would be 0.05 of the force, while what is left is below 0.002.
    """
    rng = np.random.default_rng(3)
    x = np.concatenate([0.05 * rng.standard_normal(1000), rng.uniform(1.35, 1.65, 1000)])[:, None]
    kernel = RadialKernel.from_pieces([(place, "1"), (None, "0")])
    mesh = Mesh.around(x.min(0) - 0.5, x.max(0) + 0.5, 1 / 16)
    drift = interpolate(MeshForce(kernel, None, len(x)).node_drift(mesh, deposit(x, mesh).count), mesh, x)
    exact = -direct_sums(kernel)(x) / len(x)
    assert abs(drift[:1000].mean() - exact[:1000].mean()) < 0.002
