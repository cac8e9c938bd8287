"""The weak form against exact laws, sums over particles, the action form, and what its covariance promises."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.special import roots_hermitenorm

from ipsdist.model.dictionary import Dictionary
from ipsdist.model.errors import InputError
from ipsdist.model.expression import Expression
from ipsdist.model.mesh import Mesh
from ipsdist.model.normal_equations import DIFFUSION
from ipsdist.numerics.densities.deposit import deposit
from ipsdist.numerics.equations.forms.action import action_equations
from ipsdist.numerics.equations.forms.weak import weak_equations
from ipsdist.numerics.equations.pairings import Pairings, pair_slice, stack
from ipsdist.numerics.equations.tables import external_tables, pair_tables
from ipsdist.numerics.equations.test_functions import spline_tables, spline_tests
from tests.references import pair_velocity, particle_pairings, weak_sums

WELL, SIGMA2 = 1.5, 0.8
POTENTIAL = Expression.parse("x**2/2", ("x",), "system.potential")


class Harmonic:
    """V = x^2 / 2 in one dimension, as a field at particles."""

    def value(self, x):
        """V."""
        return x[:, 0] ** 2 / 2

    def gradient(self, x):
        """V'."""
        return x

    def laplacian(self, x):
        """V''."""
        return np.ones(len(x))


def brownian(seed, times, particles=1000):
    """Positions (T, N, 1) of dX = -WELL X dt + sigma dW by its exact transitions, unlabelled, from a narrow start."""
    random = np.random.default_rng(seed)
    x = 1.0 + 0.25 * random.normal(size=(particles, 1))
    slices = [x]
    for before, after in pairwise(times):
        keep = np.exp(-WELL * (after - before))
        spread = np.sqrt(SIGMA2 / (2 * WELL) * (1 - keep**2))
        slices.append(random.permutation(keep * slices[-1] + spread * random.normal(size=x.shape)))
    return slices


def well_pairings(slices, box=(-1.5, 2.0), particles=1000):
    """Pairings with the column x^2 / 2 and the tests, through the mesh; the number of tests."""
    everywhere = np.concatenate(slices)
    mesh = Mesh.around(everywhere.min(axis=0), everywhere.max(axis=0), 2.0**-6)
    tests = spline_tests(box[:1], box[1:], particles)
    tables = [external_tables(POTENTIAL, mesh), *spline_tables(tests, mesh)]
    pairs = pair_tables(Dictionary.parse(["r"]), mesh)
    pairings = stack([pair_slice(deposit(x, mesh), pairs, tables) for x in slices])
    return pairings.columns(range(1, 2 + len(tests))), len(tests)


def assembled(pairings, times, tests, diffusion, rule="simpson", basis=("x**2/2",)):
    """The weak equations with the usual arguments."""
    options = {"basis": basis, "tests": tests, "quadrature": rule, "particles": 1000}
    return weak_equations(pairings, times, diffusion=diffusion, **options)


def solution(equations):
    """The coefficients of all columns."""
    total = equations.total()
    return np.linalg.solve(total.gram[0], total.moment[0])


def gaussian_pairings(times, tests, particles=1000):
    """Expected pairings of `brownian`: integrals against its normal law, exact for smooth functions."""
    nodes, weights = roots_hermitenorm(120)
    weights = weights / weights.sum()
    parts = []
    for t in times:
        variance = 0.25**2 * np.exp(-2 * WELL * t) + SIGMA2 / (2 * WELL) * (1 - np.exp(-2 * WELL * t))
        x = (np.exp(-WELL * t) + np.sqrt(variance) * nodes)[:, None]
        fields = [Harmonic(), *tests]
        slopes = np.stack([f.gradient(x)[:, 0] for f in fields])
        parts.append(
            Pairings(
                gram=particles * (slopes * weights @ slopes.T)[None],
                energy=particles * np.array([[weights @ f.value(x) for f in fields]]),
                laplacian=particles * np.array([[weights @ f.laplacian(x) for f in fields]]),
                work=np.full((1, len(fields)), np.nan),
            )
        )
    return stack(parts)


def test_the_exact_law_gives_the_exact_coefficients():
    """On the moments of the Ornstein-Uhlenbeck law the solution is its well and its sigma^2: signs and factors hold."""
    times, tests = np.linspace(0.0, 1.0, 201), spline_tests((-2.0,), (3.0,), 1000)
    pairings = gaussian_pairings(times, tests)
    given = assembled(pairings, times, len(tests), SIGMA2)
    assert (given.form, given.basis, given.diffusion) == ("weak", ("x**2/2",), SIGMA2)
    assert solution(given)[0] == pytest.approx(WELL, rel=2e-5)
    # Without noise the quadratic variation would say 0: two slices a panel leave it out.
    unknown = [assembled(part(pairings, n, 2), times[n : n + 2], len(tests), None, "trapezoid") for n in range(200)]
    assert (unknown[0].basis, unknown[0].diffusion) == (("x**2/2", DIFFUSION), None)
    gram, moment = sum(e.gram.sum(axis=0) for e in unknown), sum(e.moment.sum(axis=0) for e in unknown)
    np.testing.assert_allclose(np.linalg.solve(gram, moment), [WELL, SIGMA2], rtol=2e-4)


