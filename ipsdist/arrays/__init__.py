"""Which array library, which device: arrays brought to the host, and devices that run CUDA text."""

from ipsdist.arrays.device import Device, DeviceArray, DeviceMemoryError, Kernel, NoDeviceError
from ipsdist.arrays.hosting import to_host

__all__ = ["Device", "DeviceArray", "DeviceMemoryError", "Kernel", "NoDeviceError", "to_host"]
