"""The whole configuration of a run: the sections together, what holds across them, and the frozen values they mean."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from pydantic import Field, ValidationError, model_validator

from ipsdist.config import checks
from ipsdist.config.keys import Section
from ipsdist.config.learning_sections import DictionarySection, FitSection
from ipsdist.config.mean_field_checks import mean_field_source
from ipsdist.config.messages import input_error, refuse_unknown_keys
from ipsdist.config.sections import (
    DataSection,
    DensitySection,
    ForceSection,
    GridSection,
    InitialSection,
    MeanFieldSection,
    RunSection,
    SystemSection,
    TimeSection,
)
from ipsdist.config.toml import to_toml
from ipsdist.model.dictionary import Dictionary
from ipsdist.model.errors import InputError
from ipsdist.model.expression import Expression
from ipsdist.model.radial import RadialKernel
from ipsdist.model.system import Grid, InitialLaw, Mixture, Ring, System, Times, Uniform
from ipsdist.model.unknowns import AXES, Unknowns
from ipsdist.numerics.equations.quadrature import observation_times

__all__ = ["RunConfig"]


class RunConfig(Section):
    """A checked configuration; build it with :func:`ipsdist.config.resolve` or :meth:`build`."""

    name: str = Field(
        "run",
        description="name of the run; it goes to the directory runs/NAME",
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$",
        json_schema_extra={
            "rule": "must be at most 64 letters, digits, _ . - and not start with . or -",
            "example": '"cubic"',
        },
    )
    system: SystemSection = SystemSection()
    time: TimeSection = TimeSection()
    initial: InitialSection = InitialSection()
    data: DataSection = DataSection()
    mean_field: MeanFieldSection = MeanFieldSection()
    grid: GridSection | None = None
    force: ForceSection = ForceSection()
    density: DensitySection = DensitySection()
    dictionary: DictionarySection = DictionarySection()
    fit: FitSection = FitSection()
    run: RunSection = RunSection()

    @classmethod
    def build(cls, values: Mapping[str, Any]) -> RunConfig:
        """Check plain values (as tomllib gives them) and return the configuration.

        Raises InputError, one line that names the first bad key, its rule, what came and the usual fix.
        """
        refuse_unknown_keys(cls, values)
        try:
            return cls.model_validate(_frozen(values))
        except ValidationError as error:
            raise input_error(cls, error) from None

    @model_validator(mode="after")
    def _check(self) -> RunConfig:
        checks.required(self)
        mean_field_source(self)
        checks.times(self.time, self.data)
        checks.initial(self.initial, self.system.dimension)
        checks.grid(self.grid, self.system.dimension)
        checks.fit(self)
        if self.data.source != "import":
            self.times()
        self.kernel()
        checks.potential(self.potential(), self.system.dimension)
        self.assembled()
        checks.models(self)
        return self

    # --- values of the model -------------------------------------------------------------------------------------

    def kernel(self) -> RadialKernel | None:
        """Return phi, or None where it is unknown."""
        if self.system.pieces is not None:
            return RadialKernel.from_pieces([(p.upto, p.kernel) for p in self.system.pieces], self.system.cutoff)
        return None if self.system.kernel is None else RadialKernel.parse(self.system.kernel, self.system.cutoff)

    def potential(self) -> Expression | None:
        """Return the external potential V(x, y, z), or None for none."""
        axes = AXES[: self.system.dimension]
        text = self.system.potential
        return None if text is None else Expression.parse(text, axes, "system.potential")

    def system_value(self, particles: int | None = None, diffusion: float | None = None) -> System:
        """Return the system; for imported data ``particles``, and ``diffusion`` where it is estimated, come from them.

        Raises InputError where neither the run file nor the caller knows one of the two.
        """
        known = self.system
        count = known.particles if particles is None else particles
        sigma2 = known.diffusion if diffusion is None else diffusion
        if count is None or sigma2 is None:
            raise InputError(f"system.{'particles' if count is None else 'diffusion'}", "is required", "nothing")
        return System(known.dimension, count, known.replicas, self.kernel(), self.potential(), sigma2)

    def times(self) -> Times:
        """Return the times of a simulation; raises InputError where the run file has none (imported data)."""
        if self.time.horizon is None or self.time.step is None:
            raise InputError(f"time.{'horizon' if self.time.horizon is None else 'step'}", "is required", "nothing")
        horizon, step, rule = self.time.horizon, self.time.step, self.data.times
        if rule == "even" or self.data.slices is None:
            return Times(horizon, step, self.time.observe_every)
        chosen = np.rint(observation_times(horizon, self.data.slices, rule, step) / step).astype(np.int64)
        return Times(horizon, step, self.time.observe_every, tuple(chosen.tolist()))

    def density_grid(self) -> Grid | None:
        """Return the grid of densities, or None where it is to be chosen from the particles."""
        if self.grid is None:
            return None
        d = self.system.dimension
        cells = self.grid.cells if isinstance(self.grid.cells, tuple) else (self.grid.cells,) * d
        return Grid(checks.vector(self.grid.lower, d), checks.vector(self.grid.upper, d), cells)

    def initial_law(self) -> InitialLaw | None:
        """Return the initial law; None for positions in a file, which are read elsewhere, and for imported data."""
        law, d = self.initial, self.system.dimension
        if law.mixture is not None:
            means = tuple(checks.vector(n.mean, d) for n in law.mixture)
            return Mixture(tuple(n.weight for n in law.mixture), means, tuple(n.variance for n in law.mixture))
        if law.uniform is not None:
            return Uniform(checks.vector(law.uniform.lower, d), checks.vector(law.uniform.upper, d))
        return None if law.ring is None else Ring(law.ring.radius, law.ring.variance)

    def known(self) -> Expression | None:
        """Return the potential that the fit is told; None for none, and where it has to learn one."""
        return None if self.dictionary.potentials else self.potential()

    def terms(self) -> Dictionary:
        """Return the dictionary."""
        return _dictionary(self.dictionary.terms, self.dictionary.cutoff)

    def assembled(self) -> Dictionary:
        """Return the dictionary that the equations are assembled for; others follow from the radial equations."""
        texts = self.dictionary.assembled
        return self.terms() if texts is None else _dictionary(texts, self.dictionary.cutoff)

    def unknowns(self) -> Unknowns:
        """Return everything that the fit may learn about the drift."""
        own = self.dictionary
        return _unknowns(self.terms(), own.potentials, own.drift, self.system.dimension)

    @property
    def estimates_diffusion(self) -> bool:
        """Whether sigma**2 is learnt from the data."""
        return self.fit.diffusion == "estimate" or (self.fit.diffusion == "auto" and self.system.diffusion is None)

    @property
    def form(self) -> str:
        """The form of the normal equations, auto resolved."""
        if self.fit.form != "auto":
            return self.fit.form
        return "weak" if self.estimates_diffusion and not self.data.labelled else "action"

    @property
    def form_reason(self) -> str:
        """Why this form, in a sentence."""
        if self.fit.form != "auto":
            return "named by fit.form"
        if self.form == "weak":
            return "weak form: without labels, sigma**2 is learnt with the kernel from moments of test functions"
        return "default: the likelihood of the density itself, its energy term exact whatever the distance of slices"

    @property
    def selection(self) -> str:
        """The selection, auto resolved."""
        if self.fit.selection != "auto":
            return self.fit.selection
        return "two_phase" if self.form == "strong" else "best_subset"

    # --- plain values --------------------------------------------------------------------------------------------

    def to_toml(self) -> str:
        """Return a run file of all values, defaults included, that resolves to an equal configuration."""
        return to_toml(self.model_dump(mode="json", exclude_none=True))

    def values(self, *names: str) -> dict[str, Any]:
        """Return JSON-able values of sections ("time") and keys ("fit.form") by name, or of all sections."""
        everything = self.model_dump(mode="json")
        found = {}
        for name in names or tuple(everything):
            section, _, key = name.partition(".")
            table = everything[section]
            found[name] = table[key] if key and table is not None else table
        return found


# Formulas are read once: every slice asks what the unknowns are.
@lru_cache(maxsize=64)
def _dictionary(texts: tuple[str, ...], cutoff: float | None) -> Dictionary:
    return Dictionary.parse(texts, cutoff)


@lru_cache(maxsize=64)
def _unknowns(dictionary: Dictionary, potentials: tuple[str, ...], drift: bool, dimension: int) -> Unknowns:
    return Unknowns.parse(dictionary, potentials, drift, dimension)


def _frozen(value: Any) -> Any:
    """Return TOML lists as tuples, which is what frozen sections hold."""
    if isinstance(value, Mapping):
        return {key: _frozen(item) for key, item in value.items()}
    return tuple(_frozen(item) for item in value) if isinstance(value, list | tuple) else value
