"""The device of CuPy on a stand-in for CuPy: copies, order of calls, errors in words; on a GPU where there is one."""

import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from ipsdist.arrays import DeviceMemoryError, NoDeviceError, cuda, find_device
from tests.arrays.fake_cupy import fake_cupy

TEXT = 'extern "C" __global__ void twice(double* x, unsigned n, double f) {\
 for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) x[i] *= f; }'


@pytest.fixture
def cupy(monkeypatch):
    """A stand-in for CuPy with two GPUs, in the place of CuPy; small copies are those of 64 bytes."""
    return _install(monkeypatch, gpus=2)


def _install(monkeypatch, **how):
    fake = fake_cupy(**how)
    monkeypatch.setitem(sys.modules, "cupy", fake)
    monkeypatch.setattr(cuda, "_STAGE", 64)
    find_device.cache_clear()
    return fake


@pytest.fixture(autouse=True)
def _forget():
    """No test leaves its device to another one."""
    yield
    find_device.cache_clear()


@pytest.fixture(params=["stand-in", "gpu"])
def device(request, monkeypatch):
    """The device with the stand-in, and the first GPU where this machine has one."""
    if request.param == "stand-in":
        _install(monkeypatch)
    try:
        return cuda.CudaDevice()
    except NoDeviceError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("size", [0, 3, 5000])
def test_copies_to_and_from_the_device(device, size):
    """Small ones, large ones and none come back as they were; what is changed afterwards changes nothing."""
    values = np.arange(2 * size, dtype=np.float64).reshape(2, size)
    there = device.array(values)
    kept = values.copy()
    values[...] = -1
    np.testing.assert_array_equal(device.to_host(there), kept)
    again = device.copy(there)
    device.array(values, there)
    np.testing.assert_array_equal(device.to_host(again), kept)
    out = np.zeros((size, 2))
    assert device.to_host(there, out.T) is not None
    np.testing.assert_array_equal(out.T, values)
    np.testing.assert_array_equal(device.to_host(device.array(kept[:, ::-1])), kept[:, ::-1])
    np.testing.assert_array_equal(device.to_host(device.zeros((size, 2), np.uint32)), np.zeros((size, 2), np.uint32))
    device.synchronise()
    device.release()


def test_many_small_copies_are_not_mixed_up(device):
    """More uploads than buffers, each its own."""
    there = [device.array(np.full(8, i, dtype=np.int64)) for i in range(11)]
    np.testing.assert_array_equal([device.to_host(t) for t in there], np.arange(11)[:, None].repeat(8, axis=1))


def test_copies_refuse_what_does_not_fit(device):
    """Other shapes, other types, arrays of the host where those of the device belong, and the other way round."""
    there = device.array(np.zeros(3))
    for given in (np.zeros(4), np.zeros(3, np.float32)):
        with pytest.raises(ValueError, match="copies need equal shapes and types"):
            device.array(given, there)
        with pytest.raises(ValueError, match="copies need equal shapes and types"):
            device.to_host(there, given)
    with pytest.raises(TypeError, match="an array of this device is needed; got ndarray"):
        device.copy(np.zeros(3))
    with pytest.raises(TypeError, match="an array of this device is needed; got ndarray"):
        device.to_host(np.zeros(3))
    with pytest.raises(TypeError, match="an array of NumPy is needed; got list"):
        device.array([1.0, 2.0])


def test_addresses(device):
    """Of an array, of rows of it, and none of what is not its own."""
    there = device.zeros((6, 2), np.float32)
    assert device.address(there) == there.data.ptr > 0
    if device.name != "GPU 0":  # the stand-in has no rows
        assert device.address(there[2:]) == device.address(there) + 16
    with pytest.raises(TypeError, match="an array of this device is needed; got ndarray"):
        device.address(np.zeros(3))


def test_kernels_on_a_gpu(device):
    """A kernel, rows of an array as its argument, and more shared memory than a kernel has unasked."""
    if device.name == "GPU 0":
        pytest.skip("the stand-in runs no kernels")
    there = device.array(np.arange(10.0).reshape(5, 2))
    twice = device.program(TEXT, ["twice"])["twice"]
    twice(1, 32, [there[1:3], np.uint32(4), np.float64(2.0)])
    twice(2, 32, [there, np.uint32(10), np.float64(3.0)], shared=device.shared_bytes)
    expected = np.arange(10.0).reshape(5, 2) * 3
    expected[1:3] *= 2
    np.testing.assert_array_equal(device.to_host(there), expected)
    with pytest.raises(DeviceMemoryError):
        device.empty((2**50,), np.float64)


