"""What a configuration cannot do with these particles: refused before anything is written or discarded."""

from __future__ import annotations

import numpy as np

from ipsdist.config import RunConfig
from ipsdist.learning.network import network_installed
from ipsdist.model.errors import InputError
from ipsdist.model.setup import Setup
from ipsdist.numerics.equations.quadrature import panels
from ipsdist.stages.base import fitted_times
from ipsdist.stages.network import EXTRA
from ipsdist.stages.radial import follow, has_radial
from ipsdist.stages.tracks import sums_directly

__all__ = ["check"]

_LARGEST = 1e100
_FEWEST_SLICES = 5
"""Slices that the estimate of sigma^2 needs."""


def check(config: RunConfig, setup: Setup) -> None:
    """Raise InputError for keys of later stages that these particles cannot serve."""
    if config.system.dimension != setup.dimension:
        raise InputError(
            "system.dimension",
            "must be that of the particles",
            f"{config.system.dimension} for positions in {setup.dimension} dimensions",
            f"set system.dimension = {setup.dimension}",
        )
    _enough(config, setup)
    _ragged(config, setup)
    _density(config, setup)
    _every(config, setup)
    _diffusion(config, setup)
    _terms(config, setup)
    _projection(config, setup)
    if config.selection == "breakpoints" and sums_directly(config, setup):
        rule = "must not be breakpoints where pairs are summed directly: few particles, or some that come and go"
        raise InputError("fit.selection", rule, f"{setup.particles} particles", 'use "best_subset"')
    if config.selection == "breakpoints" and config.fit.network == "on" and not network_installed():
        rule = "needs the packages of neural networks when on"
        raise InputError("fit.network", rule, "they are not installed", f'{EXTRA}, or use "auto"')
    if config.fit.prediction == "on" and (
        config.form != "action" or config.selection != "best_subset" or setup.dimension > 2
    ):
        rule = "on needs the action form, best_subset and one or two dimensions"
        raise InputError(
            "fit.prediction", rule, f"{config.form}, {config.selection}, d = {setup.dimension}", 'use "auto"'
        )
    if config.fit.prediction == "on" and sums_directly(config, setup):
        rule = "must not be on where pairs are summed directly, which assumes no mean field"
        raise InputError("fit.prediction", rule, f"{setup.particles} particles", 'use "auto", or fit.sums = "mesh"')
    if config.form == "action" and config.fit.quadrature != "auto":
        panels(fitted_times(config, setup), config.fit.quadrature)


def _projection(config: RunConfig, setup: Setup) -> None:
    """Terms that were not assembled follow from radial equations alone."""
    if follow(config, setup) and not has_radial(config, setup):
        rule = "must be left out where there are no radial equations: on a mesh in three dimensions"
        raise InputError("dictionary.assembled", rule, ", ".join(config.assembled().names), "remove the key")


def _enough(config: RunConfig, setup: Setup) -> None:
    """As many particles as unknowns, for a law that no two particles can show."""
    unknowns, particles = len(config.unknowns()), setup.particles * setup.replicas
    if particles < unknowns:
        rule, fix = "must not have more terms than there are particles", "shorten dictionary.terms"
        raise InputError("dictionary.terms", rule, f"{unknowns} for {particles} particles", fix)


def _ragged(config: RunConfig, setup: Setup) -> None:
    """Tracks where particles come and go have one road."""
    if not setup.ragged:
        return
    if not setup.labelled:
        fix = "name the column of the particles, or bring snapshots of one number of particles"
        raise InputError("data.labelled", "must be true where particles come and go", "false", fix)
    if config.form != "action" or config.fit.sums == "mesh":
        key, got = ("fit.sums", "mesh") if config.form == "action" else ("fit.form", config.form)
        rule, fix = "cannot be that where particles come and go", f'leave {key} on "auto"'
        raise InputError(key, rule, f'"{got}"', fix)


def _density(config: RunConfig, setup: Setup) -> None:
    rule = config.density.bandwidth
    if isinstance(rule, float | int) and rule * config.density.bandwidth_factor < setup.spacing:
        raise InputError(
            "density.bandwidth",
            "times density.bandwidth_factor must be at least the spacing of the force mesh",
            f"{rule * config.density.bandwidth_factor:g} against {setup.spacing:g}",
            "widen it, or set a smaller force.spacing",
        )
    if rule in ("isj", "self_consistent") and setup.dimension > 1:
        fix = 'use "scott", "silverman" or a number'
        raise InputError("density.bandwidth", f"{rule} works in one dimension", f"{setup.dimension} dimensions", fix)


def _every(config: RunConfig, setup: Setup) -> None:
    """Fewer slices are fitted where each was paired by itself, and where some are left to join."""
    every = config.fit.every
    if every == 1:
        return
    if sums_directly(config, setup):
        rule = "must be 1 where pairs are summed directly, whose Gram is of all slices"
        raise InputError("fit.every", rule, every, 'use fit.sums = "mesh"')
    if follow(config, setup):
        rule, fix = "must be 1 for terms that were not assembled", "`ipsdist assemble DIR` assembles them"
        raise InputError("fit.every", rule, every, fix)
    if len(fitted_times(config, setup)) < 2:
        rule, fix = "must leave at least two slices", f"at most {setup.slices - 1}"
        raise InputError("fit.every", rule, f"{every} for {setup.slices} slices", fix)


def _diffusion(config: RunConfig, setup: Setup) -> None:
    """sigma^2 that is not given takes some slices to estimate."""
    slices = len(fitted_times(config, setup))
    if config.estimates_diffusion and slices < _FEWEST_SLICES:
        rule = f"is estimated from at least {_FEWEST_SLICES} slices only"
        raise InputError("system.diffusion", rule, f"{slices} slices", "give it (learn: diffusion=)")


def _terms(config: RunConfig, setup: Setup) -> None:
    """Values and potentials must be numbers at every distance between two points of the grid, twice over."""
    sides = np.array(setup.grid.upper) - np.array(setup.grid.lower)
    radii = 2.0 * float(np.sqrt(np.sum(sides**2))) * np.linspace(0.0, 1.0, 64)
    dictionary = config.terms()
    with np.errstate(all="ignore"):
        sizes = np.abs(dictionary.values(radii)).max(axis=1)
        if not follow(config, setup):  # terms that follow from the radial basis need no potential of their own
            sizes = np.maximum(sizes, np.abs(dictionary.potentials(radii)).max(axis=1))
    for name, size in zip(dictionary.names, sizes, strict=True):
        if not size < _LARGEST:
            raise InputError(
                "dictionary.terms",
                f"must stay below {_LARGEST:g} at the distances of these particles",
                f"{name}, which exceeds it before r = {radii[-1]:.4g}",
                "rescale lengths, or drop the term",
            )
