"""A GPU through CuPy: the one home of everything that is CuPy's own.

Every call may come from any thread: it makes its GPU the current one for as long as it lasts. All work goes through the
default stream of the GPU, so what other code does there with CuPy is in the same order.
"""

from __future__ import annotations

import math
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from ipsdist.arrays.compiling import NO_CUPY
from ipsdist.arrays.device import DeviceArray, DeviceMemoryError, Kernel, NoDeviceError
from ipsdist.arrays.kept_code import machine_code
from ipsdist.arrays.nccl import Ringing

__all__ = ["CudaDevice"]

_STAGE = 2**22
"""Bytes of a page-locked buffer; larger copies go without, and are waited for."""
_UPLOADS = 4
_INSUFFICIENT_DRIVER, _NO_DEVICE = 35, 100
"""cudaErrorInsufficientDriver, also where there is no driver at all, and cudaErrorNoDevice."""


class CudaDevice(Ringing):
    """A GPU as a `Device`, the one with this ``number``. Raises NoDeviceError, with the reason, when there is none."""

    def __init__(self, number: int = 0) -> None:
        self._cupy = _cupy_with_gpus(number)
        self._number = number
        try:
            with self._current():
                properties = self._cupy.cuda.runtime.getDeviceProperties(number)
                self._attributes = self._cupy.cuda.Device(number).attributes
                self._cupy.cuda.runtime.memGetInfo()  # the first call that needs the GPU itself
                self._stage = _Stage(self._cupy)
        except self._cupy.cuda.runtime.CUDARuntimeError as error:
            raise NoDeviceError(f"the GPU cannot be used: {error}") from error
        self._name = properties["name"].decode()
        self._pool = self._cupy.cuda.MemoryPool()
        self._modules: dict[str, Any] = {}
        self._kernels: dict[tuple[str, str], _CudaKernel] = {}
        self._lock = threading.Lock()
        self._folder = tempfile.TemporaryDirectory(prefix="ipsdist-")
        self._try()

    @property
    def name(self) -> str:
        """What the driver calls it."""
        return cast(str, self._name)

    @property
    def processors(self) -> int:
        """Number of its multiprocessors."""
        return int(self._attributes["MultiProcessorCount"])

    @property
    def shared_bytes(self) -> int:
        """Largest dynamic shared memory of a block of a kernel without static shared memory."""
        return int(self._attributes["MaxSharedMemoryPerBlockOptin"])

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Let CuPy take the memory of new arrays from the pool of this device. Raises DeviceMemoryError."""
        with self._current(), self._cupy.cuda.using_allocator(self._pool.malloc):
            try:
                yield
            except self._cupy.cuda.memory.OutOfMemoryError as error:
                raise DeviceMemoryError(getattr(error, "_size", 0), self.free_bytes()) from error

    def free_bytes(self) -> int:
        """Return the bytes that are free on the GPU, and in the pool of this device."""
        with self._current():
            free, _ = self._cupy.cuda.runtime.memGetInfo()
            return int(free) + int(self._pool.free_bytes())

    def empty(self, shape: Sequence[int], dtype: npt.DTypeLike) -> DeviceArray:
        """Return an array whose content means nothing. Raises DeviceMemoryError."""
        shape = tuple(int(n) for n in shape)
        nbytes = math.prod(shape) * np.dtype(dtype).itemsize
        with self._current():
            memory = self._allocated(nbytes)
            return cast(DeviceArray, self._cupy.ndarray(shape, dtype=np.dtype(dtype), memptr=memory))

    def zeros(self, shape: Sequence[int], dtype: npt.DTypeLike) -> DeviceArray:
        """Return an array of zeros. Raises DeviceMemoryError."""
        made: Any = self.empty(shape, dtype)
        if made.nbytes:
            with self._current():
                made.data.memset_async(0, made.nbytes)
        return cast(DeviceArray, made)

    def array(self, values: npt.NDArray[Any], out: DeviceArray | None = None) -> DeviceArray:
        """Return a copy of an array of the host, which may be changed at once. Raises DeviceMemoryError."""
        if not isinstance(values, np.ndarray):
            raise TypeError(f"an array of NumPy is needed; got {type(values).__name__}")
        made: Any = self.empty(values.shape, values.dtype) if out is None else self._own(out)
        _check_same(values, made)
        if made.nbytes:
            with self._current() as stream:
                if made.nbytes <= _STAGE:
                    self._stage.upload(values, made, stream)
                else:
                    made.set(np.asarray(values, order="C"))
                    stream.synchronize()
        return cast(DeviceArray, made)

    def copy(self, array: DeviceArray, out: DeviceArray | None = None) -> DeviceArray:
        """Return a copy of an array of this device. Raises DeviceMemoryError."""
        given = self._own(array)
        made: Any = self.empty(array.shape, array.dtype) if out is None else self._own(out)
        _check_same(given, made)
        if made.nbytes:
            with self._current():
                made.data.copy_from_device_async(given.data, made.nbytes)
        return cast(DeviceArray, made)

    def to_host(self, array: DeviceArray, out: npt.NDArray[Any] | None = None) -> npt.NDArray[Any]:
        """Return a copy on the host; waits for the work before it. ``out`` may have any strides."""
        given = self._own(array)
        made = np.empty(array.shape, dtype=array.dtype) if out is None else out
        _check_same(given, made)
        if array.nbytes:
            with self._current():
                if array.nbytes <= _STAGE:
                    self._stage.download(given, made)
                elif made.flags.c_contiguous:
                    given.get(out=made)
                else:
                    made[...] = given.get()
        return made

    def address(self, array: DeviceArray) -> int:
        """Return where an array begins in the memory of the GPU; it must be kept until the work with it is done."""
        return int(self._own(array).data.ptr)

    def program(self, text: str, names: Sequence[str]) -> Mapping[str, Kernel]:
        """Compile CUDA text with `compiling.OPTIONS`: CuPy would add one that makes small float32 numbers zero.

        What an earlier process compiled is found again (`kept_code`).
        """
        with self._lock, self._current():
            if text not in self._modules:
                major_minor = self._cupy.cuda.Device(self._number).compute_capability
                code = machine_code(text, f"sm_{major_minor}", self._cupy.cuda.nvrtc)
                file = Path(self._folder.name) / f"{len(self._modules)}.cubin"
                file.write_bytes(code)
                self._modules[text] = self._cupy.RawModule(path=str(file))
            for name in names:
                if (text, name) not in self._kernels:
                    self._kernels[text, name] = _CudaKernel(self, name, self._modules[text].get_function(name))
            return {name: self._kernels[text, name] for name in names}

    def synchronise(self) -> None:
        """Wait for all work on the GPU."""
        with self._current():
            self._cupy.cuda.Device(self._number).synchronize()

    def release(self) -> None:
        """Give the memory that nobody uses back to the system, that of CuPy's own pools too."""
        with self._current():
            self._cupy.fft.config.get_plan_cache().clear()  # plans hold memory of the pool that they were made with
            self._pool.free_all_blocks()
            self._cupy.get_default_memory_pool().free_all_blocks()
            self._cupy.get_default_pinned_memory_pool().free_all_blocks()

    def _try(self) -> None:
        """Raise NoDeviceError where text cannot be compiled or loaded for this GPU: it may be too old, or too new."""
        try:
            self.program('extern "C" __global__ void nothing() {}', ["nothing"])["nothing"](1, 1, ())
            self.synchronise()
        except Exception as error:
            reason = str(error).strip().replace("\n", " ")
            raise NoDeviceError(f"nothing can be compiled for {self.name}: {reason}") from error

    @contextmanager
    def _current(self) -> Iterator[Any]:
        """Make this GPU and its default stream those of the thread."""
        stream = self._cupy.cuda.Stream.null
        # A fresh object each time: the stack of what was current before must not be shared by threads.
        with self._cupy.cuda.Device(self._number), stream:
            yield stream

    def _allocated(self, nbytes: int) -> Any:
        error = self._cupy.cuda.memory.OutOfMemoryError
        try:
            return self._pool.malloc(nbytes)
        except error:
            pass
        self._cupy.get_default_memory_pool().free_all_blocks()  # what CuPy keeps for itself is not in our pool
        try:
            return self._pool.malloc(nbytes)
        except error:
            raise DeviceMemoryError(nbytes, self.free_bytes()) from None

    def _own(self, array: Any) -> Any:
        if not isinstance(array, self._cupy.ndarray):
            raise TypeError(f"an array of this device is needed; got {type(array).__name__}")
        return array


