"""Weak form: the equation tested with smooth functions; of unlabelled slices it learns sigma^2 as well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ipsdist.model.errors import InputError
from ipsdist.model.normal_equations import DIFFUSION, NormalEquations
from ipsdist.numerics.equations.block_rule import BLOCKS
from ipsdist.numerics.equations.pairings import Pairings
from ipsdist.numerics.equations.quadratic_variation import quadratic_variation
from ipsdist.numerics.equations.quadrature import Panel, panels

__all__ = ["weak_equations"]

Array = npt.NDArray[np.float64]

_FEW = 10.0
"""Particles that a combination of test functions must see to count: the ridge of the instruments."""
_SINGULAR = 1e-12
"""Share of the largest eigenvalue of scaled instruments below which a combination of them is rounding."""


def weak_equations(
    pairings: Pairings,
    times: npt.ArrayLike,
    *,
    basis: Sequence[str],
    tests: int,
    diffusion: float | None,
    quadrature: str,
    particles: int,
    scatter: bool = True,
) -> NormalEquations:
    """Return the equations of K unknowns, energy included, in at most 20 blocks of panels.

    For a test function psi_q and any columns k, over a panel [t1, t2] (docs/method.md, section 4),

        y_q = -[sum_i psi_q] + (sigma^2 / 2) int sum_i Lap psi_q dt - known
            = sum_k (int sum_i V_q . V_k dt) z_k + noise_q,    Cov(noise) = sigma^2 G,  G = int sum_i V_q . V_r dt,

    V_q = -grad psi_q; with sigma^2 unknown its term moves to the right as one more column. The tests are combined by
    instruments C = G^-1 X, X the columns, which would be least squares if C came from the panel itself. But an
    instrument that has seen the noise of its panel fits it: in case cubic sigma^2 comes out 0.4 % low with 7 tests and
    6 % with 21. So C is made at the first slice of the panel. The noise that comes after has mean 0 given C, and no
    number of tests brings a bias. Summed over panels, M = sum C'X, Q = sum C'G C, r = sum C'y give

        A = M'Q^-1 M,    b = M'Q^-1 r,    sigma^2 A^-1 the covariance of the coefficients.

    To an unknown sigma^2 its `quadratic_variation` adds what the size of the noise says.

    Parameters
    ----------
    pairings
        Of one replica at ``times`` (S,); columns: ``basis``, then the test functions, then known potentials.
    basis
        Names of the unknown columns.
    tests
        Number of test functions.
    diffusion
        sigma**2; None where it is unknown: then the basis of the equations ends with ``DIFFUSION``.
    scatter
        Whether the slices have the noise of particles; where they are solved densities, its size tells nothing.

    Raises InputError for a rule of one panel, as gauss_lobatto is: instruments of the first slice grow old on it.
    """
    if quadrature == "gauss_lobatto":
        demand = "must cut the slices into panels for the weak form"
        raise InputError("fit.quadrature", demand, f'"{quadrature}"', 'use "simpson", or fit.form = "action"')
    t = np.asarray(times, dtype=np.float64)
    slices = _Slices.of(pairings, len(basis), tests, diffusion)
    rule = panels(t, quadrature)
    starts = [n * len(rule) // min(BLOCKS, len(rule)) for n in range(min(BLOCKS, len(rule)))]
    blocks, coefficients = _least_squares(slices, rule, starts)
    names = tuple(basis)
    if diffusion is None:
        names = (*names, DIFFUSION)
    if diffusion is None and scatter:
        blocks = blocks.plus(*_size_of_noise(slices, t, coefficients, [rule[n].first for n in starts]))
    return NormalEquations("weak", names, blocks.gram, blocks.moment, blocks.energy, particles, diffusion)


@dataclass(frozen=True)
class _Slices:
    """The weak equation at S slices, Q tests and K unknowns."""

    columns: Array
    """(S, Q, K) rates of the unknowns: sum_i V_q . V_k, and -(1/2) sum_i Lap psi_q for sigma^2."""
    known: Array
    """(S, Q) rate of what is known."""
    value: Array
    """(S, Q) sum_i psi_q."""
    gram: Array
    """(S, Q, Q) sum_i V_q . V_r."""

    @classmethod
    def of(cls, pairings: Pairings, terms: int, tests: int, diffusion: float | None) -> _Slices:
        """Take the pairings apart."""
        rows = slice(terms, terms + tests)
        columns = pairings.gram[:, rows, :terms]
        known = pairings.gram[:, rows, terms + tests :].sum(axis=2)
        curvature = -0.5 * pairings.laplacian[:, rows]
        if diffusion is None:
            columns = np.concatenate([columns, curvature[:, :, None]], axis=2)
        else:
            known = known + diffusion * curvature
        return cls(columns, known, pairings.energy[:, rows], pairings.gram[:, rows, rows])

    def weights(self, which: Sequence[int]) -> Array:
        """Return the inverse of the Gram of tests at some slices; combinations that few particles see count little."""
        return np.asarray(np.linalg.inv(self.gram[which] + _FEW * np.eye(self.gram.shape[1])))

    def integrals(self, panel: Panel) -> tuple[Array, Array, Array]:
        """Return X (Q, K), G (Q, Q) and y (Q,) of a panel."""
        w, span = panel.weights, slice(panel.first, panel.last + 1)
        y = self.value[panel.first] - self.value[panel.last] - w @ self.known[span]
        return np.tensordot(w, self.columns[span], 1), np.tensordot(w, self.gram[span], 1), y


def _summed(
    slices: _Slices, instruments: Array, rule: Sequence[Panel], starts: Sequence[int]
) -> tuple[Array, Array, Array]:
    """Return sum C'X (B, R, K), sum C'G C (B, R, R) and sum C'y (B, R) of blocks of panels, C the instruments.

    ``instruments`` are (panels, Q, R); ``starts`` are the first panels of the blocks (B,).
    """
    sums = []
    for panel, c in zip(rule, instruments, strict=True):
        x, g, y = slices.integrals(panel)
        sums.append((c.T @ x, c.T @ g @ c, c.T @ y))
    regressors, noise, moments = (np.add.reduceat(np.stack(part), starts, axis=0) for part in zip(*sums, strict=True))
    return regressors, noise, moments


def _whitening(noise: Array) -> Array:
    """Return the change (R, R') of instruments that makes their noise (R, R) the unit matrix."""
    scale = np.sqrt(np.diag(noise))
    scale = np.where(scale > 0, scale, 1.0)
    eigenvalues, vectors = np.linalg.eigh(noise / np.outer(scale, scale))
    kept = eigenvalues > _SINGULAR * eigenvalues[-1]
    return np.asarray(vectors[:, kept] / np.sqrt(eigenvalues[kept]) / scale[:, None])


@dataclass(frozen=True)
class _Blocks:
    """Normal equations of B blocks."""

    gram: Array
    moment: Array
    energy: Array

    def plus(self, gram: Array, moment: Array, energy: Array) -> _Blocks:
        """Add (B,) to the last column alone."""
        whole, right = self.gram.copy(), self.moment.copy()
        whole[:, -1, -1] += gram
        right[:, -1] += moment
        return _Blocks(whole, right, self.energy + energy)


def _least_squares(slices: _Slices, rule: Sequence[Panel], starts: Sequence[int]) -> tuple[_Blocks, Array]:
    """Return the blocks of A = M'Q^-1 M, b = M'Q^-1 r over all panels, and the solution (K,).

    Instruments are changed so that Q = sum Q_B = 1. Block B then gets A_B = M'Q_B M, which adds up to A, and the
    observations y_B = r_B - (M_B - Q_B M) z at the solution z, which add up to r: b_B = M'y_B, c_B = y_B'Q_B^-1 y_B.
    Every block is a sum of squares, with the noise r_B - M_B z. Weights M_B'Q_B^-1 of each block's own would have seen
    its noise.
    """
    first = [panel.first for panel in rule]
    instruments = slices.weights(first) @ slices.columns[first]
    for _ in range(2):  # once leaves the rounding of Q, which the columns' condition (1e11 is usual) makes large
        noise = _summed(slices, instruments, rule, starts)[1]
        instruments = instruments @ _whitening(noise.sum(axis=0))
    regressors, noise, moments = _summed(slices, instruments, rule, starts)
    whole, right = regressors.sum(axis=0), moments.sum(axis=0)
    scale = np.sqrt(np.einsum("rk,rk->k", whole, whole))
    scale = np.where(scale > 0, scale, 1.0)
    coefficients = np.linalg.lstsq(whole / scale, right, rcond=None)[0] / scale
    observed = moments - (regressors - noise @ whole) @ coefficients
    gram = whole.T @ noise @ whole
    energy = np.einsum("br,brs,bs->b", observed, np.linalg.pinv(noise, rcond=_SINGULAR, hermitian=True), observed)
    return _Blocks(0.5 * (gram + gram.swapaxes(1, 2)), observed @ whole, energy), coefficients


def _size_of_noise(
    slices: _Slices, times: Array, coefficients: Array, starts: Sequence[int]
) -> tuple[Array, Array, Array]:
    """Return what the quadratic variation s adds to Gram, moment and energy of sigma^2, block by block (B,) each.

    An observation s of sigma^2 with variance 2 s^2 / n is the row sqrt(n / 2s) (sigma^2 - s) with noise sigma^2.
    """
    intervals = panels(times, "trapezoid")
    integrals = [slices.integrals(panel) for panel in intervals]
    found = quadratic_variation(
        times,
        residual=np.stack([y - x @ coefficients for x, _, y in integrals]),
        covariance=np.stack([g for _, g, _ in integrals]),
        curvature=-2.0 * slices.columns[:, :, -1],
        weight=slices.weights([panel.first for panel in intervals]),
        fitted=len(coefficients),
    )
    squares = np.add.reduceat(found.squares, starts)
    if found.value == 0:
        return squares, squares, squares
    return squares / (2.0 * found.value), squares / 2.0, squares * found.value / 2.0
