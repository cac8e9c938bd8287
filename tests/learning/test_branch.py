"""Branch and bound against solving every model, to equality."""

import itertools
import math

import numpy as np
import pytest

from ipsdist.learning import branch, subset
from ipsdist.learning.branch import leading_subsets
from ipsdist.learning.small_systems import SINGULAR, factorised, solve_subsets
from ipsdist.learning.subset import best_subset
from ipsdist.model.errors import InputError
from tests.learning.draws import drawn, pair_gram, random_gram

DIFFUSION = 2.0


def both(monkeypatch, equations, **options):
    """The fit with each model solved, and with all sizes above 1 left to the search."""
    fits = []
    for limit in (10**6, len(equations.basis)):
        monkeypatch.setattr(subset, "_EACH", limit)
        fits.append(best_subset(equations, DIFFUSION, **options))
    return fits


def assert_equal(one, other):
    assert other.terms == one.terms
    assert other.coefficients.tobytes() == one.coefficients.tobytes()
    assert other.alternatives == one.alternatives


def problem(seed):
    """Equations of 6 to 14 terms, condition 1 to 1e11, none to four of them true, weak or strong."""
    rng = np.random.default_rng(seed)
    terms = int(rng.integers(6, 15))
    gram = random_gram(terms, 10.0 ** rng.uniform(0, 11), rng)
    z = np.zeros(terms)
    true = rng.choice(terms, int(rng.integers(0, 5)), replace=False)
    z[true] = rng.choice([-1, 1], len(true)) * 10.0 ** rng.uniform(0, 3)
    return rng, drawn(gram, z, DIFFUSION, rng, particles=int(rng.choice([20, 20_000])))


@pytest.mark.parametrize("first", range(0, 120, 20))
def test_equals_each_model_solved(monkeypatch, first):
    """Best, runners-up, scores and coefficients are the same bits, whatever the condition and the criterion."""
    for seed in range(first, first + 20):
        rng, equations = problem(seed)
        options = {
            "criterion": str(rng.choice(["bic", "ebic", "2lnN"])),
            "max_terms": int(rng.integers(2, 7)),
            "keep": int(rng.choice([0, 5, 60])),
        }
        assert_equal(*both(monkeypatch, equations, **options))


def test_equals_each_model_solved_with_a_column_in_every_model(monkeypatch):
    """With columns taken out first the two agree to the bit as well."""
    for seed in range(30):
        rng, equations = problem(seed)
        always = rng.choice(len(equations.basis), 2, replace=False).tolist()
        assert_equal(*both(monkeypatch, equations, max_terms=4, keep=10, always=always))


def test_equals_each_model_solved_on_a_real_dictionary(monkeypatch):
    """Twenty powers, exponentials and waves, condition beyond 1e15: the same 51 models."""
    powers = [f"r**{p}" for p in (0.25, 0.5, 0.75, 1.5, 2, 2.5, 3)]
    decays = [f"exp(-r/{length})" for length in (0.3, 0.6, 1.2, 2.4, 4.8)]
    texts = ["1", "r", *powers, *decays, *(f"{f}({w}*r)" for f in ("sin", "cos") for w in (1, 2, 3))]
    rng = np.random.default_rng(0)
    gram = 20_000 * pair_gram(texts, 150, rng)
    z = np.zeros(len(texts))
    z[[3, 10, 16]] = 1.0, -1.0, 0.3
    for seed in range(4):
        equations = drawn(gram, z, DIFFUSION, np.random.default_rng(seed), basis=texts)
        assert_equal(*both(monkeypatch, equations, max_terms=4, keep=50))


def test_singular_subsets_are_refused_alike(monkeypatch):
    """Columns that repeat others, exactly or to 1e-14, and a moment that contradicts them: none are paired."""
    rng = np.random.default_rng(3)
    gram = random_gram(8, 100.0, rng)
    for copy, share in ((5, 0.0), (7, 1e-14)):  # the columns 0 and 2 again
        row = gram[copy - 5]
        gram[copy], gram[:, copy], gram[copy, copy] = row, row, 1.0
        gram[copy, copy - 5] = gram[copy - 5, copy] = 1.0 - share
    equations = drawn(gram, np.zeros(8), DIFFUSION, rng)
    equations.moment[0, [0, 5, 2, 7]] = 3.0, 4.0, 5.0, -5.0
    one, other = both(monkeypatch, equations, max_terms=5, keep=300)
    assert_equal(one, other)
    models = [set(one.terms), *(set(a.terms) for a in one.alternatives)]
    assert len(models) > 50
    assert not any({0, 5} <= m or {2, 7} <= m for m in models)