class _CudaKernel:
    """A function of a module, and how much dynamic shared memory it may have so far."""

    def __init__(self, device: CudaDevice, name: str, function: Any) -> None:
        self._device, self._name, self._function = device, name, function
        self._allowed = 0

    def __call__(self, blocks: int, threads: int, arguments: Sequence[Any], shared: int = 0) -> None:
        """Launch it; CuPy would pass a number of Python as one of 8 bytes, so only NumPy's are taken."""
        for number, value in enumerate(arguments):
            if not isinstance(value, (self._device._cupy.ndarray, np.generic)):
                raise TypeError(f"argument {number} of {self._name} must be of the device or a NumPy scalar: {value!r}")
        with self._device._current():
            if shared > self._allowed:
                with self._device._lock:  # else another thread could take back what this one was allowed
                    if shared > self._allowed:
                        # More than 48 KiB, static memory included, must be asked for: once a function.
                        self._function.max_dynamic_shared_size_bytes = int(shared)
                        self._allowed = shared
            self._function((int(blocks),), (int(threads),), tuple(arguments), shared_mem=int(shared))


class _Stage:
    """Page-locked buffers of the host that small copies pass through: uploads are not waited for."""

    def __init__(self, cupy: Any) -> None:
        def buffer() -> npt.NDArray[np.uint8]:
            return np.frombuffer(cupy.cuda.alloc_pinned_memory(_STAGE), dtype=np.uint8, count=_STAGE)

        self._up = [(buffer(), cupy.cuda.Event(disable_timing=True)) for _ in range(_UPLOADS)]
        self._down = buffer()
        self._next = 0
        self._upload_lock, self._download_lock = threading.Lock(), threading.Lock()

    def upload(self, values: npt.NDArray[Any], out: Any, stream: Any) -> None:
        with self._upload_lock:
            buffer, event = self._up[self._next]
            self._next = (self._next + 1) % _UPLOADS
            event.synchronize()  # until the copy that used it last is done
            part = buffer[: out.nbytes].view(values.dtype).reshape(values.shape)
            part[...] = values
            out.set(part)
            event.record(stream)

    def download(self, array: Any, out: npt.NDArray[Any]) -> None:
        with self._download_lock:
            part = self._down[: array.nbytes].view(array.dtype).reshape(array.shape)
            array.get(out=part)
            out[...] = part