def test_what_it_says_of_itself(cupy):
    """Name, processors, shared memory, and free memory with that of the pool."""
    device = find_device(1)
    assert (device.name, device.processors, device.shared_bytes) == ("GPU 1", 132, 227 * 1024)
    device._pool.kept = 100
    assert device.free_bytes() == 2**20 + 100
    assert find_device(1) is device


def test_out_of_memory(cupy):
    """What CuPy keeps for itself is freed first; then both numbers are said."""
    device = find_device()
    cupy.state.elsewhere = 2**19
    assert device.empty((2**20,), np.uint8).nbytes == 2**20
    with pytest.raises(DeviceMemoryError) as caught:
        device.zeros((2**17 + 1,), np.float64)
    assert (caught.value.wanted, caught.value.free) == (2**20 + 8, 2**20)
    assert isinstance(caught.value, MemoryError)


def test_a_text_is_compiled_once_without_contraction(cupy):
    """With the options that the bits need; its functions are the same objects."""
    device = find_device()
    first = device.program("text", ["a"])["a"]
    assert device.program("text", ["a", "b"])["a"] is first
    device.program("other", ["a"])
    options = "--gpu-architecture=sm_90", "-std=c++17", "--fmad=false", "--ftz=false"
    assert [(text, given[:4]) for text, given in cupy.state.compiled[1:]] == [(t, options) for t in ("text", "other")]


def test_launches(cupy):
    """Blocks, threads and arguments in their order; large shared memory is asked for once, when it grows."""
    device = find_device()
    kernel, x = device.program("text", ["a"])["a"], device.zeros((3,), np.float64)
    arguments = [x, np.uint64(3), np.float64(0.5)]
    for shared in (0, 100_000, 50_000, 200_000):
        kernel(7, 128, arguments, shared)
    asked = "max_dynamic_shared_size_bytes"
    assert [entry[1] for entry in cupy.state.launches if entry[0] == asked] == [100_000, 200_000]
    launches = [entry for entry in cupy.state.launches if entry[0] == "a"]
    assert [entry[1:3] + entry[4:] for entry in launches] == [((7,), (128,), s) for s in (0, 100_000, 50_000, 200_000)]
    assert all(a is b for a, b in zip(launches[0][3], arguments, strict=True))
    before = len(cupy.state.launches)
    for wrong in (3, 0.5, np.zeros(3), None):
        with pytest.raises(TypeError, match="argument 1 of a must be of the device or a NumPy scalar"):
            kernel(1, 1, [x, wrong])
    assert len(cupy.state.launches) == before


def test_every_call_is_made_on_its_own_gpu_from_any_thread(cupy):
    """Two devices in two threads, one inside the other's context: each call had its GPU and the default stream."""
    first, second = find_device(0), find_device(1)
    failures = []

    def work(device):
        try:
            kernel = device.program(f"text {device.name}", ["a"])["a"]
            for size in (2, 50):
                kernel(1, 1, [device.copy(device.array(np.zeros(size)))], 64)
                device.to_host(device.zeros((size,), np.float64))
            device.free_bytes()
            device.synchronise()
            device.release()
        except BaseException as error:
            failures.append(error)

    cupy.state.calls.clear()
    with cupy.cuda.Device(0), cupy.cuda.Stream.null:
        thread = threading.Thread(target=work, args=(second,))
        thread.start()
        thread.join()
    assert not failures
    assert {call[1:] for call in cupy.state.calls} == {(1, "null")}
    cupy.state.calls.clear()
    work(first)
    assert not failures
    assert {call[1:] for call in cupy.state.calls} == {(0, "null")}


def test_a_buffer_is_waited_for_before_it_is_used_again(cupy):
    """Uploads go on without waiting until every buffer has been used; large ones are waited for."""
    device = find_device()
    cupy.state.calls.clear()
    for _ in range(6):
        device.array(np.zeros(2))
    waits = [call[0] for call in cupy.state.calls if "wait" in call[0]]
    assert waits == ["no wait"] * 4 + ["wait"] * 2
    assert "synchronize" not in [call[0] for call in cupy.state.calls]
    device.array(np.zeros(100))
    assert [call[0] for call in cupy.state.calls[-2:]] == ["set", "synchronize"]


