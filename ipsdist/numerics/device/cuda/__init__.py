"""CUDA text of the device code: twins of the Numba functions beside it, for what compiles them (`arrays.Device`)."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

__all__ = ["JOB_WORDS", "leap_bytes", "text"]

_INCLUDE = re.compile(r'^#include "(\w+\.cuh)"$', re.MULTILINE)
_VALUE = re.compile(r"-?\d+|[A-Za-z_]\w*")
JOB_WORDS = 16
"""64-bit words of a job of `leap`; `particles.device_leap.job_words` says what they are."""


@cache
def text(name: str, **defines: int | str) -> str:
    """Return the CUDA text of ``name``.cu, complete in itself: definitions first, every ``.cuh`` of this folder once.

    ``defines`` become lines ``#define KEY value``; a value is an integer or an identifier. Raises ValueError otherwise.
    """
    lines = []
    for key, value in defines.items():
        if isinstance(value, bool) or not _VALUE.fullmatch(str(value)):
            raise ValueError(f"a definition must be an integer or an identifier; got {key} = {value!r}")
        lines.append(f"#define {key} {value}\n")
    return "".join(lines) + _pasted(f"{name}.cu", set())


def _pasted(file: str, seen: set[str]) -> str:
    """Return the text of a file of this folder with its includes, those not ``seen`` before."""

    def paste(found: re.Match[str]) -> str:
        included = found.group(1)
        if included in seen:
            return ""
        seen.add(included)
        return _pasted(included, seen)

    return _INCLUDE.sub(paste, files(__package__).joinpath(file).read_text(encoding="utf-8"))


def leap_bytes(nodes: int, itemsize: int) -> int:
    """Return the bytes of dynamic shared memory that `leap` needs for so many nodes; positions have ``itemsize``."""
    return 8 * (JOB_WORDS + 3 * nodes - 1) + (itemsize + 4) * nodes
