"""Ragged tracks: slices, partners in another slice, windows."""

from __future__ import annotations

import numpy as np
import pytest

from ipsdist.model.tracks import Ragged


@pytest.fixture
def tracks() -> Ragged:
    """Random tracks with holes, one slice of them empty."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(9, 20, 2))
    x[rng.random((9, 20)) < 0.4] = np.nan
    x[5] = np.nan
    return Ragged.of_array(np.arange(9.0), x)


def test_partners_are_those_a_dictionary_finds(tracks: Ragged) -> None:
    """`common` pairs the particles of two slices as looking each one up does, also next to an empty slice."""
    for k in range(9):
        for later in range(9):
            here, there = (dict(zip(s[0].tolist(), s[1].tolist(), strict=True)) for s in map(tracks.slice, (k, later)))
            both = sorted(here.keys() & there.keys())
            a, b = tracks.common(k, later)
            assert a.tolist() == [here[p] for p in both]
            assert b.tolist() == [there[p] for p in both]


def test_matched_rows_point_into_the_slice(tracks: Ragged) -> None:
    """`matched` says which rows of the slice have a partner."""
    rows, a, _ = tracks.matched(1, 2)
    np.testing.assert_array_equal(tracks.slice(1)[1][rows], a)


def test_a_window_has_the_slices_of_the_whole(tracks: Ragged) -> None:
    """Slices of a window are slices of the tracks it was cut from."""
    part = tracks.window(3, 7)
    assert part.times.tolist() == [3.0, 4.0, 5.0, 6.0]
    assert part.present.tolist() == tracks.present[3:7].tolist()
    for k in range(4):
        for mine, theirs in zip(part.slice(k), tracks.slice(3 + k), strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_shapes_that_do_not_fit_are_refused(tracks: Ragged) -> None:
    """Offsets must rise from 0 to the number of rows, ids must be one a row, unlabelled particles have no partners."""
    ids, x = tracks.ids, tracks.positions
    for offsets in (tracks.offsets[:-1], tracks.offsets + 1, tracks.offsets[::-1]):
        with pytest.raises(ValueError, match="offsets"):
            Ragged(tracks.times, offsets, ids, x)
    with pytest.raises(ValueError, match="ids"):
        Ragged(tracks.times, tracks.offsets, ids[1:], x)
    with pytest.raises(ValueError, match="unlabelled"):
        Ragged(tracks.times, tracks.offsets, None, x).common(0, 1)
