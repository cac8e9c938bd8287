"""The stages of a run before its report, in their order."""

from __future__ import annotations

from ipsdist.stages.base import Stage
from ipsdist.stages.densities import DENSITIES
from ipsdist.stages.equations import EQUATIONS
from ipsdist.stages.kernel import KERNEL
from ipsdist.stages.particles import PARTICLES

__all__ = ["STAGES"]

STAGES: tuple[Stage, ...] = (PARTICLES, DENSITIES, EQUATIONS, KERNEL)
"""What a run does before its report, in order."""
