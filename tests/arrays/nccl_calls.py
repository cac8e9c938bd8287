"""What test_nccl.py does in a process of its own: rings through CuPy's binding, over a stub of the library."""

import ctypes
import sys
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np


def raised(call, *given):
    """Return the text of the error of a call."""
    from ipsdist.arrays import RingError

    try:
        call(*given)
    except RingError as error:
        return str(error)
    raise AssertionError("no error")


def card():
    """Return what a GPU has of rings, with CuPy's own binding."""
    import cupy

    from ipsdist.arrays.nccl import Ringing

    class Card(Ringing):
        _cupy, _number = cupy, 0

        @contextmanager
        def _current(self):
            yield SimpleNamespace(ptr=7)

    assert callable(cupy.cuda.runtime.deviceGetPCIBusId)
    return Card()


def add_and_fail(stub, card):
    """Make rings, add, and hear of failures; return the name of a ring and what can be added."""
    values = np.arange(5, dtype=np.uint64) + np.uint64(2**63)
    there = SimpleNamespace(dtype=values.dtype, nbytes=values.nbytes, data=SimpleNamespace(ptr=values.ctypes.data))
    assert card.can_ring
    name = card.ring_id()
    assert isinstance(name, bytes)
    assert len(name) == 128
    ring = card.ring(name, 1, 3)
    ring.add(there)
    ring.check()
    assert values.tolist() == [2**63 + 3 * i for i in range(5)]
    stub.stub_fail(2)
    assert raised(ring.check) == "NCCL failed: NCCL_ERROR_SYSTEM_ERROR: the stub says so"
    assert stub.stub_aborted() == 1
    assert raised(ring.check) == raised(ring.add, there) == "NCCL failed: NCCL_ERROR_SYSTEM_ERROR: the stub says so"
    assert card.ring_id() is None
    assert "NCCL_ERROR_SYSTEM_ERROR" in raised(card.ring, name, 0, 2)
    stub.stub_fail(0)
    assert "NCCL_ERROR_INVALID_ARGUMENT" in raised(card.ring, bytes(128), 0, 2)
    ring = card.ring(name, 0, 2)
    stub.stub_fail(3)
    assert "NCCL_ERROR_INTERNAL_ERROR" in raised(ring.add, there)
    assert stub.stub_aborted() == 2
    stub.stub_fail(0)
    return name, there


def abort(card, name, there):
    """End rings from other threads, also while one is inside a call."""
    ring = card.ring(name, 0, 2)
    threads = [threading.Thread(target=ring.abort) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ring.close()
    assert raised(ring.check) == raised(ring.add, there) == "the ring was aborted"
    # A thread that hangs inside a call does not keep the abort from being made.
    ring = card.ring(name, 0, 2)
    began = time.monotonic()
    with ring._using:
        aborting = threading.Thread(target=ring.abort)
        aborting.start()
        aborting.join(10)
    assert not aborting.is_alive()
    assert time.monotonic() - began < 5


def unnamed(stub, card, name, there):
    """Hear of a status that CuPy has no name for: it knows those up to 6, and raises KeyError for others."""
    ring = card.ring(name, 0, 2)
    stub.stub_fail(8)
    assert raised(ring.check) == raised(ring.add, there) == "NCCL failed: status 8"
    assert card.ring_id() is None
    assert "status 8" in raised(card.ring, name, 0, 2)
    stub.stub_fail(0)


def main(library):
    """Make rings, add, fail, abort. Raises AssertionError."""
    stub = ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL)  # before CuPy looks for the library
    one = card()
    given = add_and_fail(stub, one)
    unnamed(stub, one, *given)
    abort(one, *given)
    assert stub.stub_aborted() == 5  # each once, none destroyed, which may wait for other ranks


if __name__ == "__main__":
    main(sys.argv[1])
    print("as expected")
