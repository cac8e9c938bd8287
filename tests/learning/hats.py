"""Equations over hats from their exact law: particles on a line that gather, noise as sigma^2 says."""

from functools import lru_cache

import numpy as np

from ipsdist.learning.pieces import HatSystem, all_columns
from ipsdist.model.dictionary import Dictionary
from ipsdist.model.radial_basis import RadialBasis
from tests.learning.draws import drawn

WIDTH, REACH = 1 / 16, 4.0
SIGMA2 = 0.02
TERMS = Dictionary.parse(["r", "r**2"])


@lru_cache
def basis():
    """Hats of width 1/16 up to 4."""
    places = [m * WIDTH for m in range(round(REACH / WIDTH) + 1)]
    return RadialBasis((0.0, *places, places[-1]), 1)


@lru_cache
def gram(information=1e5):
    """Gram (M, M) over hats, scaled to so many particles times time, of 400 particles that gather from -2 .. 2."""
    even = np.linspace(-2.0, 2.0, 400) + 0.003 * np.sin(40.0 * np.arange(400))
    total = np.zeros((len(basis()), len(basis())))
    for share in (0.0, 0.4, 0.7, 0.9):
        for centres in ((-1.1, 0.9), (-1.6, -0.3, 1.2)):
            nearest = np.array(centres)[np.abs(even[:, None] - centres).argmin(axis=1)]
            x = even + share * (nearest - even)
            apart = x[:, None] - x
            velocity = (basis().values(np.abs(apart)) * np.sign(apart)).mean(axis=2)
            total += velocity @ velocity.T / len(x) / 8
    return information * total


def equations(places, kept, values, seed, terms=TERMS, panels=1, particles=20_000, information=1e5):
    """Return equations of a kernel in pieces, its columns as hats hold them."""
    blank = drawn(gram(information), np.zeros(len(basis())), SIGMA2, np.random.default_rng(0), basis=basis().names)
    truth = HatSystem.of(blank, basis(), terms, SIGMA2).columns(places, kept) @ np.asarray(values)
    return of_nodes(truth, seed, panels, particles, information)


def of_nodes(truth, seed, panels=1, particles=20_000, information=1e5):
    """Return equations of a kernel by its values at the nodes."""
    rng = np.random.default_rng(seed)
    names = basis().names
    return drawn(gram(information), truth, SIGMA2, rng, basis=names, panels=panels, particles=particles)


EVERY = all_columns
