"""Rings of GPUs: CuPy's own binding over a stub of the library, and what a device without it says."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ipsdist.arrays import NoDeviceError, RingError, cuda, find_device, nccl
from tests.arrays.fake_cupy import fake_cupy
from tests.host_device import COMPILER

HERE = Path(__file__).parent


@pytest.mark.skipif(COMPILER is None, reason="the stub is compiled by g++")
def test_the_binding_of_cupy(tmp_path):
    """Names, orders and types of arguments are CuPy's; errors are told; a ring is given back once, from any thread."""
    pytest.importorskip("cupy")
    library = tmp_path / "libnccl.so.2"
    flags = ["-shared", "-fPIC", "-Wl,-soname,libnccl.so.2"]
    subprocess.run([COMPILER, *flags, "-o", str(library), str(HERE / "nccl_stub.cpp")], check=True)
    done = subprocess.run(
        [sys.executable, "-m", "tests.arrays.nccl_calls", str(library)],
        capture_output=True,
        text=True,
        cwd=HERE.parents[1],
    )
    assert (done.returncode, done.stdout) == (0, "as expected\n"), done.stderr


@pytest.fixture
def fake(monkeypatch):
    """A stand-in for CuPy in its place."""
    found = fake_cupy(gpus=2)
    monkeypatch.setitem(sys.modules, "cupy", found)
    find_device.cache_clear()
    yield found
    find_device.cache_clear()


def test_a_device_without_the_library(fake):
    """It says so beforehand, and refuses."""
    fake.cuda.nccl = SimpleNamespace(available=False)
    device = cuda.CudaDevice()
    assert not device.can_ring
    assert device.ring_id() is None
    with pytest.raises(RingError, match="NCCL is not installed"):
        device.ring(bytes(128), 0, 2)


def test_devices_know_themselves_apart(fake, monkeypatch, tmp_path):
    """By machine and place, whatever the containers on the machine are called."""
    first, second = cuda.CudaDevice(0), cuda.CudaDevice(1)
    assert first.identity == cuda.CudaDevice(0).identity != second.identity
    machines = {one.identity.rpartition("/")[0] for one in (first, second)}
    assert len(machines) == 1
    monkeypatch.setattr(nccl, "_BOOT", tmp_path / "none")
    assert first.identity.rpartition("/")[0] not in {"", *machines}


def test_every_call_of_a_ring_is_made_on_its_gpu(fake):
    """And on the stream of its other work; only integers of 64 bits are added."""
    calls = []

    class Communicator:
        def __init__(self, *given):
            fake.state.log("create")
            calls.append(given)

        def allReduce(self, *given):
            fake.state.log("all-reduce")
            calls.append(given)

        def check_async_error(self):
            calls.append("check")

        def abort(self):
            fake.state.log("abort")

    fake.cuda.nccl = SimpleNamespace(available=True, NcclCommunicator=Communicator, NCCL_UINT64=5, NCCL_SUM=0)
    device = cuda.CudaDevice(1)
    ring, there = device.ring(b"name", 2, 3), device.zeros((4, 2), np.uint64)
    fake.state.calls.clear()
    ring.add(there)
    ring.check()
    ring.close()
    assert calls == [(3, b"name", 2), (there.data.ptr, there.data.ptr, 8, 5, 0, 0), "check"]
    assert [call for call in fake.state.calls if call[0] in ("all-reduce", "abort")] == [
        ("all-reduce", 1, "null"),
        ("abort", 1, "null"),
    ]
    with pytest.raises(TypeError, match="integers of 64 bits are added; got float64"):
        ring.add(device.zeros((4,), np.float64))


def test_two_gpus_add():
    """Where there are two: what a gang does, in one process."""
    try:
        devices = [cuda.CudaDevice(number) for number in range(2)]
    except NoDeviceError as error:
        pytest.skip(str(error))
    if not devices[0].can_ring:
        pytest.skip("NCCL is not installed")
    from concurrent.futures import ThreadPoolExecutor

    name = devices[0].ring_id()

    def work(rank):
        ring = devices[rank].ring(name, rank, 2)
        there = devices[rank].array(np.arange(2**20, dtype=np.uint64) * np.uint64(2**40 + rank))
        ring.add(there)
        found = devices[rank].to_host(there)
        ring.check()
        return found, ring

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(work, range(2)))
    for found, ring in answers:
        np.testing.assert_array_equal(found, np.arange(2**20, dtype=np.uint64) * np.uint64(2**41 + 1))
        ring.close()