def test_smooth_columns_beyond_double_precision_are_singular():
    """Six decays with an eigenvalue of rounding are refused, also where no pivot shows it; three apart are not."""
    gram = pair_gram([f"exp(-r/{k / 4:g})" for k in range(2, 14)], 150, np.random.default_rng(0))
    scale = np.sqrt(np.diag(gram))
    gram /= np.outer(scale, scale)
    subsets = np.array(list(itertools.combinations(range(12), 6))[::7])
    gain, _ = solve_subsets(gram, np.ones(12), subsets)
    smallest = np.array([np.linalg.eigvalsh(gram[np.ix_(s, s)])[0] for s in subsets])
    _, _, positive = factorised(gram, np.ones(12), subsets, SINGULAR)
    assert np.isneginf(gain[smallest < 1e-14]).all()
    assert (positive & (smallest < 1e-14)).sum() > 10
    few, _ = solve_subsets(gram, np.ones(12), np.array(list(itertools.combinations(range(0, 12, 3), 3))))
    assert np.isfinite(few).all()


def test_returns_every_subset_that_belongs():
    """Of size 4 of 12, all with at least the gain asked for are there, and hardly another; ties with the last too."""
    rng = np.random.default_rng(5)
    gram = random_gram(12, 1e6, rng)
    moment = gram @ rng.standard_normal(12) * 3
    subsets = np.array(list(itertools.combinations(range(12), 4)))
    gain, _ = solve_subsets(gram, moment, subsets)
    for least in np.quantile(gain, [0.0, 0.5, 0.99]):
        found, _ = leading_subsets(gram, moment, 4, count=1000, least=float(least), slack=1.0)
        np.testing.assert_array_equal(found, subsets[gain >= least])
    found, _ = leading_subsets(gram, moment, 4, count=7, least=-np.inf, slack=1.0)
    assert set(map(tuple, subsets[np.argsort(-gain)[:7]])) <= set(map(tuple, found))
    assert len(found) < 50


def test_hopeless_sizes_and_branches_are_not_looked_at():
    """No model is looked at where all columns together gain too little; few where five of twenty explain all."""
    rng = np.random.default_rng(6)
    gram, z = random_gram(20, 10.0, rng), np.zeros(20)
    z[:5] = 30.0
    moment = drawn(gram, z, DIFFUSION, rng).moment[0]
    everything = float(moment @ np.linalg.solve(gram, moment))
    assert leading_subsets(gram, moment, 5, count=6, least=everything + 3, slack=2.0)[1] == 0
    wanted = float(solve_subsets(gram, moment, np.arange(5)[None])[0][0]) - 10.0
    found, looked = leading_subsets(gram, moment, 5, count=6, least=wanted, slack=2.0)
    assert found.tolist() == [[0, 1, 2, 3, 4]]
    assert 0 < looked < 0.2 * math.comb(20, 5)


def test_forty_terms_of_six():
    """Among 4.6 million models none that drops, adds or exchanges a term betters the answer, nor does the truth."""
    texts = [f"r**{p / 4:g}" for p in range(1, 14)] + [f"exp(-r/{k / 4:g})" for k in range(1, 14)]
    texts += [f"{f}({w / 2:g}*r)" for f in ("sin", "cos") for w in range(1, 8)]
    rng = np.random.default_rng(1)
    gram, z, true = 20_000 * pair_gram(texts, 150, rng), np.zeros(40), [2, 15, 22, 28, 33, 38]
    z[true] = 300.0, -300.0, 300.0, 100.0, -100.0, 100.0
    equations = drawn(gram, z, DIFFUSION, rng, basis=texts)
    fit = best_subset(equations, DIFFUSION, max_terms=6)

    def score(terms):
        scale = np.sqrt(np.diag(gram))
        subset = np.array([sorted(terms)])
        gain, _ = solve_subsets(gram / np.outer(scale, scale), equations.moment[0] / scale, subset)
        size = len(terms)
        return size * math.log(20_000) + 2 * math.log(math.comb(40, size)) - gain[0] / DIFFUSION

    best, found = score(fit.terms), set(fit.terms)
    assert len(found) >= 5
    assert best <= score(true)
    rest = set(range(40)) - found
    near = [found - {k} for k in found] + [found - {k} | {new} for k in found for new in rest]
    near += [found | {new} for new in rest if len(found) < 6]
    assert min(score(terms) for terms in near) > best


def test_gives_up_at_a_number_of_models(monkeypatch):
    """A search without end is refused by how many models were looked at, in one line, with the fix."""
    monkeypatch.setattr(branch, "MOST_MODELS", 5000)
    monkeypatch.setattr(subset, "_EACH", 20)
    rng = np.random.default_rng(0)
    equations = drawn(random_gram(20, 1e9, rng), 1e4 * rng.standard_normal(20), DIFFUSION, rng)
    with pytest.raises(InputError) as error:
        best_subset(equations, DIFFUSION, max_terms=6)
    assert str(error.value) == (
        "`fit.max_terms` must leave fewer models to look at; got no end after 5000, among those of 4 of 20 terms; "
        "lower fit.max_terms or shorten dictionary.terms"
    )
