"""Few snapshots: the law is found where no time rule finds it; and the iteration on made-up predictions."""

import numpy as np
import pytest

from ipsdist.learning.few_snapshots import fit_few_snapshots
from ipsdist.learning.subset import best_subset
from ipsdist.model.errors import RunError
from ipsdist.model.normal_equations import NormalEquations
from tests.learning.snapshots import DIFFUSION, snapshots


@pytest.mark.parametrize("every", [50, 100])
def test_finds_the_law_where_a_rule_does_not(every):
    """21 and 11 even snapshots: {r^2} within three standard errors; by Simpson's rule alone another support."""
    data = snapshots(tuple(range(0, 1001, every)))
    plain = data.plain("simpson")
    assert best_subset(plain, DIFFUSION).terms != (2,)
    found = fit_few_snapshots(plain, data.predict, DIFFUSION)
    assert found.settled
    assert found.fit.terms == (2,)
    assert abs(found.fit.coefficients[0] - 3) < 3 * found.fit.standard_errors[0]
    assert found.fit.standard_errors[0] < 0.016  # the bound of particles seen at all times is 0.0117


def test_answer_reproduces_itself():
    """Solved forward once more, the answer leads to the same model within a tenth of a standard error."""
    data = snapshots(tuple(range(0, 1001, 100)))
    fit = fit_few_snapshots(data.plain("simpson"), data.predict, DIFFUSION).fit
    again = best_subset(data.predict(fit), DIFFUSION)
    assert again.terms == fit.terms
    assert abs(again.coefficients[0] - fit.coefficients[0]) < 0.1 * fit.standard_errors[0]


def test_does_not_depend_on_the_first_rule():
    """Started from the trapezoid, which is far off, the answer is the same."""
    data = snapshots(tuple(range(0, 1001, 100)))
    one, other = (fit_few_snapshots(data.plain(rule), data.predict, DIFFUSION).fit for rule in ("simpson", "trapezoid"))
    assert one.terms == other.terms
    assert abs(one.coefficients[0] - other.coefficients[0]) < 0.1 * one.standard_errors[0]


def equations(*values, size=1e4):
    """Orthogonal terms of standard error 1 / sqrt(size) whose estimates are these."""
    values = np.array(values, dtype=np.float64)
    m = len(values)
    return NormalEquations("action", tuple("abcdef"[:m]), size * np.eye(m)[None], size * values[None], None, 1000)


def coefficients(fit):
    z = np.zeros(len(fit.basis))
    z[list(fit.terms)] = fit.coefficients
    return z


def test_contraction_goes_to_its_fixed_point():
    """Every prediction takes half of the error away; the answer is within a tenth of a standard error of the truth."""
    calls = []

    def predict(fit):
        calls.append(fit.terms)
        return equations(2.0 + 0.5 * (coefficients(fit)[0] - 2.0), 0.0, 0.0)

    found = fit_few_snapshots(equations(2.1, 0.0, 0.0), predict, 1.0)
    assert found.settled
    assert found.fit.coefficients[0] == pytest.approx(2.0, abs=2e-3)
    assert 4 <= len(calls) <= 8


def test_models_grow_only_where_they_must():
    """Two terms are needed: the three of one come first and do not reproduce themselves; then the best of two does."""

    def predict(fit):
        return equations(2.0, -1.0, 0.0)

    found = fit_few_snapshots(equations(3.0, 0.2, 0.1), predict, 1.0)
    assert [f.terms for f in found.trail] == [(0,), (1,), (2,), (0, 1)]
    assert found.settled
    assert found.fit.terms == (0, 1)
    assert found.fit.alternatives


def test_next_best_of_a_size_has_its_turn():
    """The first guess leads away from itself, the second reproduces itself: it is the answer, not a larger model."""

    def predict(fit):
        return equations(0.0, 2.0) if fit.terms == (1,) else equations(1.0, 0.9)

    found = fit_few_snapshots(equations(1.0, 0.9), predict, 1.0)
    assert [f.terms for f in found.trail] == [(0,), (1,)]
    assert found.settled
    assert found.fit.coefficients[0] == pytest.approx(2.0)


def test_nothing_reproduces_itself():
    """Every model leads to the one without its terms: the least bad is returned, and not as settled."""

    def predict(fit):
        return equations(*(0.0 if k in fit.terms else 0.5 + 0.1 * k for k in range(3)))

    found = fit_few_snapshots(equations(1.0, 0.9, 0.8), predict, 1.0, max_terms=2)
    assert not found.settled


def test_prediction_that_fails():
    """A first model that cannot be solved forward ends the work; later ones are passed over."""

    def never(fit):
        raise RunError("too steep")

    def once(fit):
        if len(fit.terms) > 1:
            raise RunError("too steep")
        return equations(2.0, -1.0)

    with pytest.raises(RunError):
        fit_few_snapshots(equations(2.0, -1.0), never, 1.0)
    found = fit_few_snapshots(equations(2.0, -1.0), once, 1.0)
    assert not found.settled
    assert len(found.fit.terms) == 1


def test_nothing_to_find():
    """No interaction: the model without terms is predicted, stands and is the answer."""
    found = fit_few_snapshots(equations(0.0, 0.0), lambda fit: equations(0.001, 0.0), 1.0)
    assert found.settled
    assert found.fit.terms == ()