def part(pairings, first, count):
    """Some slices of pairings."""
    return Pairings(*(getattr(pairings, f)[first : first + count] for f in ("gram", "energy", "laplacian", "work")))


@pytest.fixture(scope="module")
def tracks():
    """Sixteen seeds of 1000 unlabelled particles at 51 times, and their equations with sigma^2 unknown."""
    times = np.linspace(0.0, 1.0, 51)
    found = []
    for seed in range(16):
        pairings, tests = well_pairings(brownian(seed, times))
        found.append((pairings, tests, assembled(pairings, times, tests, None)))
    return times, found


def test_sigma2_and_the_well_are_found_within_their_error(tracks):
    """Sixteen seeds: errors are free of bias, and in units of sigma^2 A^-1 they are chi-squared."""
    errors, sizes = [], []
    for _, _, equations in tracks[1]:
        error = solution(equations) - [WELL, SIGMA2]
        errors.append(error)
        sizes.append(error @ equations.total().gram[0] @ error / SIGMA2)
    covariance = SIGMA2 * np.linalg.inv(tracks[1][0][2].total().gram[0])
    assert np.sqrt(covariance[1, 1]) < 0.05 * SIGMA2
    assert (np.abs(np.mean(errors, axis=0)) < 3 * np.sqrt(np.diag(covariance) / 16)).all()
    assert 15 < sum(sizes) < 56  # chi-squared with 32 degrees of freedom: 0.5 % at either end


def test_instruments_that_see_their_noise_are_biased():
    """With 300 particles least squares finds sigma^2 too low in the mean; the weak form does not."""
    times = np.linspace(0.0, 1.0, 51)
    errors = []
    for seed in range(20):
        pairings, tests = well_pairings(brownian(seed, times, particles=300))
        seeing = weak_sums(pairings, times, 1, tests, None, seeing=True)
        blind = weak_sums(pairings, times, 1, tests, None)
        equations = assembled(pairings, times, tests, None, "trapezoid")
        errors.append([np.linalg.solve(*seeing)[1], np.linalg.solve(*blind)[1], solution(equations)[1]])
    errors = np.array(errors) - SIGMA2
    bias, error = errors.mean(axis=0), errors.std(axis=0, ddof=1) / np.sqrt(20)
    assert bias[0] < -6 * error[0]
    assert (np.abs(bias[1:]) < 3 * error[1:]).all()


def test_squares_of_the_noise_tell_sigma2():
    """At 401 close times the size of the noise finds sigma^2 far better than the drift does."""
    times = np.linspace(0.0, 0.05, 401)
    pairings, tests = well_pairings(brownian(1, times))
    gram, _ = weak_sums(pairings, times, 1, tests, None)
    equations = assembled(pairings, times, tests, None)
    drift, both = (np.sqrt(SIGMA2 * np.linalg.inv(a)[1, 1]) for a in (gram, equations.total().gram[0]))
    assert both < drift / 2.5
    assert abs(solution(equations)[1] - SIGMA2) < 3 * both


@pytest.mark.parametrize("diffusion", [SIGMA2, None])
def test_equations_are_those_of_the_loops(diffusion, tracks):
    """Blocks add up to A = M'Q^-1 M and b = M'Q^-1 r; the quadratic variation adds to sigma^2 alone."""
    times, found = tracks
    pairings, tests, _ = found[0]
    gram, moment = weak_sums(pairings, times, 1, tests, diffusion)
    equations = assembled(pairings, times, tests, diffusion, "trapezoid")
    assert equations.panels == 20
    total = equations.total()
    extra = total.gram[0] - gram
    if diffusion is None:
        assert extra[1, 1] > 0
        assert total.moment[0, 1] > moment[1]
        extra[1, 1] = 0
    assert np.abs(extra).max() < 1e-9 * np.abs(gram).max()
    assert total.moment[0, 0] == pytest.approx(moment[0], rel=1e-9)


