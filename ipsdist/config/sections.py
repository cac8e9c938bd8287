"""The sections of a run file: every key with its rule, its default and what it means."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "BoxSection", "DataSection", "DensitySection", "DictionarySection", "FitSection", "ForceSection", "GridSection",
    "InitialSection", "NormalSection", "PieceSection", "RingSection", "RunSection", "Section", "SystemSection",
    "TimeSection",
]  # fmt: skip

Positive = Annotated[float, Field(gt=0)]
PositiveInt = Annotated[int, Field(gt=0)]
Vector = float | tuple[float, ...]


class Section(BaseModel):
    """A table of the run file: frozen, no unknown keys, no silent conversion of types, no nan or inf."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def _key(default: Any, description: str, rule: str, example: str = "") -> Any:
    """Declare a key: ``rule`` and ``example`` are what an error about it says; no ``default`` (...) means required."""
    return Field(default, description=description, json_schema_extra={"rule": rule, "example": example})


_POSITIVE = "must be a positive number"
_COUNT = "must be a positive whole number"
_FORMULA = "must be a formula in quotes"
_VECTOR = "must be a number or a list of one number an axis"
_BOOL = "must be true or false"
_PATH = "must be a file name in quotes"


def _one_of(*names: str) -> str:
    return "must be " + ", ".join(f'"{name}"' for name in names[:-1]) + f' or "{names[-1]}"'


class PieceSection(Section):
    """One piece of a kernel: ``kernel`` holds up to the distance ``upto``."""

    upto: Positive | None = _key(None, "end of the piece (length); the last piece has none", _POSITIVE, "1.5")
    kernel: str = _key(..., "phi(r) on the piece", _FORMULA, '"0.5*r"')


class SystemSection(Section):
    """The system (docs/method.md, section 1). Imported data bring their own."""

    dimension: Annotated[int, Field(ge=1, le=3)] = _key(1, "number d of space axes", "must be 1, 2 or 3")
    particles: Annotated[int, Field(gt=1, lt=2**31)] | None = _key(
        None, "number N of particles of a replica", "must be a whole number from 2 to 2**31 - 1", "20000"
    )
    replicas: Annotated[int, Field(gt=0, lt=2**30)] = _key(
        1, "number of independent realisations", "must be a positive whole number below 2**30"
    )
    kernel: str | None = _key(None, "interaction kernel phi(r); positive attracts", _FORMULA, '"3*r**2"')
    pieces: tuple[PieceSection, ...] | None = _key(
        None,
        "the kernel in pieces, instead of kernel",
        "must be a list of tables with upto and kernel",
        '[{upto = 1.5, kernel = "0.5*r"}, {kernel = "0"}]',
    )
    cutoff: Positive | None = _key(
        None, "distance inside which summands of phi that are unbounded at 0 are frozen (length)", _POSITIVE, "0.05"
    )
    potential: str | None = _key(None, "external potential V(x, y, z); absent for none", _FORMULA, '"x**2/2"')
    diffusion: Positive | None = _key(None, "sigma**2 (length**2 / time)", _POSITIVE, "2.0")


class TimeSection(Section):
    """Times of a simulation; imported data bring their own."""

    horizon: Positive | None = _key(None, "end of the run (time); it starts at 0", _POSITIVE, "1.0")
    step: Positive | None = _key(None, "time step (time)", _POSITIVE, "1e-4")
    observe_every: PositiveInt = _key(10, "steps between two slices", _COUNT)
    positions_at: tuple[float, ...] = _key(
        (), "slice times at which the positions are kept in the store", "must be a list of times", "[0.0, 1.0]"
    )


class NormalSection(Section):
    """One isotropic normal of a mixture."""

    weight: Positive = _key(..., "share of the particles", _POSITIVE, "0.5")
    mean: Vector = _key(..., "centre", _VECTOR, "1.0")
    variance: Positive = _key(..., "variance of every coordinate (length**2)", _POSITIVE, "0.25")


class BoxSection(Section):
    """A box."""

    lower: Vector = _key(..., "lower corner", _VECTOR, "-1.0")
    upper: Vector = _key(..., "upper corner", _VECTOR, "1.0")


