"""The algebra of normal equations: plus, change of basis, misfit."""

import numpy as np
import pytest

from ipsdist.model.normal_equations import NormalEquations


def rows(panels=3, terms=2, seed=0, **changes):
    """Equations of random rows, with the rows: panel n has features F_n (5, M) and target y_n (5,)."""
    random = np.random.default_rng(seed)
    features, target = random.normal(size=(panels, 5, terms)), random.normal(size=(panels, 5))
    gram = np.einsum("pik,pil->pkl", features, features)
    moment, energy = np.einsum("pik,pi->pk", features, target), (target**2).sum(axis=1)
    values = {"form": "strong", "basis": ("a", "b")[:terms], "particles": 10, "diffusion": 2.0, **changes}
    return NormalEquations(gram=gram, moment=moment, energy=energy, **values), features, target


def test_misfit_is_the_squared_residual():
    """z'Az - 2b'z + c is |F z - y|^2 of every panel."""
    equations, features, target = rows()
    z = np.array([0.3, -1.2])
    np.testing.assert_allclose(equations.misfit(z), ((features @ z - target) ** 2).sum(axis=1))


def test_plus_is_stacking_of_rows():
    """Adding equations is stacking their rows: the solution of the sum is that of all rows."""
    (one, f1, y1), (two, f2, y2) = rows(seed=1), rows(seed=2)
    both = (one + two).total()
    stacked = np.linalg.lstsq(np.concatenate([f1, f2]).reshape(-1, 2), np.concatenate([y1, y2]).ravel(), rcond=None)[0]
    np.testing.assert_allclose(np.linalg.solve(both.gram[0], both.moment[0]), stacked)
    assert both.particles == 20


@pytest.mark.parametrize("change", [{"form": "action"}, {"basis": ("a", "c")}, {"diffusion": 1.0}])
def test_unlike_equations_do_not_add(change):
    """Another form, basis or sigma**2 is refused, both named."""
    with pytest.raises(ValueError, match="add only for one form, basis and diffusion"):
        rows()[0] + rows(**change)[0]


def test_other_panels_do_not_add_until_totalled():
    """Equations of different panels add as totals."""
    short, long = rows(panels=2)[0], rows(panels=3)[0]
    with pytest.raises(ValueError, match="panel by panel"):
        short + long
    np.testing.assert_allclose((short.total() + long.total()).gram[0], short.gram.sum(0) + long.gram.sum(0))


def test_change_of_basis_scales_coefficients_back():
    """New columns F' = F P have the solution z with P z' = z."""
    equations, _, _ = rows()
    matrix = np.array([[2.0, 0.5], [0.0, -1.0]])
    changed = equations.change_basis(matrix, ("p", "q")).total()
    total = equations.total()
    z, z_changed = (np.linalg.solve(e.gram[0], e.moment[0]) for e in (total, changed))
    np.testing.assert_allclose(matrix @ z_changed, z)
    with pytest.raises(ValueError, match=r"`matrix` must be \(2, 1\)"):
        equations.change_basis(matrix, ("p",))


def test_shapes_are_checked():
    """A gram that does not fit its moment is refused."""
    equations, _, _ = rows()
    with pytest.raises(ValueError, match="`gram` must be"):
        NormalEquations("strong", ("a",), equations.gram, equations.moment, None, 1)
