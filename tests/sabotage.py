"""A device of the host whose kernels go wrong where a test wants it: by a single bit, or by an error."""

from __future__ import annotations

import numpy as np

from tests.host_device import HostArray, HostDevice

__all__ = ["Sabotaged"]


class Sabotaged(HostDevice):
    """After each launch of the kernel ``name``, one bit of an array that it has changed is turned over.

    ``which`` is the number of that array among those that it has changed; the kernel raises ``error`` where that is
    given instead. ``touched`` has the names of all kernels that changed something, and how many arrays at most.
    """

    def __init__(self, name: str = "", which: int = 0, error: Exception | None = None) -> None:
        super().__init__()
        self.sabotaged, self.which, self.error = name, which, error
        self.touched: dict[str, int] = {}

    def program(self, text, names):
        """Return the functions, wrapped."""
        return {name: self._wrapped(name, kernel) for name, kernel in super().program(text, names).items()}

    def _wrapped(self, name, kernel):
        def launch(blocks, threads, arguments, shared=0):
            if name == self.sabotaged and self.error is not None:
                raise self.error
            arrays = [one._values for one in arguments if isinstance(one, HostArray)]
            before = [one.tobytes() for one in arrays]
            kernel(blocks, threads, arguments, shared)
            changed = [k for k, one in enumerate(arrays) if one.tobytes() != before[k]]
            self.touched[name] = max(self.touched.get(name, 0), len(changed))
            if name == self.sabotaged and len(changed) > self.which:
                k = changed[self.which]
                there = arrays[k].reshape(-1).view(np.uint8)
                place = int(np.flatnonzero(there != np.frombuffer(before[k], np.uint8))[0])
                there[place] ^= 1

        return launch
