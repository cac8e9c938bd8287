"""Action form: the likelihood of the density itself, no labels needed, exact in the energy (docs/method.md, 4.3)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ipsdist.model.normal_equations import NormalEquations
from ipsdist.numerics.equations.forms.known import fold_known
from ipsdist.numerics.equations.pairings import Pairings
from ipsdist.numerics.equations.quadrature import panels

__all__ = ["action_equations"]


def action_equations(
    pairings: Pairings,
    times: npt.ArrayLike,
    *,
    basis: Sequence[str],
    diffusion: float,
    quadrature: str,
    particles: int,
) -> NormalEquations:
    """Return A_n = int gram dt and b_n = -(H(last) - H(first)) + (sigma^2 / 2) int laplacian dt of every panel.

    ``pairings`` are those of one replica at ``times`` (S,); a column beyond ``basis`` is a known potential, folded in.
    The energy difference is exact whatever the distance of the slices; the two integrals carry the error of the rule.
    """
    rule = panels(times, quadrature)
    gram = np.stack([np.tensordot(p.weights, pairings.gram[p.first : p.last + 1], 1) for p in rule])
    laplacian = np.stack([p.weights @ pairings.laplacian[p.first : p.last + 1] for p in rule])
    energy = np.stack([pairings.energy[p.last] - pairings.energy[p.first] for p in rule])
    moment = 0.5 * diffusion * laplacian - energy
    return fold_known("action", basis, gram, moment, particles, diffusion)
