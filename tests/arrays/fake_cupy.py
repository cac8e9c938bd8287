"""A CuPy on the host, as much as `arrays.cuda` uses: it has GPUs of few bytes, and minds which one is current.

Every name is CuPy's own (test_cuda.py compares them with CuPy), and what must be asked of a GPU raises where none is
current: that of another thread does not count.
"""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np

__all__ = ["CUDARuntimeError", "fake_cupy"]

SHARED = 227 * 1024


class CUDARuntimeError(RuntimeError):
    """What CuPy raises when the CUDA runtime does."""

    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


class OutOfMemoryError(MemoryError):
    """What CuPy's pools raise."""


class _Memory:
    """Bytes, and those that asked for them."""

    def __init__(self, cupy, size):
        self._cupy, self.values = cupy, np.full(size, 0xA5, np.uint8)

    @property
    def ptr(self):
        return self.values.ctypes.data

    def memset_async(self, value, size):
        self._cupy.log("memset")
        self.values[:size] = value

    def copy_from_device_async(self, source, size):
        self._cupy.log("device to device")
        self.values[:size] = source.values[:size]


class _Array:
    """As little of cupy.ndarray."""

    def __init__(self, shape, dtype=float, memptr=None):
        self.data, self.shape, self.dtype = memptr, tuple(shape), np.dtype(dtype)
        self.nbytes = int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    @property
    def _values(self):
        return self.data.values[: self.nbytes].view(self.dtype).reshape(self.shape)

    def set(self, values):
        self.data._cupy.log("set")
        assert values.shape == self.shape
        assert values.dtype == self.dtype
        assert values.flags.c_contiguous
        self._values[...] = values

    def get(self, out=None):
        self.data._cupy.log("get")
        out = np.empty(self.shape, self.dtype) if out is None else out
        assert out.shape == self.shape
        assert out.dtype == self.dtype
        assert out.flags.c_contiguous
        out[...] = self._values
        return out


class _Pool:
    def __init__(self, cupy):
        self._cupy, self.kept = cupy, 0

    def malloc(self, size):
        self._cupy.log("malloc")
        if size > self._cupy.memory - self._cupy.elsewhere:
            raise OutOfMemoryError("out of memory")
        return _Memory(self._cupy, size)

    def free_bytes(self):
        self._cupy.log("free_bytes")
        return self.kept

    def free_all_blocks(self):
        self._cupy.log("free_all_blocks")


class _Function:
    """A kernel that notes how it is launched."""

    def __init__(self, cupy, name):
        object.__setattr__(self, "_cupy", cupy)
        object.__setattr__(self, "name", name)

    def __setattr__(self, name, value):
        self._cupy.log(name)
        self._cupy.launches.append((name, value))

    def __call__(self, grid, block, args, *, shared_mem=0):
        self._cupy.log("launch")
        self._cupy.launches.append((self.name, grid, block, args, shared_mem))


class _Fake:
    """What is counted, and the modules."""

    def __init__(self, gpus, memory, error, driver):
        self.memory, self.elsewhere = memory, 0
        self.launches, self.compiled, self.calls = [], [], []
        self.refuses = False
        self._here = threading.local()
        self._gpus, self._error, self._driver = gpus, error, driver

    @property
    def stack(self):
        """What is current in this thread: GPU, stream, and again where calls are nested."""
        return self._here.__dict__.setdefault("stack", [])

    def log(self, what):
        """Note a call, with the GPU and the stream that are current in this thread; without one it cannot be made."""
        assert len(self.stack) >= 2, f"{what} without a GPU and a stream"
        self.calls.append((what, *self.stack[-2:]))

    def count(self):
        if self._error is not None:
            raise CUDARuntimeError(*self._error)
        return self._gpus

    def properties(self, number):
        return {"name": f"GPU {number}".encode()}

    def release_elsewhere(self):
        self.log("default pool")
        self.elsewhere = 0


class _Device:
    def __init__(self, cupy, number):
        self._cupy, self._number = cupy, number
        self.compute_capability = "90"
        self.attributes = {"MultiProcessorCount": 132, "MaxSharedMemoryPerBlockOptin": SHARED}

    def __enter__(self):
        self._cupy.stack.append(self._number)

    def __exit__(self, *error):
        assert self._cupy.stack.pop() == self._number

    def synchronize(self):
        self._cupy.log("synchronize")


class _Stream(_Device):
    ptr = 0


class _Event:
    def __init__(self, cupy):
        self._cupy, self.pending = cupy, False

    def record(self, stream):
        self._cupy.log("record")
        self.pending = True

    def synchronize(self):
        self._cupy.log("wait" if self.pending else "no wait")


class _Compiler:
    """As little of cupy.cuda.nvrtc."""

    NVRTCError = RuntimeError

    def __init__(self, cupy):
        self._cupy = cupy

    def getVersion(self):
        return 13, 0

    def createProgram(self, text, name, headers, includes):
        return text

    def compileProgram(self, program, options):
        self._cupy.log("compile")
        if self._cupy.refuses:
            raise RuntimeError("invalid value for --gpu-architecture")
        self._cupy.compiled.append((program, options))

    def getCUBIN(self, program):
        return b"machine code"

    def getProgramLog(self, program):
        return ""

    def destroyProgram(self, program):
        pass


def fake_cupy(gpus=1, memory=2**20, error=None, driver=13000):
    """A module that can stand in for cupy, with ``state`` of what was done; ``error`` is what counting GPUs raises."""
    state = _Fake(gpus, memory, error, driver)

    def module(*, path):
        state.log("load")
        assert Path(path).read_bytes() == b"machine code\0"
        return SimpleNamespace(get_function=lambda name: _Function(state, name))

    def info():
        state.log("memGetInfo")
        return state.memory - state.elsewhere, state.memory

    runtime = SimpleNamespace(
        CUDARuntimeError=CUDARuntimeError, getDeviceCount=state.count, driverGetVersion=lambda: driver,
        runtimeGetVersion=lambda: 13020, getDeviceProperties=state.properties, memGetInfo=info,
        deviceGetPCIBusId=lambda number: f"0000:0{number}:00.0",
    )  # fmt: skip
    null = _Stream(state, "null")
    cuda = SimpleNamespace(
        runtime=runtime, nvrtc=_Compiler(state), Device=lambda n: _Device(state, n),
        Stream=SimpleNamespace(null=null), MemoryPool=lambda: _Pool(state),
        memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError), alloc_pinned_memory=bytearray,
        Event=lambda disable_timing: _Event(state),
    )  # fmt: skip
    default = SimpleNamespace(free_all_blocks=state.release_elsewhere)
    pinned = SimpleNamespace(free_all_blocks=lambda: state.log("pinned pool"))
    plans = SimpleNamespace(clear=lambda: state.log("plans"))
    fft = SimpleNamespace(config=SimpleNamespace(get_plan_cache=lambda: plans))
    return SimpleNamespace(
        cuda=cuda, fft=fft, ndarray=_Array, RawModule=module, get_default_memory_pool=lambda: default,
        get_default_pinned_memory_pool=lambda: pinned, state=state,
    )  # fmt: skip
