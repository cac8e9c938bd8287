"""The forms against exact pair sums, against each other, and against what the mathematics promises."""

from itertools import pairwise

import numpy as np
import pytest

from ipsdist.model.dictionary import Dictionary
from ipsdist.model.errors import InputError
from ipsdist.model.expression import Expression
from ipsdist.model.mesh import Mesh
from ipsdist.numerics.densities.deposit import deposit, deposit_flux
from ipsdist.numerics.equations.forms.action import action_equations
from ipsdist.numerics.equations.forms.likelihood import likelihood_equations
from ipsdist.numerics.equations.pairings import pair_slice, stack
from ipsdist.numerics.equations.tables import external_tables, pair_tables
from tests.references import pair_gram, pair_velocity

DIFFUSION, STEP = 0.5, 1e-3


def chain(dictionary, truth, particles=400, steps=300, well=0.0, seed=0):
    """Positions (T, N, 1) of Euler-Maruyama with exact pair forces and the well V = well x^2 / 2."""
    random = np.random.default_rng(seed)
    x = np.where(random.random(particles) < 0.5, 1.0, -0.5)[:, None] + 0.5 * random.normal(size=(particles, 1))
    slices = [x]
    for _ in range(steps):
        drift = np.tensordot(truth, pair_velocity(dictionary, x), 1) - well * x
        x = x + STEP * drift + np.sqrt(DIFFUSION * STEP) * random.normal(size=x.shape)
        slices.append(x)
    return np.array(slices)


def pairings_of(positions, dictionary, potential=None):
    """Pairings (S slices) of labelled positions through the force mesh."""
    mesh = Mesh.around(positions.min(axis=(0, 1)), positions.max(axis=(0, 1)), 2.0**-6)
    tables = pair_tables(dictionary, mesh)
    external = () if potential is None else (external_tables(potential, mesh),)
    parts = []
    for k, x in enumerate(positions):
        here = deposit(x, mesh)
        if k + 1 < len(positions):
            flux, move = deposit_flux(x, positions[k + 1], mesh)
            here = type(here)(mesh, len(x), here.count, here.products, flux, move)
        parts.append(pair_slice(here, tables, external))
    return stack(parts)


@pytest.fixture(scope="module")
def labelled():
    """300 steps of 400 particles with phi = 2 r, and their pairings with r and r**2."""
    dictionary = Dictionary.parse(["r", "r**2"])
    positions = chain(dictionary, np.array([2.0, 0.0]))
    return dictionary, positions, pairings_of(positions, dictionary)


def test_likelihood_is_that_of_the_chain(labelled):
    """At every step, A = D sum V V and b = sum V.dX with exact pair forces."""
    dictionary, positions, pairings = labelled
    times = np.arange(len(positions)) * STEP
    got = likelihood_equations(pairings, times, basis=dictionary.names, particles=400).total()
    want = sum(STEP * pair_gram(dictionary, x) for x in positions[:-1])
    np.testing.assert_allclose(got.gram[0], want, rtol=2e-3)
    steps = pairwise(positions)
    moment = sum(np.einsum("kia,ia->k", pair_velocity(dictionary, x), y - x) for x, y in steps)
    bound = np.sqrt(DIFFUSION * np.diag(want))
    assert (np.abs(got.moment[0] - moment) < 0.02 * bound).all()


def test_action_is_the_likelihood_without_its_time_error(labelled):
    """At every step the two moments agree to a fraction of their standard error, though action sees no displacement."""
    dictionary, positions, pairings = labelled
    times = np.arange(len(positions)) * STEP
    likelihood = likelihood_equations(pairings, times, basis=dictionary.names, particles=400).total()
    action = action_equations(
        pairings, times, basis=dictionary.names, diffusion=DIFFUSION, quadrature="simpson", particles=400
    ).total()
    bound = np.sqrt(DIFFUSION * np.diag(action.gram[0]))
    np.testing.assert_allclose(action.gram[0], likelihood.gram[0], rtol=5e-3)
    assert (np.abs(action.moment[0] - likelihood.moment[0]) < 0.25 * bound).all()


def test_action_keeps_its_energy_over_any_distance(labelled):
    """With ten times fewer slices the moment moves by less than 0.1 standard errors; the left point moves by more."""
    dictionary, positions, pairings = labelled
    times = np.arange(len(positions)) * STEP
    coarse = slice(None, None, 10)
    few = type(pairings)(*(getattr(pairings, f)[coarse] for f in ("gram", "energy", "laplacian", "work")))
    options = {"basis": dictionary.names, "diffusion": DIFFUSION, "quadrature": "simpson", "particles": 400}
    fine, rough = (action_equations(p, t, **options).total() for p, t in ((pairings, times), (few, times[coarse])))
    z_fine, z_rough = (np.linalg.solve(e.gram[0], e.moment[0]) for e in (fine, rough))
    error = np.sqrt(DIFFUSION * np.diag(np.linalg.inv(fine.gram[0])))
    assert (np.abs(z_fine - z_rough) < 0.1 * error).all()
    distant = pairings_of(positions[coarse], dictionary)
    left = likelihood_equations(distant, times[coarse], basis=dictionary.names, particles=400).total()
    z_left = np.linalg.solve(left.gram[0], left.moment[0])
    assert np.abs(z_left - z_fine).max() > 3 * np.abs(z_rough - z_fine).max()


def test_a_known_potential_is_folded_in():
    """With V = x^2 / 2 known, phi = r is found within 4 standard errors; leaving V out finds phi + V instead."""
    dictionary, well = Dictionary.parse(["r"]), 1.0
    positions = chain(dictionary, np.array([1.0]), well=well, seed=4) + 0.0
    potential = Expression.parse("x**2/2", ("x",), "system.potential")
    times = np.arange(len(positions)) * STEP
    found = {}
    for name, known in (("with", potential), ("without", None)):
        equations = action_equations(
            pairings_of(positions, dictionary, known),
            times,
            basis=("r",),
            diffusion=DIFFUSION,
            quadrature="simpson",
            particles=400,
        ).total()
        found[name] = equations.moment[0, 0] / equations.gram[0, 0, 0]
        error = np.sqrt(DIFFUSION / equations.gram[0, 0, 0])
    assert abs(found["with"] - 1.0) < 4 * error
    assert found["without"] - found["with"] == pytest.approx(well, abs=0.2)


def test_likelihood_needs_labels(labelled):
    """Unlabelled slices are refused in one line with the remedy."""
    dictionary, _, pairings = labelled
    unlabelled = type(pairings)(pairings.gram, pairings.energy, pairings.laplacian, np.full_like(pairings.work, np.nan))
    with pytest.raises(InputError, match=r'`fit\.form` likelihood needs labelled particles; got unlabelled .*"action"'):
        likelihood_equations(unlabelled, np.arange(301.0), basis=dictionary.names, particles=400)
