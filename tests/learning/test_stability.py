"""Stability under resampling: which blocks are drawn, how they add, and what the shares mean."""

from functools import partial

import numpy as np
import pytest

from ipsdist.learning.stability import stability
from ipsdist.learning.subset import best_subset
from ipsdist.model.fit import Fit
from ipsdist.model.normal_equations import NormalEquations
from tests.learning.draws import drawn, pair_gram, random_gram
from tests.learning.rows import EIGHT

DIFFUSION = 0.5


class Recorder:
    """A selection that keeps what it is given and always answers with the same terms."""

    def __init__(self, terms=(0,)):
        self.terms, self.seen = terms, []

    def __call__(self, equations, diffusion):
        """Answer."""
        assert diffusion == DIFFUSION
        self.seen.append(equations)
        k = len(self.terms)
        return Fit(equations.basis, self.terms, np.zeros(k), np.eye(k), 1.0, "best_subset")


def one_hot(panels, width):
    """Equations whose moment tells the panels apart: entry n // width of panel n is 1."""
    moment = np.zeros((panels, -(-panels // width)))
    moment[np.arange(panels), np.arange(panels) // width] = 1.0
    gram = moment[:, :, None] * moment[:, None, :]
    return NormalEquations("weak", tuple(map(str, range(moment.shape[1]))), gram, moment, moment.sum(axis=1), 100)


def test_resamples_are_sums_of_twenty_blocks_with_multiplicities():
    """Of 60 panels blocks of 3 are drawn, 20 times each, as often as in sampling with replacement; all parts alike."""
    recorder = Recorder()
    found = stability(one_hot(60, 3), DIFFUSION, recorder, resamples=400, seed=1)
    whole, *resampled = recorder.seen
    assert whole.moment.tolist() == [[3.0] * 20]
    times = np.array([e.moment[0] for e in resampled]) / 3
    assert found.resamples == len(times) == 400
    assert (times == np.rint(times)).all()
    assert (times.sum(axis=1) == 20).all()
    assert times.var() == pytest.approx(0.95, abs=0.05)  # 20 draws with probability 1/20 each
    assert len({tuple(row) for row in times}) == 400
    for e in resampled:
        np.testing.assert_array_equal(e.gram[0], np.diag(e.moment[0]))
        assert e.energy.tolist() == [60.0]
        assert (e.panels, e.form, e.particles) == (1, "weak", 100)


def test_fewer_panels_than_blocks_are_drawn_one_by_one():
    """Twelve panels are twelve blocks; eight are the fewest."""
    recorder = Recorder()
    assert stability(one_hot(12, 1), DIFFUSION, recorder, resamples=5, seed=1) is not None
    assert [e.moment.sum() for e in recorder.seen] == [12.0] * 6
    assert stability(one_hot(8, 1), DIFFUSION, Recorder(), seed=1) is not None
    assert stability(one_hot(7, 1), DIFFUSION, Recorder(), seed=1) is None


def test_shares_are_those_of_the_answers():
    """A column's share counts the resamples that keep it, the last share those that keep what all panels lead to."""
    answers = iter([(0, 2), *[(0, 2)] * 6, *[(0,)] * 3, (1, 2)])
    found = stability(
        one_hot(60, 20), DIFFUSION, lambda e, diffusion: Recorder(next(answers))(e, diffusion), resamples=10, seed=1
    )
    assert found.kept == (0.9, 0.1, 0.7)
    assert found.chosen == (0, 2)
    assert found.same == 0.6


def test_answer_is_a_function_of_equations_and_seed():
    """The same seed draws the same blocks, another one others."""
    recorders = [Recorder() for _ in range(3)]
    for recorder, seed in zip(recorders, (4, 4, 5), strict=True):
        stability(one_hot(30, 1), DIFFUSION, recorder, seed=seed)
    drawn_blocks = [[e.moment.tobytes() for e in recorder.seen] for recorder in recorders]
    assert drawn_blocks[0] == drawn_blocks[1] != drawn_blocks[2]


def test_coefficients_scatter_by_their_standard_errors():
    """Refitted on resamples, the coefficients of the true terms scatter as sigma^2 A^-1 says, to 20 %."""
    rng = np.random.default_rng(3)
    gram, z = 400 * random_gram(3, 50.0, rng), np.array([1.0, -1.0, 0.5])
    ratios = []
    for _ in range(30):
        recorder = Recorder()
        stability(drawn(gram, z, DIFFUSION, rng, panels=60), DIFFUSION, recorder, resamples=60, seed=2)
        found = [np.linalg.solve(e.gram[0], e.moment[0]) for e in recorder.seen[1:]]
        ratios.append(np.var(found, axis=0) / np.diag(DIFFUSION * np.linalg.inv(gram)))
    np.testing.assert_allclose(np.mean(ratios, axis=0), 0.95, rtol=0.2)  # (B - 1) / B of 20 blocks


def test_share_is_near_the_rate_of_the_answer():
    """A clear law is found in nearly all resamples; a law found every other time in about every other one."""
    select = partial(best_subset, criterion="ebic", max_terms=4)
    texts = (*EIGHT[:4], "exp(-r/2)", *EIGHT[5:])
    gram, z = pair_gram(texts, 150, np.random.default_rng(0)), np.zeros(8)
    z[[4, 5]] = -0.5, 1.0
    for size, low, high in ((1e5, 0.2, 0.8), (1e7, 0.9, 1.0)):
        same, right = [], []
        for seed in range(12):
            equations = drawn(size * gram, z, DIFFUSION, np.random.default_rng(seed), basis=texts, panels=40)
            found = stability(equations, DIFFUSION, select, seed=seed)
            same.append(found.same)
            right.append(found.chosen == (4, 5))
        assert low <= np.mean(same) <= high
        assert abs(np.mean(same) - np.mean(right)) < 0.25
