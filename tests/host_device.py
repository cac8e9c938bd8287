"""A device without a GPU: CUDA text compiled by g++ and run on the host, for all tests that need no speed.

A launch runs few blocks one after the other, whatever was asked; a block is one thread, or a few real ones when they
are asked for here. Memory that nobody wrote holds garbage, and writing beyond an array or the shared memory raises.
"""

from __future__ import annotations

import atexit
import ctypes
import hashlib
import re
import shutil
import subprocess
import tempfile
import threading
import weakref
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ipsdist.arrays import DeviceMemoryError, RingError

__all__ = ["COMPILER", "HostArray", "HostDevice"]

COMPILER = shutil.which("g++")
"""Where g++ is; None: such tests must be skipped."""
_SHIM = Path(__file__).with_name("cuda_shim.h")
_FLAGS = ["-std=c++17", "-O1", "-ffp-contract=off", "-fno-strict-aliasing", "-shared", "-fPIC", "-pthread", "-w"]
_DYNAMIC_SHARED = re.compile(r"extern\s+__shared__\s+(?:__align__\(\d+\)\s+)?([\w ]+?)\s+(\w+)\s*\[\s*\]\s*;")
_LAUNCHING = threading.Lock()
"""One launch at a time: the grid and the shared memory are globals of the text."""
_COMPILING = threading.Lock()
"""One compiler at a time: two would write one file."""
_GUARD, _GARBAGE = 64, 0xA5
_SCALARS = {
    "f4": ctypes.c_float, "f8": ctypes.c_double, "i4": ctypes.c_int32, "u4": ctypes.c_uint32, "i8": ctypes.c_int64,
    "u8": ctypes.c_uint64,
}  # fmt: skip


class _Block:
    """Memory of one allocation between two guards."""

    def __init__(self, nbytes: int) -> None:
        self._bytes = np.full(nbytes + 2 * _GUARD, _GARBAGE, dtype=np.uint8)
        self.content = self._bytes[_GUARD : _GUARD + nbytes]

    def check(self) -> None:
        if (self._bytes[:_GUARD] != _GARBAGE).any() or (self._bytes[len(self._bytes) - _GUARD :] != _GARBAGE).any():
            raise AssertionError("a kernel wrote beyond an array")


class HostArray:
    """An array of this device. Whoever treats it as a NumPy array gets a TypeError."""

    __array_ufunc__ = None
    __array_function__ = None
    __iter__ = __len__ = __contains__ = __hash__ = None  # type: ignore[assignment]

    def __init__(self, block: _Block, values: np.ndarray) -> None:
        self._block, self._values = block, values

    shape = property(lambda self: self._values.shape)
    dtype = property(lambda self: self._values.dtype)
    nbytes = property(lambda self: self._values.nbytes)

    def __getitem__(self, rows: slice) -> HostArray:
        if not isinstance(rows, slice) or rows.step not in (None, 1):
            raise TypeError(f"an array of a device gives rows [a:b]; got {rows!r}")
        return HostArray(self._block, self._values[rows])

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise TypeError("an array of a device is not one of NumPy: use Device.to_host")

    __array__ = __bool__ = __float__ = __int__ = __index__ = __eq__ = __ne__ = __lt__ = __setitem__ = _refuse  # type: ignore[assignment]


class HostDevice:
    """A `Device` on the host with ``memory`` bytes; its blocks have ``threads`` real threads, a launch ``blocks``."""

    name = "host"
    processors = 2
    can_ring = False

    def __init__(self, memory: int = 2**34, threads: int = 1, blocks: int = 3, shared_bytes: int = 227 * 1024) -> None:
        self.shared_bytes = shared_bytes
        self.launches: list[tuple[str, int, int, int]] = []
        """Name, blocks, threads and shared bytes of every launch, as they were asked for."""
        self._memory, self._used = memory, 0
        self._threads, self._blocks = threads, blocks
        self._pointed: list[_Block] = []
        self.identity = f"here/{id(self)}"

    def computing(self) -> Any:
        """Refuse: nobody computes with these arrays."""
        raise AssertionError("arrays of this device cannot be computed with")

    def free_bytes(self) -> int:
        """Return how many bytes are free."""
        return self._memory - self._used

    def empty(self, shape, dtype):
        """Return an array of garbage. Raises DeviceMemoryError."""
        nbytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        if nbytes > self.free_bytes():
            raise DeviceMemoryError(nbytes, self.free_bytes())
        block = _Block(nbytes)
        self._used += nbytes
        weakref.finalize(block, self._give_back, nbytes)
        return HostArray(block, block.content.view(dtype).reshape(tuple(shape)))

    def _give_back(self, nbytes: int) -> None:
        self._used -= nbytes

    def zeros(self, shape, dtype):
        """Return an array of zeros. Raises DeviceMemoryError."""
        made = self.empty(shape, dtype)
        made._values[...] = 0
        return made

    def array(self, values, out=None):
        """Return a copy of a NumPy array."""
        if not isinstance(values, np.ndarray):
            raise TypeError(f"an array of NumPy is needed; got {type(values).__name__}")
        return self._copied(values, out)

    def copy(self, array, out=None):
        """Return a copy of an array of this device."""
        return self._copied(_own(array)._values, out)

    def _copied(self, values, out):
        made = self.empty(values.shape, values.dtype) if out is None else _own(out)
        _same(values, made._values)
        made._values[...] = values
        return made

    def to_host(self, array, out=None):
        """Return a copy as a NumPy array."""
        values = _own(array)._values
        if out is None:
            return values.copy()
        _same(values, out)
        out[...] = values
        return out

    def address(self, array):
        """Return where an array begins; the next launch looks whether it wrote beyond."""
        self._pointed.append(_own(array)._block)
        return array._values.ctypes.data

    def program(self, text, names):
        """Compile a text, once, and return its functions."""
        with _COMPILING:
            library = _library(text, tuple(names))
        return {name: _HostKernel(self, library, name) for name in names}

    def synchronise(self) -> None:
        """Do nothing: launches are done when they return."""

    def release(self) -> None:
        """Do nothing: memory is given back at once."""

    def ring_id(self) -> None:
        """Return None: see tests/rings.py for devices that can."""

    def ring(self, name, rank, size):
        """Refuse."""
        raise RingError("this device knows no rings")


