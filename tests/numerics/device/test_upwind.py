"""Upwind fluxes from positive reconstructions against the plain formula, cell by cell."""

import numpy as np
import pytest

from ipsdist.numerics.device.upwind import move_upwind


def half_slope(u, j):
    """Half of dx times the slope of cell j of a line: centred, or the generalised minmod (theta = 2), or the wall's."""
    if j in (0, len(u) - 1):
        step = u[1] - u[0] if j == 0 else u[-1] - u[-2]
        return np.clip(0.5 * step, -u[j], u[j])
    centred = 0.5 * (u[j + 1] - u[j - 1])
    if u[j] - 0.5 * abs(centred) < 0.0:
        parts = np.array([2.0 * (u[j] - u[j - 1]), centred, 2.0 * (u[j + 1] - u[j])])
        centred = parts.min() if (parts > 0).all() else parts.max() if (parts < 0).all() else 0.0
    return 0.5 * centred


def slow(u, xi, dx):
    """Change and relative loss of a line."""
    change, loss = np.zeros(len(u)), np.zeros(len(u))
    for j in range(len(u) - 1):
        velocity = -(xi[j + 1] - xi[j]) / dx
        donor, taker, side = (j, j + 1, 1.0) if velocity > 0 else (j + 1, j, -1.0)
        moved = abs(velocity) * (u[donor] + side * half_slope(u, donor)) / dx
        change[donor] -= moved
        change[taker] += moved
        loss[donor] += moved / u[donor] if u[donor] > 0 else 0.0
    return change, loss


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("roughness", [0.2, 3.0])
def test_twin(axis, roughness):
    """On every axis, smooth and rough densities, with empty cells, as far as the twin's formula."""
    rng = np.random.default_rng(5)
    shape = (4, 7, 5)
    u = np.exp(roughness * rng.standard_normal(shape))
    u[rng.random(shape) < 0.1] = 0.0
    xi = rng.standard_normal(shape)
    change, loss = np.zeros(shape), np.zeros(shape)
    view = (int(np.prod(shape[:axis])), shape[axis], int(np.prod(shape[axis + 1 :])))
    move_upwind(*(a.reshape(view) if np.ndim(a) else a for a in (u, xi, 1.0 / 0.3, change, loss)))
    for index in np.ndindex(*shape[:axis], *shape[axis + 1 :]):
        line = (*index[:axis], slice(None), *index[axis:])
        expected, lost = slow(u[line], xi[line], 0.3)
        np.testing.assert_allclose(change[line], expected, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(loss[line], lost, rtol=1e-12, atol=1e-12)
    assert abs(change.sum()) < 1e-12 * np.abs(change).sum()


def test_sign_at_the_bound():
    """An Euler step of one over the largest loss leaves no cell below zero, and empties the worst one."""
    rng = np.random.default_rng(6)
    for _ in range(50):
        u, xi = np.exp(3.0 * rng.standard_normal((1, 40, 1))), 5.0 * rng.standard_normal((1, 40, 1))
        change, loss = np.zeros_like(u), np.zeros_like(u)
        move_upwind(u, xi, 1.0, change, loss)
        after = u + change / loss.max()
        assert after.min() >= -1e-12 * u.max()
        assert (np.abs(loss) <= 4.0 * np.abs(np.diff(xi, axis=1)).max()).all()
