"""The sections of a run file that say what happens: every key with its rule, its default and what it means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ipsdist.config.keys import (
    BOOL,
    COUNT,
    FORMULA,
    PATH,
    POSITIVE,
    VECTOR,
    Positive,
    PositiveInt,
    Section,
    Vector,
    Whole,
    key,
    one_of,
)

__all__ = [
    "BoxSection", "DataSection", "DensitySection", "ForceSection", "GridSection", "InitialSection", "MeanFieldSection",
    "NormalSection", "PieceSection", "RingSection", "RunSection", "SystemSection", "TimeSection",
]  # fmt: skip


class PieceSection(Section):
    """One piece of a kernel: ``kernel`` holds up to the distance ``upto``."""

    upto: Positive | None = key(None, "end of the piece (length); the last piece has none", POSITIVE, "1.5")
    kernel: str = key(..., "phi(r) on the piece", FORMULA, '"0.5*r"')


class SystemSection(Section):
    """The system (docs/method.md, section 1). Imported data bring their own."""

    dimension: Annotated[Whole, Field(ge=1, le=3)] = key(1, "number d of space axes", "must be 1, 2 or 3")
    particles: Annotated[Whole, Field(gt=1, lt=2**31)] | None = key(
        None, "number N of particles of a replica", "must be a whole number from 2 to 2**31 - 1", "20000"
    )
    replicas: Annotated[Whole, Field(gt=0, lt=2**30)] = key(
        1, "number of independent realisations", "must be a positive whole number below 2**30"
    )
    kernel: str | None = key(None, "interaction kernel phi(r); positive attracts", FORMULA, '"3*r**2"')
    pieces: tuple[PieceSection, ...] | None = key(
        None,
        "the kernel in pieces, instead of kernel",
        "must be a list of tables with upto and kernel",
        '[{upto = 1.5, kernel = "0.5*r"}, {kernel = "0"}]',
    )
    cutoff: Positive | None = key(
        None, "distance inside which summands of phi that are unbounded at 0 are frozen (length)", POSITIVE, "0.05"
    )
    potential: str | None = key(None, "external potential V(x, y, z); absent for none", FORMULA, '"x**2/2"')
    diffusion: Positive | None = key(None, "sigma**2 (length**2 / time)", POSITIVE, "2.0")


class TimeSection(Section):
    """Times of a simulation; imported data bring their own."""

    horizon: Positive | None = key(None, "end of the run (time); it starts at 0", POSITIVE, "1.0")
    step: Positive | None = key(None, "time step (time)", POSITIVE, "1e-4")
    observe_every: PositiveInt = key(10, "steps between two slices", COUNT)
    positions_at: tuple[float, ...] = key(
        (), "slice times at which the positions are kept in the store", "must be a list of times", "[0.0, 1.0]"
    )


class NormalSection(Section):
    """One isotropic normal of a mixture."""

    weight: Positive = key(..., "share of the particles", POSITIVE, "0.5")
    mean: Vector = key(..., "centre", VECTOR, "1.0")
    variance: Positive = key(..., "variance of every coordinate (length**2)", POSITIVE, "0.25")


class BoxSection(Section):
    """A box."""

    lower: Vector = key(..., "lower corner", VECTOR, "-1.0")
    upper: Vector = key(..., "upper corner", VECTOR, "1.0")


class RingSection(Section):
    """Density proportional to exp(-(|x| - radius)**2 / (2 variance)), d >= 2."""

    radius: Positive = key(..., "radius of the ring (length)", POSITIVE, "1.0")
    variance: Positive = key(..., "width of the ring, squared (length**2)", POSITIVE, "0.25")


class InitialSection(Section):
    """The law of the positions at time 0: one of four keys."""

    mixture: tuple[NormalSection, ...] | None = key(
        None,
        "mixture of normals",
        "must be a list of tables with weight, mean and variance",
        "[{weight = 1.0, mean = 0.0, variance = 0.25}]",
    )
    uniform: BoxSection | None = key(
        None, "uniform in a box", "must be a table with lower and upper", "{lower = -1.0, upper = 1.0}"
    )
    ring: RingSection | None = key(
        None, "around a circle or sphere", "must be a table with radius and variance", "{radius = 1.0, variance = 0.01}"
    )
    file: str | None = key(None, "a .npy file of positions (N, d), the start of every replica", PATH, '"x.npy"')


class DataSection(Section):
    """Where the particles come from."""

    source: Literal["simulate", "import", "mean_field"] = key(
        "simulate",
        "simulate them, import what others made, or take densities that solve the mean-field equation",
        one_of("simulate", "import", "mean_field"),
    )
    file: str | None = key(None, "file of imported particles: times (T,), positions (T, N, d)", PATH, '"tracks.npz"')
    labelled: bool = key(True, "a particle keeps its index from slice to slice", BOOL)
    times: Literal["even", "gauss_lobatto", "chebyshev"] = key(
        "even",
        "times of the slices: every time.observe_every steps, or data.slices times that crowd at both ends",
        one_of("even", "gauss_lobatto", "chebyshev"),
    )
    slices: Annotated[Whole, Field(ge=2)] | None = key(
        None, "number of slices when data.times is not even", "must be a whole number of at least 2", "20"
    )

    @model_validator(mode="before")
    @classmethod
    def _without_labels(cls, values: Any) -> Any:
        """Take labels away from a density, which has no particles to tell apart, whatever ``labelled`` says."""
        solved = isinstance(values, Mapping) and values.get("source") == "mean_field"
        return {**values, "labelled": False} if solved else values


class MeanFieldSection(Section):
    """How the mean-field equation is solved, for predictions and for data.source = "mean_field"."""

    scheme: Literal["auto", "scharfetter_gummel", "carrillo_chertock_huang", "runge_kutta_4"] = key(
        "auto",
        "scharfetter_gummel keeps sign, mass and falling energy; carrillo_chertock_huang is of second order for "
        "small sigma**2 too; runge_kutta_4 is [S]'s, unstable above a step that grows with dx**2; auto is the first, "
        "and for the predictions of the report the second where sigma**2 is small on the grid",
        one_of("auto", "scharfetter_gummel", "carrillo_chertock_huang", "runge_kutta_4"),
    )
    step: Literal["auto"] | Positive = key(
        "auto", "time step (time); auto is as long as the scheme is stable", 'must be "auto" or a positive number'
    )

    @property
    def fitting_scheme(self) -> str:
        """The scheme where densities are fitted, data or a bridge between slices; auto resolved."""
        return "scharfetter_gummel" if self.scheme == "auto" else self.scheme

    @property
    def fixed_step(self) -> float | None:
        """Return the step in numbers; None for as long as the scheme is stable."""
        return None if self.step == "auto" else self.step


class GridSection(Section):
    """The grid of densities and figures. Without the section it is chosen from the particles."""

    lower: Vector = key(..., "lower corner (length)", VECTOR, "-4.0")
    upper: Vector = key(..., "upper corner (length)", VECTOR, "4.0")
    cells: PositiveInt | tuple[PositiveInt, ...] = key(
        ..., "number of intervals", "must be a positive whole number or a list of one an axis", "160"
    )


class ForceSection(Section):
    """How the mean-field force is summed."""

    method: Literal["auto", "mesh", "direct", "prefix", "moments"] = key(
        "auto",
        "auto is the mesh; the direct sum, prefix sums (d = 1) and moments are slower or special, and exact",
        one_of("auto", "mesh", "direct", "prefix", "moments"),
    )
    spacing: Literal["auto"] | Positive = key(
        "auto",
        "distance of mesh nodes (length), rounded down to a power of two; auto ties the error to the sampling error",
        'must be "auto" or a positive number',
    )
    device: Literal["cpu", "gpu"] = key(
        "cpu",
        "where the mesh is transformed when a GPU steps the particles: gpu is quicker on large meshes and rounds "
        "differently in the last digits",
        one_of("cpu", "gpu"),
    )


class DensitySection(Section):
    """How counts become densities (docs/method.md, section 3)."""

    window: Literal["gaussian"] = key("gaussian", "window of the density estimate", 'must be "gaussian"')
    bandwidth: Literal["scott", "silverman", "isj", "self_consistent"] | Positive = key(
        "scott",
        "width of the window: a rule, or a length",
        'must be "scott", "silverman", "isj", "self_consistent" or a positive number',
    )
    bandwidth_factor: Positive = key(0.5, "the bandwidth is multiplied by this", POSITIVE)


class RunSection(Section):
    """How the work is done."""

    seed: Annotated[Whole, Field(ge=0, lt=2**64)] = key(
        0, "seed of all random numbers", "must be a whole number from 0 to 2**64 - 1"
    )
    precision: Literal["float64", "float32"] = key(
        "float64",
        "what positions are kept in; arithmetic is in float64, and rounds once when a position is stored",
        one_of("float64", "float32"),
    )
    chunk: Literal["auto"] | PositiveInt = key(
        "auto", "particles of a chunk; no result depends on it", 'must be "auto" or a positive whole number'
    )
    device: Literal["auto", "cpu", "gpu"] = key(
        "auto",
        "where particles are stepped; auto is the GPU of the process that steps, if it has one; no bit depends on it",
        one_of("auto", "cpu", "gpu"),
    )
