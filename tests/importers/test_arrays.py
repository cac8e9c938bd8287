"""Arrays in NPZ, NPY, HDF5, NetCDF and Zarr give the same import; faults of arrays are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ipsdist.importers import slices
from ipsdist.model.errors import InputError
from ipsdist.model.tracks import Ragged
from tests.importers.tracks import imported, ragged, wanderers


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "_READ", 500)


def save(kind: str, folder: Path, times: np.ndarray, x: np.ndarray) -> Path:
    """Write times and positions as a file of the kind."""
    path = folder / {"npz": "a.npz", "compressed": "a.npz", "fortran": "a.npz", "hdf5": "a.h5"}.get(kind, "")
    if kind == "npz":
        np.savez(path, times=times, positions=x)
    elif kind == "compressed":
        np.savez_compressed(path, t=times, positions=x)
    elif kind == "fortran":
        np.savez(path, times=times, positions=np.asfortranarray(x))
    elif kind == "hdf5":
        h5py = pytest.importorskip("h5py")
        with h5py.File(path, "w") as file:
            file["run/times"], file["run/positions"], file["notes"] = times, x, "text"
    else:
        path = _dataset(kind, folder, times, x)
    return path


def _dataset(kind: str, folder: Path, times: np.ndarray, x: np.ndarray) -> Path:
    xarray = pytest.importorskip("xarray")
    if kind.endswith("xyz"):
        variables = {
            name: (("time", "particle"), x[..., a], {"units": "um"}) for a, name in enumerate("xyz"[: x.shape[2]])
        }
    else:
        variables = {"positions": (("time", "particle", "space"), x, {"units": "um"})}
    data = xarray.Dataset(variables, coords={"time": ("time", times, {"units": "h"})})
    if kind.startswith("zarr"):
        data.to_zarr(folder / "a.zarr", zarr_format=2 if "2" in kind else 3, consolidated=False)
        return folder / "a.zarr"
    if kind.startswith("classic"):
        data.to_netcdf(folder / "a.nc", engine="scipy")
        return folder / "a.nc"
    pytest.importorskip("h5netcdf")
    data.to_netcdf(folder / "a.nc", engine="h5netcdf")
    return folder / "a.nc"


KINDS = ["npz", "compressed", "fortran", "hdf5", "classic", "classic-xyz", "netcdf4", "zarr", "zarr2-xyz"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_format(tmp_path: Path, kind: str) -> None:
    """The numbers come through whole, and units where the file has them."""
    times, x = wanderers(6, 20)
    names = {"time": "run/times", "position": ("run/positions",)} if kind == "hdf5" else {}
    answer, store = imported(save(kind, tmp_path, times, x), tmp_path / "out", **names)
    np.testing.assert_array_equal(store.read("input/positions"), x)
    np.testing.assert_array_equal(store.read("input/times"), times)
    assert answer.units == (("um", "h") if kind in KINDS[4:] else ("length", "time"))


def test_npy_takes_its_times_from_another_file(tmp_path: Path) -> None:
    """Positions (T, N) in an NPY file are a line; without times they are refused."""
    times, x = wanderers(6, 20, 1)
    np.save(tmp_path / "x.npy", x[..., 0])
    np.save(tmp_path / "t.npy", times)
    _, store = imported(tmp_path / "x.npy", tmp_path / "out", time=str(tmp_path / "t.npy"))
    np.testing.assert_array_equal(store.read("input/positions"), x)
    with pytest.raises(InputError, match="an NPY file of positions has no times"):
        imported(tmp_path / "x.npy", tmp_path / "other")


def test_absent_particles_are_nan_in_arrays(tmp_path: Path) -> None:
    """NaN positions are refused by slice and particle; left out, the rest is the ragged form."""
    times, x = wanderers(6, 20)
    x[np.random.default_rng(2).random(x.shape[:2]) < 0.2] = np.nan
    x[3, 2, 1] = np.inf
    x[7] = np.nan
    x[:, 4] = np.nan
    np.savez(tmp_path / "a.npz", times=times, positions=x)
    with pytest.raises(InputError, match=r"of 120 positions that are not, first slice 0, particle \d"):
        imported(tmp_path / "a.npz", tmp_path / "no")
    assert not (tmp_path / "no").exists()
    tracks = ragged(tmp_path / "a.npz", tmp_path / "out", drop_nan=True)
    kept = [k for k in range(20) if k != 7]
    expected = Ragged.of_array(times[kept], np.delete(x[kept], 4, axis=1))
    for name in ("times", "offsets", "ids", "positions"):
        np.testing.assert_array_equal(getattr(tracks, name), getattr(expected, name))


def test_packed_numbers_and_fill_values(tmp_path: Path) -> None:
    """Numbers packed the CF way are unpacked, and the fill value is an absent particle."""
    h5py = pytest.importorskip("h5py")
    times, _ = wanderers(4, 5)
    packed = np.random.default_rng(0).integers(-100, 100, (5, 4, 2)).astype(np.int16)
    packed[2, 1] = -999
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["times"], file["positions"] = times, packed
        file["positions"].attrs.update({"scale_factor": 0.25, "add_offset": 3.0, "_FillValue": np.int16(-999)})
    tracks = ragged(tmp_path / "a.h5", tmp_path / "out", drop_nan=True)
    ids, there = tracks.slice(2)
    assert ids.tolist() == [0, 2, 3]
    np.testing.assert_array_equal(there, packed[2, [0, 2, 3]] * 0.25 + 3.0)


def _arrays(name: str) -> dict[str, np.ndarray]:
    times, x = wanderers(6, 20)
    late, still = times.copy(), x.copy()
    late[4] = late[3]
    still[..., 1] = 2.0
    return {
        "times": {"times": late, "positions": x},
        "nan time": {"times": np.where(times == times[5], np.nan, times), "positions": x},
        "one slice": {"times": times[:1], "positions": x[:1]},
        "one particle": {"times": times, "positions": x[:, :1]},
        "flat": {"times": times, "positions": still},
        "axes": {"times": times, "positions": x.transpose(1, 0, 2)},
        "four": {"times": times, "positions": np.concatenate([x, x], axis=2)},
        "name": {"times": times, "positons": x},
        "objects": {"times": times, "positions": np.array([{}])},
    }[name]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("times", r"must have finite, increasing times; got times\[3\] = "),
        ("nan time", r"got times\[5\] that is not finite"),
        ("one slice", "at least two slices; got one time"),
        ("one particle", "at least two particles; got 1"),
        ("flat", "got y = 2 in every row"),
        ("axes", r"times \(20,\) and positions \(6, 20, 2\); axes are time, particle, space"),
        ("four", r"one, two or three space axes; got 4"),
        ("name", "nearest: positons; the source has times, positons; give --position NAME"),
        ("objects", "must hold numbers; got dtype object in positions"),
    ],
)
def test_faults_of_arrays(tmp_path: Path, name: str, expected: str) -> None:
    """Each fault of arrays has a line of its own, and nothing is left."""
    np.savez(tmp_path / "a.npz", **_arrays(name))
    with pytest.raises(InputError, match=expected):
        imported(tmp_path / "a.npz", tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]


@pytest.mark.parametrize("name", ["a.npz", "a.npy", "a.h5", "a.nc", "a.zarr"])
def test_damaged_files(tmp_path: Path, name: str) -> None:
    """A file that is not what its name says is refused in one line."""
    if name.endswith((".h5", ".nc")):
        pytest.importorskip("h5py")
    (tmp_path / name).write_bytes(b"CDF\x01 no" if name.endswith(".nc") else b"nothing of the kind")
    with pytest.raises(InputError, match=r"(can be read|must be a Zarr group)"):
        imported(tmp_path / name, tmp_path / "out", time=str(tmp_path / name))


def test_an_archive_that_is_cut(tmp_path: Path) -> None:
    """An NPZ file that ends early is refused."""
    times, x = wanderers(6, 20)
    np.savez(tmp_path / "a.npz", times=times, positions=x)
    data = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="an NPZ file that can be read"):
        imported(tmp_path / "a.npz", tmp_path / "out")
