"""Launches of the CUDA text on the host: arguments in the order of the text, results as NumPy arrays."""

import math

import numpy as np

from ipsdist.numerics.device.cuda import text
from ipsdist.numerics.particles.noise import NORMAL_TABLE
from tests.host_device import HostDevice

DTYPES = {"float": np.float32, "double": np.float64}
NAMES = (
    "step", "move", "pack", "deposit", "deposit_near", "flux", "flux_near", "squares", "extent", "off", "draw_mixture",
    "draw_uniform",
)  # fmt: skip


def mesh_arguments(mesh):
    """Lower corner, sides and 1 / spacing, as kernels take them."""
    rest = 3 - mesh.dimension
    lower, sides = (*mesh.lower, *[0] * rest), (*mesh.shape, *[1] * rest)
    return *map(np.int64, lower), *map(np.int64, sides), np.float64(1 / mesh.spacing)


class Particles:
    """Functions of particles.cu for one dimension and type; ``threads`` of a block run at the same time."""

    def __init__(self, dimension, real, nodes=1, field=1, packed=0, threads=1):
        self.d, self.dtype, self.nodes, self.field, self.packed = dimension, DTYPES[real], nodes, field, packed
        self.device = HostDevice(threads=threads)
        defines = {"D": dimension, "REAL": real, "NODES": nodes, "FIELD": field, "PACKED": packed}
        self.functions = self.device.program(text("particles", **defines), NAMES)
        self.table = self.device.array(NORMAL_TABLE)

    def launch(self, name, *arguments, shared=0):
        """Launch with NumPy arrays in place of device arrays, which receive what the kernel made of them."""
        device = [self.device.array(a) if isinstance(a, np.ndarray) else a for a in arguments]
        self.functions[name](7, 64, device, shared=shared)
        for given, array in zip(arguments, device, strict=True):
            if isinstance(given, np.ndarray):
                self.device.to_host(array, out=given)

    def step(self, x, drift, mesh, dt, scale, noise, count):
        """Step positions (n, d) and add to count (nodes...); return how many left and how many were off before."""
        first, number, stream, low, high = noise
        size = math.prod(mesh.shape)
        drift = drift.reshape(self.d, size)
        if self.packed:
            given, drift = drift, np.full((size, 4 if self.d == 3 else self.d), np.nan, drift.dtype)
            self.launch("pack", np.ascontiguousarray(given), np.uint64(size), drift)
        shared = self.nodes * size * (4 + self.field * self.d * x.dtype.itemsize)
        lost, counts = np.zeros(2, np.uint64), count.reshape(-1)
        self.launch(
            "step", x, np.uint64(len(x)), np.ascontiguousarray(drift), *mesh_arguments(mesh),
            np.float64(dt), np.float64(scale), NORMAL_TABLE.copy(), np.uint64(first),
            *map(np.uint32, (number, stream, low, high)), counts, lost, shared=shared,
        )  # fmt: skip
        return tuple(int(i) for i in lost)
