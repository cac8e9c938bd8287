"""Many steps of small replicas in one launch against as many steps on the host, bit for bit, and threads that meet."""

import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from ipsdist.arrays import DeviceMemoryError
from ipsdist.model.errors import RunError
from ipsdist.model.expression import Expression
from ipsdist.model.mesh import Mesh
from ipsdist.model.radial import RadialKernel
from ipsdist.model.system import System
from ipsdist.numerics.particles.cloud import Motion, Noise
from ipsdist.numerics.particles.device_cloud import DeviceCloud
from ipsdist.numerics.particles.device_leap import Leap, Leaps, can_leap, leap
from ipsdist.numerics.particles.forces.mesh import MeshForce
from ipsdist.numerics.particles.host_cloud import HostCloud
from ipsdist.numerics.particles.stepping import Stepper
from tests.host_device import COMPILER, HostDevice

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no g++ to compile the text of the kernels")

STEPS = 20
MESH = Mesh(1 / 8, (-24,), (48,))
KERNELS = [RadialKernel.parse("3*r**2", None), RadialKernel.parse("sin(r)", None)]
POTENTIAL = Expression.parse("cos(x)", ("x",))
MESHES = [MESH, Mesh(1 / 16, (-40,), (83,)), Mesh(1 / 4, (-12,), (24,))]


def _made(device, which, kind="float32", steps=STEPS, scale=0.1):
    """A job of its own size, mesh, force, noise and step number: one of many different ones."""
    n, mesh, kernel = 203 + 37 * (which % 3), MESHES[which % 3], KERNELS[which % 2]
    x = np.random.default_rng(which).normal(0.2, 0.4, (n, 1)).astype(kind)
    force = MeshForce(kernel, POTENTIAL if which % 4 < 2 else None, n)
    motion, noise = Motion(0.01 / (1 + which), scale, 5 + which), Noise(0, 4 * which, 7 + which, 2**32 - 1 - which)
    cloud = DeviceCloud.filled(device, x.shape, kind, lambda a, b: x[a:b], 2**20, True)
    return Leap(cloud, mesh, force.lag_table(mesh), motion, noise, steps, HostCloud(x).deposits(mesh)[0]), force


def _stepped(job, force):
    """Positions after the steps of a job on the host, counts, how many they were and who was lost in the last one."""
    host, count, done, lost = HostCloud(job.cloud.rows(0, job.cloud.shape[0])), job.counts, 0, 0
    while done < job.steps and not lost:
        drift = force.node_drift(job.mesh, count).astype(host.dtype)
        count, motion = np.zeros_like(count), replace(job.motion, number=job.motion.number + done)
        lost = host.step(job.mesh, drift, motion, job.noise, count)
        done += 1
    return host.positions.tobytes(), count.tolist(), done, lost


def _there(job, end):
    """The same of a job that has been done."""
    return job.cloud.rows(0, job.cloud.shape[0]).tobytes(), job.counts.tolist(), *end


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("number", [1, 7])
def test_leaps_are_steps(kind, number):
    """Jobs of all sorts in one launch, and again from where they are: positions and counts of steps one by one."""
    device = HostDevice()
    made = [_made(device, i, kind, steps=5 + 3 * i) for i in range(number)]
    for again in range(2):
        jobs = [replace(j, motion=replace(j.motion, number=j.motion.number + again * j.steps)) for j, _ in made]
        expected = [_stepped(job, force) for job, (_, force) in zip(jobs, made, strict=True)]
        before = len(device.launches)
        ends = leap(jobs)
        assert ends == [(job.steps, 0) for job in jobs]
        assert [_there(job, end) for job, end in zip(jobs, ends, strict=True)] == expected
        nodes = max(job.mesh.shape[0] for job in jobs)
        shared = 8 * (16 + 3 * nodes - 1) + (4 + np.dtype(kind).itemsize) * nodes
        assert device.launches[before:] == [("leap", number, 1024, shared)]


def test_a_replica_stops_where_it_loses_particles():
    """Each for itself, after the step in which it did; its positions are those after that step. Others go on."""
    device = HostDevice(threads=2)
    made = [_made(device, i, scale=scale) for i, scale in enumerate((0.55, 0.1, 0.8, 0.5))]
    expected = [_stepped(*one) for one in made]
    ends = leap([job for job, _ in made])
    assert [done for done, _ in ends] == [made for *_, made, _ in expected]
    assert len({done for done, _ in ends}) == 4
    assert ends[1] == (STEPS, 0)
    assert min(ends)[0] > 1
    for (job, _), end, (x, counts, *wanted) in zip(made, ends, expected, strict=True):
        assert list(end) == wanted
        assert job.cloud.rows(0, job.cloud.shape[0]).tobytes() == x
        assert (job.counts.tolist() == counts) or end[1]


