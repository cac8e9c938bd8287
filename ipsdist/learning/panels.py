"""Panels that are assembled when they are asked for, and the sample of them that Phase I works on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ipsdist.model.normal_equations import NormalEquations

__all__ = ["PanelSource", "Sample", "in_units"]

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]

_RIDGE = 1e-10
"""Share of the mean diagonal that regularises A_n in the score of a panel."""
_FIRST_LOOK, _FEWEST = 0.05, 20
"""Share of the panels of a source that are assembled before the first draw, and how many these are at least."""


class PanelSource(Protocol):
    """Panels that are assembled when they are asked for."""

    @property
    def basis(self) -> tuple[str, ...]:
        """Names of the M terms."""
        ...

    @property
    def panels(self) -> int:
        """Number of panels P; neighbours in number are neighbours in time."""
        ...

    def take(self, panels: Index) -> NormalEquations:
        """Return the equations of the panels with these increasing numbers."""
        ...

    def keep(self, terms: Sequence[int]) -> NormalEquations:
        """Return the equations of all panels over the terms with these increasing indices alone."""
        ...


@dataclass(frozen=True)
class Sample:
    """The panels that are assembled, as they are and in the units in which coefficients are penalised and compared."""

    source: PanelSource | None
    """Where more panels come from; None where all are here."""
    scales: bool
    """Whether columns are scaled."""
    equations: NormalEquations
    index: Index
    """Numbers of the panels of ``equations``, increasing."""
    panels: int
    """Number of all panels P."""
    scale: Array
    """(M,) scaled coefficient = scale * coefficient."""
    scaled: NormalEquations

    @classmethod
    def first(cls, equations: NormalEquations | PanelSource, scale_columns: bool) -> Sample:
        """Return all panels of whole equations; of a source, a few evenly spread ones."""
        panels = equations.panels
        if isinstance(equations, NormalEquations):
            return cls._of(None, scale_columns, equations, np.arange(panels), panels)
        size = min(panels, max(_FEWEST, math.ceil(_FIRST_LOOK * panels)))
        index = np.linspace(0, panels - 1, size).round().astype(np.intp)
        return cls._of(equations, scale_columns, equations.take(index), index, panels)

    @classmethod
    def _of(
        cls, source: PanelSource | None, scales: bool, equations: NormalEquations, index: Index, panels: int
    ) -> Sample:
        """Scale every column to unit norm over these panels (a column of zeros keeps its own)."""
        scale = np.ones(len(equations.basis))
        if scales:
            norm = np.sqrt(np.diag(equations.gram.sum(axis=0)))
            scale = np.where(norm > 0, norm, 1.0)
        return cls(source, scales, equations, index, panels, scale, in_units(equations, scale))

    def draw(self, panels: Index) -> tuple[Sample, NormalEquations]:
        """Return the sample with these panels, and the scaled ones to solve: these; of a source, all there are."""
        if self.source is None:
            return self, self.scaled.take(panels)
        missing = np.setdiff1d(panels, self.index)
        if not missing.size:
            return self, self.scaled
        index = np.concatenate([self.index, missing])
        order = np.argsort(index)
        together = _joined(self.equations, self.source.take(missing)).take(order)
        grown = self._of(self.source, self.scales, together, index[order], self.panels)
        return grown, grown.scaled

    def all_panels(self, terms: Sequence[int]) -> tuple[NormalEquations, list[int]]:
        """Return the equations of all panels over these terms (or more), and where in their basis the terms stand."""
        if self.source is None or len(self.index) == self.panels or not terms:
            return self.equations, list(terms)
        return self.source.keep(terms), list(range(len(terms)))

    def errors(self, z: Array) -> Array:
        """Return the error of every panel at z (P,), at least 0, in the units of the form.

        The misfit where the form has an energy; else the score |b_n - A_n z|^2 in the norm of the regularised A_n^-1
        (docs/method.md, section 4). Panels that are not assembled lie between their neighbours.
        """
        if self.scaled.energy is not None:
            return self._spread(np.maximum(self.scaled.misfit(z), 0.0))
        gram, m = self.scaled.gram, len(z)
        score = self.scaled.moment - np.einsum("nkl,l->nk", gram, z)
        level = _RIDGE * np.trace(gram, axis1=1, axis2=2) / m
        regular = gram + np.where(level > 0, level, 1.0)[:, None, None] * np.eye(m)
        whitened = np.linalg.solve(regular, score[..., None])[..., 0]
        return self._spread(np.maximum(np.einsum("nk,nk->n", score, whitened), 0.0))

    def loss(self, z: Array) -> float:
        """Return the misfit per panel at z, of panels that are not assembled by interpolation."""
        return float(self._spread(self.scaled.misfit(z)).mean())

    def _spread(self, values: Array) -> Array:
        if len(self.index) == self.panels:
            return np.asarray(values)
        return np.interp(np.arange(self.panels), self.index, values)


def in_units(equations: NormalEquations, scale: Array) -> NormalEquations:
    """Return the equations of scaled coefficients, scale * coefficient."""
    return equations.change_basis(np.diag(1 / scale), equations.basis)


def _joined(one: NormalEquations, other: NormalEquations) -> NormalEquations:
    return replace(
        one,
        gram=np.concatenate([one.gram, other.gram]),
        moment=np.concatenate([one.moment, other.moment]),
        energy=None if one.energy is None or other.energy is None else np.concatenate([one.energy, other.energy]),
    )
