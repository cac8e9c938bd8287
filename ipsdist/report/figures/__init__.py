"""All figures of a run, drawn in one style and one order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ipsdist.report.data import ReportData
from ipsdist.report.figures.breakpoints import break_points
from ipsdist.report.figures.coefficients import coefficients
from ipsdist.report.figures.curves import free_energy, wasserstein
from ipsdist.report.figures.density import heat_maps, profiles, side_snapshots, snapshots
from ipsdist.report.figures.iterations import coefficient_history, loss_history
from ipsdist.report.figures.kernel import kernel
from ipsdist.report.figures.style import Missing, Picture, styled

__all__ = ["FIGURE_NAMES", "Missing", "Picture", "draw"]

FIGURE_NAMES = (
    "kernel", "coefficients", "break_points", "density_evolution", "density_profiles", "density_snapshots",
    "density_snapshots_side", "free_energy", "wasserstein", "coefficient_history", "loss_history",
)  # fmt: skip
"""Names of every figure that a run may have; the file is the name with .png."""


def draw(result: Mapping[str, Any], data: ReportData) -> tuple[list[Picture], list[Missing]]:
    """Draw what the run has data for; return the pictures in reading order, and what was left out with the reasons."""
    plane = {1: (heat_maps, profiles), 2: (snapshots,), 3: (snapshots, side_snapshots)}[data.dimension]
    with styled():
        drawn = [
            kernel(data),
            coefficients(result, data),
            *([break_points(result, data)] if result["breakpoint_roads"] is not None else []),
            *(make(data) for make in plane),
            free_energy(data),
            wasserstein(data),
            coefficient_history(result, data),
            loss_history(result, data),
        ]
    return [d for d in drawn if isinstance(d, Picture)], [d for d in drawn if isinstance(d, Missing)]