def test_a_launch_takes_few_calls():
    """One copy there, one kernel, one copy back, for any number of jobs whose tables are there."""

    class Counting(HostDevice):
        calls = 0

        def array(self, values, out=None):
            self.calls += 1
            return super().array(values, out)

        def to_host(self, array, out=None):
            self.calls += 1
            return super().to_host(array, out)

    device = Counting()
    jobs = [_made(device, i, steps=2)[0] for i in range(4)]
    leap(jobs)
    device.calls = 0
    leap(jobs)
    assert device.calls == 2
    assert leap([]) == []


def test_no_launch_is_too_long():
    """Steps of one launch have a bound; who wants more comes again."""
    job, _ = _made(HostDevice(), 0, steps=10**9)
    assert leap([replace(job, motion=Motion(0.0, 0.0, 0))]) == [(4096, 0)]


def test_what_can_leap():
    """What fits: an H200 takes the lines whose drift is found by sums over lags; counters have 32 bits."""
    device = HostDevice()
    assert all(can_leap(device, 400, 65535, kind) for kind in ("float32", "float64"))
    assert not can_leap(device, 400, 65536, "float32")
    assert not can_leap(device, 8000, 100, "float32")
    assert not can_leap(HostDevice(shared_bytes=2**12), 48, 100, "float32")


def test_refusals():
    """Replicas that differ in device or type, parts of a replica, streamed clouds, and what does not fit."""
    device = HostDevice()
    (job, _), (other, _) = _made(device, 0), _made(device, 3)
    before = job.cloud.rows(0, 203).tobytes()

    def refused(match, *jobs, error=ValueError):
        with pytest.raises(error, match=match):
            leap([job, *jobs])
        with pytest.raises(error, match=match):
            Leaps(device if "device" not in match else HostDevice()).leap(jobs[0])
        assert job.cloud.rows(0, 203).tobytes() == before

    refused("device", _made(HostDevice(), 1)[0])
    refused("whole replica", replace(other, noise=Noise(4, 4, 7, 9)))
    refused("must be those of 48 nodes", replace(other, counts=other.counts[:-1]))
    refused("must be those of 48 nodes", replace(other, counts=other.counts.astype(np.uint64)))
    refused("must be those of 48 nodes", replace(other, lags=_made(device, 1)[0].lags))
    x = np.zeros((203, 1), np.float32)
    streamed = DeviceCloud.filled(device, x.shape, x.dtype, lambda a, b: x[a:b], 64, False)
    refused("streamed", replace(other, cloud=streamed))
    plane = DeviceCloud.filled(device, (2, 2), x.dtype, lambda a, b: np.zeros((b - a, 2), np.float32), 64, True)
    refused("cannot leap", replace(other, cloud=plane))
    refused("too far", replace(other, mesh=Mesh(1 / 8, (2**51,), (48,))), error=RunError)
    with pytest.raises(ValueError, match="one device and type"):
        leap([job, _made(device, 1, "float64")[0]])


# Threads


class Gate(HostDevice):
    """A device whose first launch waits until it is let go; then every launch may be told to fail."""

    def __init__(self):
        super().__init__()
        self.begun, self.go, self.error = threading.Event(), threading.Event(), None
        self.sizes = []

    def program(self, text, names):
        """Return functions; ``leap`` waits first, and raises what it is told to."""
        found = super().program(text, names)

        def held(blocks, threads, arguments, shared=0):
            self.sizes.append(blocks)
            self.begun.set()
            assert self.go.wait(20)
            if self.error is not None and len(self.sizes) == 2:
                raise self.error
            found["leap"](blocks, threads, arguments, shared)

        return {**found, "leap": held} if "leap" in found else found


def _waiting(leaps, number):
    """Wait until so many threads wait for a launch."""
    end = time.monotonic() + 20
    while len(leaps._waiting) < number:
        assert time.monotonic() < end, "they did not come"
        time.sleep(0.001)


def _met(device, leaps, jobs, pool):
    """Futures of the answers: the first job is in a launch of its own, and the others wait for its end."""
    first = pool.submit(leaps.leap, jobs[0])
    assert device.begun.wait(20)
    others = [pool.submit(leaps.leap, job) for job in jobs[1:]]
    _waiting(leaps, len(jobs) - 1)
    return [first, *others]


