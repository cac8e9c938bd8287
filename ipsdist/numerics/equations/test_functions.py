"""Test functions of the weak form: tensor products of smooth splines on a box, as columns of the pairings."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.interpolate import BSpline

from ipsdist.model.errors import InputError
from ipsdist.model.mesh import Mesh
from ipsdist.numerics.convolution import prefilter
from ipsdist.numerics.equations.tables import ExternalTables

__all__ = ["DEGREE", "SplineTest", "fewest_tests", "spline_tables", "spline_tests"]

Array = npt.NDArray[np.float64]

DEGREE = 4
"""Degree of the splines: three continuous derivatives, so that mesh interpolation sees a smooth Laplacian."""
_SUPPORT = DEGREE + 1
"""Knot spacings that a spline covers."""
_MOST = (16, 7, 5)
"""Most functions an axis in 1, 2, 3 dimensions; with the corners left out at most 16, 37 and 57 of them."""
_REACH = 1.25
"""Largest sum of squares of a centre's coordinates, where -1 and 1 are the first and the last centre of an axis."""
_SQUARE = 156190 / 362880
"""Integral of the squared spline of unit knot spacing."""
_SLOPE = 2450 / 5040
"""Integral of its squared derivative."""


def _spline(order: int) -> BSpline:
    knots = np.arange(_SUPPORT + 1) - _SUPPORT / 2
    return BSpline.basis_element(knots, extrapolate=False).derivative(order)


_DERIVATIVES = tuple(_spline(order) for order in range(3))


@dataclass(frozen=True)
class SplineTest:
    """A product of centred splines, one an axis, scaled so that |grad psi|**2 has mean 1 over the support.

    With that scale the diagonal of the Gram of tests counts, roughly, the particles that a test sees. It is an external
    field as well: `value`, `gradient` and `laplacian` at particles, without a mesh.
    """

    centre: tuple[float, ...]
    """(d,) middle of the support (length)."""
    width: tuple[float, ...]
    """(d,) knot spacing (length); the support is five of them wide."""

    @property
    def scale(self) -> float:
        """Factor of the product (length), so that slopes are pure numbers."""
        others = (_SQUARE / _SUPPORT) ** (len(self.width) - 1)
        return 1.0 / math.sqrt(sum(1.0 / w**2 for w in self.width) * (_SLOPE / _SUPPORT) * others)

    def axis(self, axis: int, coordinates: Array, order: int) -> Array:
        """Return the derivative of ``order`` 0, 1 or 2 of the factor of one axis at coordinates (n,), unscaled."""
        width = self.width[axis]
        values = _DERIVATIVES[order]((coordinates - self.centre[axis]) / width)
        return np.where(np.isnan(values), 0.0, values) / width**order

    def value(self, positions: Array) -> Array:
        """Return psi (n,) at positions (n, d)."""
        return self._product(positions, [0] * len(self.centre))

    def gradient(self, positions: Array) -> Array:
        """Return grad psi (n, d)."""
        axes = range(len(self.centre))
        return np.stack([self._product(positions, [int(a == b) for b in axes]) for a in axes], axis=1)

    def laplacian(self, positions: Array) -> Array:
        """Return Lap psi (n,)."""
        axes = range(len(self.centre))
        return np.asarray(sum(self._product(positions, [2 * (a == b) for b in axes]) for a in axes))

    def _product(self, positions: Array, orders: Sequence[int]) -> Array:
        factors = [self.axis(a, positions[:, a], order) for a, order in enumerate(orders)]
        return np.asarray(self.scale * np.prod(factors, axis=0))


def fewest_tests(columns: int) -> int:
    """Return how many tests one dimension takes to tell so many unknowns apart."""
    return columns + 2


def spline_tests(
    lower: Sequence[float], upper: Sequence[float], particles: int, columns: int = 0
) -> tuple[SplineTest, ...]:
    """Return the test functions for N particles in the box ``lower`` .. ``upper`` (d,) (length).

    Along every axis the uniform splines of degree 4 whose support meets the box, so that polynomials up to degree 4 are
    among their combinations there; in two and three dimensions without those in the corners. Their number an axis is
    N**(1 / (d + 2)), between 5 (one polynomial piece) and 16, 7, 5 for d = 1, 2, 3. In one dimension there are at least
    ``columns`` + 2, to tell as many unknowns apart. More tests find no more: in case cubic sigma^2 has the same error
    with 7 as with 21, whichever box covers the particles.

    Raises InputError where the box is empty.
    """
    d = len(lower)
    if not all(b > a for a, b in zip(lower, upper, strict=True)):
        raise InputError("grid", "must have upper above lower on every axis", f"{lower} to {upper}", "widen it")
    count = min(_MOST[d - 1], max(_SUPPORT, round(particles ** (1.0 / (d + 2)))))
    count = max(count, fewest_tests(columns)) if d == 1 else count
    width = tuple((b - a) / (count - DEGREE) for a, b in zip(lower, upper, strict=True))
    places = (np.arange(count) - (count - 1) / 2).tolist()  # in knot spacings from the middle of the box
    half = (count - 1) / 2
    return tuple(
        SplineTest(tuple((a + b) / 2 + p * w for a, b, p, w in zip(lower, upper, place, width, strict=True)), width)
        for place in itertools.product(places, repeat=d)
        if d == 1 or sum((p / half) ** 2 for p in place) <= _REACH
    )


def spline_tables(tests: Sequence[SplineTest], mesh: Mesh) -> list[ExternalTables]:
    """Tabulate the test functions on the mesh, prefiltered once: (d + 2) arrays of nodes for each.

    Every table is an outer product of axes, and so is the prefilter: only vectors of one axis are ever filtered.
    """
    filtered = [
        [[_filtered(test, axis, nodes, mesh, order) for order in range(3)] for axis, nodes in enumerate(mesh.axes())]
        for test in tests
    ]
    return [_tables(axes, test.scale) for axes, test in zip(filtered, tests, strict=True)]


def _filtered(test: SplineTest, axis: int, nodes: Array, mesh: Mesh, order: int) -> Array:
    wide = np.concatenate([nodes[:1] - mesh.spacing, nodes, nodes[-1:] + mesh.spacing])
    return prefilter(test.axis(axis, wide, order), times=1)


def _tables(axes: list[list[Array]], scale: float) -> ExternalTables:
    def product(axis: int, order: int) -> Array:
        factors = [derivatives[order if a == axis else 0] for a, derivatives in enumerate(axes)]
        outer = factors[0]
        for factor in factors[1:]:
            outer = np.multiply.outer(outer, factor)
        return np.asarray(scale * outer)

    return ExternalTables(
        drift=-np.stack([product(axis, 1) for axis in range(len(axes))]),
        value=product(0, 0),
        laplacian=np.asarray(sum(product(axis, 2) for axis in range(len(axes)))),
    )