def _cupy_with_gpus(number: int) -> Any:
    """Return CuPy where it sees a GPU of this number; NoDeviceError says what is missing."""
    try:
        import cupy

        cupy.cuda.nvrtc.getVersion()
    except ModuleNotFoundError as error:
        raise NoDeviceError(NO_CUPY if error.name == "cupy" else f"CuPy fails: {error}") from error
    except OSError as error:
        if error.filename is None:
            raise NoDeviceError(f"CuPy does not find the CUDA libraries that it needs: {error}") from error
        raise NoDeviceError(f"CuPy cannot use {error.filename}; set CUPY_CACHE_DIR to a folder that it can") from error
    except (ImportError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise NoDeviceError(f"CuPy does not find the CUDA libraries that it needs: {reason}") from error
    runtime = cupy.cuda.runtime
    try:
        count = runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        if error.status == _INSUFFICIENT_DRIVER and (driver := runtime.driverGetVersion()):
            versions = f"it is for CUDA {_version(driver)}, CuPy for {_version(runtime.runtimeGetVersion())}"
            raise NoDeviceError(f"the driver is too old: {versions}") from error
        if error.status not in (_INSUFFICIENT_DRIVER, _NO_DEVICE):
            raise NoDeviceError(f"the GPU cannot be used: {error}") from error
        count = 0
    if count <= number:
        raise NoDeviceError(f"GPU {number} was not found, there are {count}" if count else "no GPU was found")
    return cupy


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


def _check_same(a: Any, b: Any) -> None:
    if tuple(a.shape) != tuple(b.shape) or a.dtype != b.dtype:
        raise ValueError(f"copies need equal shapes and types; got {a.shape} {a.dtype} and {b.shape} {b.dtype}")
