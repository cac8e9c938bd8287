"""A network finds the jumps of f in equations over hats, ranks what the data determine only, and repeats its bits."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from ipsdist.learning import network
from ipsdist.learning.network import NetworkFit, fit_network, network_installed
from ipsdist.model.normal_equations import NormalEquations
from ipsdist.model.radial_basis import RadialBasis
from ipsdist.runtime.threads import single_xla_thread

needs_network = pytest.mark.skipif(not network_installed(), reason="the extra `neural` is not installed")

WIDTH, HATS, DIFFUSION = 0.0625, 81, 0.05
BASIS = RadialBasis((0.0, *(m * WIDTH for m in range(HATS)), (HATS - 1) * WIDTH), 1)


def f_of(r):
    """Return f with jumps at 1.21 and 2.13, neither of them a node."""
    return np.select([r <= 1.21, r <= 2.13], [0.4, 1.0], 0.0)


def hats_of(function):
    """Return the means of f(r) r under the hats, by a rule much finer than that of the network."""
    u = (np.arange(-200, 200) + 0.5) / 200
    r = np.abs(np.arange(HATS)[:, None] + u) * WIDTH
    return (function(r) * r * (1 - np.abs(u))).mean(axis=1) * 2


def equations(seed=3, slices=60, weight=40.0, function=f_of):
    """Return hat equations as pairs in clouds of 60 particles give them, with the noise that they say they have."""
    rng = np.random.default_rng(seed)
    gram = np.zeros((HATS, HATS))
    for _ in range(slices):
        x = rng.normal(rng.uniform(-1, 1, 60) * 1.6, 0.3)
        away = x[:, None] - x
        table = np.abs(away) / WIDTH
        low = np.minimum(table.astype(int), HATS - 2)
        share = np.clip(table - low, 0, 1)
        drift = np.zeros((60, HATS))
        rows = np.repeat(np.arange(60), 60)
        np.add.at(drift, (rows, low.ravel()), (np.sign(away) * (1 - share)).ravel() / 60)
        np.add.at(drift, (rows, low.ravel() + 1), (np.sign(away) * share).ravel() / 60)
        gram += weight * drift.T @ drift
    size, vectors = np.linalg.eigh(gram)
    noise = vectors @ (np.sqrt(np.maximum(size, 0) * DIFFUSION) * rng.standard_normal(HATS))
    moment = gram @ hats_of(function) + noise
    return NormalEquations("action", BASIS.names, gram[None], moment[None], None, 20_000, DIFFUSION)


@pytest.fixture(scope="module")
def found() -> NetworkFit:
    """The network fitted in full to one draw."""
    with single_xla_thread():
        return fit_network(equations(), BASIS, DIFFUSION, seed=5)


@needs_network
def test_jumps_are_candidates(found):
    """Both jumps have a candidate within 0.1, told neither how many there are nor where; f is right between them."""
    for place in (1.21, 2.13):
        assert np.abs(found.candidates - place).min() < 0.1
    for r, value in ((0.8, 0.4), (1.75, 1.0), (2.8, 0.0)):
        assert np.interp(r, found.radii, found.values) == pytest.approx(value, abs=0.1)


@needs_network
def test_slopes_are_those_of_the_values(found):
    """The slopes of automatic differentiation, integrated over the grid, give the values back, jumps and all."""
    steps = 0.5 * (found.slopes[1:] + found.slopes[:-1]) * np.diff(found.radii)
    assert found.values[0] + np.cumsum(steps) == pytest.approx(found.values[1:], abs=0.05)
    assert np.ptp(found.values) > 0.9


@needs_network
def test_ranked_are_the_largest_where_f_is_determined(found):
    """50 points are ranked, all where the equations determine f, and no other such point has a larger slope."""
    assert len(found.ranked) == 50
    assert found.seen[found.ranked].all()
    others = np.setdiff1d(np.flatnonzero(found.seen), found.ranked)
    assert np.abs(found.slopes[others]).max() <= np.abs(found.slopes[found.ranked]).min()
    assert not found.seen.all()  # pairs at distance 0 say nothing about f


@needs_network
def test_loss_is_the_misfit_and_falls(found):
    """The loss ends near the misfit of the truth, plus 2 n ln of a total variation of order one, and never explodes."""
    made = equations()
    z = hats_of(f_of)
    truth = (z @ made.gram[0] @ z - 2 * made.moment[0] @ z) / DIFFUSION
    assert len(found.loss) == network._WARM + network._TURNS
    assert found.loss[-1] < found.loss[network._WARM] < found.loss[0]
    assert abs(found.loss[-1] - truth) < 4 * HATS + 0.01 * abs(truth)


def test_no_force_trains_nothing():
    """Equations of particles that only diffuse are refused with a reason: no slope would mean anything."""
    found = fit_network(equations(function=np.zeros_like), BASIS, DIFFUSION, seed=5)
    assert found.reason is not None
    assert "tell f from 0" in found.reason
    assert len(found.radii) == len(found.candidates) == 0


def test_hat_means_are_those_of_a_finer_rule():
    """The means under hats that the network is held against are the integrals of f(r) r times a hat."""
    points, means = network._hat_means(HATS, HATS - 1, 12)
    r = points * WIDTH
    assert (means @ (np.exp(-r) * r))[1:-1] == pytest.approx(hats_of(lambda r: np.exp(-r))[1:-1], abs=2e-5)
    assert means.sum(axis=1) == pytest.approx(np.ones(HATS))


@pytest.mark.parametrize("deep", [True, False])
def test_peaks_are_parted_at_deep_valleys(deep):
    """Neighbouring ranked points are one candidate unless |f'| falls to half between two peaks of them."""
    radii = np.arange(500) / 100
    slopes = np.zeros(500)
    slopes[100:111] = [3, 4, 5, 4, 3, 2.0 if deep else 2.9, 3, 4, 5, 4, 3]
    ranked, places = network._gathered(radii, slopes)
    assert ranked.tolist() == list(range(100, 111))
    assert places == pytest.approx([1.0193, 1.08] if deep else [1.05], abs=5e-3)


