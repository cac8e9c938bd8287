"""The dictionary: the candidate terms of the kernel, each by its name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ipsdist.model.errors import InputError
from ipsdist.model.radial import RadialKernel

__all__ = ["Dictionary"]

Array = npt.NDArray[np.float64]

_FINGERPRINT = np.sqrt(np.array([0.0007, 0.0041, 0.02, 0.13, 0.5, 1.1, 2.3, 5.0, 7.7, 13.0, 23.0, 41.0]))
"""Distances at which terms are compared, 0.03 to 6.4: the range of the data, and nowhere special."""
_SAME = 1e-11


@dataclass(frozen=True)
class Dictionary:
    """M candidate terms of phi; no two of them are multiples of each other."""

    terms: tuple[RadialKernel, ...]

    @classmethod
    def parse(cls, texts: Sequence[str], cutoff: float | None = None, argument: str = "dictionary.terms") -> Dictionary:
        """Read the terms; ``cutoff`` freezes those that are unbounded at 0.

        Raises InputError for no terms, a formula that is not allowed, a term that is 0, and terms that are multiples of
        each other as functions (r*r and r**2): no data tell their coefficients apart.
        """
        if not texts:
            raise InputError(argument, "must have at least one term", "none", 'for example terms = ["1", "r", "r**2"]')
        terms = tuple(RadialKernel.parse(text, cutoff, argument) for text in texts)
        prints: list[Array] = []
        for term in terms:
            values = term(_FINGERPRINT)
            size = np.abs(values).max()
            if size == 0:
                raise InputError(argument, "must not have a term that is 0 everywhere", term.name, "leave it out")
            prints.append(values / values[np.abs(values).argmax()])
        for second, values in enumerate(prints):
            for first in range(second):
                if np.abs(values - prints[first]).max() <= _SAME:
                    _refuse_pair(terms[first], terms[second], argument)
        return cls(terms)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the terms: their texts without spaces."""
        return tuple(term.name for term in self.terms)

    def __len__(self) -> int:
        return len(self.terms)

    def __iter__(self) -> Iterator[RadialKernel]:
        return iter(self.terms)

    def values(self, r: npt.ArrayLike) -> Array:
        """Return phi_k(r), shape (M, *r.shape)."""
        return np.array([term(r) for term in self.terms])

    def potentials(self, r: npt.ArrayLike) -> Array:
        """Return Phi_k(r), the integrals from 0, shape (M, *r.shape)."""
        return np.array([term.potential(r) for term in self.terms])


def _refuse_pair(first: RadialKernel, second: RadialKernel, argument: str) -> None:
    same = np.allclose(first(_FINGERPRINT), second(_FINGERPRINT), rtol=_SAME, atol=0)
    rule = "must not have two equal terms" if same else "must not have two terms that are multiples of each other"
    raise InputError(argument, rule, f"{first.name} and {second.name}", "leave one out")
