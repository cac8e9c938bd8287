"""Selecting: the answer as a value, and what every road to it does with its equations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ipsdist.config import RunConfig
from ipsdist.learning.breakpoints import BreakFit
from ipsdist.learning.choice import TOLERATED, Choice
from ipsdist.learning.columns import columns_fit
from ipsdist.learning.panels import PanelSource
from ipsdist.learning.resolution import fit_resolved
from ipsdist.learning.subset import best_subset
from ipsdist.learning.two_phase import two_phase
from ipsdist.model.fit import Fit
from ipsdist.model.normal_equations import NormalEquations
from ipsdist.numerics.equations.diffusion import Diffusion

__all__ = ["Answer", "phases", "resolved", "select", "time_doubts"]


@dataclass(frozen=True)
class Answer:
    """What the selection found, on which equations, and what should lower the trust in it."""

    fit: Fit
    equations: NormalEquations
    diffusion: Diffusion
    bridged: bool = False
    unresolved: tuple[str, ...] = ()
    slice_error: float | None = None
    """Estimated error of the time rule in standard errors; None where it cannot be told or does not matter."""
    warnings: tuple[str, ...] = ()
    reason: str = ""
    """Why these equations, in a line."""
    settled: bool | None = None
    """Whether a bridged answer, solved forward, leads to itself; None where nothing was bridged."""
    factor: float = 1.0
    """By which the likelihood was widened for scores that scatter more than sigma^2 says."""
    noise: dict[str, Any] | None = None
    """What the displacements of tracks say about their noise; None where it was not asked."""

    breaks: BreakFit | None = None
    """The kernel in pieces, where break points were sought; ``fit`` and ``equations`` are over its pieces."""

    sample: NormalEquations | None = None
    """The panels by which the terms were selected, where not all were assembled with all terms."""

    @property
    def weighed(self) -> NormalEquations:
        """The equations of the terms that were weighed: those which the slices do not resolve left out."""
        if self.sample is not None:
            return self.sample
        kept = [k for k, name in enumerate(self.equations.basis) if name not in self.unresolved]
        names = [self.equations.basis[k] for k in kept]
        return self.equations.change_basis(np.eye(len(self.equations.basis))[:, kept], names)


def phases(config: RunConfig, equations: NormalEquations | PanelSource, diffusion: float, *, importance: bool) -> Fit:
    """Return what the two phases of [S] find in the equations."""
    fit = config.fit
    return two_phase(
        equations,
        diffusion=diffusion,
        seed=config.run.seed,
        alpha=fit.alpha,
        penalty=fit.penalty,
        penalize_refit=fit.penalize_refit,
        scale_columns=fit.scale_columns,
        sampled_fraction=fit.share,
        iterations=fit.iterations,
        importance=importance,
    )


def select(config: RunConfig, equations: NormalEquations, diffusion: float) -> Fit:
    """Return what the configured selection finds in the equations."""
    fit = config.fit
    if config.selection == "best_subset":
        return best_subset(equations, diffusion, criterion=fit.criterion, max_terms=fit.max_terms)
    if config.selection == "breakpoints":  # of pieces that stand
        return columns_fit(equations, diffusion, criterion=fit.criterion)
    return phases(config, equations, diffusion, importance=True)


def time_doubts(choice: Choice) -> tuple[float | None, tuple[str, ...]]:
    """Return the error of the time rule, None where it cannot be told, and what is to be said about it."""
    told = choice.error if np.isfinite(choice.error) else None
    if choice.error <= TOLERATED:
        return told, ()
    size = "cannot be told" if told is None else f"is up to {told:.1g} standard errors"
    return told, (f"the slices are far apart: the error of the time rule {size}",)


def resolved(
    config: RunConfig, equations: NormalEquations, diffusion: Diffusion, error: float | None, doubts: Sequence[str]
) -> Answer:
    """Select among the terms that the slices resolve."""
    fit, unresolved = fit_resolved(equations, diffusion.value, lambda e: select(config, e, diffusion.value))
    named = tuple(f"the slices do not resolve {name}: it was left out" for name in unresolved)
    warnings = (*doubts, *named)
    return Answer(fit, equations, diffusion, unresolved=unresolved, slice_error=error, warnings=warnings)
