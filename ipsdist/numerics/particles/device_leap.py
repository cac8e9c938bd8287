"""Many steps of small replicas on a line in one launch: the device finds the drift itself, a block a replica.

The bits are those of as many steps of `DeviceCloud.step`, or of the host, with the drift of `forces.mesh.MeshForce`.
Replicas that many threads step meet in `Leaps`: a multiprocessor each, where one alone would leave all others idle.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ipsdist.arrays import Device
from ipsdist.model.errors import RunError
from ipsdist.model.mesh import Mesh
from ipsdist.numerics.device.cuda import JOB_WORDS, leap_bytes, text
from ipsdist.numerics.particles.cloud import Motion, Noise
from ipsdist.numerics.particles.device_cloud import DeviceCloud
from ipsdist.numerics.particles.device_pieces import STATIC_BYTES, mesh_arguments, real

__all__ = ["MOST", "Leap", "Leaps", "can_leap", "job_words", "leap"]

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

MOST = 65535
"""Particles whose weights fit a counter of 32 bits wherever they are."""
_THREADS = 1024
_LONGEST = 4096
"""Steps of one launch, which nobody can interrupt."""
_ENDS = 2
"""Words before the counts that a job gives back: steps done, particles lost."""
_BACK = 14
"""Which word of a job says where it gives back."""
_LOOK = 1.0
"""Seconds after which who waits looks by itself: an interrupt may have hit the one who would have told it."""


@dataclass(frozen=True)
class Leap:
    """A job: a whole replica on a line is to do up to ``steps`` steps, from ``motion.number`` on."""

    cloud: DeviceCloud
    """Resident; its positions are moved in place."""
    mesh: Mesh
    """It holds all particles."""
    lags: tuple[Array, Array]
    """What `MeshForce.lag_table` gives for the mesh."""
    motion: Motion
    noise: Noise
    """From the first particle on."""
    steps: int
    counts: Integers
    """(nodes,) the weights before; they become those after."""


def can_leap(device: Device, nodes: int, particles: int, dtype: npt.DTypeLike) -> bool:
    """Tell whether so many particles on a line of so many nodes can leap: counters and shared memory hold them."""
    return particles <= MOST and leap_bytes(nodes, np.dtype(dtype).itemsize) + STATIC_BYTES <= device.shared_bytes


def job_words(
    addresses: tuple[int, int, int], particles: int, mesh: Mesh, motion: Motion, noise: Noise, steps: int, back: int
) -> npt.NDArray[np.uint64]:
    """Return a job as the kernel takes it, (JOB_WORDS,): integers, and doubles by their bits.

    ``addresses`` are those of positions, force table and external drift. From word ``back`` of what all jobs give back
    on lie its steps done, its particles lost and its counts (nodes,). Raises RunError as `mesh_arguments` does.
    """
    place = mesh_arguments(mesh)
    words = np.zeros(JOB_WORDS, dtype=np.uint64)
    words[:3] = addresses
    words[3:4].view(np.int64)[0] = place[0]
    words[4:7].view(np.float64)[:] = place[-1], motion.dt, motion.scale
    words[7:_BACK] = particles, mesh.shape[0], motion.number, steps, noise.stream, noise.low, noise.high
    words[_BACK] = back
    return words


def leap(jobs: Sequence[Leap]) -> list[tuple[int, int]]:
    """Do jobs in one launch, each for itself; return how many steps each did and how many particles it lost.

    A replica that loses particles stops after that step: its positions are those after it, its counts are incomplete.
    None does more than 4096 steps. The clouds are of one device and type; no two jobs have the same. Raises ValueError
    for what cannot leap, RunError for a mesh too far from 0, DeviceMemoryError.
    """
    if len({(id(one.cloud.launcher.device), one.cloud.dtype) for one in jobs}) > 1:
        raise ValueError("replicas that leap together must have one device and type")
    return _launched([_packed(one) for one in jobs])


def _packed(job: Leap) -> tuple[Leap, npt.NDArray[np.uint64]]:
    """Return a job and its words (JOB_WORDS,), all but where it gives back; bring its table to the device.

    Raises ValueError where it cannot leap, RunError where its mesh is too far from 0, DeviceMemoryError.
    """
    cloud, nodes = job.cloud, job.mesh.shape[0]
    device, (n, d) = cloud.launcher.device, cloud.shape
    if d != 1 or not can_leap(device, nodes, n, cloud.dtype):
        raise ValueError(f"{n} particles in {d} dimensions with {nodes} nodes cannot leap")
    if job.noise.first:
        raise ValueError(f"what leaps must be a whole replica; got one from coordinate {job.noise.first} on")
    lags = tuple(len(part) for part in job.lags)
    if job.counts.shape != (nodes,) or job.counts.dtype != np.int64 or lags != (2 * nodes - 1, nodes):
        raise ValueError(f"`counts` and `lags` must be those of {nodes} nodes; got {job.counts.shape} and {lags}")
    forces, external = cloud.launcher.lags(job.lags)
    places = device.address(cloud.positions), device.address(forces), device.address(external)
    return job, job_words(places, n, job.mesh, job.motion, job.noise, min(job.steps, _LONGEST), 0)


def _launched(packed: Sequence[tuple[Leap, npt.NDArray[np.uint64]]]) -> list[tuple[int, int]]:
    """Do what is packed in one launch, with one copy there and one back; return steps done and particles lost."""
    if not packed:
        return []
    jobs, rows = [job for job, _ in packed], [row for _, row in packed]
    first = jobs[0].cloud
    device, dtype = first.launcher.device, first.dtype
    kernel = device.program(text("leap", D=1, REAL=real(dtype)), ("leap",))["leap"]
    ends = np.zeros(_ENDS, dtype=np.int64)
    backs = np.cumsum([0, *[_ENDS + len(job.counts) for job in jobs]])
    for row, at in zip(rows, backs, strict=False):
        row[_BACK] = at
    given = np.concatenate([*rows, *[part.view(np.uint64) for job in jobs for part in (ends, job.counts)]])
    there, head = device.array(given), JOB_WORDS * len(jobs)
    arguments = there[:head], np.uint32(len(jobs)), first.launcher.table, there[head:]
    kernel(len(jobs), _THREADS, arguments, leap_bytes(max(len(job.counts) for job in jobs), dtype.itemsize))
    found = device.to_host(there[head:]).view(np.int64)
    for job, at in zip(jobs, backs, strict=False):
        job.counts[:] = found[at + _ENDS :][: len(job.counts)]
    return [(int(found[at]), int(found[at + 1])) for at in backs[:-1]]


class _Turn:
    """A job that a thread has brought."""

    def __init__(self, job: Leap) -> None:
        self.kind, self.packed = job.cloud.dtype, _packed(job)
        self.leader: _Turn | None = None
        """Whose thread took it into its launch; None while it waits."""
        self.end: tuple[int, int] | None = None
        self.error: Exception | None = None

    def answer(self) -> tuple[int, int]:
        """Return what came of the job, or raise what went wrong."""
        if self.end is not None:
            return self.end
        if self.error is not None:
            raise self.error
        what = "another thread was interrupted while it stepped this replica on the GPU"
        raise RunError(f"{what}; the same command goes on from the last commit")


class Leaps:
    """Where jobs of many threads meet: who comes while a launch runs waits, and all who wait go with the next one.

    One of them launches for all. So nobody waits for more than two launches, nor for anybody who is not there yet.
    Which jobs share a launch changes no bit.
    """

    def __init__(self, device: Device) -> None:
        """Begin with nobody on ``device``, where the particles of all jobs lie."""
        self._device = device
        self._changed = threading.Condition()
        self._waiting: list[_Turn] = []
        self._leader: _Turn | None = None
        """Whose thread launches now."""

    def leap(self, job: Leap) -> tuple[int, int]:
        """Do a job; return how many steps were done and how many particles were lost, as the function `leap` does.

        Any thread may call it. Raises ValueError and RunError for a job that cannot be done, before anybody else has to
        do with it. What a launch raises, whoever was in it gets, and RunError where the thread that launched was
        interrupted; the states of those must not be used after that.
        """
        if job.cloud.launcher.device is not self._device:
            raise ValueError("the particles of a job must lie on the device of all others")
        turn = _Turn(job)
        try:
            if self._leads(turn):
                self._launch(turn)
        finally:
            self._leave(turn)
        return turn.answer()

    def _leads(self, turn: _Turn) -> bool:
        """Wait for the launch that does a job, or until its thread is to launch: tell which."""
        with self._changed:
            self._waiting.append(turn)
            while self._leader is not None and turn.leader in (None, self._leader):
                self._changed.wait(_LOOK)
            if turn.leader is None:
                self._leader = turn
            return turn.leader is None

    def _launch(self, turn: _Turn) -> None:
        """Do the jobs of all who wait: a launch for every type of positions."""
        with self._changed:
            turns = [one for one in self._waiting if one.leader is None]
            for one in turns:
                one.leader = turn
            self._waiting = []
        try:
            for kind in {one.kind: None for one in turns}:
                alike = [one for one in turns if one.kind == kind]
                for one, end in zip(alike, _launched([each.packed for each in alike]), strict=True):
                    one.end = end
        except Exception as error:
            for one in turns:
                one.error = error

    def _leave(self, turn: _Turn) -> None:
        """Let the next one launch, if this one did; forget its job, if it was interrupted while it waited."""
        leading = self._leader is turn
        if leading:
            self._leader = None  # first of all: nothing that may be interrupted comes before it
            turn.leader = None  # itself: it would keep its cloud until garbage is collected
        with self._changed:
            if turn in self._waiting:
                self._waiting.remove(turn)
            if leading:
                self._changed.notify_all()
