"""What the displacements of labelled particles say by themselves: sigma^2, noise of positions, memory, drift, tails."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ipsdist.model.errors import InputError
from ipsdist.model.tracks import Ragged

__all__ = ["Estimate", "TrackNoise", "displacement_noise"]

Array = npt.NDArray[np.float64]

_BLOCKS = 20
"""Blocks of time, and groups of particles, that are left out in turn."""
_WINDOW = 5.0
"""Memory is added up over so many of its own lengths: e**-5 of it is left out where it decays exponentially."""
_MOST_LAGS = 100
_EVIDENT = 3.0
"""Standard errors."""
_FEWEST = 0.1
"""Share of the displacements that must have a partner at the last lag."""


@dataclass(frozen=True)
class Estimate:
    """A value and its standard error."""

    value: float
    standard_error: float


@dataclass(frozen=True)
class TrackNoise:
    """Statistics of the displacements dX between neighbouring slices, of particles seen in both; D is the interval."""

    displacements: int
    """Number of displacements."""
    diffusion: Estimate
    """sigma^2 (length^2 / time) of motion without memory, seen without noise: Richardson's value."""
    lasting: Estimate
    """sigma^2 over times long against the memory of the motion: the sum of its autocovariances. Noise of the positions
    cancels in it; a drift v that lasts adds |v|^2 D / d at every lag."""
    localisation: Estimate
    """Variance (length^2) on an axis of white noise in the positions; below 0 for motion that goes on."""
    correlation: tuple[Estimate, ...]
    """Of the scaled displacements dX / sqrt(D) one interval apart, two, and so on, at least to two. 0 for diffusion;
    below 0, then 0 for noise of positions; above 0 and falling for persistent motion, level for a lasting drift."""
    drift: tuple[Estimate, ...]
    """Mean velocity along every axis (length / time), taken off before all else but the diffusion."""
    kurtosis: Estimate
    """Excess kurtosis of the scaled displacements: 0 for one sigma^2, the same for all at all times."""

    @property
    def remembers(self) -> bool:
        """Whether the motion is no diffusion from one interval to the next, be it persistent or seen with noise.

        It is none if the first correlation stands out from the last by three standard errors, or if the noise of the
        positions does from 0.
        """
        first, last = self.correlation[0], self.correlation[-1]
        seen = abs(first.value - last.value) > _EVIDENT * float(np.hypot(first.standard_error, last.standard_error))
        return bool(seen or self.localisation.value > _EVIDENT * self.localisation.standard_error)

    @property
    def motion(self) -> Estimate:
        """sigma^2 for equations of these tracks: the lasting one where the motion remembers, else Richardson's.

        The wrong one invents a law: with Richardson's the scores of particles without any interaction were off by 8
        standard deviations for motion that persists over 6 intervals, by 4 for noise of positions as large as the
        displacements; with the lasting one by 0.4 and 0.1.
        """
        return self.lasting if self.remembers and self.lasting.value > 0 else self.diffusion


def displacement_noise(tracks: Ragged) -> TrackNoise:
    """Return what the displacements of all particles say about their noise; times may be uneven.

    For neighbouring intervals D1, D2 of a particle, free of its drift to first order,

        sigma^2 = [(D1 + D2)^2 (|dX1|^2 + |dX2|^2) - (D1^2 + D2^2) |dX1 + dX2|^2] / (2 d D1 D2 (D1 + D2)),

    weighted by the inverse of its variance under diffusion. White noise of variance s^2 in the positions and a drift v
    have <dX1.dX2> = |v|^2 D1 D2 - s^2 d and <dX1.dX3> = |v|^2 D1 D3, so that s^2 = (D2 / D3 dX1.dX3 - dX1.dX2) / d.
    The lasting sigma^2 is sum_k <dX_n.dX_n+k> / (d D), k of both signs (Green, Kubo; for white noise of positions the
    covariance estimator of Vestergaard, Blainey, Flyvbjerg 2014), up to five times its length over sigma^2 (Sokal).

    Standard errors are the larger of two jackknifes, over blocks of time and over groups of particles: the first feels
    what all do at once, the second that some are livelier than others. NaN stands where there is nothing to go by.
    Raises InputError for unlabelled snapshots, and without a displacement.
    """
    if tracks.ids is None:
        fix = "name the column of the particles"
        raise InputError("data.labelled", "must be true for displacements to be known", "false", fix)
    moves = _moves(tracks)
    if not len(moves.span):
        raise InputError("data.file", "must have a particle in two slices in a row", "none")
    axes, lags = tracks.dimension, _memory(moves)
    blocks = moves.first * _BLOCKS // (len(tracks.times) - 1)
    groups = [np.unique(labels, return_inverse=True)[1] for labels in (blocks, moves.particle % _BLOCKS)]
    columns = [[np.bincount(g, column) for g in groups] for column in _columns(moves, lags)]
    by_time, by_particle = (np.stack(part, axis=1) for part in zip(*columns, strict=True))
    values = _summary(by_time.sum(axis=0), axes)
    errors = np.fmax(_jackknife(by_time, axes), _jackknife(by_particle, axes))
    found = [Estimate(float(v), float(e)) for v, e in zip(values, errors, strict=True)]
    return TrackNoise(
        displacements=len(moves.span),
        diffusion=found[0],
        lasting=found[1],
        localisation=found[2],
        correlation=tuple(found[4 + axes :]),
        drift=tuple(found[4 : 4 + axes]),
        kurtosis=found[3],
    )


