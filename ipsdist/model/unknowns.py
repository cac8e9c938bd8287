"""What a fit may learn about the drift: the terms of the kernel and, beside them, potentials and a constant drift."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ipsdist.model.dictionary import Dictionary
from ipsdist.model.errors import InputError
from ipsdist.model.expression import Expression

__all__ = ["AXES", "Field", "Unknowns"]

Array = npt.NDArray[np.float64]

AXES = ("x", "y", "z")
_POINTS = 16
_SAME = 1e-11


@dataclass(frozen=True)
class Field:
    """One column of the drift that is no interaction: -grad V, with a coefficient to be learnt."""

    name: str
    """The formula of V without spaces; ``drift_x`` for the constant drift along an axis."""
    kind: str
    """``potential`` or ``drift``."""
    potential: Expression
    """V in x, y, z; -x for the drift along x, whose coefficient is then the velocity."""


@dataclass(frozen=True)
class Unknowns:
    """The M columns of a fit: terms of the kernel first, then fields."""

    dictionary: Dictionary
    fields: tuple[Field, ...] = ()

    @classmethod
    def parse(cls, dictionary: Dictionary, potentials: Sequence[str], drift: bool, dimension: int) -> Unknowns:
        """Read the formulas of potentials in x, y, z (as many as ``dimension``), and a drift along every axis.

        Raises InputError for a constant potential (it moves nobody) and for two fields that are multiples of each
        other up to a constant.
        """
        axes = AXES[:dimension]
        argument = "dictionary.potentials"
        fields = [Field(e.text, "potential", e) for e in (Expression.parse(p, axes, argument) for p in potentials)]
        if drift:
            fields += [Field(f"drift_{a}", "drift", Expression.parse(f"-{a}", axes)) for a in axes]
        prints = [_fingerprint(f) for f in fields]
        for second, values in enumerate(prints):
            for first in range(second):
                if np.abs(values - prints[first]).max() <= _SAME:
                    pair = f"{fields[first].name} and {fields[second].name}"
                    rule = "must not have two potentials that push alike (a drift is a linear potential)"
                    raise InputError(argument, rule, pair, "leave one out")
        return cls(dictionary, tuple(fields))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all columns."""
        return (*self.dictionary.names, *(f.name for f in self.fields))

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kind of every column: kernel, potential or drift."""
        return (*("kernel" for _ in self.dictionary), *(f.kind for f in self.fields))

    def __len__(self) -> int:
        return len(self.dictionary) + len(self.fields)

    def keep(self, columns: Sequence[int]) -> Unknowns:
        """Return the unknowns of some columns (increasing); at least one of them must be a term of the kernel."""
        terms = len(self.dictionary)
        return Unknowns(
            Dictionary(tuple(self.dictionary.terms[k] for k in columns if k < terms)),
            tuple(self.fields[k - terms] for k in columns if k >= terms),
        )


def _fingerprint(field: Field) -> Array:
    """Return grad V at a few points, scaled to the largest value 1. Raises InputError where it vanishes or fails."""
    axes = field.potential.variables
    # Nowhere special, but for the origin, where formulas like 1/x fail.
    points = [
        np.append(0.0, np.sqrt(2.0 + axis) * np.cos(np.arange(_POINTS) * (1.0 + axis))) for axis in range(len(axes))
    ]
    try:
        slopes = np.concatenate([field.potential.derivative(a)(*points) for a in axes])
        values = field.potential(*points)
    except ValueError:
        rule = "must have formulas with a derivative"
        raise InputError("dictionary.potentials", rule, field.name, "use smooth formulas") from None
    if not (np.isfinite(slopes).all() and np.isfinite(values).all()):
        rule = "must have formulas that are finite with their slopes everywhere"
        raise InputError("dictionary.potentials", rule, field.name, 'for example "x**2/2"')
    size = np.abs(slopes).max()
    if size == 0:
        raise InputError("dictionary.potentials", "must not have a constant, which moves nobody", field.name, "drop it")
    return np.asarray(slopes / slopes[np.abs(slopes).argmax()])
