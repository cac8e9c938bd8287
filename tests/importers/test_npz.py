"""Tracks and initial positions in NumPy files: what is read, and what is refused in one line."""

import io
import zipfile

import numpy as np
import pytest

from ipsdist.importers.npz import digest, read_initial, read_tracks
from ipsdist.model.errors import InputError

TIMES, POSITIONS = np.array([0.0, 0.5, 1.5]), np.random.default_rng(0).normal(size=(3, 4, 2))


def test_tracks_are_read_as_written(tmp_path):
    """times and positions come back as float64; (T, N) is one dimension."""
    np.savez(tmp_path / "a.npz", times=TIMES, positions=POSITIONS.astype(np.float32))
    tracks = read_tracks(tmp_path / "a.npz")
    np.testing.assert_array_equal(tracks.positions, POSITIONS.astype(np.float32).astype(np.float64))
    np.savez_compressed(tmp_path / "b.npz", times=TIMES, positions=POSITIONS[:, :, 0])
    assert read_tracks(tmp_path / "b.npz").positions.shape == (3, 4, 1)


def test_objects_are_refused_and_never_unpickled(tmp_path):
    """An archive with Python objects is refused by name; what they would do on unpickling does not happen."""

    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    np.savez(tmp_path / "bad.npz", times=TIMES, positions=np.array([Trap()], dtype=object))
    with pytest.raises(
        InputError, match=r"`data\.file` must hold numbers, not Python objects; got objects in positions"
    ):
        read_tracks(tmp_path / "bad.npz")
    np.save(tmp_path / "bad.npy", np.array([Trap()], dtype=object))
    with pytest.raises(InputError, match=r"`initial\.file` must hold numbers, not Python objects"):
        read_initial(tmp_path / "bad.npy", 1, 1)
    assert not (tmp_path / "sprung").exists()


def test_missing_damaged_and_foreign_files(tmp_path):
    """No file, no archive, no such array, a truncated archive: each says which."""
    with pytest.raises(InputError, match=r"`data\.file` must name an NPZ file .*does not exist; check the path"):
        read_tracks(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("particle,time,x\n1,0,0.5\n")
    with pytest.raises(InputError, match=r"`data\.file` must (be|hold)"):
        read_tracks(tmp_path / "text.npz")
    np.savez(tmp_path / "names.npz", time=TIMES, x=POSITIONS)
    with pytest.raises(InputError, match=r"must hold the array `times`; got time, x in"):
        read_tracks(tmp_path / "names.npz")
    np.save(tmp_path / "one.npy", POSITIONS)
    with pytest.raises(InputError, match="must be an NPZ file; got a single array"):
        read_tracks(tmp_path / "one.npy")
    whole = io.BytesIO()
    np.savez(whole, times=TIMES, positions=POSITIONS)
    (tmp_path / "cut.npz").write_bytes(whole.getvalue()[:-40])
    with pytest.raises(InputError, match=r"`data\.file` must be an NPZ file"):
        read_tracks(tmp_path / "cut.npz")
    with zipfile.ZipFile(tmp_path / "empty.npz", "w"):
        pass
    with pytest.raises(InputError, match="got no arrays"):
        read_tracks(tmp_path / "empty.npz")


def test_initial_positions_must_fit_the_system(tmp_path):
    """The shape is that of system.particles and system.dimension; an archive is refused."""
    np.save(tmp_path / "x.npy", POSITIONS[0])
    np.testing.assert_array_equal(read_initial(tmp_path / "x.npy", 4, 2), POSITIONS[0])
    with pytest.raises(InputError, match=r"system\.particles x system\.dimension = \(5, 2\) numbers; got \(4, 2\)"):
        read_initial(tmp_path / "x.npy", 5, 2)
    np.savez(tmp_path / "x.npz", POSITIONS[0])
    with pytest.raises(InputError, match="must be an NPY file with one array"):
        read_initial(tmp_path / "x.npz", 4, 2)


def test_digest_is_of_the_content(tmp_path):
    """Two files of one content have one digest; another content another."""
    for name, content in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        (tmp_path / name).write_bytes(content)
    a, b, c = (digest(tmp_path / name) for name in "abc")
    assert a == b != c