def test_mesh_and_particles_agree():
    """Through deposits or by sums over all pairs and particles, coefficients agree to a fraction of their error."""
    random, dictionary = np.random.default_rng(3), Dictionary.parse(["r"])
    x = np.where(random.random(150) < 0.5, 1.0, -0.5)[:, None] + 0.3 * random.normal(size=(150, 1))
    slices = [x]
    for _ in range(100):
        drift = pair_velocity(dictionary, slices[-1])[0]
        slices.append(slices[-1] + 0.01 * drift + np.sqrt(SIGMA2 * 0.01) * random.normal(size=x.shape))
    times, tests = np.arange(101) * 0.01, spline_tests((-2.0,), (2.5,), 150)
    exact = [particle_pairings(dictionary, tests, x) for x in slices]
    direct = Pairings(*(np.array(v) for v in zip(*exact, strict=True)), np.full((101, 1 + len(tests)), np.nan))
    everywhere = np.concatenate(slices)
    mesh = Mesh.around(everywhere.min(axis=0), everywhere.max(axis=0), 2.0**-5)
    tables = pair_tables(dictionary, mesh), spline_tables(tests, mesh)
    meshed = stack([pair_slice(deposit(x, mesh), *tables) for x in slices])
    one, other = (assembled(p, times, len(tests), None, basis=("r",)) for p in (direct, meshed))
    error = np.sqrt(SIGMA2 * np.diag(np.linalg.inv(one.total().gram[0])))
    assert (np.abs(solution(one) - solution(other)) < 0.05 * error).all()
    assert (np.abs(solution(one) - [1.0, SIGMA2]) < 4 * error).all()


def test_tested_with_the_true_gradient_it_is_the_action_form(tracks):
    """With the one test function V of the one column V, the equations are those of the action form."""
    times, found = tracks
    pairings = found[0][0].columns([0, 0])
    weak = assembled(pairings, times, 1, SIGMA2).total()
    action = action_equations(
        pairings.columns([0]), times, basis=("x**2/2",), diffusion=SIGMA2, quadrature="simpson", particles=1000
    ).total()
    assert weak.gram[0, 0, 0] == pytest.approx(action.gram[0, 0, 0], rel=1e-4)
    error = np.sqrt(SIGMA2 / action.gram[0, 0, 0])
    assert abs(solution(weak)[0] - solution(action)[0]) < 0.05 * error


def test_tests_keep_what_the_action_form_knows(tracks):
    """The spline tests contain V on the particles: the error of its coefficient is that of the action form."""
    times, found = tracks
    pairings, tests, _ = found[0]
    weak = assembled(pairings, times, tests, SIGMA2).total()
    action = np.trapezoid(pairings.gram[:, 0, 0], times)
    assert 0.97 < weak.gram[0, 0, 0] / action < 1.005


def test_energy_is_never_below_the_misfit(tracks):
    """Every block is a sum of squares: no coefficients make its misfit negative; at the truth it is chi-squared."""
    times, found = tracks
    random = np.random.default_rng(0)
    misfits = []
    for pairings, tests, equations in found:
        for diffusion in (None, SIGMA2):
            e = equations if diffusion is None else assembled(pairings, times, tests, diffusion)
            truth = np.array([WELL, SIGMA2])[: len(e.basis)]
            for z in (solution(e), np.zeros(len(e.basis)), truth + random.normal(size=len(e.basis))):
                assert (e.misfit(z) > -1e-9 * e.energy).all()
        misfits.append(e.misfit(truth).sum() / SIGMA2)
    assert 250 < sum(misfits) < 394  # chi-squared with 320 degrees of freedom: 0.3 % at either end


def test_known_potentials_are_taken_off(tracks):
    """A known column after the tests leaves 0 for the same column among the unknown, within its error."""
    times, found = tracks
    pairings, tests, equations = found[0]
    known = Pairings(
        *(getattr(pairings.columns([*range(1 + tests), 0]), f) for f in ("gram", "energy", "laplacian", "work"))
    )
    rest = assembled(known, times, tests, None)
    np.testing.assert_allclose(solution(rest) - solution(equations), [-1.0, 0.0], atol=1e-2)


def test_tests_that_see_nobody_change_nothing(tracks):
    """Functions on an empty stretch have rows of zeros, which drop out."""
    times, found = tracks
    pairings, tests, equations = found[0]
    wider = []
    for part in ("gram", "energy", "laplacian", "work"):
        values = getattr(pairings, part)
        wider.append(np.pad(values, [(0, 0)] + [(0, 3)] * (values.ndim - 1)))
    more = assembled(Pairings(*wider), times, tests + 3, None)
    np.testing.assert_allclose(more.gram, equations.gram, rtol=1e-9)
    np.testing.assert_allclose(more.moment, equations.moment, rtol=1e-9)


def test_dependent_columns_are_told_by_the_gram(tracks):
    """A column twice leaves a Gram of rank one less, and no infinite numbers."""
    times, found = tracks
    pairings, tests, equations = found[0]
    twice = assembled(pairings.columns([0, *range(1 + tests)]), times, tests, None, basis=("V", "V again"))
    gram = twice.total().gram[0]
    assert np.isfinite(gram).all()
    np.testing.assert_allclose(gram[np.ix_([0, 2], [0, 2])], equations.total().gram[0], rtol=1e-3)
    np.testing.assert_allclose(gram[0], gram[1], rtol=1e-6)


def test_one_panel_is_refused(tracks):
    """A rule that makes one panel of all slices is refused with the remedy."""
    times, found = tracks
    with pytest.raises(InputError, match=r'`fit\.quadrature` must cut the slices into panels .*"gauss_lobatto"; use'):
        assembled(found[0][0], times, found[0][1], SIGMA2, "gauss_lobatto")