def test_who_waits_goes_together():
    """All who come while a launch runs share the next one, a launch for every type: the bits of steps one by one."""
    device = Gate()
    leaps = Leaps(device)
    made = [_made(device, i, "float64" if i in (2, 4) else "float32") for i in range(7)]
    expected = [_stepped(*one) for one in made]
    with ThreadPoolExecutor(7) as pool:
        found = _met(device, leaps, [job for job, _ in made], pool)
        device.go.set()
        ends = [future.result(20) for future in found]
    assert [_there(job, end) for (job, _), end in zip(made, ends, strict=True)] == expected
    assert (device.sizes[0], sorted(device.sizes[1:])) == (1, [2, 4])


@pytest.mark.parametrize("error", [DeviceMemoryError(5, 3), RuntimeError("illegal address"), KeyboardInterrupt()])
def test_an_error_of_a_launch_reaches_everyone_in_it(error):
    """And nobody else: the launch before was well, so is the one after; an interrupt stays with its own thread."""
    device = Gate()
    device.error, leaps = error, Leaps(device)
    jobs = [_made(device, i)[0] for i in range(6)]
    with ThreadPoolExecutor(5) as pool:
        found = _met(device, leaps, jobs[:5], pool)
        device.go.set()
        raised = [future.exception(20) for future in found]
    assert raised[0] is None
    if isinstance(error, Exception):
        assert raised[1:] == [error] * 4
    else:
        assert sorted(type(one).__name__ for one in raised[1:]) == ["KeyboardInterrupt", *["RunError"] * 3]
        said = next(str(one) for one in raised[1:] if isinstance(one, RunError))
        assert said.startswith("another thread was interrupted while it stepped this replica")
    assert leaps.leap(jobs[5]) == (STEPS, 0)


def test_a_job_that_is_refused_is_nobody_elses_trouble():
    """It is refused at once, while a launch runs, and is not in the next one."""
    device = Gate()
    leaps = Leaps(device)
    jobs = [_made(device, i)[0] for i in range(3)]
    with ThreadPoolExecutor(3) as pool:
        found = _met(device, leaps, jobs, pool)
        with pytest.raises(ValueError, match="whole replica"):
            leaps.leap(replace(jobs[2], noise=Noise(4, 0, 0, 0)))
        device.go.set()
        assert [future.result(20) for future in found] == [(STEPS, 0)] * 3
    assert device.sizes == [1, 2]


@pytest.fixture
def interruptible():
    """Ctrl-C is heard: who started these tests in the background may have it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(
    sys.platform == "win32" or threading.current_thread() is not threading.main_thread(), reason="no signals here"
)
def test_who_is_interrupted_while_it_waits_is_not_in_the_next_launch(interruptible):
    """Its state stays what it was; the others go on."""
    device = Gate()
    leaps = Leaps(device)
    jobs = [_made(device, i)[0] for i in range(3)]
    before = jobs[2].cloud.rows(0, jobs[2].cloud.shape[0]).tobytes()

    def interrupt():
        _waiting(leaps, 2)
        os.kill(os.getpid(), signal.SIGINT)

    with ThreadPoolExecutor(3) as pool:
        found = _met(device, leaps, jobs[:2], pool)
        pool.submit(interrupt)
        with pytest.raises(KeyboardInterrupt):
            leaps.leap(jobs[2])
        device.go.set()
        assert [future.result(20) for future in found] == [(STEPS, 0)] * 2
    assert device.sizes == [1, 1]
    assert jobs[2].cloud.rows(0, jobs[2].cloud.shape[0]).tobytes() == before


@pytest.mark.parametrize("shared", [True, False])
def test_steppers_of_many_threads(shared):
    """Replicas of one system, a thread each, whose meshes grow on the way: each has the bits of the host."""
    system = System(1, 101, 1, KERNELS[0], POTENTIAL, 1.0)
    device, starts = HostDevice(), [np.random.default_rng(r).normal(0, 0.3, (101, 1)) for r in range(8)]
    leaps = Leaps(device) if shared else None

    def stepped(replica, cloud):
        stepper = Stepper(system, 0.01, 3, replica, 1 / 8, leaps=leaps)
        state = stepper.start(cloud)
        for steps in (3, 30, 1, 16):
            stepper.advance(state, steps)
        return state.positions.tobytes(), state.count.tolist(), state.mesh

    def there(replica):
        x = starts[replica]
        return stepped(replica, DeviceCloud.filled(device, x.shape, x.dtype, lambda a, b: x[a:b], 2**20, True))

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(there, range(8), timeout=60))
    assert found == [stepped(replica, HostCloud(x)) for replica, x in enumerate(starts)]
    assert {name for name, *_ in device.launches} >= {"leap"}
    assert "step" not in {name for name, *_ in device.launches}
    assert len({mesh for *_, mesh in found}) > 1
