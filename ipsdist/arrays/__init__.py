"""Which array library, which device: arrays brought to the host, and devices that run CUDA text."""

import ctypes
import sys
from functools import cache
from importlib.util import find_spec

from ipsdist.arrays.compiling import NO_CUPY
from ipsdist.arrays.device import Device, DeviceArray, DeviceMemoryError, Kernel, NoDeviceError, Ring, RingError
from ipsdist.arrays.hosting import to_host

__all__ = [
    "Device", "DeviceArray", "DeviceMemoryError", "Kernel", "NoDeviceError", "Ring", "RingError", "find_device",
    "to_host",
]  # fmt: skip


@cache
def find_device(number: int = 0) -> Device:
    """Return the GPU of this number, the same object every time; imports CuPy.

    Raises NoDeviceError, with the reason, when there is none.
    """
    if "cupy" not in sys.modules:  # its import takes a second and 280 MB
        if find_spec("cupy") is None:
            raise NoDeviceError(NO_CUPY)
        if not _has_driver():
            raise NoDeviceError("no GPU was found")
    from ipsdist.arrays.cuda import CudaDevice

    return CudaDevice(number)


def _has_driver() -> bool:
    """Tell whether this machine has the library of a driver for NVIDIA GPUs."""
    if sys.platform != "linux":
        return True
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True
