"""The best subsets of one size by branch and bound: what they share is factorised once, hopeless branches never."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ipsdist.learning.small_systems import SINGULAR, Subsets, factorised, solve_subsets
from ipsdist.model.errors import InputError

__all__ = ["MOST_MODELS", "leading_subsets"]

Array = npt.NDArray[np.float64]

MOST_MODELS = 10**9
"""Models that a search looks at before it gives up, those of the branches that it left not counted: half a minute."""

_RIDGE = 1e-14
"""Added to the unit diagonal for a bound: above the rounding of equations and of their factorisation."""
_BLUR = 1e-8
"""Share of the gain of all columns by which a bound must fail: with the ridge, for |z|^2 up to 1e6 of that gain."""
_ROUNDING = 1e-12
"""Share by which the same gain may differ between two orders of its sum, with much to spare."""
_NUMBERS = 1_000_000
"""Numbers in the Schur complements that one step makes."""
_FEWEST = 100
"""Models in a branch for which a bound pays."""


def leading_subsets(
    gram: Array,
    moment: Array,
    size: int,
    *,
    count: int,
    least: float,
    slack: float,
    looked: int = 0,
) -> tuple[Subsets, int]:
    """Return all subsets of a size (n, size) that may be among the best, in dictionary order, and the models looked at.

    They are those that `solve_subsets` gives at least the gain ``least`` and that are among the ``count`` of largest
    gain; ties and rounding add a few. Subsets grow column by column, in the order of the columns, and a step takes one
    more column out of those that may follow: the arithmetic of `solve_subsets`, done once for all subsets that begin
    alike. A branch is left when its columns and all that may follow, with a ridge d = 1e-14 on the unit diagonal,
    together gain less than ``least`` by a margin s. For z the solution of a subset S of such a set T

        b_S'A_S^-1 b_S = 2 b'z - z'(A + d)z + d |z|^2 <= b_T'(A_T + d)^-1 b_T + d |z|^2,

    so what is lost has |z|^2 > s / d: coefficients so large that rounding moves its gain by as much. The margin is
    ``slack`` and a share of 1e-8 of what all columns gain.

    Parameters
    ----------
    gram, moment : scaled equations (M, M) and (M,), unit diagonal (smaller ones where columns were taken out).
    size : at least 2.
    count : subsets wanted, at least 1.
    least, slack : in the units of the gain b'z.
    looked : models of other sizes that the same search looked at before; they are added to the number returned.

    Raises
    ------
    InputError
        The best are not settled after looking at 1e9 models.
    """
    below = np.tril(gram, -1)
    symmetric = below + below.T + np.diag(np.diag(gram))  # `solve_subsets` reads the part below the diagonal
    start = _Block(np.zeros((0, 1), dtype=np.intp), symmetric[..., None], moment[:, None], np.zeros(1))
    suffixes = _suffixes(symmetric, moment)
    margin = slack + _BLUR * suffixes[0].gain
    search = _Search(size, suffixes, margin, _Leaders(symmetric, moment, count, least), looked)
    search.descend([start], size)
    return search.leaders.subsets(size), search.looked


@dataclass(frozen=True)
class _Block:
    """Subsets (n of l columns) that end with one column, and what they leave of those that may follow.

    Subsets lie along the last axis, so that every operation runs over all of them.
    """

    subsets: Subsets
    """(l, n)"""
    gram: Array
    """(m, m, n) Schur complement over the m columns that may follow."""
    moment: Array
    """(m, n)"""
    gain: Array
    """(n,) b'z of the subsets."""

    @property
    def free(self) -> int:
        """Number m of columns that may follow."""
        return len(self.moment)

    def take(self, which: npt.NDArray[np.bool_] | slice) -> _Block:
        """Return some of the subsets."""
        return _Block(self.subsets[:, which], self.gram[:, :, which], self.moment[:, which], self.gain[which])

    def child(self, j: int, column: int) -> _Block:
        """Return the subsets with the free column ``j``, the ``column`` of the equations; singular ones left out."""
        regular = self.gram[j, j] > SINGULAR
        kept = self if regular.all() else self.take(regular)
        root = np.sqrt(kept.gram[j, j])
        forward, row = kept.moment[j] / root, kept.gram[j, j + 1 :] / root
        added = np.full((1, len(kept.gain)), column, dtype=np.intp)
        return _Block(
            np.concatenate([kept.subsets, added]),
            kept.gram[j + 1 :, j + 1 :] - row[:, None] * row,
            kept.moment[j + 1 :] - row * forward,
            kept.gain + forward**2,
        )


def _joined(blocks: Sequence[_Block]) -> _Block:
    if len(blocks) == 1:
        return blocks[0]
    fields = ("subsets", "gram", "moment", "gain")
    return _Block(*(np.concatenate([getattr(b, name) for b in blocks], axis=-1) for name in fields))


@dataclass(frozen=True)
class _Suffix:
    """What the columns f, f + 1, ... gain together, and the equations (f, f), (f,) that they leave of those before."""

    gain: float
    gram: Array
    moment: Array


def _suffixes(gram: Array, moment: Array) -> list[_Suffix]:
    """Return the suffix of every f from 0 to M, with the ridge on the diagonal."""
    found = [_Suffix(0.0, gram + _RIDGE * np.eye(len(gram)), moment)]
    for f in reversed(range(len(gram))):
        after = found[-1]
        pivot = float(after.gram[f, f])
        if not pivot > 0:  # equations that are no Gram to rounding: bounds that contain this column say nothing
            found.append(_Suffix(np.inf, after.gram[:f, :f], after.moment[:f]))
            continue
        row, forward = after.gram[f, :f] / math.sqrt(pivot), float(after.moment[f]) / math.sqrt(pivot)
        rest = after.gram[:f, :f] - row[:, None] * row
        found.append(_Suffix(after.gain + forward**2, rest, after.moment[:f] - row * forward))
    return found[::-1]


