"""What the figures are drawn from: the arrays of a finished run, beside the numbers of its result.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ipsdist.model.fit import Iteration

__all__ = ["ReportData"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ReportData:
    """Arrays of one run; T slices, a grid of ``points...`` in d dimensions, R distances, a dictionary of M terms.

    None (or an empty history) says that a run has no such thing: its figure is left out and the page says why.
    """

    grid: tuple[Array, ...]
    """Grid points of every axis."""
    times: Array
    """(T,) times of the densities."""
    density_data: Array
    """(T, points...) density estimated from the particles, 1 / length**d."""
    radii: Array
    """(R,) distances at which the kernels are given, increasing."""
    kernel_value: Array
    """(R,) the learnt kernel."""
    kernel_lower: Array
    """(R,) lower end of its 95 % band."""
    kernel_upper: Array
    """(R,) upper end of its 95 % band."""
    names: tuple[str, ...]
    """(M,) names of the dictionary's terms."""
    density_true: Array | None = None
    """(T, points...) mean-field density with the true kernel."""
    density_learnt: Array | None = None
    """(T, points...) mean-field density with the learnt kernel."""
    rho: Array | None = None
    """(R,) density of the pair distances seen, 1 / length."""
    free_value: Array | None = None
    """(R,) the kernel without a dictionary."""
    free_lower: Array | None = None
    """(R,) lower end of its 95 % band."""
    free_upper: Array | None = None
    """(R,) upper end."""
    kernel_true: Array | None = None
    """(R,) the true kernel."""
    truth: Mapping[str, float] | None = None
    """Coefficients of the true kernel by name of term, those that are not 0; None when the truth is unknown or is no
    combination of the dictionary."""
    energy_times: Array | None = None
    """(E,) times of the free energies."""
    energy_data: Array | None = None
    """(E,) free energy of the density from the particles."""
    energy_true: Array | None = None
    """(E,) free energy along the mean-field solution with the true kernel."""
    energy_learnt: Array | None = None
    """(E,) free energy along the mean-field solution with the learnt kernel."""
    wasserstein_times: Array | None = None
    """(W,) times of the distances."""
    wasserstein_values: Array | None = None
    """(W,) W2 between the density of the data and the mean-field density with the learnt kernel, length."""
    wasserstein_solutions: Array | None = None
    """(W,) W2 between the mean-field densities with the true and the learnt kernel."""
    history: tuple[Iteration, ...] = ()
    """Turns of Phase I with importance sampling."""
    history_uniform: tuple[Iteration, ...] = ()
    """Turns of Phase I with panels drawn evenly."""
    history_final: Array | None = None
    """(M,) coefficients after Phase II, masked ones 0."""
    length_unit: str = "length"
    time_unit: str = "time"
    config: str = ""
    """The run file as resolved (TOML); shown so that the page alone can repeat the run."""
    command: str = "ipsdist run config.toml --out again"
    """Command that repeats the run, given that file."""

    @property
    def dimension(self) -> int:
        """Number of space axes d."""
        return len(self.grid)

    def __post_init__(self) -> None:
        points = tuple(len(axis) for axis in self.grid)
        for name, shape in (
            *((n, (len(self.times), *points)) for n in ("density_data", "density_true", "density_learnt")),
            *(
                (n, self.radii.shape)
                for n in ("kernel_value", "kernel_lower", "kernel_upper", "kernel_true", "rho", "free_value")
            ),
            ("history_final", (len(self.names),)),
        ):
            value = getattr(self, name)
            if value is not None and value.shape != shape:
                raise ValueError(f"`{name}` must have the shape {shape}; got {value.shape}")
        for times, curves in (
            (self.energy_times, (self.energy_data, self.energy_true, self.energy_learnt)),
            (self.wasserstein_times, (self.wasserstein_values, self.wasserstein_solutions)),
        ):
            if any(c is not None and (times is None or c.shape != times.shape) for c in curves):
                raise ValueError(
                    "`energy_*` and `wasserstein_*` curves must have one value for every one of their times"
                )
