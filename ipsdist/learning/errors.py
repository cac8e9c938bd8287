"""How far an answer is from the truth, where the truth is known (docs/method.md, section 6)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ipsdist.learning.uncertainty import covariance
from ipsdist.model.errors import InputError
from ipsdist.model.fit import Fit
from ipsdist.model.normal_equations import NormalEquations

__all__ = [
    "break_errors",
    "coefficient_errors",
    "cramer_rao_bounds",
    "cramer_rao_ratio",
    "kernel_relative_l2",
    "support_correct",
]

Array = npt.NDArray[np.float64]
Radial = Callable[[Array], npt.NDArray[np.float64]]


def kernel_relative_l2(learnt: Radial, truth: Radial, radii: npt.ArrayLike, weights: npt.ArrayLike) -> float:
    """Return |learnt - truth| / |truth| in L2(rho): sum over radii of the squared difference times rho(r).

    ``weights`` (radii,) are the shares of pairs at the radii (`pair_distances`), up to a factor; nan when the truth is
    0 at all distances that occur.
    """
    r, rho = np.asarray(radii, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    true = truth(r)
    size = float((rho * true**2).sum())
    return float(np.sqrt((rho * (learnt(r) - true) ** 2).sum() / size)) if size > 0 else float("nan")


def support_correct(kept: Iterable[str], truth: Mapping[str, float]) -> bool:
    """Tell whether the kept terms are exactly those with a coefficient other than 0 in the truth."""
    return set(kept) == {name for name, value in truth.items() if value != 0}


def coefficient_errors(fit: Fit, truth: Mapping[str, float]) -> dict[str, float]:
    """Return estimate - truth of every term that is kept or true, in the order of the dictionary.

    A true term that was dropped counts as estimated 0. Raises InputError when a true term is not in the dictionary.
    """
    _in_dictionary(fit.basis, truth)
    estimates = {fit.basis[k]: float(z) for k, z in zip(fit.terms, fit.coefficients, strict=True)}
    names = [name for name in fit.basis if name in estimates or truth.get(name, 0.0) != 0]
    return {name: estimates.get(name, 0.0) - truth.get(name, 0.0) for name in names}


def break_errors(
    places: npt.ArrayLike, values: npt.ArrayLike, true_places: npt.ArrayLike, true_values: npt.ArrayLike
) -> dict[str, Any]:
    """Return how far a kernel in pieces is from the truth.

    ``number_correct``; and where it is, estimate - truth of the ``places`` (B,) and of the coefficients on every piece,
    ``values`` (B + 1, K), dropped ones counted as 0, None otherwise; ``support_correct`` tells whether the same terms
    stand on the same pieces.
    """
    b, z = np.asarray(places, dtype=np.float64), np.asarray(values, dtype=np.float64)
    true_b, true_z = np.asarray(true_places, dtype=np.float64), np.asarray(true_values, dtype=np.float64)
    if len(b) != len(true_b):
        return {"number_correct": False, "places": None, "values": None, "support_correct": False}
    same = bool(np.array_equal(z != 0, true_z != 0))
    apart = {"places": (b - true_b).tolist(), "values": (z - true_z).tolist()}
    return {"number_correct": True, **apart, "support_correct": same}


def cramer_rao_bounds(equations: NormalEquations, truth: Mapping[str, float], diffusion: float) -> dict[str, float]:
    """Return the smallest standard error that an unbiased estimate of each true coefficient can have.

    The root of the diagonal of sigma^2 A^-1 over the true terms alone: what an estimator that knows the support has.
    ``equations`` are of the action or likelihood form, whose Gram over sigma^2 is the Fisher information of these data;
    the strong form has none (ValueError). Raises InputError when a true term is not in the dictionary.
    """
    if equations.form == "strong":
        raise ValueError(f"the Gram of the {equations.form} form is no Fisher information; pass action equations")
    _in_dictionary(equations.basis, truth)
    terms = [k for k, name in enumerate(equations.basis) if truth.get(name, 0.0) != 0]
    errors = np.sqrt(np.diag(covariance(equations, terms, np.zeros(len(terms)), diffusion)))
    return {equations.basis[k]: float(e) for k, e in zip(terms, errors, strict=True)}


def cramer_rao_ratio(
    equations: NormalEquations, fit: Fit, truth: Mapping[str, float], diffusion: float
) -> dict[str, float]:
    """Return (estimate - truth) / bound of every true term.

    One number a term, without the scale of the problem: standard normal over data seeds for a perfect estimator, so
    that its root mean square over seeds is RMSE / bound and its mean the bias in bounds. A dropped term counts as 0.
    """
    errors = coefficient_errors(fit, truth)
    return {name: errors[name] / bound for name, bound in cramer_rao_bounds(equations, truth, diffusion).items()}


def _in_dictionary(basis: tuple[str, ...], truth: Mapping[str, float]) -> None:
    missing = [name for name, value in truth.items() if value != 0 and name not in basis]
    if missing:
        rule, fix = "must be a combination of the dictionary's terms", "add them to dictionary.terms"
        raise InputError("truth", rule, ", ".join(missing), fix)
