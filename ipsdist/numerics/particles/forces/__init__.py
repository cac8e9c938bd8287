"""Force methods: the drift of every particle, and the one place where a method's name finds its function."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ipsdist.model.errors import InputError
from ipsdist.model.expression import Expression
from ipsdist.model.radial import RadialKernel
from ipsdist.numerics.particles.forces.direct import direct_sums
from ipsdist.numerics.particles.forces.mesh import external_drift
from ipsdist.numerics.particles.forces.moments import moment_sums
from ipsdist.numerics.particles.forces.prefix import prefix_sums

__all__ = ["METHODS", "particle_force"]

Array = npt.NDArray[np.float64]

METHODS = ("auto", "mesh", "direct", "prefix", "moments")
"""Values of force.method. "auto" is "mesh", whose error is tied to the sampling floor; the others are exact."""


def particle_force(
    method: str, kernel: RadialKernel, potential: Expression | None, dimension: int
) -> Callable[[Array], Array]:
    """Return the function from all positions (N, d) to their drift -(1/N) sum_j K(x_i - x_j) - grad V (N, d), exact.

    ``method`` is "direct", "prefix" (1-D, powers and exponentials) or "moments" (odd powers). Raises InputError naming
    force.method when it does not fit the kernel.
    """
    match method:
        case "direct":
            sums = direct_sums(kernel)
        case "prefix":
            sums = prefix_sums(kernel, dimension)
        case "moments":
            sums = moment_sums(kernel, dimension)
        case _:
            raise InputError("force.method", f"must be one of {', '.join(METHODS)}", repr(method))

    def drift(positions: Array) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):  # a blow-up is told by its positions
            total = sums(positions) * (-1.0 / len(positions))
        if potential is not None:
            total += external_drift(potential, list(positions.T)).T
        return total

    return drift
