"""Euler-Maruyama steps of one replica: a state, and the stepper that advances it (docs/method.md, section 1)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ipsdist.model.errors import InputError, RunError
from ipsdist.model.mesh import Mesh
from ipsdist.model.system import System
from ipsdist.numerics.densities.deposit import deposit
from ipsdist.numerics.particles.forces import particle_force
from ipsdist.numerics.particles.forces.mesh import MeshForce
from ipsdist.numerics.particles.noise import NORMAL_TABLE, STEPPING, seed_words, stream_of

__all__ = ["State", "Stepper"]

Array = npt.NDArray[np.float64]

_LANES = 4
"""Words of a Philox block: chunks begin at a whole one."""


@dataclass
class State:
    """One replica at a step: ``step``, ``positions`` and ``mesh`` determine its future; ``count`` follows from them.

    Only `Stepper` makes and changes states: it keeps every particle on the mesh.
    """

    step: int
    positions: Array
    """(N, d)."""
    mesh: Mesh
    count: npt.NDArray[np.int64]
    """(nodes...) weights of the particles, in units of 1 / COUNT_ONE."""


class Stepper:
    """X += drift * step + sqrt(diffusion * step) * xi with the noise of (seed, replica, particle, step number).

    ``force`` is one of `forces.METHODS`. ``chunk`` particles (a multiple of 4) are stepped at a time; it
    changes no bit. Every replica has its own stepper.
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
    ) -> None:
        if chunk is not None and (chunk < _LANES or chunk % _LANES):
            raise InputError("run.chunk", f"must be a positive multiple of {_LANES}", chunk, "use 1048576")
        if system.kernel is None:
            raise InputError("system.kernel", "is needed to simulate", "none", "give an expression in r")
        self._system = system
        self._step = step
        self._spacing = spacing
        self._chunk = chunk or max(_LANES, system.particles + -system.particles % _LANES)
        self._scale = math.sqrt(system.diffusion * step)
        self._noise = (np.uint64(stream_of(replica, STEPPING)), *seed_words(seed))
        self._mesh_force: MeshForce | None = None
        self._force: Callable[[Array], Array] | None = None
        if force in ("auto", "mesh"):
            self._mesh_force = MeshForce(system.kernel, system.potential, system.particles)
        else:
            self._force = particle_force(force, system.kernel, system.potential, system.dimension)

    def start(self, positions: npt.ArrayLike, step: int = 0, mesh: Mesh | None = None) -> State:
        """Return the state at ``step`` with these positions (N, d), copied.

        To go on from a stored state, give its step and its mesh; the steps that follow have the same bits.
        """
        x = np.array(positions, dtype=np.float64, order="C", ndmin=2)
        expected = self._system.particles, self._system.dimension
        if x.shape != expected:
            raise InputError("initial", f"must be positions of shape {expected}", x.shape)
        if not np.isfinite(x).all():
            raise InputError("initial", "must be finite", f"{_broken(x)} particles that are not")
        mesh = mesh or Mesh.around(x.min(0), x.max(0), self._spacing)
        return State(step, x, mesh, deposit(x, mesh).count)

    def advance(self, state: State, steps: int) -> None:
        """Advance ``state`` in place by ``steps`` steps; its mesh grows when a particle leaves it.

        Raises RunError when the particles blow up. After that the state must not be used.
        """
        if self._mesh_force is None:
            self._advance_particles(state, steps)
        else:
            self._advance_mesh(state, steps)

    def _advance_mesh(self, state: State, steps: int) -> None:
        from ipsdist.numerics.device.step import step

        assert self._mesh_force is not None
        flat = state.positions.reshape(-1)
        words, inverse = self._chunk * self._system.dimension, 1.0 / self._spacing
        for _ in range(steps):
            drift = self._mesh_force.node_drift(state.mesh, state.count)
            count = np.zeros_like(state.count)
            lower = np.array(state.mesh.lower)
            number = np.uint64(state.step)
            left = 0
            for q in range(0, flat.size, words):
                x = flat[q : q + words]
                noise = NORMAL_TABLE, np.uint64(q), number, *self._noise
                lost = step(x, drift, lower, inverse, self._step, self._scale, *noise, count)
                if lost < 0:
                    raise ValueError("`state.positions` must lie on `state.mesh`; make states with Stepper.start")
                left += lost
            state.step += 1
            state.count = count
            if left:
                self._follow(state)
                state.count = deposit(state.positions, state.mesh).count

    def _advance_particles(self, state: State, steps: int) -> None:
        from ipsdist.numerics.device.step import move

        assert self._force is not None
        flat = state.positions.reshape(-1)
        words = self._chunk * self._system.dimension
        for _ in range(steps):
            drift = self._force(state.positions).reshape(-1)
            for q in range(0, flat.size, words):
                x, f = flat[q : q + words], drift[q : q + words]
                move(x, f, self._step, self._scale, NORMAL_TABLE, np.uint64(q), np.uint64(state.step), *self._noise)
            state.step += 1
            self._follow(state)
        if steps:  # deposits are wanted only where the caller looks
            state.count = deposit(state.positions, state.mesh).count

    def _follow(self, state: State) -> None:
        """Grow the mesh to hold every particle: a function of the mesh and the positions alone."""
        x, mesh = state.positions, state.mesh
        if broken := _broken(x):
            raise self._blown_up(state, broken, "have no finite position")
        lowest, highest = x.min(0), x.max(0)
        if mesh.holds(lowest, highest):
            return
        try:
            state.mesh = mesh.grown(lowest, highest)
        except RunError as error:
            cell = np.floor(x / mesh.spacing) - mesh.lower
            off = int(((cell < 0) | (cell >= np.array(mesh.shape) - 1)).any(axis=1).sum())
            raise self._blown_up(state, off, "ran away so far that no force mesh holds them") from error

    def _blown_up(self, state: State, particles: int, what: str) -> RunError:
        remedy = f"use a smaller time.step (now {self._step:g}) or a larger system.cutoff"
        affected = f"{particles} of {self._system.particles} particles {what}"
        return RunError(f"the particles blew up at step {state.step}: {affected}; {remedy}")


def _broken(positions: Array) -> int:
    """Return the number of particles without a finite position."""
    finite = np.isfinite(positions)
    return 0 if finite.all() else int((~finite).any(axis=1).sum())