def _own(array: Any) -> HostArray:
    if not isinstance(array, HostArray):
        raise TypeError(f"an array of this device is needed; got {type(array).__name__}")
    return array


def _same(a: np.ndarray, b: np.ndarray) -> None:
    if a.shape != b.shape or a.dtype != b.dtype:
        raise ValueError(f"copies need equal shapes and types; got {a.shape} {a.dtype} and {b.shape} {b.dtype}")


class _HostKernel:
    def __init__(self, device: HostDevice, library: ctypes.CDLL, name: str) -> None:
        self._device, self._library, self.name = device, library, name
        signature = getattr(library, f"shim_signature_{name}")
        signature.restype = ctypes.c_char_p
        self._types = signature().decode().split()

    def __call__(self, blocks, threads, arguments, shared=0) -> None:
        device = self._device
        if not (1 <= blocks < 2**31 and 1 <= threads <= 1024 and 0 <= shared <= device.shared_bytes):
            raise ValueError(f"no such launch: {blocks} blocks, {threads} threads, {shared} bytes shared")
        if len(arguments) != len(self._types):
            raise TypeError(f"{self.name} takes {len(self._types)} arguments; got {len(arguments)}")
        given = [
            self._argument(i, kind, value) for i, (kind, value) in enumerate(zip(self._types, arguments, strict=True))
        ]
        device.launches.append((self.name, int(blocks), int(threads), int(shared)))
        blocks = min(int(blocks), device._blocks)
        with _LAUNCHING:
            for block in range(blocks):
                self._library.shim_block(block, blocks, device._threads, int(shared))
                self._run(device._threads, given)
                if self._library.shim_beyond():
                    raise AssertionError(f"{self.name} wrote beyond its {shared} bytes of shared memory")
        pointed, device._pointed = device._pointed, []
        for block in [value._block for value in arguments if isinstance(value, HostArray)] + pointed:
            block.check()

    def _run(self, threads: int, given: list[Any]) -> None:
        """Run one block; ctypes lets the threads run at the same time."""

        def one(thread: int) -> None:
            self._library.shim_enter(thread)
            function(*given)
            self._library.shim_leave()

        function = getattr(self._library, self.name)
        function.restype = None
        crew = [threading.Thread(target=one, args=(t,)) for t in range(1, threads)]
        for helper in crew:
            helper.start()
        one(0)
        for helper in crew:
            helper.join()

    def _argument(self, number: int, kind: str, value: Any) -> Any:
        place = f"argument {number} of {self.name}"
        if kind.startswith("P"):
            array = _own(value)
            # A pointer has no sign: counts are uint64 there and int64 elsewhere.
            if array.dtype.str[1:].replace("u", "i") != kind[1:].replace("u", "i"):
                raise TypeError(f"{place} is {array.dtype}; the text says {kind[1:]}")
            return ctypes.c_void_p(array._values.ctypes.data)
        if not isinstance(value, np.generic) or value.dtype.str[1:] != kind:
            raise TypeError(f"{place} must be a NumPy scalar {kind}; got {value!r} ({type(value).__name__})")
        return _SCALARS[kind](value.item())


@cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="ipsdist-host-device-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def _library(text: str, names: tuple[str, ...]) -> ctypes.CDLL:
    """Compile a text into a library of the host. Raises RuntimeError with what the compiler says."""
    if COMPILER is None:
        raise RuntimeError("there is no g++")
    dynamic = r"\1* const \2 = reinterpret_cast<\1*>(shim_shared);"
    body = _DYNAMIC_SHARED.sub(dynamic, text)
    ends = "".join(
        f'extern "C" const char* shim_signature_{name}() '
        f"{{ static char out[512]; shim_describe({name}, out); return out; }}\n"
        for name in names
    )
    source = f'#include "{_SHIM}"\n#line 1 "text"\n{body}\n{ends}'
    path = _folder() / hashlib.sha256(source.encode()).hexdigest()[:24]
    path.with_suffix(".cpp").write_text(source)
    library = path.with_suffix(".so")
    done = subprocess.run(
        [COMPILER, *_FLAGS, "-o", str(library), str(path.with_suffix(".cpp"))], capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"g++ refused the text:\n{done.stderr[:4000]}")
    return ctypes.CDLL(str(library))
