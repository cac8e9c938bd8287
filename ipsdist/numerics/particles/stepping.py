"""Euler-Maruyama steps of a replica or of a part of it: states, and the stepper that advances them (docs/method.md, 1).

The particles of a replica meet in the counts on the force mesh alone. So a gang steps one replica together: each member
its own part, and after every step the integer counts are added over all members.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard, cast

import numpy as np
import numpy.typing as npt

from ipsdist.arrays import Device, DeviceArray, Ring
from ipsdist.model.errors import InputError, RunError
from ipsdist.model.mesh import Mesh
from ipsdist.model.system import System
from ipsdist.model.together import ALONE, Together
from ipsdist.numerics.particles.cloud import Cloud, Motion, Noise
from ipsdist.numerics.particles.forces import particle_force
from ipsdist.numerics.particles.forces.mesh import MeshForce
from ipsdist.numerics.particles.host_cloud import HostCloud
from ipsdist.numerics.particles.noise import LANES, STEPPING, seed_words, stream_of

if TYPE_CHECKING:
    from ipsdist.numerics.particles.device_cloud import DeviceCloud
    from ipsdist.numerics.particles.device_leap import Leaps
    from ipsdist.numerics.particles.forces.device_direct import DeviceDirect

__all__ = ["State", "Stepper"]

Array = npt.NDArray[np.float64]
Positions = npt.NDArray[np.float64] | npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]

_OFF_BEFORE = 2**48
"""What a member adds to the number of lost particles when its old positions were off the mesh: more than any number."""


@dataclass
class State:
    """One part of a replica at a step: ``step``, ``cloud``, ``mesh`` of all members determine the future.

    ``count`` follows from them. Only `Stepper` makes and changes states: it keeps every particle on the mesh.
    """

    step: int
    cloud: Cloud
    """The particles of the part, wherever they are kept."""
    mesh: Mesh
    """The same on every member."""
    count: Integers
    """(nodes...) weights of all particles of the replica, in units of 1 / COUNT_ONE."""
    ring: Ring | None = None
    """What adds the counts of all members where they lie; None: they come to the host and are added there."""

    @property
    def positions(self) -> Positions:
        """(n, d) positions of the part, on the host; those of a `HostCloud` are not copied."""
        return self.cloud.rows(0, self.cloud.shape[0])


class Stepper:
    """X += drift * step + sqrt(diffusion * step) * xi with the noise of (seed, replica, particle, step number).

    ``force`` is one of `forces.METHODS`. ``chunk`` particles (a multiple of 4) are stepped at a time; it
    changes no bit. ``part`` are the first particle (a multiple of 4) and the one after the last of this member, all by
    default; what needs ``together`` is called by all members alike. Every replica has its own stepper.
    ``force_on_device``: a device that holds the particles finds the force too, on the mesh or by the direct sum of a
    system without a potential, and rounds differently. ``leaps``: where its leaps meet those of other steppers on the
    device; its own by default.
    """

    def __init__(
        self,
        system: System,
        step: float,
        seed: int,
        replica: int,
        spacing: float,
        force: str = "mesh",
        chunk: int | None = None,
        part: tuple[int, int] | None = None,
        force_on_device: bool = False,
        leaps: Leaps | None = None,
    ) -> None:
        if chunk is not None and (chunk < LANES or chunk % LANES):
            raise InputError("run.chunk", f"must be a positive multiple of {LANES}", chunk, "use 1048576")
        if system.kernel is None:
            raise InputError("system.kernel", "is needed to simulate", "none", "give an expression in r")
        self._system = system
        self._step = step
        self._spacing = spacing
        self._first, self._stop = part or (0, system.particles)
        if self._first % LANES and self._first < system.particles:
            raise ValueError(f"a part must begin at a multiple of {LANES}; got {self._first}")
        self._chunk = chunk
        self._scale = math.sqrt(system.diffusion * step)
        low, high = seed_words(seed)
        self._noise = Noise(self._first * system.dimension, stream_of(replica, STEPPING), int(low), int(high))
        self._force_on_device, self._leaps = force_on_device, leaps
        self._sums: DeviceDirect | None = None
        self._mesh_force: MeshForce | None = None
        self._force: Callable[[Array], Array] | None = None
        if force in ("auto", "mesh"):
            self._mesh_force = MeshForce(system.kernel, system.potential, system.particles)
        else:
            self._force = particle_force(force, system.kernel, system.potential, system.dimension)
            if part not in (None, (0, system.particles)):
                raise ValueError(f"force method {force} needs all particles in one part")

    def start(
        self,
        positions: npt.ArrayLike | Cloud,
        step: int = 0,
        mesh: Mesh | None = None,
        together: Together = ALONE,
        copy: bool = True,
    ) -> State:
        """Return the state at ``step`` with these positions (n, d) of the part; float32 stays what it is.

        They are copied unless ``copy`` is false: then they belong to the state, if they can. A cloud always belongs to
        it. To go on from a stored state, give its step and its mesh; the steps that follow have the same bits.
        """
        cloud: Cloud = positions if _is_cloud(positions) else HostCloud(cast(Any, positions), self._chunk, copy)
        expected = self._stop - self._first, self._system.dimension
        if cloud.shape != expected:
            raise InputError("initial", f"must be positions of shape {expected}", cloud.shape)
        lowest, highest = _extent(cloud, together)
        if not (np.isfinite(lowest).all() and np.isfinite(highest).all()):
            raise InputError("initial", "must be finite", f"{_sum(cloud.broken(), together)} particles that are not")
        mesh = mesh or Mesh.around(lowest, highest, self._spacing)
        ring = None if self._mesh_force is None else together.ring(_device_of(cloud))
        state = State(step, cloud, mesh, np.empty(0, dtype=np.int64), ring)
        _deposit(state, together)
        return state

    def advance(self, state: State, steps: int, together: Together = ALONE) -> None:
        """Advance ``state`` in place by ``steps`` steps; its mesh grows when a particle of any member leaves it.

        Raises RunError when the particles blow up, the same on every member. After that the state must not be used.
        """
        if self._mesh_force is None:
            self._advance_particles(state, steps)
        else:
            self._advance_mesh(state, steps, together)

    def _advance_mesh(self, state: State, steps: int, together: Together) -> None:
        assert self._mesh_force is not None
        goal = state.step + steps
        while state.step < goal:
            if self._leap(state, goal - state.step, together):
                continue
            drift = self._drift(state)
            # One exchange a step: the number of those who left the mesh travels behind the counts.
            shared = np.zeros(state.count.size + 1, dtype=np.int64)
            count = shared[:-1].reshape(state.count.shape)
            lost = state.cloud.step(state.mesh, drift, self._motion(state), self._noise, count, state.ring)
            shared[-1] = lost if lost >= 0 else _OFF_BEFORE
            if state.ring is None:
                shared = together.add(shared)
            left = int(shared[-1])
            if left >= _OFF_BEFORE:
                raise ValueError("`state.positions` must lie on `state.mesh`; make states with Stepper.start")
            state.step += 1
            state.count = shared[:-1].reshape(state.count.shape)
            if left:
                self._follow(state, together)
                _deposit(state, together)

    def _drift(self, state: State) -> Array | DeviceArray:
        """Return the drift at the nodes (d, nodes...), as exact as the positions, where it was found."""
        assert self._mesh_force is not None
        if self._force_on_device:
            device = _on_device(state.cloud).device
            return self._mesh_force.drift_on(device, state.mesh, state.count, state.cloud.dtype)
        # Half the bytes in float32, where a device keeps it near its cores.
        return self._mesh_force.node_drift(state.mesh, state.count).astype(state.cloud.dtype, copy=False)

    def _leap(self, state: State, steps: int, together: Together) -> bool:
        """Let the device do up to ``steps`` steps by itself, with the same bits; tell whether it did any."""
        assert self._mesh_force is not None
        cloud, mesh = state.cloud, state.mesh
        if isinstance(cloud, HostCloud) or together.size > 1 or cloud.shape != (self._system.particles, 1):
            return False
        from ipsdist.numerics.particles.device_cloud import DeviceCloud
        from ipsdist.numerics.particles.device_leap import Leap, Leaps, can_leap

        lags = self._mesh_force.lag_table(mesh)
        if lags is None or not isinstance(cloud, DeviceCloud) or not cloud.resident:
            return False
        if not can_leap(cloud.launcher.device, mesh.shape[0], cloud.shape[0], cloud.dtype):
            return False
        if self._leaps is None:
            self._leaps = Leaps(cloud.device)
        counts = state.count.copy()
        done, lost = self._leaps.leap(Leap(cloud, mesh, lags, self._motion(state), self._noise, steps, counts))
        if not done and steps:
            raise RunError(f"{cloud.device.name} did no step of {steps}: it cannot be trusted to step the particles")
        state.step += done
        state.count = counts
        if lost:
            self._follow(state, together)
            _deposit(state, together)
        return True

    def _advance_particles(self, state: State, steps: int) -> None:
        for _ in range(steps):
            self._move(state.cloud, self._motion(state))
            state.step += 1
            self._follow(state, ALONE)
        if steps:  # deposits are wanted only where the caller looks
            _deposit(state, ALONE)

    def _move(self, cloud: Cloud, motion: Motion) -> None:
        """Move every particle by its exact force, found where ``force_on_device`` says."""
        if not self._force_on_device:
            assert self._force is not None
            if not isinstance(cloud, HostCloud):
                raise ValueError("exact forces need the particles on the host, or force_on_device")
            cloud.move(self._force(cloud.positions.astype(np.float64, copy=False)), motion, self._noise)
            return
        from ipsdist.numerics.particles.forces.device_direct import DeviceDirect

        there = _on_device(cloud)
        if self._sums is None:
            assert self._system.kernel is not None
            self._sums = DeviceDirect(there.device, self._system.kernel, self._system.dimension, there.dtype)
        there.move(self._sums.drift(there.positions), motion, self._noise)

    def _motion(self, state: State) -> Motion:
        return Motion(self._step, self._scale, state.step)

    def _follow(self, state: State, together: Together) -> None:
        """Grow the mesh to hold every particle: a function of the mesh and of the extent of all positions alone."""
        cloud, mesh = state.cloud, state.mesh
        lowest, highest = _extent(cloud, together)
        if not (np.isfinite(lowest).all() and np.isfinite(highest).all()):
            raise self._blown_up(state, _sum(cloud.broken(), together), "have no finite position")
        if mesh.holds(lowest, highest):
            return
        try:
            state.mesh = mesh.grown(lowest, highest)
        except RunError as error:
            off = _sum(cloud.off(mesh), together)
            raise self._blown_up(state, off, "ran away so far that no force mesh holds them") from error

    def _blown_up(self, state: State, particles: int, what: str) -> RunError:
        remedy = f"use a smaller time.step (now {self._step:g}) or a larger system.cutoff"
        affected = f"{particles} of {self._system.particles} particles {what}"
        return RunError(f"the particles blew up at step {state.step}: {affected}; {remedy}")


def _device_of(cloud: Cloud) -> Device | None:
    """Return the device that holds the cloud, or that it passes through; None for the host."""
    return None if isinstance(cloud, HostCloud) else cast("DeviceCloud", cloud).device


def _on_device(cloud: Cloud) -> DeviceCloud:
    """Return the cloud. Raises ValueError where it is not on a device."""
    if isinstance(cloud, HostCloud):
        raise ValueError("`force_on_device` needs the particles on a device")
    return cast("DeviceCloud", cloud)


def _is_cloud(given: object) -> TypeGuard[Cloud]:
    return hasattr(given, "deposits")


def _deposit(state: State, together: Together) -> None:
    """Make ``state.count`` that of the positions of all members."""
    state.count = together.add(state.cloud.deposits(state.mesh)[0].reshape(-1)).reshape(state.mesh.shape)


def _extent(cloud: Cloud, together: Together) -> tuple[Array, Array]:
    """Return lowest and highest corner (d,), (d,) of the positions of all members; NaN where one is NaN."""
    lowest, highest = cloud.extent()
    corners = together.lowest(np.concatenate([lowest, -highest]))
    d = cloud.shape[1]
    return corners[:d], -corners[d:]


def _sum(number: int, together: Together) -> int:
    """Return the sum of a number over all members."""
    return int(together.add(np.array([number], dtype=np.int64))[0])
