"""The sections of a run file that say what is learnt: the dictionary, and how slices become a kernel."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ipsdist.config.keys import BOOL, COUNT, POSITIVE, Positive, PositiveInt, Section, key, one_of

__all__ = ["DictionarySection", "FitSection"]


class DictionarySection(Section):
    """The candidate terms of phi."""

    terms: tuple[str, ...] = key(
        ("1", "r", "r**2", "r**3", "exp(r)", "exp(-r)", "sin(r)", "cos(r)"),
        "formulas in r",
        "must be a list of formulas in quotes",
        '["1", "r", "r**2"]',
    )
    cutoff: Positive | None = key(
        None, "distance inside which terms that are unbounded at 0 are frozen (length)", POSITIVE, "0.05"
    )
    potentials: tuple[str, ...] = key(
        (),
        "candidate terms of an unknown external potential V(x, y, z); system.potential is then the truth, not told",
        "must be a list of formulas in quotes",
        '["x", "x**2/2"]',
    )
    drift: bool = key(False, "learn a constant drift along every axis as well", BOOL)
    assembled: tuple[str, ...] | None = key(
        None,
        "set by `ipsdist fit` when it changes terms: those that were assembled; absent for the terms themselves",
        "must be a list of formulas in quotes",
        '["1", "r", "r**2"]',
    )


class FitSection(Section):
    """How slices become a kernel (docs/method.md, sections 4 and 5)."""

    form: Literal["auto", "strong", "weak", "likelihood", "action"] = key(
        "auto",
        "form of the normal equations; auto is action, or weak where sigma**2 has to come from unlabelled slices",
        one_of("auto", "strong", "weak", "likelihood", "action"),
    )
    diffusion: Literal["auto", "given", "estimate"] = key(
        "auto",
        "sigma**2 as system.diffusion says, or estimated; auto estimates it where it is not given",
        one_of("auto", "given", "estimate"),
    )
    sums: Literal["auto", "mesh", "direct"] = key(
        "auto",
        "how the equations sum over pairs: on the force mesh, or particle by particle (auto: up to 300 particles)",
        one_of("auto", "mesh", "direct"),
    )
    selection: Literal["auto", "two_phase", "best_subset", "breakpoints"] = key(
        "auto",
        "how terms are selected; auto is two_phase for the strong form, else best_subset; breakpoints finds pieces too",
        one_of("auto", "two_phase", "best_subset", "breakpoints"),
    )
    criterion: Literal["bic", "ebic", "2lnN"] = key(
        "ebic", "penalty of a term in best_subset", one_of("bic", "ebic", "2lnN")
    )
    max_terms: PositiveInt = key(4, "largest model of best_subset", COUNT)
    alpha: Annotated[float, Field(gt=0, lt=1)] = key(
        0.3, "two_phase drops coefficients below alpha times the largest", "must be a number between 0 and 1"
    )
    penalty: Annotated[float, Field(ge=0, le=1)] = key(
        0.01,
        "weight of the L1 penalty in two_phase, as a share of the smallest weight that leaves no term",
        "must be a number from 0 to 1",
    )
    penalize_refit: bool = key(
        False, "keep the L1 penalty in Phase II, as [S] eq. 21 does; it shrinks the coefficients", BOOL
    )
    scale_columns: bool = key(True, "scale the columns of the dictionary to unit length in two_phase", BOOL)
    sampled_fraction: Literal["auto"] | Annotated[float, Field(gt=0, le=1)] = key(
        "auto",
        "share of the panels that an iteration of two_phase draws; auto is 0.3, or 0.01 where fit.assembly is drawn",
        'must be "auto" or a number above 0 and at most 1',
    )
    max_breaks: PositiveInt = key(4, "most break points of breakpoints", COUNT)
    network: Literal["auto", "on", "off"] = key(
        "auto",
        "look for break points by a neural network as well, as [S] does; auto where the extra neural is installed",
        one_of("auto", "on", "off"),
    )
    every: PositiveInt = key(1, "fit every so many slices: 1 all, 10 every tenth; not for the likelihood form", COUNT)
    iterations: PositiveInt = key(50, "most iterations of two_phase", COUNT)
    device: Literal["cpu", "gpu"] = key(
        "cpu",
        "where equations on the mesh are computed: gpu, where the worker has one, is quicker in two dimensions and "
        "rounds differently in the last digits",
        one_of("cpu", "gpu"),
    )
    assembly: Literal["whole", "drawn"] = key(
        "whole",
        "assemble every slice with all terms, or only those that two_phase draws (strong form, on large stores)",
        one_of("whole", "drawn"),
    )
    quadrature: Literal["auto", "trapezoid", "simpson", "boole", "spline", "gauss_lobatto"] = key(
        "auto",
        "time rule of the action form; auto is simpson for even slices, else what suits their spacing",
        one_of("auto", "trapezoid", "simpson", "boole", "spline", "gauss_lobatto"),
    )
    prediction: Literal["auto", "on", "off"] = key(
        "auto",
        "bridge distant slices by the mean-field prediction (action form, best_subset); auto where the time rule fails",
        one_of("auto", "on", "off"),
    )
    time_step: Literal["auto", "off"] = key(
        "auto",
        "take away what the steps of a simulation add to the equations (action form, one and two dimensions); auto "
        "where it is felt",
        one_of("auto", "off"),
    )

    @property
    def share(self) -> float:
        """The share of the panels that an iteration of two_phase draws, auto resolved."""
        if self.sampled_fraction != "auto":
            return self.sampled_fraction
        return 0.01 if self.assembly == "drawn" else 0.3
