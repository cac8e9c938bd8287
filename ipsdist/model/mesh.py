"""The force mesh: nodes at the absolute multiples of one spacing, so that meshes of different extent agree."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ipsdist.model.errors import RunError

__all__ = ["Mesh"]

_MAX_NODES = 2**26


@dataclass(frozen=True)
class Mesh:
    """A block of nodes of the lattice ``spacing * Z**d``.

    Node ``k`` of axis ``a`` lies at ``(lower[a] + k) * spacing``. A position x belongs to the cell
    ``floor(x / spacing)``; a mesh holds it when that cell's lower and upper nodes are both on the mesh.
    """

    spacing: float
    """Distance between neighbouring nodes (length units of the positions); a power of two."""
    lower: tuple[int, ...]
    """Lattice index of the first node of every axis."""
    shape: tuple[int, ...]
    """Number of nodes of every axis."""

    @property
    def dimension(self) -> int:
        """Number of space axes d."""
        return len(self.shape)

    def axes(self) -> list[npt.NDArray[np.float64]]:
        """Node coordinates, one array (nodes,) an axis."""
        return [
            (low + np.arange(n, dtype=np.float64)) * self.spacing for low, n in zip(self.lower, self.shape, strict=True)
        ]

    def holds(self, lowest: npt.ArrayLike, highest: npt.ArrayLike) -> bool:
        """Tell whether every position between the corners ``lowest`` and ``highest`` (d,) has its cell on the mesh."""
        first, last = self._cells(lowest, highest)
        return all(
            a >= low and b + 1 < low + n for a, b, low, n in zip(first, last, self.lower, self.shape, strict=True)
        )

    def grown(self, lowest: npt.ArrayLike, highest: npt.ArrayLike) -> Mesh:
        """Return a mesh that holds this one and the box (d,), (d,), with a margin of an eighth of each side.

        Raises RunError when the nodes would exceed 2**26: the particles have blown up.
        """
        first, last = self._cells(lowest, highest)
        lower, shape = [], []
        for a, b, low, n in zip(first, last, self.lower, self.shape, strict=True):
            a, b = min(a, low), max(b + 1, low + n - 1)
            margin = max(2, (b - a) // 8)
            lower.append(a - margin if a < low else low)
            shape.append((b + margin if b > low + n - 1 else low + n - 1) - lower[-1] + 1)
        return Mesh(self.spacing, tuple(lower), tuple(shape))._checked()

    @classmethod
    def around(cls, lowest: npt.ArrayLike, highest: npt.ArrayLike, spacing: float) -> Mesh:
        """Return the mesh around the box (d,), (d,) with a margin of an eighth of each side (at least two cells)."""
        lower, shape = [], []
        for a, b in zip(np.atleast_1d(lowest), np.atleast_1d(highest), strict=True):
            first, last = math.floor(float(a) / spacing), math.floor(float(b) / spacing) + 1
            margin = max(2, (last - first) // 8)
            lower.append(first - margin)
            shape.append(last - first + 1 + 2 * margin)
        return cls(spacing, tuple(lower), tuple(shape))._checked()

    def _cells(self, lowest: npt.ArrayLike, highest: npt.ArrayLike) -> tuple[list[int], list[int]]:
        corners = np.atleast_1d(lowest), np.atleast_1d(highest)
        if not all(np.isfinite(c).all() for c in corners):
            raise RunError("the particles blew up: a position is not finite; use a smaller time.step")
        return tuple([math.floor(float(x) / self.spacing) for x in c] for c in corners)  # type: ignore[return-value]

    def _checked(self) -> Mesh:
        if math.prod(self.shape) > _MAX_NODES:
            raise RunError(
                f"the force mesh would need {math.prod(self.shape)} nodes (at most {_MAX_NODES}): "
                "the particles blew up (use a smaller time.step) or force.spacing is too fine for their extent"
            )
        return self
