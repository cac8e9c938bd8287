"""The true kernel as a combination of the dictionary's terms, where it is one: what simulated answers are judged by."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ipsdist.model.dictionary import Dictionary
from ipsdist.model.expression import Expression
from ipsdist.model.radial import RadialKernel
from ipsdist.model.unknowns import Field

Array = npt.NDArray[np.float64]

__all__ = ["true_coefficients", "true_fields", "true_pieces"]

_RADII = np.array([0.013, 0.11, 0.37, 0.71, 1.3, 1.9, 2.6, 3.4])
_EQUAL = 1e-10


def true_coefficients(kernel: RadialKernel, dictionary: Dictionary) -> npt.NDArray[np.float64] | None:
    """Return the coefficients (M,) with sum_k z_k term_k = kernel; None when it is no such sum, or one of pieces.

    Every summand of the kernel must be a multiple of one term, cut-off included, at radii on both sides of the cut-off.
    """
    if len(kernel.pieces) > 1:
        return None
    radii = np.concatenate([_RADII, [] if kernel.cutoff is None else kernel.cutoff * np.array([0.3, 0.8, 1.2])])
    values = dictionary.values(radii)
    coefficients = np.zeros(len(dictionary))
    for summand in _summands(kernel):
        ratios = [_ratio(summand(radii), value) for value in values]
        matches = [k for k, ratio in enumerate(ratios) if ratio is not None]
        if not matches:
            return None
        coefficients[matches[0]] += ratios[matches[0]]
    return coefficients


def true_pieces(kernel: RadialKernel, dictionary: Dictionary) -> tuple[tuple[float, ...], Array] | None:
    """Return the break points (B,) of a kernel and its coefficients (B + 1, K) on the pieces; None as above.

    Neighbours with the same coefficients are one piece.
    """
    places: list[float] = []
    rows: list[Array] = []
    lower = 0.0
    for upto, formula in kernel.pieces:
        row = true_coefficients(RadialKernel(((math.inf, formula),), kernel.cutoff), dictionary)
        if row is None:
            return None
        if rows and np.array_equal(row, rows[-1]):
            lower = upto
            continue
        if rows:
            places.append(lower)
        rows.append(row)
        lower = upto
    return tuple(places), np.array(rows)


def true_fields(potential: Expression | None, fields: Sequence[Field]) -> npt.NDArray[np.float64] | None:
    """Return the coefficients with sum_l z_l V_l = V up to a constant; None when V is no such sum."""
    if potential is None or not fields:
        return None if potential is not None else np.zeros(len(fields))
    axes = potential.variables
    points = [np.sqrt(2.0 + axis) * np.cos(np.arange(24) * (1.0 + axis)) for axis in range(len(axes))]
    target = np.concatenate([potential.derivative(a)(*points) for a in axes])
    columns = np.stack([np.concatenate([f.potential.derivative(a)(*points) for a in axes]) for f in fields], axis=1)
    z = np.linalg.lstsq(columns, target, rcond=None)[0]
    left = np.abs(columns @ z - target).max()
    if not left <= _EQUAL * max(np.abs(target).max(), np.finfo(np.float64).tiny):
        return None
    return np.where(np.abs(z) * np.abs(columns).max(axis=0) > _EQUAL * np.abs(target).max(), z, 0.0)


def _summands(kernel: RadialKernel) -> Sequence[RadialKernel]:
    expression = kernel.pieces[0][1]
    return [RadialKernel.from_pieces([(None, s.text)], kernel.cutoff) for s in expression.summands()]


def _ratio(summand: npt.NDArray[np.float64], term: npt.NDArray[np.float64]) -> float | None:
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = summand / term
    steady = np.isfinite(ratio).all() and np.ptp(ratio) <= _EQUAL * np.abs(ratio).max()
    return float(np.median(ratio)) if steady else None
