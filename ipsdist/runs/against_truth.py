"""What was learnt against the truth, where it is known: terms, coefficients, break points."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ipsdist.config import RunConfig
from ipsdist.learning.errors import (
    break_errors,
    coefficient_errors,
    cramer_rao_ratio,
    kernel_relative_l2,
    support_correct,
)
from ipsdist.learning.truth import true_coefficients, true_fields, true_pieces
from ipsdist.model.fit import Fit
from ipsdist.model.learned_kernel import LearnedKernel
from ipsdist.model.normal_equations import NormalEquations
from ipsdist.stages.breaks import seeks_breaks
from ipsdist.stages.kernel import load_places
from ipsdist.storage import Store

__all__ = ["errors_of", "truth_of"]

Array = npt.NDArray[np.float64]

_CLOSE = 256
"""Distances in place of one where the truth jumps: a jump a little off its place then counts by how much."""


def truth_of(store: Store, config: RunConfig) -> Array | None:
    """Return the true coefficients (M,) of all columns of the fit; None where there are none to know.

    Of a kernel in pieces, those of every term on every piece, None where the truth has another number of them.
    """
    kernel, unknowns = config.kernel(), config.unknowns()
    if kernel is None:
        return None
    if seeks_breaks(config):
        known = true_pieces(kernel, unknowns.dictionary)
        return None if known is None or len(known[0]) != len(load_places(store)) else known[1].ravel()
    terms = true_coefficients(kernel, unknowns.dictionary)
    fields = true_fields(None if config.known() is not None else config.potential(), unknowns.fields)
    return None if terms is None or fields is None else np.concatenate([terms, fields])


def errors_of(
    store: Store,
    config: RunConfig,
    fit: Fit,
    learnt: LearnedKernel,
    equations: NormalEquations,
    diffusion: float,
    radii: Array,
    rho: Array,
) -> dict[str, Any] | None:
    """Return the errors of a fit; None where the true kernel is unknown. ``rho`` (R,) are the shares of pairs."""
    kernel, truth = config.kernel(), truth_of(store, config)
    if kernel is None:
        return None
    close = np.linspace(radii[0], radii[-1], _CLOSE * (len(radii) - 1) + 1) if len(kernel.pieces) > 1 else radii
    found: dict[str, Any] = {
        "kernel_relative_l2": kernel_relative_l2(learnt, kernel, close, np.interp(close, radii, rho)),
        "coefficients": None,
        "support_correct": None,
        "cramer_rao_ratio": None,
    }
    if truth is not None:
        true = {name: float(z) for name, z in zip(fit.basis, truth, strict=True) if z != 0.0}
        found["coefficients"] = coefficient_errors(fit, true)
        found["support_correct"] = support_correct([fit.basis[k] for k in fit.terms], true)
        informed = np.einsum("pkk->k", equations.gram) > 0
        if equations.energy is None and informed[np.flatnonzero(truth)].all():
            found["cramer_rao_ratio"] = cramer_rao_ratio(equations, fit, true, diffusion)
    return found | _of_breaks(store, config, fit) if seeks_breaks(config) else found


def _of_breaks(store: Store, config: RunConfig, fit: Fit) -> dict[str, Any]:
    """Return what is added for a kernel in pieces: ``breakpoints``, the support, and no bound.

    The Cramer-Rao bound of coefficients whose places are known is not one for an estimate that has to find them.
    """
    kernel = config.kernel()
    known = None if kernel is None else true_pieces(kernel, config.terms())
    if known is None:
        return {"breakpoints": None}
    values = np.zeros(len(fit.basis))
    values[list(fit.terms)] = fit.coefficients
    found = break_errors(load_places(store), values.reshape(-1, len(config.terms())), *known)
    support = found.pop("support_correct")
    return {"breakpoints": found, "support_correct": support, "cramer_rao_ratio": None}
