"""Where break points go, to the nearest node: by the gain of all terms on all pieces, one or two put in at a time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ipsdist.learning.pieces import HatSystem, Pieces

__all__ = ["Insertion"]

Array = npt.NDArray[np.float64]
Nodes = tuple[int, ...]

_SHOWN = 1e-9
"""Smallest eigenvalue of what is left of scaled columns, once the others are taken out, that is more than rounding."""
_PAIRS = 200
"""Nodes of which all pairs are tried; of more, every second, fourth, ... one."""
_SWEEPS = 10


class Insertion:
    """The gain of break points at nodes. A break at node m adds to the terms their parts beyond m, K columns."""

    def __init__(self, system: HatSystem) -> None:
        self._system = system
        self._terms = len(system.terms)

    @cached_property
    def _parts(self) -> tuple[Array, Array]:
        """Scaled Gram and moment of all parts: terms from 0 on, beyond node 1, 2, ...; 0 for those of no length."""
        system = self._system
        columns = np.concatenate([system.at_nodes, *system.starting(system.nodes[1:].tolist())], axis=1)
        gram, moment = columns.T @ system.gram @ columns, columns.T @ system.moment
        scale = np.sqrt(np.maximum(np.diag(gram), 0.0))
        scale = np.where(scale > 0, scale, np.inf)
        return gram / np.outer(scale, scale), moment / scale

    @property
    def _allowed(self) -> npt.NDArray[np.bool_]:
        """Which nodes may hold a break point: not those next to 0 or to the largest distance."""
        nodes, gap = self._system.nodes, self._system.gap
        return np.asarray((nodes >= self._system.first) & (nodes <= self._system.reach - gap))

    def gains(self, at: Sequence[int]) -> Array:
        """Return what one more break gains at every node (M,), beside those ``at`` nodes; -inf where none may be."""
        gram, moment = self._parts
        k = self._terms
        fixed = np.concatenate([np.arange(k), *(np.arange(m * k, m * k + k) for m in at)]).astype(np.intp)
        inner = np.linalg.pinv(gram[np.ix_(fixed, fixed)], rcond=_SHOWN, hermitian=True)
        moved = inner @ gram[fixed]
        left = (moment - moment[fixed] @ moved).reshape(-1, k)
        count = len(left)
        rows = gram.reshape(count, k, count, k)[np.arange(count), :, np.arange(count), :]
        taken = np.einsum("fmk,fml->mkl", gram[fixed].reshape(-1, count, k), moved.reshape(-1, count, k))
        values, vectors = np.linalg.eigh(rows - 0.5 * (taken + np.swapaxes(taken, 1, 2)))
        along = np.einsum("mkl,mk->ml", vectors, left)
        gain = np.where(values > _SHOWN, along**2 / np.where(values > _SHOWN, values, 1.0), 0.0).sum(axis=1)
        near = np.abs(np.arange(count)[:, None] - np.array(at, dtype=np.intp)[None]) * self._system.width
        return np.where(self._allowed & (near >= self._system.gap).all(axis=1), gain, -np.inf)

    def places(self, breaks: int, before: Nodes) -> Nodes:
        """Return the nodes of so many break points, the best that is found; fewer where there is no room for more.

        ``before`` are those of one break point less.
        """
        gain = self.gains(before)
        if not np.isfinite(gain).any():
            return before
        starts = [tuple(sorted((*before, int(np.argmax(gain)))))]
        if breaks == 2:
            starts.append(self._best_pair())
        return max((self._swept(s) for s in starts), key=self._total)

    def added(self, pieces: Pieces) -> tuple[float, ...] | None:
        """Return the places of a kernel with one more, at the node where it gains most; None where there is no room."""
        at = tuple(round(b / self._system.width) for b in pieces.places)
        gain = self.gains(at)
        if not np.isfinite(gain).any():
            return None
        return tuple(sorted((*pieces.places, float(self._system.nodes[int(np.argmax(gain))]))))

    def _best_pair(self) -> Nodes:
        first = np.flatnonzero(self._allowed)
        first = first[:: -(-len(first) // _PAIRS)]
        alone = self.gains(())
        pairs = [(float(alone[m] + (g := self.gains((int(m),))).max()), int(m), int(np.argmax(g))) for m in first]
        _, one, other = max(pairs)
        return min(one, other), max(one, other)

    def _swept(self, at: Nodes) -> Nodes:
        """Move each break point in turn to where it gains most, until none moves."""
        for _ in range(_SWEEPS):
            before = at
            for n in range(len(at)):
                rest = at[:n] + at[n + 1 :]
                at = tuple(sorted((*rest, int(np.argmax(self.gains(rest))))))
            if at == before:
                break
        return at

    def _total(self, at: Nodes) -> float:
        """Return what all of these gain over none."""
        return sum(float(self.gains(at[:n])[m]) for n, m in enumerate(at))