@dataclass(frozen=True)
class _Moves:
    """Displacements, particle by particle, those of a particle in order of time."""

    move: Array
    """(n, d)."""
    span: Array
    """(n,) length of the interval."""
    first: npt.NDArray[np.int64]
    """(n,) slice at which it begins."""
    particle: npt.NDArray[np.int64]
    """(n,) number of the particle, from 0 without holes."""

    @property
    def scaled(self) -> Array:
        """(n, d) dX / sqrt(D), the mean velocity of all taken off."""
        drift = self.move.sum(axis=0) / self.span.sum()
        return np.asarray((self.move - self.span[:, None] * drift) / np.sqrt(self.span)[:, None])

    def has(self, lag: int) -> npt.NDArray[np.bool_]:
        """Return which displacements (n,) have another of the same particle ``lag`` slices before, ``lag`` rows up."""
        found = np.zeros(len(self.span), dtype=np.bool_)
        same = self.particle[lag:] == self.particle[:-lag]
        found[lag:] = same & (self.first[lag:] == self.first[:-lag] + lag)
        return found


def _moves(tracks: Ragged) -> _Moves:
    """Return the displacements between neighbouring slices."""
    ids = np.asarray(tracks.ids)
    slices = np.repeat(np.arange(len(tracks.times)), tracks.present)
    order = np.argsort(ids, kind="stable")  # rows come in order of time, and stay so
    ids, slices, positions = ids[order], slices[order], tracks.positions[order]
    start = np.flatnonzero((ids[1:] == ids[:-1]) & (slices[1:] == slices[:-1] + 1))
    first = slices[start]
    particle = np.unique(ids[start], return_inverse=True)[1].astype(np.int64)
    return _Moves(positions[start + 1] - positions[start], np.diff(tracks.times)[first], first, particle)


def _memory(moves: _Moves) -> int:
    """Return the number of lags to add up: five times the length of the memory that they show, and two at least."""
    scaled = moves.scaled
    total, length = float(np.mean(np.sum(scaled**2, axis=1))), 1.0
    for lag in range(1, _MOST_LAGS):
        rows = np.flatnonzero(moves.has(lag))
        if lag > 2 and len(rows) < _FEWEST * len(scaled):
            return lag - 1
        if len(rows) and total > 0:
            length += 2.0 * float(np.mean(np.sum(scaled[rows] * scaled[rows - lag], axis=1))) / total
        if lag >= max(2.0, _WINDOW * length):
            return lag
    return _MOST_LAGS


def _columns(moves: _Moves, lags: int) -> Iterator[Array]:
    """Yield the terms (n,) of the sums that `_summary` reads: 6 + 3 d, then two of every lag."""
    x, span = moves.scaled, moves.span
    d = x.shape[1]
    # Of three neighbouring intervals a, b and this one, c. Rows without those before are masked.
    one, two = moves.has(1), moves.has(1) & moves.has(2)
    in_a, in_b = np.roll(x, 2, axis=0), np.roll(x, 1, axis=0)
    a, b, c = np.roll(span, 2), np.roll(span, 1), span
    both = b * np.sum(in_b**2, axis=1) + c * np.sum(x**2, axis=1)
    bc = np.sqrt(b * c) * np.sum(in_b * x, axis=1)
    cross = (b**2 + c**2) / (b * c)
    weight = one * (b + c) ** 2 / (2.0 * (b**2 + c**2) + cross**2 * b * c)
    yield weight * (both - cross * bc) / (d * (b + c))
    yield weight
    ab, ac = np.sqrt(a * b) * np.sum(in_a * in_b, axis=1), np.sqrt(a * c) * np.sum(in_a * x, axis=1)
    yield two * (b / c * ac - ab) / d
    yield two.astype(np.float64)
    yield np.ones(len(span))
    yield span
    yield from moves.move.T
    yield from (x**2).T
    yield from (x**4).T
    for lag in range(1, lags + 1):
        has = moves.has(lag)
        yield has * np.sum(x * np.roll(x, lag, axis=0), axis=1)
        yield has.astype(np.float64)


def _summary(sums: Array, axes: int) -> Array:
    """Return sigma^2, it lasting, s^2, kurtosis, d drifts and the correlations (4 + d + lags,) from the sums."""

    def ratio(top: Array, bottom: Array) -> Array:
        return np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0)

    count, span = sums[4], sums[5]
    moved, second, fourth = sums[6 : 6 + 3 * axes].reshape(3, axes)
    tails = np.mean(ratio(count * fourth, second**2)) - 3.0
    products, partners = sums[6 + 3 * axes :].reshape(-1, 2).T
    square = second.sum() / count
    covariance = ratio(products, partners)
    lasting = (square + 2.0 * covariance.sum()) / axes
    drift, correlation = moved / span, ratio(covariance, np.full_like(covariance, square))
    sigma, noise = ratio(sums[0:1], sums[1:2])[0], ratio(sums[2:3], sums[3:4])[0]
    return np.array([sigma, lasting, noise, tails, *drift, *correlation])


def _jackknife(parts: Array, axes: int) -> Array:
    """Return standard errors of `_summary`, each group, a row of the sums, left out in turn; NaN for fewer than 3."""
    whole = parts.sum(axis=0)
    count = len(parts)
    if count < 3:
        return np.full_like(_summary(whole, axes), np.nan)
    without = np.stack([_summary(whole - part, axes) for part in parts])
    return np.asarray(np.sqrt((count - 1) * np.var(without, axis=0)))
