"""CUDA text compiled, for a GPU or without one to see what it takes: registers, memory, spills."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ipsdist.arrays.device import NoDeviceError

__all__ = ["NO_CUPY", "OPTIONS", "Resources", "compile_text", "options_for", "resources"]

OPTIONS = ("-std=c++17", "--fmad=false", "--ftz=false", "--prec-div=true", "--prec-sqrt=true")
"""What all texts are compiled with: no contraction, and small numbers stay what they are, for the bits of the host."""
NO_CUPY = 'CuPy is not installed (pip install ".[gpu]" in a clone of ipsdist)'
"""What is said where it is missing."""

_ENTRY = re.compile(r"Compiling entry function '(\w+)'")
_STACK = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_REGISTERS = re.compile(r"Used (\d+) registers")
_SHARED = re.compile(r"(\d+) bytes smem")


@dataclass(frozen=True)
class Resources:
    """What one kernel takes."""

    registers: int
    """Of a thread."""
    stack: int
    """Bytes of local memory of a thread, functions that it calls included."""
    spills: int
    """Bytes that are stored and loaded for want of registers."""
    shared: int
    """Bytes of static shared memory of a block."""


def options_for(architecture: str) -> tuple[str, ...]:
    """Return all options that a text is compiled with for an architecture, as sm_90."""
    return f"--gpu-architecture={architecture}", *OPTIONS, "--ptxas-options=-v"


def compile_text(text: str, architecture: str, nvrtc: Any = None) -> tuple[bytes, str]:
    """Return machine code and the log of the compiler for an architecture, as sm_90; ``nvrtc`` is CuPy's by default.

    Raises NoDeviceError where CuPy or NVRTC is missing and RuntimeError, with the log, for text that is wrong.
    """
    nvrtc = nvrtc or _nvrtc()
    program = nvrtc.createProgram(text, "text.cu", (), ())
    try:
        try:
            nvrtc.compileProgram(program, options_for(architecture))
        except nvrtc.NVRTCError as error:
            raise RuntimeError(f"NVRTC refused the text for {architecture}:\n{nvrtc.getProgramLog(program)}") from error
        # CuPy leaves out the last byte, a zero.
        return nvrtc.getCUBIN(program) + b"\0", nvrtc.getProgramLog(program)
    finally:
        nvrtc.destroyProgram(program)


def _nvrtc() -> Any:
    try:
        from cupy.cuda import nvrtc

        nvrtc.getVersion()
    except ModuleNotFoundError as error:
        raise NoDeviceError(NO_CUPY) from error
    except (ImportError, RuntimeError) as error:
        raise NoDeviceError("CuPy finds no NVRTC") from error
    return nvrtc


def resources(log: str) -> dict[str, Resources]:
    """Return what every kernel takes, by its name, from a log of :func:`compile_text`; ValueError for other logs."""
    _, *parts = _ENTRY.split(log)
    found = {}
    for name, part in zip(parts[::2], parts[1::2], strict=True):
        frames = [tuple(map(int, frame)) for frame in _STACK.findall(part)]
        registers = _REGISTERS.search(part)
        if registers is None or not frames:
            raise ValueError(f"the log says nothing of {name}:\n{part}")
        shared = _SHARED.search(part)
        stack, spills = max(f[0] for f in frames), sum(f[1] + f[2] for f in frames)
        found[name] = Resources(int(registers.group(1)), stack, spills, int(shared.group(1)) if shared else 0)
    return found
