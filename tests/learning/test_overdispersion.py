"""The scatter of scores against noise of known size and memory."""

import numpy as np
import pytest

from ipsdist.learning.overdispersion import overdispersion
from tests.learning.rows import from_rows


def experiment(rng, panels=400, memory=0.0, columns=3):
    """Return equations of the action form with sigma^2 = 0.5, the noise of neighbouring panels correlated."""
    x = rng.standard_normal((panels, 5, columns)) + 2.0
    noise = np.sqrt(0.5) * rng.standard_normal((panels, 5))
    for n in range(1, panels):
        noise[n] = memory * noise[n - 1] + np.sqrt(1 - memory**2) * noise[n]
    return from_rows(x, x @ np.arange(1.0, columns + 1) + noise, "action")


def test_one_for_the_model_with_an_honest_error():
    """White noise of the right size: 1 on average over 150 experiments, scattered as the standard error says."""
    rng = np.random.default_rng(0)
    found = [overdispersion(experiment(rng, panels=60), 0.5) for _ in range(150)]
    values = np.array([f.value for f in found])
    assert values.mean() == pytest.approx(1.0, abs=4 * values.std() / np.sqrt(150))
    assert 0.75 < np.mean([f.standard_error for f in found]) / values.std() < 1.25


def test_a_wrong_diffusion_is_its_ratio():
    """Twice the sigma^2 of the noise halves the ratio, exactly."""
    equations = experiment(np.random.default_rng(1))
    assert overdispersion(equations, 1.0).value == pytest.approx(0.5 * overdispersion(equations, 0.5).value, rel=1e-12)


def test_memory_of_the_noise():
    """Noise that remembers by 0.7 scatters slow columns (1 + 0.7)/(1 - 0.7) times more; the means of x are slow."""
    rng = np.random.default_rng(2)
    values = []
    for _ in range(40):
        whole = experiment(rng, panels=1200, memory=0.7, columns=1)
        values.append(overdispersion(whole, 0.5).value)
    # A column 2 + n with n white: a share 4/5 of its square is slow.
    assert np.mean(values) == pytest.approx(0.8 * 1.7 / 0.3 + 0.2, rel=0.15)


def test_what_the_data_do_not_show_does_not_count():
    """A repeated column and a column of zeros add no direction."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((100, 5, 2))
    y = x @ [1.0, 2.0] + np.sqrt(0.5) * rng.standard_normal((100, 5))
    plain = overdispersion(from_rows(x, y, "action"), 0.5)
    padded = overdispersion(from_rows(np.dstack([x, x[..., 1], 0 * x[..., 0]]), y, "action"), 0.5)
    assert padded.value == pytest.approx(plain.value, rel=1e-9)


def test_few_panels_say_nothing_and_residuals_are_no_scores():
    """Two panels give no scatter, and the strong form has no sigma^2 A."""
    rng = np.random.default_rng(4)
    found = overdispersion(experiment(rng, panels=2), 0.5)
    assert np.isnan(found.value)
    assert np.isinf(found.standard_error)
    x = rng.standard_normal((30, 5, 1))
    with pytest.raises(ValueError, match="got the form strong"):
        overdispersion(from_rows(x, x[..., 0]), 0.5)
