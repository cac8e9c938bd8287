"""Fold a column whose coefficient is known to be 1 (an external potential) into the moment of the others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ipsdist.model.normal_equations import NormalEquations

__all__ = ["fold_known"]


def fold_known(
    form: str,
    basis: Sequence[str],
    gram: npt.NDArray[np.float64],
    moment: npt.NDArray[np.float64],
    particles: int,
    diffusion: float | None = None,
) -> NormalEquations:
    """Return the equations of the first ``len(basis)`` columns of gram (P, K, K), moment (P, K); others are known."""
    m = len(basis)
    moment = moment[:, :m] - gram[:, :m, m:].sum(axis=2)
    return NormalEquations(form, tuple(basis), gram[:, :m, :m], moment, None, particles, diffusion)
