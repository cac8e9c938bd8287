"""What a store takes over from another: everything, without a copy, and independent from then on."""

import errno
import os

import numpy as np
import pytest

from ipsdist.storage import Store, adopt, adoption


@pytest.fixture
def pair(tmp_path):
    """A store with finished work in three arrays, and one beside it."""
    first = Store.create(tmp_path / "a.zarr", {})
    first.write("particles/block-0/count", np.arange(6), dims=("node",))
    first.create_array("particles/density", (4, 3), np.float64, ("slice", "x"), (2, 3))
    first.write_region("particles/density", 0, np.ones((4, 3)))
    first.commit("particles/block-0", {"n": 1})
    first.commit("particles/done", {"fingerprint": "f"})
    return first, Store.create(tmp_path / "b.zarr", {})


def files(store):
    """Return the bytes of every file of a store."""
    return {p.relative_to(store.path): p.read_bytes() for p in store.path.rglob("*") if p.is_file()}


def test_arrays_and_records_are_there_without_a_copy(pair):
    """Links to the same files; the records too."""
    first, second = pair
    assert adopt(second, first, "particles")
    np.testing.assert_array_equal(second.read("particles/block-0/count"), np.arange(6))
    assert second.record("particles/done") == {"fingerprint": "f"}
    assert second.record("particles/block-0") == {"n": 1}
    chunk = "particles/density/c.0.0"
    assert os.path.samefile(first.path / chunk, second.path / chunk)
    assert not (second.path / ".arriving").exists()


@pytest.mark.parametrize("linked", [True, False])
def test_what_one_changes_the_other_does_not_see(pair, linked, monkeypatch):
    """Arrays written again, whole or in part, records committed again, attributes, and everything discarded."""
    first, second = pair
    if not linked:
        monkeypatch.setattr(adoption, "_link", lambda *_: (_ for _ in ()).throw(OSError(errno.EXDEV, "another disk")))
    adopt(second, first, "particles")
    monkeypatch.undo()
    before = files(first)
    second.write("particles/block-0/count", np.arange(6) + 7, dims=("node",))
    second.write_region("particles/density", 2, np.zeros((2, 3)))
    second.commit("particles/done", {"fingerprint": "other"})
    second.commit("particles/block-1", {"n": 2})
    second.group["particles/density"].attrs["units"] = "length"
    assert files(first) == before
    mine = files(second)
    first.discard("particles")
    assert first.record("particles/done") is None
    assert files(second) == mine
    np.testing.assert_array_equal(second.read("particles/block-0/count"), np.arange(6) + 7)


def test_what_was_there_before_is_gone(pair):
    """Half of a stage that was begun here does not mix with what comes."""
    first, second = pair
    second.write("particles/block-9/count", np.arange(3), dims=("node",))
    second.commit("particles/begun", {"fingerprint": "old"})
    adopt(second, first, "particles")
    assert not second.exists("particles/block-9/count")
    assert second.record("particles/begun") is None


def test_a_donor_that_loses_its_files_meanwhile_gives_nothing(pair, monkeypatch):
    """No records of arrays that are not there."""
    first, second = pair

    def losing(source, target):
        first.discard("particles")
        os.link(source, target)

    monkeypatch.setattr(adoption, "_link", losing)
    assert not adopt(second, first, "particles")
    assert second.record("particles/done") is None
    assert not second.exists("particles/block-0/count")
