"""Equations of ragged tracks against the action form, sums over pairs, and the law of their scores."""

from dataclasses import replace

import numpy as np
import pytest

from ipsdist.model.dictionary import Dictionary
from ipsdist.model.errors import InputError
from ipsdist.model.expression import Expression
from ipsdist.model.radial_basis import RadialBasis, project
from ipsdist.model.tracks import Ragged
from ipsdist.numerics.equations.direct import PotentialField, blur_length, pair_positions
from ipsdist.numerics.equations.forms.action import action_equations
from ipsdist.numerics.equations.tracks import pair_tracks, track_equations
from tests.references import interval_by_pairs, pair_velocity

BASIS = RadialBasis.graded(8.0, 0.4, intervals=10)
TERMS = Dictionary.parse(["r*exp(-r)", "r"])
KNOWN = PotentialField.of(Expression.parse("x**2/2", ("x", "y")), 2)
DRIFT = PotentialField.of(Expression.parse("0-y", ("x", "y")), 2)


def walk(slices=9, particles=12, absent=0.0, seed=0):
    """Random walks in the plane at uneven times, some positions missing."""
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.uniform(0.05, 0.15, slices))
    x = np.cumsum(np.vstack([rng.normal(size=(1, particles, 2)), 0.2 * rng.normal(size=(slices - 1, particles, 2))]), 0)
    x[rng.random((slices, particles)) < absent] = np.nan
    return times, x


