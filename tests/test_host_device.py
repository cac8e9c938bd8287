"""The device of the tests: it runs CUDA text, has threads and barriers, and refuses what a GPU would not do."""

import numpy as np
import pytest

from ipsdist.arrays import DeviceMemoryError
from tests.host_device import COMPILER, HostDevice

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no g++ to compile CUDA text for the host")

TEXT = """
extern "C" __global__ void axpy(double* y, const float* x, unsigned long long n, double a) {
    for (unsigned long long i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
        y[i] = __dadd_rn(y[i], __dmul_rn(a, (double)x[i]));
}
extern "C" __global__ void histogram(const unsigned int* x, unsigned int n, unsigned int bins,
                                     unsigned long long* out) {
    extern __shared__ unsigned int memory[];
    for (unsigned int k = threadIdx.x; k < bins; k += blockDim.x) memory[k] = 0;
    __syncthreads();
    for (unsigned int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
        atomicAdd(memory + x[i], 1u);
    __syncthreads();
    for (unsigned int k = threadIdx.x; k < bins; k += blockDim.x) atomicAdd(out + k, (unsigned long long)memory[k]);
}
"""


@pytest.mark.parametrize("threads", [1, 3])
def test_kernels_run(threads):
    """Strided loops see every element once; barriers order the shared memory of threads that run at the same time."""
    device = HostDevice(threads=threads)
    program = device.program(TEXT, ["axpy", "histogram"])
    x, y = np.arange(11, dtype=np.float32), np.ones(11)
    out = device.array(y)
    program["axpy"](7, 128, [out, device.array(x), np.uint64(11), np.float64(0.1)])
    assert np.array_equal(device.to_host(out), y + 0.1 * x.astype(np.float64))
    values = np.random.default_rng(1).integers(0, 9, 20_000).astype(np.uint32)
    count = device.zeros((9,), np.uint64)
    program["histogram"](5, 64, [device.array(values), np.uint32(20_000), np.uint32(9), count], shared=36)
    assert np.array_equal(device.to_host(count), np.bincount(values, minlength=9))
    assert [launch[:3] for launch in device.launches] == [("axpy", 7, 128), ("histogram", 5, 64)]


def test_wrong_arguments():
    """A Python number, another type, a NumPy array or too few arguments are refused before anything runs."""
    device = HostDevice()
    axpy = device.program(TEXT, ["axpy"])["axpy"]
    x, y = device.zeros((3,), np.float32), device.zeros((3,), np.float64)
    for arguments in (
        [y, x, 3, np.float64(1)], [y, x, np.int64(3), np.float64(1)], [y, y, np.uint64(3), np.float64(1)],
        [np.ones(3), x, np.uint64(3), np.float64(1)], [y, x, np.uint64(3)],
    ):  # fmt: skip
        with pytest.raises(TypeError):
            axpy(1, 32, arguments)
    with pytest.raises(ValueError, match="no such launch"):
        axpy(1, 2048, [y, x, np.uint64(3), np.float64(1)])


def test_writing_beyond():
    """What is written behind an array, or behind the shared memory asked for, is noticed."""
    device = HostDevice()
    program = device.program(TEXT, ["axpy", "histogram"])
    y, x = device.zeros((3,), np.float64), device.array(np.ones(4, np.float32))
    with pytest.raises(AssertionError, match="beyond an array"):
        program["axpy"](1, 32, [y, x, np.uint64(4), np.float64(1)])
    arguments = [device.zeros((2,), np.uint32), np.uint32(2), np.uint32(9), device.zeros((9,), np.uint64)]
    with pytest.raises(AssertionError, match="shared memory"):
        program["histogram"](1, 32, arguments, shared=32)


def test_arrays_are_no_numpy():
    """Everything that would quietly work on the host raises."""
    device = HostDevice()
    a = device.zeros((4, 2), np.float64)
    rows = np.ones((2, 2))
    for use in (
        lambda: np.asarray(a), lambda: np.sum(a), lambda: a + 1, lambda: rows * a, lambda: list(a), lambda: a[0],
        lambda: a == a, lambda: float(a), lambda: len(a), lambda: np.add(a, 1), lambda: a[::2],
    ):  # fmt: skip
        with pytest.raises(TypeError):
            use()
    device.array(rows, out=a[1:3])
    assert np.array_equal(device.to_host(device.copy(a[:3])), [[0, 0], [1, 1], [1, 1]])
    assert (a[1:3].shape, a.nbytes, a.dtype) == ((2, 2), 64, np.float64)
    with pytest.raises(ValueError, match="equal shapes"):
        device.copy(a[:2], out=a[1:])


def test_memory():
    """Memory is counted, refused when it is used up, and given back with the last view."""
    device = HostDevice(memory=100)
    a = device.empty((10,), np.float64)[2:]
    with pytest.raises(DeviceMemoryError) as error:
        device.zeros((3,), np.float64)
    assert (error.value.wanted, error.value.free, device.free_bytes()) == (24, 20, 20)
    del a
    assert device.free_bytes() == 100