def test_other_equations_are_refused():
    """Equations with an energy, or over another basis, are no likelihood over these hats."""
    made = equations(slices=2)
    strong = NormalEquations("strong", made.basis, made.gram, made.moment, np.zeros(1), made.particles)
    with pytest.raises(ValueError, match="of a likelihood over the basis"):
        fit_network(strong, BASIS, DIFFUSION, seed=0)
    with pytest.raises(ValueError, match="hats on even knots"):
        fit_network(made, RadialBasis((0.0, 0.0, *np.geomspace(0.1, 5, HATS - 1), 5.0), 1), DIFFUSION, seed=0)


_SCRIPT = """
import hashlib, os, sys
from ipsdist.learning import network
from ipsdist.runtime.threads import single_xla_thread
from tests.learning.test_network import BASIS, DIFFUSION, equations
network._WARM, network._TURNS = 40, 20
with single_xla_thread():
    found = network.fit_network(equations(slices=20), BASIS, DIFFUSION, seed=5)
assert os.environ.get("NPROC") == sys.argv[1]
print(hashlib.sha256(found.values.tobytes() + found.slopes.tobytes() + found.loss.tobytes()).hexdigest())
"""


@needs_network
def test_bits_do_not_depend_on_threads():
    """Processes that would begin JAX on 1 and on 7 threads fit the same network to the last bit."""
    answers = [
        subprocess.run(
            [sys.executable, "-c", _SCRIPT, threads],
            env={**os.environ, "NPROC": threads, "OPENBLAS_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "7")
    ]
    assert answers[0] == answers[1]
    assert len(answers[0].strip()) == 64
