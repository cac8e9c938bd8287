"""Mean-field equation on the density grid.

    d_t u = div(u grad U) + (sigma**2 / 2) Lap u,    U = Phi * u + V    (docs/method.md, section 1)

Grid points are the centres of cells of the grid spacing; nothing crosses the outermost faces.
"""

from ipsdist.numerics.densities.meanfield.field import PotentialField
from ipsdist.numerics.densities.meanfield.solve import chosen_scheme, solve_mean_field

__all__ = ["PotentialField", "chosen_scheme", "solve_mean_field"]
