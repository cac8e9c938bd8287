"""Sums and minima over gangs of any size: equal to NumPy's, the same bits on all members."""

from __future__ import annotations

import numpy as np
import pytest

from ipsdist.runtime.gang.reduction import Gang, partners
from tests.runtime.gang.hall import hall

LENGTHS = (1, 3, 4096, 20_011)
"""The last is long enough to be halved, and odd."""


@pytest.mark.parametrize("scheme", ["tcp", "inproc"])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8, 13])
def test_sums_and_minima_are_numpys(size: int, scheme: str) -> None:
    """For short and long arrays, several times over the same links, with sums that wrap around."""
    random = np.random.default_rng(size)
    integers = [random.integers(-(2**63), 2**63 - 1, size=(size, n)) for n in LENGTHS]
    numbers = [random.normal(size=(size, n)) for n in LENGTHS]

    def work(gang: Gang) -> list[np.ndarray]:
        found = [gang.add(part[gang.rank].copy()) for part in integers]
        return found + [gang.lowest(part[gang.rank]) for part in numbers]

    with hall(size, scheme) as gang:
        answers = gang.all(work)
    expected = [part.sum(axis=0) for part in integers] + [part.min(axis=0) for part in numbers]
    for answer in answers:
        assert all(np.array_equal(*pair) for pair in zip(answer, expected, strict=True))


def test_a_gang_of_64_threads_adds() -> None:
    """And keeps the shape of the array, which it overwrites."""
    with hall(64, "inproc") as gang:
        answers = gang.all(lambda one: one.add(np.full((2, 3), one.rank)))
    assert all(np.array_equal(answer, np.full((2, 3), 63 * 32)) for answer in answers)


def test_minima_have_one_zero_and_one_nan() -> None:
    """Bits do not tell which member had which: no negative zero, no second NaN."""
    odd = np.array([0x7FF8000000000123], dtype=np.uint64).view(np.float64)[0]
    parts = [np.array([0.0, -0.0, np.nan, 1.0, np.inf]), np.array([-0.0, 0.0, 1.0, odd, -np.inf])]
    with hall(2) as gang:
        answers = gang.all(lambda one: one.lowest(parts[one.rank]))
    expected = np.array([0.0, 0.0, np.nan, np.nan, -np.inf]).tobytes()
    assert [answer.tobytes() for answer in answers] == [expected, expected]


@pytest.mark.parametrize("size", range(1, 40))
def test_partners_know_each_other(size: int) -> None:
    """Everybody is reached, by about twice the logarithm of the size."""
    known = [set(partners(rank, size)) for rank in range(size)]
    assert all(rank in known[other] for rank in range(size) for other in known[rank])
    assert max(map(len, known)) <= size.bit_length()
    reached = {0}
    while more := {other for rank in reached for other in known[rank]} - reached:
        reached |= more
    assert reached == set(range(size))


def test_members_that_do_unlike_things_are_told_so() -> None:
    """Arrays of other sizes are an error of the program, not a lost member."""
    for scheme in ("tcp", "inproc"):
        with hall(2, scheme) as gang:
            answers = gang.all(lambda one: one.add(np.zeros(3 + one.rank, dtype=np.int64)))
        assert any(isinstance(answer, RuntimeError) and "unlike things" in str(answer) for answer in answers)


def test_arrays_that_cannot_be_overwritten_are_copied() -> None:
    """Read-only and strided ones come back as their sum."""
    frozen = np.arange(6)
    frozen.setflags(write=False)
    with hall(2) as gang:
        answers = gang.all(lambda one: (one.add(frozen), one.add(np.arange(12)[::2])))
    assert all(np.array_equal(a, 2 * frozen) and np.array_equal(b, 4 * frozen) for a, b in answers)
    assert np.array_equal(frozen, np.arange(6))
