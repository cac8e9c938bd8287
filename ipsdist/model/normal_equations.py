"""Normal equations: the only thing that leaves a worker for the fit. They add, and they change basis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

__all__ = ["DIFFUSION", "NormalEquations"]

Array = npt.NDArray[np.float64]

DIFFUSION = "sigma^2"
"""Name of the column of an unknown sigma**2, the last of a basis."""


@dataclass(frozen=True)
class NormalEquations:
    """Gram, moment and (strong and weak form) energy of P panels over a basis of M terms.

    For the action, likelihood and weak forms they are normalised so that ``diffusion * inv(gram.sum(0))`` is the
    covariance of the coefficients (docs/method.md, section 4).
    """

    form: str
    basis: tuple[str, ...]
    gram: Array
    """(P, M, M), symmetric."""
    moment: Array
    """(P, M)."""
    energy: Array | None
    """(P,) squared norm of the target, so that misfit(z) = z'Az - 2 b'z + c; None for action and likelihood."""
    particles: int
    """Particles behind the equations, replicas counted: the sample size of the information criteria."""
    diffusion: float | None = None
    """The sigma**2 that stands in the moment; None where none does (likelihood). Unlike ones do not add."""

    def __post_init__(self) -> None:
        panels, terms = self.moment.shape
        if self.gram.shape != (panels, terms, terms) or len(self.basis) != terms:
            raise ValueError(
                f"`gram` must be {(panels, terms, terms)} and `basis` {terms} names; "
                f"got {self.gram.shape}, {len(self.basis)}"
            )

    def __add__(self, other: NormalEquations) -> NormalEquations:
        """Add panel by panel: another replica or run of the same form and basis."""
        mine, theirs = (self.form, self.basis, self.diffusion), (other.form, other.basis, other.diffusion)
        if mine != theirs:
            raise ValueError(f"normal equations add only for one form, basis and diffusion; got {mine} and {theirs}")
        if self.moment.shape != other.moment.shape:
            raise ValueError("normal equations add panel by panel; take total() of runs with different panels first")
        both = self.energy is not None and other.energy is not None
        return replace(
            self,
            gram=self.gram + other.gram,
            moment=self.moment + other.moment,
            energy=self.energy + other.energy if both else None,  # type: ignore[operator]
            particles=self.particles + other.particles,
        )

    @property
    def panels(self) -> int:
        """Number of panels P."""
        return len(self.moment)

    def total(self) -> NormalEquations:
        """Return the sum over panels as equations of one panel."""
        energy = None if self.energy is None else self.energy.sum(keepdims=True)
        return replace(
            self, gram=self.gram.sum(0, keepdims=True), moment=self.moment.sum(0, keepdims=True), energy=energy
        )

    def take(self, panels: npt.ArrayLike) -> NormalEquations:
        """Return the equations of the panels with these indices (or this mask)."""
        index = np.asarray(panels)
        energy = None if self.energy is None else self.energy[index]
        return replace(self, gram=self.gram[index], moment=self.moment[index], energy=energy)

    def blocks(self, most: int) -> NormalEquations:
        """Return the sums over at most so many blocks of consecutive panels, each as a panel."""
        count = min(most, self.panels)
        starts = [n * self.panels // count for n in range(count)]
        gram, moment = (np.add.reduceat(part, starts, axis=0) for part in (self.gram, self.moment))
        energy = None if self.energy is None else np.add.reduceat(self.energy, starts)
        return replace(self, gram=gram, moment=moment, energy=energy)

    def change_basis(self, matrix: npt.ArrayLike, basis: Sequence[str]) -> NormalEquations:
        """Return the equations for new terms that are combinations of the old: term'_l = sum_k matrix[k, l] term_k.

        A mask, a scaling of columns, radial bins to a dictionary and pieces are all this product.
        """
        p = np.asarray(matrix, dtype=np.float64)
        if p.shape != (len(self.basis), len(basis)):
            raise ValueError(f"`matrix` must be {(len(self.basis), len(basis))}; got {p.shape}")
        return replace(self, basis=tuple(basis), gram=p.T @ self.gram @ p, moment=self.moment @ p)

    def profiled(self, columns: Sequence[int]) -> NormalEquations:
        """Return the equations of the other terms when these are free: their total (one panel), a Schur complement.

        The energy, where there is one, becomes that of the misfit which is left.
        """
        one, free = self.total(), sorted(columns)
        rest = [k for k in range(len(self.basis)) if k not in free]
        scale = np.sqrt(np.maximum(np.diag(one.gram[0])[free], np.finfo(np.float64).tiny))
        inner = one.gram[0][np.ix_(free, free)] / np.outer(scale, scale)
        across, target = one.gram[0][np.ix_(free, rest)] / scale[:, None], one.moment[0][free] / scale
        moved = np.linalg.pinv(inner, rcond=1e-12, hermitian=True) @ np.column_stack([across, target])
        gram = one.gram[0][np.ix_(rest, rest)] - across.T @ moved[:, :-1]
        moment = one.moment[0][rest] - across.T @ moved[:, -1]
        energy = None if one.energy is None else one.energy - target @ moved[:, -1]
        return replace(
            one,
            basis=tuple(self.basis[k] for k in rest),
            gram=0.5 * (gram + gram.T)[None],
            moment=moment[None],
            energy=energy,
        )

    def solution(self) -> Array:
        """Return the coefficients (M,) that all panels together ask for, no term dropped (least norm if singular)."""
        gram, moment = self.gram.sum(axis=0), self.moment.sum(axis=0)
        scale = np.sqrt(np.diag(gram))
        scale = np.where(scale > 0, scale, 1.0)
        return np.asarray(np.linalg.lstsq(gram / np.outer(scale, scale), moment / scale, rcond=None)[0] / scale)

    def misfit(self, coefficients: npt.ArrayLike) -> Array:
        """Return E_n(z) = z'A_n z - 2 b_n'z + c_n of every panel (P,); c_n counts as 0 where the form has none."""
        z = np.asarray(coefficients, dtype=np.float64)
        quadratic = np.einsum("k,pkl,l->p", z, self.gram, z) - 2 * self.moment @ z
        return np.asarray(quadratic if self.energy is None else quadratic + self.energy)
