"""Clouds on a device and what they are compared with, for the tests of them."""

import numpy as np
import pytest

from ipsdist.model.mesh import Mesh
from ipsdist.numerics.particles.cloud import Motion, Noise
from ipsdist.numerics.particles.device_cloud import DeviceCloud
from tests.host_device import HostDevice

N, CHUNK = 1003, 236
"""Five pieces, the last one neither whole nor a whole number of Philox blocks."""
MOTION, NOISE = Motion(0.01, 0.1, 9), Noise(2**32 + 24, 4, 11, 5)
KINDS = pytest.mark.parametrize("kind", ["float32", "float64"])
DIMENSIONS = pytest.mark.parametrize("dimension", [1, 2, 3])
KEPT = pytest.mark.parametrize("resident", [True, False])


def cloud_of(x, device=None, resident=True, chunk=CHUNK):
    """Return a cloud on a device, kept there or passed through."""
    return DeviceCloud.filled(
        HostDevice() if device is None else device, x.shape, x.dtype, lambda a, b: x[a:b], chunk, resident
    )


def setting(dimension, kind, n=N, seed=0):
    """Return positions, a mesh that holds them before and after a step, and a drift in the type of the positions."""
    rng = np.random.default_rng([dimension, seed])
    x = rng.normal(0.3, 0.4, (n, dimension)).astype(kind)
    mesh = Mesh.around(x.min(0, initial=0) - 1, x.max(0, initial=0) + 1, 2.0**-3)
    return x, mesh, rng.normal(size=(dimension, *mesh.shape)).astype(kind)


def same(cloud, other):
    """Assert that two clouds have the same positions, to the last bit."""
    n = other.shape[0]
    assert cloud.shape == other.shape
    assert cloud.dtype == other.dtype
    assert cloud.rows(0, n).tobytes() == other.rows(0, n).tobytes()