class RingSection(Section):
    """Density proportional to exp(-(|x| - radius)**2 / (2 variance)), d >= 2."""

    radius: Positive = _key(..., "radius of the ring (length)", _POSITIVE, "1.0")
    variance: Positive = _key(..., "width of the ring, squared (length**2)", _POSITIVE, "0.25")


class InitialSection(Section):
    """The law of the positions at time 0: one of four keys."""

    mixture: tuple[NormalSection, ...] | None = _key(
        None,
        "mixture of normals",
        "must be a list of tables with weight, mean and variance",
        "[{weight = 1.0, mean = 0.0, variance = 0.25}]",
    )
    uniform: BoxSection | None = _key(
        None, "uniform in a box", "must be a table with lower and upper", "{lower = -1.0, upper = 1.0}"
    )
    ring: RingSection | None = _key(
        None, "around a circle or sphere", "must be a table with radius and variance", "{radius = 1.0, variance = 0.01}"
    )
    file: str | None = _key(None, "a .npy file of positions (N, d), the start of every replica", _PATH, '"x.npy"')


class DataSection(Section):
    """Where the particles come from."""

    source: Literal["simulate", "import"] = _key(
        "simulate", "simulate them, or import what others made", _one_of("simulate", "import")
    )
    file: str | None = _key(None, "file of imported particles: times (T,), positions (T, N, d)", _PATH, '"tracks.npz"')
    labelled: bool = _key(True, "a particle keeps its index from slice to slice", _BOOL)
    times: Literal["even", "gauss_lobatto", "chebyshev"] = _key(
        "even",
        "times of the slices: every time.observe_every steps, or data.slices times that crowd at both ends",
        _one_of("even", "gauss_lobatto", "chebyshev"),
    )
    slices: Annotated[int, Field(ge=2)] | None = _key(
        None, "number of slices when data.times is not even", "must be a whole number of at least 2", "20"
    )


class GridSection(Section):
    """The grid of densities and figures. Without the section it is chosen from the particles."""

    lower: Vector = _key(..., "lower corner (length)", _VECTOR, "-4.0")
    upper: Vector = _key(..., "upper corner (length)", _VECTOR, "4.0")
    cells: PositiveInt | tuple[PositiveInt, ...] = _key(
        ..., "number of intervals", "must be a positive whole number or a list of one an axis", "160"
    )


class ForceSection(Section):
    """How the mean-field force is summed."""

    method: Literal["auto", "mesh", "direct", "prefix", "moments"] = _key(
        "auto",
        "auto is the mesh; the direct sum, prefix sums (d = 1) and moments are slower or special, and exact",
        _one_of("auto", "mesh", "direct", "prefix", "moments"),
    )
    spacing: Literal["auto"] | Positive = _key(
        "auto",
        "distance of mesh nodes (length), rounded down to a power of two; auto ties the error to the sampling error",
        'must be "auto" or a positive number',
    )


class DensitySection(Section):
    """How counts become densities (docs/method.md, section 3)."""

    window: Literal["gaussian"] = _key("gaussian", "window of the density estimate", 'must be "gaussian"')
    bandwidth: Literal["scott", "silverman", "isj", "self_consistent"] | Positive = _key(
        "scott",
        "width of the window: a rule, or a length",
        'must be "scott", "silverman", "isj", "self_consistent" or a positive number',
    )
    bandwidth_factor: Positive = _key(0.5, "the bandwidth is multiplied by this", _POSITIVE)


class DictionarySection(Section):
    """The candidate terms of phi."""

    terms: tuple[str, ...] = _key(
        ("1", "r", "r**2", "r**3", "exp(r)", "exp(-r)", "sin(r)", "cos(r)"),
        "formulas in r",
        "must be a list of formulas in quotes",
        '["1", "r", "r**2"]',
    )
    cutoff: Positive | None = _key(
        None, "distance inside which terms that are unbounded at 0 are frozen (length)", _POSITIVE, "0.05"
    )
    potentials: tuple[str, ...] = _key(
        (),
        "candidate terms of an unknown external potential V(x, y, z); system.potential is then the truth, not told",
        "must be a list of formulas in quotes",
        '["x", "x**2/2"]',
    )
    drift: bool = _key(False, "learn a constant drift along every axis as well", _BOOL)
    assembled: tuple[str, ...] | None = _key(
        None,
        "set by `ipsdist fit` when it changes terms: those that were assembled; absent for the terms themselves",
        "must be a list of formulas in quotes",
        '["1", "r", "r**2"]',
    )


