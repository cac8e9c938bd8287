"""Equations made from rows with a known answer: what a selection is tried on."""

import numpy as np

from ipsdist.model.dictionary import Dictionary
from ipsdist.model.normal_equations import NormalEquations

EIGHT = ("1", "r", "r**2", "r**3", "exp(r)", "exp(-r)", "sin(r)", "cos(r)")


def from_rows(x, y, form="strong", particles=20000, basis=None):
    """Return the equations of rows x (P, rows, M) and targets y (P, rows); the strong form keeps the energy."""
    return NormalEquations(
        form=form,
        basis=tuple(basis) if basis is not None else tuple(f"f{k}" for k in range(x.shape[2])),
        gram=np.einsum("pik,pil->pkl", x, x),
        moment=np.einsum("pik,pi->pk", x, y),
        energy=np.einsum("pi,pi->p", y, y) if form == "strong" else None,
        particles=particles,
    )


def dictionary_rows(rng, truth, noise, panels=60, rows=40, largest=4.0):
    """Return the eight usual terms at random distances: (x, y) with y = x z + noise, condition 1e10."""
    r = rng.uniform(0, largest, (panels, rows))
    x = np.moveaxis(Dictionary.parse(EIGHT).values(r), 0, -1)
    z = np.array([truth.get(name, 0.0) for name in EIGHT])
    return x, x @ z + noise * rng.standard_normal((panels, rows))
