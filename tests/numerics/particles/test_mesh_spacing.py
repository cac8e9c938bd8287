"""The mesh spacing: powers of two, the error it promises, what makes it finer."""

import numpy as np
import pytest

from ipsdist.model.mesh import Mesh
from ipsdist.model.radial import RadialKernel
from ipsdist.model.system import Mixture
from ipsdist.numerics.densities.deposit import deposit
from ipsdist.numerics.particles.forces import particle_force
from ipsdist.numerics.particles.forces.mesh import MeshForce, interpolate
from ipsdist.numerics.particles.initial import sample
from ipsdist.numerics.particles.mesh_spacing import choose_spacing, data_spacing, force_errors, power_of_two

CUBIC = RadialKernel.parse("3*r**2")
SINGULAR = RadialKernel.parse("r-r**-1.5", 0.05)


def _sample(dimension, n=4096):
    first, second = (1.0, *[0.0] * (dimension - 1)), (-1.0, *[0.0] * (dimension - 1))
    return sample(Mixture((0.5, 0.5), (first, second), (0.25, 0.25)), dimension, 1, 0, 0, n)


@pytest.mark.parametrize(("dimension", "cells"), [(1, 32), (2, 7), (3, 5)])
def test_smooth_kernels_need_only_the_law(dimension, cells):
    """For a smooth kernel it is the largest power of two with enough cells in a standard deviation."""
    x = _sample(dimension)
    spacing = choose_spacing(CUBIC, x, 20_000, dimension, None)
    assert spacing == power_of_two(x.std(axis=0).max() / cells)
    assert np.log2(spacing) % 1 == 0
    assert cells <= x.std(axis=0).max() / spacing < 2 * cells


def test_cutoff_in_one_dimension():
    """Twenty cells in the cut-off."""
    assert choose_spacing(SINGULAR, _sample(1), 20_000, 1, 0.05) == 2.0**-9


@pytest.mark.parametrize("particles", [20_000, 1_000_000])
def test_error_is_below_the_sampling_error(particles):
    """The spacing is refined until the force error is at most 0.3 sampling errors: finer for more particles."""
    x = _sample(2)
    kernel = RadialKernel.parse("exp(-r)")
    spacing = choose_spacing(kernel, x, particles, 2, None)
    error, floor = force_errors(kernel, x, particles, spacing)
    assert error <= 0.3 * floor
    assert spacing == {20_000: 0.125, 1_000_000: 0.03125}[particles]
    coarse, _ = force_errors(kernel, x, 1_000_000, 0.125)
    assert coarse > 0.3 * force_errors(kernel, x, 1_000_000, 0.125)[1]


@pytest.mark.parametrize("spacing", [0.25, 0.5])
def test_measured_error_is_that_of_the_force(spacing):
    """Without extrapolation the measured error is the one seen against the direct sum, within a fifth."""
    x, kernel = _sample(1, 250), RadialKernel.parse("exp(-r)")
    mesh = Mesh.around(x.min(0), x.max(0), spacing)
    found = interpolate(MeshForce(kernel, None, len(x)).node_drift(mesh, deposit(x, mesh).count), mesh, x)
    truth = np.sqrt(((found - particle_force("direct", kernel, None, 1)(x)) ** 2).mean())
    error, floor = force_errors(kernel, x, len(x), spacing)
    assert error == pytest.approx(truth, rel=0.2)
    z = 0.5 - _sample(1, 40 * 250).reshape(40, 250)  # forty other draws of the sources
    assert floor == pytest.approx((np.exp(-np.abs(z)) * np.sign(z)).mean(axis=1).std(), rel=0.4)


def test_degenerate_samples():
    """One particle, and many at one place, still get a mesh."""
    for x in (np.zeros((1, 2)), np.ones((50, 2))):
        assert choose_spacing(CUBIC, x, len(x), 2, None) == 1.0
    assert choose_spacing(SINGULAR, np.zeros((1, 1)), 1, 1, 0.05) == 2.0**-9


def test_deterministic():
    """The same sample gives the same spacing; a longer array is thinned evenly."""
    x = _sample(1, 20_000)
    assert choose_spacing(SINGULAR, x, 20_000, 1, 0.05) == choose_spacing(SINGULAR, x.copy(), 20_000, 1, 0.05)


def test_more_particles_get_a_finer_mesh():
    """Fifty times the particles, of a run or of its replicas: 2.7 times the cells, rounded to a power of two."""
    x = _sample(1)
    usual = choose_spacing(CUBIC, x, 20_000, 1, None)
    many = choose_spacing(CUBIC, x, 1_000_000, 1, None)
    assert many in (usual / 2, usual / 4)
    assert choose_spacing(CUBIC, x, 20_000, 1, None, replicas=50) == many
    assert data_spacing(x, None, 1_000_000) == many
    assert data_spacing(x, None, 500) == data_spacing(x, None, 20_000)