def test_complete_tracks_have_the_action_form():
    """With everybody there all the time: energy difference and trapezoid of the action form, column by column."""
    times, x = walk()
    matrix, _ = project(TERMS, BASIS)
    intervals = pair_tracks(Ragged.of_array(times, x), BASIS, [DRIFT, KNOWN], blur=0.2)
    names = (*TERMS.names, "drift y")
    got = track_equations(intervals, 0.7, names, matrix, known=1)
    m = len(BASIS)
    change = np.zeros((m + 2, 4))
    change[:m, :2], change[m:, 2:] = matrix, np.eye(2)
    pairings = pair_positions(x, BASIS, [DRIFT, KNOWN], blur=0.2, labelled=True).project(change)
    want = action_equations(pairings, times, basis=names, diffusion=0.7, quadrature="trapezoid", particles=12)
    assert (got.form, got.basis, got.particles, got.diffusion) == (want.form, names, 12, 0.7)
    np.testing.assert_allclose(got.gram, want.gram, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(got.moment, want.moment, rtol=1e-8, atol=1e-10)


def test_births_deaths_and_gaps_by_single_pairs():
    """Every interval is the sum over particles seen at both ends and their neighbours at each, with 1/N(t)."""
    times, x = walk(absent=0.3)
    tracks = Ragged.of_array(times, x)
    found = pair_tracks(tracks, BASIS, [DRIFT], blur=0.0)
    m = len(BASIS)
    assert len(found) == len(times) - 1
    for n, k in enumerate(found.first):
        before, after = tracks.common(k, k + 1)
        gram, midpoint, divergence = interval_by_pairs(tracks, k, BASIS)
        np.testing.assert_allclose(found.gram[n, :m, :m], gram, atol=1e-12)
        np.testing.assert_allclose(found.stratonovich[n, :m], midpoint, atol=1e-12)
        np.testing.assert_allclose(found.divergence[n, :m], divergence, atol=1e-10)
        assert found.matched[n] == len(before)
        assert found.duration[n] == times[k + 1] - times[k]
        assert found.gram[n, m, m] == pytest.approx(len(before) * found.duration[n])
        assert found.stratonovich[n, m] == pytest.approx((after - before)[:, 1].sum())
        assert found.divergence[n, m] == 0.0


def test_windows_with_a_common_slice_have_the_bits_of_the_whole():
    """Tracks may be cut for workers: the intervals of the parts, one after the other, are those of the whole."""
    tracks = Ragged.of_array(*walk(absent=0.2))
    whole = pair_tracks(tracks, BASIS, blur=0.2)
    parts = [pair_tracks(tracks.window(a, b), BASIS, blur=0.2) for a, b in ((0, 4), (3, 9))]
    for name in ("duration", "matched", "gram", "stratonovich", "divergence"):
        np.testing.assert_array_equal(np.concatenate([getattr(p, name) for p in parts]), getattr(whole, name))


def test_intervals_that_say_nothing_are_passed_over():
    """A slice with one particle, and two slices with nobody in common, leave their intervals out."""
    times, x = walk(slices=6, particles=6)
    x[2, 1:] = np.nan  # one is left
    x[4, :3], x[5, 3:] = np.nan, np.nan  # others than before
    found = pair_tracks(Ragged.of_array(times, x), BASIS, blur=0.2)
    assert found.first.tolist() == [0, 3]
    assert found.matched.tolist() == [6, 3]


def births_and_deaths(seed, phi, sigma=0.7, particles=14, slices=30, gap=0.02, substeps=4):
    """Particles of the law ``phi``, of which one leaves and another comes every third slice."""
    rng = np.random.default_rng(seed)
    total = particles + slices
    x = rng.normal(size=(total, 2))
    there = np.arange(total) < particles
    times, seen = gap * np.arange(slices), np.full((slices, total, 2), np.nan)
    step = gap / substeps
    for k in range(slices):
        seen[k, there] = x[there]
        if k % 3 == 2:
            there[rng.choice(np.flatnonzero(there))] = False
            there[particles + k] = True
        for _ in range(substeps):
            drift = pair_velocity(phi, x[there])[0]
            x[there] += step * drift + sigma * np.sqrt(step) * rng.normal(size=drift.shape)
    return Ragged.of_array(times, seen)


def test_scores_have_mean_zero_and_the_variance_of_the_gram():
    """At the true law b - A z has mean 0 and variance sigma^2 A while particles come and go (80 simulations)."""
    truth = Dictionary.parse(["4*r*exp(-r)"])
    matrix, _ = project(Dictionary.parse(["r*exp(-r)", "exp(-r)"]), BASIS)
    scores, variances = [], []
    for seed in range(80):
        tracks = births_and_deaths(seed, truth)
        intervals = pair_tracks(tracks, BASIS, blur=blur_length(tracks.times, 0.49))
        total = track_equations(intervals, 0.49, ("r*exp(-r)", "exp(-r)"), matrix).total()
        scores.append(total.moment[0] - total.gram[0] @ [4.0, 0.0])
        variances.append(0.49 * np.diag(total.gram[0]))
    scaled = np.array(scores) / np.sqrt(variances)
    assert (np.abs(scaled.mean(axis=0)) < 3.5 / np.sqrt(80)).all()
    assert ((np.var(scaled, axis=0) > 0.55) & (np.var(scaled, axis=0) < 1.6)).all()


def test_sample_size_is_the_number_followed_at_a_time():
    """Intervals count by their length: 10 for one unit of time and 4 for two make 6."""
    intervals = pair_tracks(Ragged.of_array(*walk(slices=3)), BASIS, blur=0.2)
    some = replace(intervals, matched=np.array([10, 4]), duration=np.array([1.0, 2.0]))
    assert track_equations(some, 1.0, BASIS.names).particles == 6


def test_columns_must_add_up():
    """Names and known columns that do not count up to the columns are refused."""
    intervals = pair_tracks(Ragged.of_array(*walk(slices=3)), BASIS, [KNOWN], blur=0.2)
    with pytest.raises(ValueError, match="2 names and 0 known"):
        track_equations(intervals, 1.0, ("r", "r**2"))


def test_unlabelled_and_lonely_tracks_are_refused():
    """One line each: what is missing, and what to do."""
    times, x = walk(slices=4, particles=5)
    whole = Ragged.of_array(times, x)
    with pytest.raises(InputError) as unlabelled:
        pair_tracks(replace(whole, ids=None), BASIS, blur=0.2)
    assert str(unlabelled.value) == (
        "`data.labelled` must be true where particles come and go; got false; "
        "name the column of the particles, or bring snapshots of one number of particles"
    )
    x[::2, 1:], x[1::2, :-1] = np.nan, np.nan
    with pytest.raises(InputError) as lonely:
        pair_tracks(Ragged.of_array(times, x), BASIS, blur=0.2)
    assert str(lonely.value) == (
        "`data.file` must have two slices in a row with two particles each, one of them in both; "
        "got 4 slices of at most 1 particles"
    )