TOO_OLD = "the driver is too old: it is for CUDA 12.2, CuPy for 13.2"


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"gpus": 0}, "no GPU was found"),
        ({"error": (100, "cudaErrorNoDevice: no CUDA-capable device is detected")}, "no GPU was found"),
        ({"error": (35, "cudaErrorInsufficientDriver: ..."), "driver": 0}, "no GPU was found"),
        ({"error": (35, "cudaErrorInsufficientDriver: ..."), "driver": 12020}, TOO_OLD),
        (
            {"error": (46, "cudaErrorDevicesUnavailable: busy")},
            "the GPU cannot be used: cudaErrorDevicesUnavailable: busy",
        ),
    ],
)
def test_no_device(monkeypatch, how, reason):
    """Why there is none, in words; the next call looks again."""
    _install(monkeypatch, **how)
    with pytest.raises(NoDeviceError) as caught:
        find_device()
    assert str(caught.value) == reason
    _install(monkeypatch)
    assert find_device().name == "GPU 0"


def test_no_such_gpu(cupy):
    """A number that is too high."""
    with pytest.raises(NoDeviceError, match="GPU 2 was not found, there are 2"):
        find_device(2)


def test_no_cupy(monkeypatch):
    """CuPy is missing, or a library that it needs."""
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(NoDeviceError, match="CuPy is not installed"):
        find_device()

    def missing():
        raise RuntimeError("CuPy failed to load libnvrtc.so.13\nsome advice")

    monkeypatch.setitem(
        sys.modules, "cupy", SimpleNamespace(cuda=SimpleNamespace(nvrtc=SimpleNamespace(getVersion=missing)))
    )
    with pytest.raises(NoDeviceError) as caught:
        find_device()
    assert (
        str(caught.value) == "CuPy does not find the CUDA libraries that it needs: CuPy failed to load libnvrtc.so.13"
    )


def test_a_gpu_that_nothing_can_be_compiled_for(monkeypatch):
    """One that is older than the compiler: found before anybody leans on it."""
    _install(monkeypatch).state.refuses = True
    with pytest.raises(NoDeviceError, match="nothing can be compiled for GPU 0: NVRTC refused the text for sm_90"):
        find_device()


def test_a_folder_of_cupy_that_cannot_be_made(monkeypatch):
    """Its import fails where there is no home directory."""

    def missing():
        raise FileNotFoundError(2, "No such file or directory", "/home/nobody/.cupy")

    monkeypatch.setitem(
        sys.modules, "cupy", SimpleNamespace(cuda=SimpleNamespace(nvrtc=SimpleNamespace(getVersion=missing)))
    )
    with pytest.raises(NoDeviceError, match=r"CuPy cannot use /home/nobody/\.cupy; set CUPY_CACHE_DIR to a folder"):
        find_device()


def test_the_gpu_fails_at_its_first_use(monkeypatch):
    """An exclusive GPU that another process has."""
    fake = _install(monkeypatch)

    def busy():
        raise fake.cuda.runtime.CUDARuntimeError(46, "cudaErrorDevicesUnavailable: busy")

    fake.cuda.runtime.memGetInfo = busy
    with pytest.raises(NoDeviceError, match="the GPU cannot be used: cudaErrorDevicesUnavailable: busy"):
        find_device()


def test_the_stand_in_has_the_names_of_cupy():
    """Whatever the stand-in is asked for exists in CuPy under that name."""
    real = pytest.importorskip("cupy")
    fake = fake_cupy()

    def compare(a, b, path):
        for name in vars(a):
            assert hasattr(b, name), f"{path}.{name}"
            if isinstance(getattr(a, name), SimpleNamespace):
                compare(getattr(a, name), getattr(b, name), f"{path}.{name}")

    del fake.state
    compare(fake, real, "cupy")
    members = {
        real.cuda.MemoryPool: ("malloc", "free_bytes", "free_all_blocks"),
        real.cuda.MemoryPointer: ("memset_async", "copy_from_device_async", "ptr"),
        real.cuda.Event: ("record", "synchronize"), real.cuda.Device: ("attributes", "synchronize", "__enter__"),
        real.cuda.Stream: ("synchronize", "__enter__"), real.ndarray: ("get", "set", "data", "nbytes"),
        real.RawModule: ("get_function",), real.RawKernel: ("max_dynamic_shared_size_bytes", "__call__"),
    }  # fmt: skip
    assert not [(kind, name) for kind, names in members.items() for name in names if not hasattr(kind, name)]
    assert issubclass(real.cuda.memory.OutOfMemoryError, MemoryError)
