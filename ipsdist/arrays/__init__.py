"""Which array library, which device: arrays brought to the host, and devices that run CUDA text."""

from functools import cache

from ipsdist.arrays.device import Device, DeviceArray, DeviceMemoryError, Kernel, NoDeviceError
from ipsdist.arrays.hosting import to_host

__all__ = ["Device", "DeviceArray", "DeviceMemoryError", "Kernel", "NoDeviceError", "find_device", "to_host"]


@cache
def find_device(number: int = 0) -> Device:
    """Return the GPU of this number, the same object every time; imports CuPy.

    Raises NoDeviceError, with the reason, when there is none.
    """
    from ipsdist.arrays.cuda import CudaDevice

    return CudaDevice(number)
