"""What holds across the keys of a run file; every check raises InputError for the first key that breaks it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ipsdist.config.sections import (
    DataSection,
    GridSection,
    InitialSection,
    NormalSection,
    TimeSection,
)
from ipsdist.learning.branch import MOST_MODELS
from ipsdist.model.errors import InputError
from ipsdist.model.expression import Expression

if TYPE_CHECKING:
    from ipsdist.config.schema import RunConfig

__all__ = ["fit", "grid", "initial", "models", "potential", "required", "times", "vector"]

_MAX_GRID_CELLS = 2**26
_MAX_STEPS = 2**32
_REQUIRED = (
    ("system", "particles", "20000"),
    ("system", "diffusion", "2.0"),
    ("time", "horizon", "1.0"),
    ("time", "step", "1e-4"),
)
_WHOLE = 1e-6
"""A ratio this close (relatively) to a whole number counts as whole: 1.0 / 1e-4 is not exactly 10000."""


def vector(value: float | tuple[float, ...], dimension: int) -> tuple[float, ...]:
    """Return a value an axis; one number stands for all axes."""
    return value if isinstance(value, tuple) else (value,) * dimension


def required(config: RunConfig) -> None:
    """Check that nothing is missing, and nothing given twice, for the source of the particles."""
    system, law = config.system, config.initial
    if system.kernel is not None and system.pieces is not None:
        raise InputError("system.kernel", "must not stand beside system.pieces", "both", "give one of the two")
    laws = [name for name in ("mixture", "uniform", "ring", "file") if getattr(law, name) is not None]
    if len(laws) > 1:
        raise InputError("initial", "must have one law", " and ".join(laws), "give one of mixture, uniform, ring, file")
    if config.data.source == "import":
        if config.data.file is None:
            rule, fix = 'is required when data.source = "import"', 'for example data.file = "tracks.npz"'
            raise InputError("data.file", rule, "nothing", fix)
        if system.potential is not None and config.dictionary.potentials:
            rule, fix = "must not stand beside dictionary.potentials for imported data", "a known one, or one to learn"
            raise InputError("system.potential", rule, "both", fix)
        return
    if config.data.file is not None:
        rule = 'is read only when data.source = "import"'
        raise InputError("data.file", rule, config.data.file, 'set data.source = "import"')
    if system.kernel is None and system.pieces is None:
        fix = 'for example system.kernel = "3*r**2", or system.pieces'
        raise InputError("system.kernel", "is required", "nothing", fix)
    for section, key, example in _REQUIRED:
        if getattr(getattr(config, section), key) is None:
            raise InputError(f"{section}.{key}", "is required", "nothing", f"for example {section}.{key} = {example}")
    if not laws:
        fix = "for example initial.uniform = {lower = -1.0, upper = 1.0}"
        raise InputError("initial", "must have one law", "none", fix)


def times(time: TimeSection, data: DataSection) -> None:
    """Check that the horizon is whole steps, that whole observations fill it, and that positions_at are slice times."""
    if data.times == "even" and data.slices is not None:
        rule, fix = 'is read only when data.times is not "even"', 'set data.times = "gauss_lobatto"'
        raise InputError("data.slices", rule, data.slices, fix)
    if data.times != "even" and (data.slices is None or data.source == "import"):
        missing = data.source != "import"
        rule = f'is required when data.times = "{data.times}"' if missing else "is for simulated particles only"
        raise InputError("data.slices" if missing else "data.times", rule, data.slices or data.times, "20 is enough")
    if time.horizon is None or time.step is None:
        return
    ratio = time.horizon / time.step
    if not ratio < _MAX_STEPS:
        raise InputError(
            "time.step", "must give fewer than 2**32 steps", f"{ratio:.3g} steps", "use a larger time.step"
        )
    steps = round(ratio)
    if steps < 1 or abs(ratio - steps) > _WHOLE * steps:
        better = time.horizon / max(1, round(ratio))
        got = f"horizon {time.horizon:g} and step {time.step:g}, {ratio:.6g} steps"
        raise InputError("time.step", "must divide time.horizon", got, f"time.step = {better:.12g} would do")
    if data.times != "even":
        if time.positions_at:
            raise InputError("time.positions_at", "needs even slices", f'data.times = "{data.times}"', "leave it out")
        return
    _even(time, steps)


def _even(time: TimeSection, steps: int) -> None:
    """Check that whole observations fill the steps, and that positions_at are slice times."""
    assert time.horizon is not None
    assert time.step is not None
    if steps % time.observe_every:
        nearest = min(_divisors(steps), key=lambda n: (abs(math.log(n / time.observe_every)), n))
        got = f"{time.observe_every} for {steps} steps"
        fix = f"time.observe_every = {nearest} would do"
        raise InputError("time.observe_every", "must divide the number of steps", got, fix)
    for moment in time.positions_at:
        interval = time.observe_every * time.step
        slices = moment / interval
        inside = 0 <= moment <= time.horizon * (1 + _WHOLE)
        if not inside or abs(slices - round(slices)) > _WHOLE * max(1, round(slices)):
            fix = f"give multiples of {interval:g} up to {time.horizon:g}"
            raise InputError("time.positions_at", "must be slice times", f"{moment:g}", fix)


def _divisors(number: int) -> list[int]:
    small = [k for k in range(1, math.isqrt(number) + 1) if number % k == 0]
    return sorted({*small, *(number // k for k in small)})


def initial(law: InitialSection, dimension: int) -> None:
    """Check lengths against the dimension, weights that sum to 1, ordered corners, and no ring on a line."""
    for number, normal in enumerate(law.mixture or ()):
        _length(f"initial.mixture[{number}].mean", normal.mean, dimension)
    if law.mixture is not None:
        _weights(law.mixture)
    if law.uniform is not None:
        _corners("initial.uniform", law.uniform.lower, law.uniform.upper, dimension)
    if law.ring is not None and dimension == 1:
        fix = "on a line, use initial.mixture with two normals"
        raise InputError("initial.ring", "needs system.dimension 2 or 3", 1, fix)


def _weights(mixture: tuple[NormalSection, ...]) -> None:
    total = math.fsum(normal.weight for normal in mixture)
    if not abs(total - 1) <= 1e-9:
        fix = f"divide the weights by {total:.12g}" if total else "give at least one normal"
        raise InputError("initial.mixture", "must have weights that sum to 1", f"{total:.12g}", fix)


def grid(section: GridSection | None, dimension: int) -> None:
    """Check lengths against the dimension, ordered corners and a size that fits in memory."""
    if section is None:
        return
    _corners("grid", section.lower, section.upper, dimension)
    _length("grid.cells", section.cells, dimension)
    cells = section.cells if isinstance(section.cells, tuple) else (section.cells,) * dimension
    if min(cells) < 4:
        raise InputError("grid.cells", "must be at least 4 an axis", min(cells), "for example grid.cells = 160")
    if math.prod(cells) > _MAX_GRID_CELLS:
        raise InputError("grid.cells", "must be at most 2**26 in all", math.prod(cells), "use fewer cells")


def _corners(key: str, lower: float | tuple[float, ...], upper: float | tuple[float, ...], dimension: int) -> None:
    _length(f"{key}.lower", lower, dimension)
    _length(f"{key}.upper", upper, dimension)
    for a, b in zip(vector(lower, dimension), vector(upper, dimension), strict=True):
        if not a < b:
            raise InputError(f"{key}.lower", f"must be below {key}.upper", f"{a:g} and {b:g}", "exchange the two")


def _length(key: str, value: float | tuple[float, ...], dimension: int) -> None:
    if isinstance(value, tuple) and len(value) != dimension:
        rule = f"must have one entry an axis, {dimension} for system.dimension = {dimension}"
        raise InputError(key, rule, len(value), "one number stands for all axes")


def fit(config: RunConfig) -> None:
    """Check that form, selection, labels, sigma**2 and force method go together."""
    section, labelled = config.fit, config.data.labelled
    if section.form == "likelihood" and not labelled:
        fix = 'use fit.form = "action", which needs no labels'
        raise InputError("fit.form", "must not be likelihood when data.labelled = false", '"likelihood"', fix)
    if section.form == "strong" and section.selection == "best_subset":
        rule = "must not be best_subset for the strong form, which has no likelihood to rank models by"
        fix = 'use fit.form = "action" or fit.selection = "two_phase"'
        raise InputError("fit.selection", rule, '"best_subset"', fix)
    if config.force.method == "prefix" and config.system.dimension != 1:
        rule = "must not be prefix when system.dimension > 1"
        raise InputError("force.method", rule, '"prefix"', 'use force.method = "mesh"')
    _diffusion(config)
    _assembly(config)
    _every(config)
    _force_device(config)
    _fit_device(config)
    _breakpoints(config)
    if section.sums == "direct" and config.form in ("strong", "weak"):
        rule = "must not be direct for the strong and weak forms"
        raise InputError("fit.sums", rule, f"fit.form = {config.form}", 'use fit.form = "action"')
    if config.form == "weak" and section.quadrature == "gauss_lobatto":
        rule, fix = "must cut the slices into panels for the weak form", 'use "auto", or fit.form = "action"'
        raise InputError("fit.quadrature", rule, f'"{section.quadrature}"', fix)


def _breakpoints(config: RunConfig) -> None:
    """Check that break points are sought where there are hats to seek them with, and nothing else is unknown."""
    section = config.fit
    if config.selection != "breakpoints":
        return
    if config.system.dimension != 1:
        rule, fix = "must not be breakpoints when system.dimension > 1", 'use fit.selection = "best_subset"'
        raise InputError("fit.selection", rule, f"system.dimension = {config.system.dimension}", fix)
    if config.form not in ("action", "likelihood"):
        rule = f"must not be breakpoints for the {config.form} form, which is no likelihood of a kernel in pieces"
        fix = 'use fit.form = "action"' + (" and give system.diffusion" if config.estimates_diffusion else "")
        raise InputError("fit.selection", rule, f"fit.form = {config.form}", fix)
    if section.sums == "direct":
        rule, fix = "must not be direct for breakpoints, which takes a force mesh", 'use fit.sums = "mesh"'
        raise InputError("fit.sums", rule, '"direct"', fix)
    if config.dictionary.potentials or config.dictionary.drift:
        key = "potentials" if config.dictionary.potentials else "drift"
        rule, fix = (
            "must be left out for breakpoints, which learns the kernel alone",
            'use fit.selection = "best_subset"',
        )
        raise InputError(f"dictionary.{key}", rule, "given", fix)


def _assembly(config: RunConfig) -> None:
    """Check that nothing but the draws of two_phase needs the equations of all slices."""
    if config.fit.assembly == "whole":
        return
    if config.selection == "best_subset":
        rule = "must be whole for best_subset, which weighs every model on all slices"
        fix = 'use fit.form = "strong", which selects by two_phase'
        raise InputError("fit.assembly", rule, '"drawn"', fix)
    if config.form != "strong":
        rule = f"must be whole for the {config.form} form, whose time rule and kernel without a dictionary need them"
        raise InputError("fit.assembly", rule, '"drawn"', 'use fit.form = "strong"')


def _fit_device(config: RunConfig) -> None:
    """Check that there are equations on the mesh where a GPU shall compute them."""
    if config.fit.device == "cpu":
        return
    if config.fit.sums == "direct":
        raise InputError("fit.device", 'must be "cpu" for direct sums', '"gpu"', 'use fit.sums = "mesh"')
    if config.fit.assembly == "drawn":
        raise InputError(
            "fit.device", 'must be "cpu" where fit.assembly is drawn', '"gpu"', 'use fit.assembly = "whole"'
        )


def _force_device(config: RunConfig) -> None:
    """Check that who transforms the force mesh steps the particles too: its answer rounds differently."""
    if config.force.device == "gpu" and config.run.device != "gpu":
        got = f'"gpu" with run.device = "{config.run.device}"'
        raise InputError("force.device", 'must be "cpu" unless run.device is "gpu"', got, "give --device gpu")
    if config.force.device == "gpu" and config.force.method not in ("auto", "mesh") and config.system.potential:
        raise InputError(
            "force.device", 'must be "cpu" where there is a potential', '"gpu"', 'use force.method = "mesh"'
        )


def _every(config: RunConfig) -> None:
    """Check that nothing but single slices is asked for where only every so many are fitted."""
    every, section = config.fit.every, config.fit
    if every == 1:
        return
    if config.form == "likelihood":
        rule = "must be 1 for the likelihood form, whose displacements are those between neighbouring slices"
        raise InputError("fit.every", rule, every, 'use fit.form = "action", or a larger time.observe_every')
    if config.data.times != "even":
        rule, fix = "must be 1 when data.times is not even", "use fewer data.slices"
        raise InputError("fit.every", rule, every, fix)
    if section.assembly == "drawn":
        rule, fix = "must be 1 when fit.assembly is drawn", 'use fit.assembly = "whole"'
        raise InputError("fit.every", rule, every, fix)
    if config.selection == "breakpoints":
        rule, fix = "must be 1 for breakpoints, which are sought in the radial equations", "use time.observe_every"
        raise InputError("fit.every", rule, every, fix)
    if config.estimates_diffusion and config.data.labelled:
        rule = "must be 1 where sigma**2 is learnt from the displacements between neighbouring slices"
        raise InputError("fit.every", rule, every, "give system.diffusion")


def _diffusion(config: RunConfig) -> None:
    """Check that sigma**2 is given, or can be estimated by the form."""
    if config.fit.diffusion == "given" and config.system.diffusion is None:
        fix = "for example system.diffusion = 2.0"
        raise InputError("system.diffusion", 'is required when fit.diffusion = "given"', "nothing", fix)
    if not config.estimates_diffusion:
        return
    if config.form == "strong":
        fix = 'give it, or use fit.form = "action" (labelled) or "weak", which estimate it'
        raise InputError("system.diffusion", "is required by the strong form", "nothing", fix)
    if not config.data.labelled and config.form != "weak":
        fix = 'give sigma**2, for example system.diffusion = 2.0, or leave fit.form on "auto"'
        raise InputError("system.diffusion", f"is required by the {config.form} form without labels", "nothing", fix)
    if not config.data.labelled and config.selection != "best_subset":
        rule, fix = "must be best_subset where sigma**2 is learnt without labels", "give system.diffusion"
        raise InputError("fit.selection", rule, config.selection, fix)


def models(config: RunConfig) -> None:
    """Check that best_subset has not more models to compare than a minute allows."""
    terms, largest = len(config.unknowns()), config.fit.max_terms
    count = sum(math.comb(terms, k) for k in range(1, min(terms, largest) + 1))
    if config.selection == "best_subset" and count > MOST_MODELS:
        rule = f"must leave at most {MOST_MODELS} models to compare"
        fix = "use a smaller fit.max_terms or fewer dictionary.terms"
        raise InputError("fit.max_terms", rule, f"{count} with {largest} of {terms} terms", fix)


def potential(expression: Expression | None, dimension: int) -> None:
    """Check that V and its derivatives are finite real numbers at a few points."""
    if expression is None:
        return
    points = [np.array([-3.1, -0.7, 0.0, 0.7, 3.1]) + 0.05 * axis for axis in range(dimension)]
    try:
        parts = [expression, *(expression.derivative(name) for name in expression.variables)]
    except ValueError:
        raise InputError("system.potential", "must have a derivative", expression.text, "use smooth formulas") from None
    for part in parts:
        bad = ~np.isfinite(part(*points))
        if bad.any():
            names = zip(expression.variables, points, strict=True)
            where = ", ".join(f"{name} = {axis[bad][0]:g}" for name, axis in names)
            rule = f"must be a finite real number with its derivatives everywhere, and is not at {where}"
            raise InputError("system.potential", rule, expression.text, 'for example system.potential = "x**2/2"')
