"""Likelihood form: Girsanov's log-likelihood of labelled trajectories by the left-point rule (docs/method.md, 4.2)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ipsdist.model.errors import InputError
from ipsdist.model.normal_equations import NormalEquations
from ipsdist.numerics.equations.forms.known import fold_known
from ipsdist.numerics.equations.pairings import Pairings

__all__ = ["likelihood_equations"]


def likelihood_equations(
    pairings: Pairings, times: npt.ArrayLike, *, basis: Sequence[str], particles: int
) -> NormalEquations:
    """Return A_n = D_n gram_n and b_n = sum_i V_k(X_i) . dX_i for the panel of every two neighbouring slices.

    Exact for the simulated chain when every step is a slice; otherwise biased of first order in the distance D of
    slices. Raises InputError when the displacements are unknown (unlabelled data).
    """
    work = pairings.work[:-1]
    if np.isnan(work).any():
        raise InputError(
            "fit.form", "likelihood needs labelled particles", "unlabelled slices", 'use fit.form = "action"'
        )
    duration = np.diff(np.asarray(times, dtype=np.float64))
    gram = duration[:, None, None] * pairings.gram[:-1]
    return fold_known("likelihood", basis, gram, work, particles)