class _Leaders:
    """The subsets of largest gain so far, and the gain that a newcomer needs."""

    def __init__(self, gram: Array, moment: Array, count: int, least: float) -> None:
        self._gram, self._moment, self._count = gram, moment, count
        self._held: list[Subsets] = []
        self._size = 0
        self.least = max(_below(least), -np.finfo(np.float64).max)

    def add(self, subsets: Subsets) -> None:
        """Add subsets (n, k) that seem to gain at least ``least``."""
        self._held.append(subsets)
        self._size += len(subsets)
        if self._size > 2 * self._count + 1000:
            self._sift()

    def _sift(self) -> None:
        subsets = np.concatenate(self._held)
        gains, _ = solve_subsets(self._gram, self._moment, subsets)
        if len(gains) >= self._count:
            self.least = max(self.least, _below(float(np.partition(gains, -self._count)[-self._count])))
        kept = gains >= self.least
        self._held, self._size = [subsets[kept]], int(kept.sum())

    def subsets(self, size: int) -> Subsets:
        """Return the leaders (n, size) in dictionary order."""
        if not self._held:
            return np.zeros((0, size), dtype=np.intp)
        self._sift()
        return self._held[0][np.lexsort(self._held[0].T[::-1])]


def _below(gain: float) -> float:
    return gain - _ROUNDING * abs(gain)


@dataclass
class _Search:
    """Depth first in blocks: every step takes as many subsets together as its Schur complements leave room for."""

    size: int
    suffixes: Sequence[_Suffix]
    margin: float
    leaders: _Leaders
    looked: int

    @property
    def _columns(self) -> int:
        return len(self.suffixes) - 1

    def descend(self, blocks: Sequence[_Block], needed: int) -> None:
        """Look at all subsets that begin with those of the blocks and have ``needed`` columns more."""
        for part in _parts(blocks, needed):
            hopeful = [b for b in (self._hopeful(block, needed) for block in part) if len(b.gain)]
            if needed == 2:
                for block in hopeful:
                    self._look(block)
            elif hopeful:
                self.descend(self._grown(hopeful, needed), needed - 1)

    def _grown(self, blocks: Sequence[_Block], needed: int) -> list[_Block]:
        """Return the blocks with one more column, those that end alike joined."""
        grown: dict[int, list[_Block]] = {}
        for block in blocks:
            for j in range(block.free - needed + 1):
                last = self._columns - block.free + j
                grown.setdefault(last, []).append(block.child(j, last))
        return [_joined(grown[last]) for last in sorted(grown)]

    def _hopeful(self, block: _Block, needed: int) -> _Block:
        """Return the subsets whose branches may hold a leader."""
        if math.comb(block.free, needed) < _FEWEST:
            return block
        suffix = self.suffixes[self._columns - block.free]
        _, forward, regular = factorised(suffix.gram, suffix.moment, block.subsets.T, 0.0)
        gain = suffix.gain + np.where(regular, (forward**2).sum(axis=1), np.inf)
        hopeful = gain >= self.leaders.least - self.margin
        return block if hopeful.all() else block.take(hopeful)

    def _look(self, block: _Block) -> None:
        """Look at all pairs of columns that may follow."""
        n, m = len(block.gain), block.free
        self.looked += n * (m * (m - 1) // 2)
        if self.looked > MOST_MODELS:
            got = f"no end after {MOST_MODELS}, among those of {self.size} of {self._columns} terms"
            rule, fix = "must leave fewer models to look at", "lower fit.max_terms or shorten dictionary.terms"
            raise InputError("fit.max_terms", rule, got, fix)
        diagonal = np.einsum("iin->in", block.gram)
        for j in range(m - 1):
            regular = block.gram[j, j] > SINGULAR
            root = np.sqrt(np.where(regular, block.gram[j, j], 1.0))
            forward, row = block.moment[j] / root, block.gram[j, j + 1 :] / root
            gain = block.gain + forward**2
            pivots, rest = diagonal[j + 1 :] - row * row, block.moment[j + 1 :] - row * forward
            hits = (rest * rest >= (self.leaders.least - gain) * pivots) & (pivots > SINGULAR) & regular
            if hits.any():
                second, which = np.nonzero(hits)
                pair = self._columns - m + j + np.stack([np.zeros_like(second), 1 + second])
                subsets = np.concatenate([block.subsets[:, which], pair])
                self.leaders.add(subsets.T)


def _parts(blocks: Sequence[_Block], needed: int) -> Iterator[list[_Block]]:
    """Cut blocks, and gather them, into parts of about ``_NUMBERS`` numbers in the next step."""
    part: list[_Block] = []
    room = _NUMBERS
    for block in blocks:
        each = max(1, block.free**3 // 3 if needed > 2 else block.free**2)
        step = max(1, _NUMBERS // each)
        for first in range(0, len(block.gain), step):
            piece = block.take(slice(first, first + step))
            cost = each * len(piece.gain)
            if part and cost > room:
                yield part
                part, room = [], _NUMBERS
            part.append(piece)
            room -= cost
    if part:
        yield part