class FitSection(Section):
    """How slices become a kernel (docs/method.md, sections 4 and 5)."""

    form: Literal["auto", "strong", "weak", "likelihood", "action"] = _key(
        "auto",
        "form of the normal equations; auto is action, or weak where sigma**2 has to come from unlabelled slices",
        _one_of("auto", "strong", "weak", "likelihood", "action"),
    )
    diffusion: Literal["auto", "given", "estimate"] = _key(
        "auto",
        "sigma**2 as system.diffusion says, or estimated; auto estimates it where it is not given",
        _one_of("auto", "given", "estimate"),
    )
    sums: Literal["auto", "mesh", "direct"] = _key(
        "auto",
        "how the equations sum over pairs: on the force mesh, or particle by particle (auto: up to 300 particles)",
        _one_of("auto", "mesh", "direct"),
    )
    selection: Literal["auto", "two_phase", "best_subset"] = _key(
        "auto",
        "how terms are selected; auto is two_phase for the strong form, else best_subset",
        _one_of("auto", "two_phase", "best_subset"),
    )
    criterion: Literal["bic", "ebic", "2lnN"] = _key(
        "ebic", "penalty of a term in best_subset", _one_of("bic", "ebic", "2lnN")
    )
    max_terms: PositiveInt = _key(4, "largest model of best_subset", _COUNT)
    alpha: Annotated[float, Field(gt=0, lt=1)] = _key(
        0.3, "two_phase drops coefficients below alpha times the largest", "must be a number between 0 and 1"
    )
    penalty: Annotated[float, Field(ge=0, le=1)] = _key(
        0.01,
        "weight of the L1 penalty in two_phase, as a share of the smallest weight that leaves no term",
        "must be a number from 0 to 1",
    )
    penalize_refit: bool = _key(
        False, "keep the L1 penalty in Phase II, as [S] eq. 21 does; it shrinks the coefficients", _BOOL
    )
    scale_columns: bool = _key(True, "scale the columns of the dictionary to unit length in two_phase", _BOOL)
    sampled_fraction: Literal["auto"] | Annotated[float, Field(gt=0, le=1)] = _key(
        "auto",
        "share of the panels that an iteration of two_phase draws; auto is 0.3, or 0.01 where fit.assembly is drawn",
        'must be "auto" or a number above 0 and at most 1',
    )
    iterations: PositiveInt = _key(50, "most iterations of two_phase", _COUNT)
    assembly: Literal["whole", "drawn"] = _key(
        "whole",
        "assemble every slice with all terms, or only those that two_phase draws (strong form, on large stores)",
        _one_of("whole", "drawn"),
    )
    quadrature: Literal["auto", "trapezoid", "simpson", "boole", "spline", "gauss_lobatto"] = _key(
        "auto",
        "time rule of the action form; auto is simpson for even slices, else what suits their spacing",
        _one_of("auto", "trapezoid", "simpson", "boole", "spline", "gauss_lobatto"),
    )
    prediction: Literal["auto", "on", "off"] = _key(
        "auto",
        "bridge distant slices by the mean-field prediction (action form, best_subset); auto where the time rule fails",
        _one_of("auto", "on", "off"),
    )

    @property
    def share(self) -> float:
        """The share of the panels that an iteration of two_phase draws, auto resolved."""
        if self.sampled_fraction != "auto":
            return self.sampled_fraction
        return 0.01 if self.assembly == "drawn" else 0.3


class RunSection(Section):
    """How the work is done."""

    seed: Annotated[int, Field(ge=0, lt=2**64)] = _key(
        0, "seed of all random numbers", "must be a whole number from 0 to 2**64 - 1"
    )
    precision: Literal["float64"] = _key("float64", "floating-point type", 'must be "float64"')
    chunk: Literal["auto"] | PositiveInt = _key(
        "auto", "particles of a chunk; no result depends on it", 'must be "auto" or a positive whole number'
    )
    device: Literal["auto", "cpu", "gpu"] = _key("auto", "where to compute", _one_of("auto", "cpu", "gpu"))
