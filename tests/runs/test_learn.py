"""Learning from particles that others made: arrays and files, labelled and not."""

from __future__ import annotations

import dask.array
import numpy as np
import pytest
import xarray

import ipsdist as ips
from tests.references import prefix_sum_tracks


@pytest.fixture(scope="module")
def tracks():
    """Case cubic by NumPy alone: 5000 particles, 41 slices 0.01 apart."""
    return prefix_sum_tracks(particles=5000, steps=400, step=1e-3, every=10, seed=3)


def test_labelled_and_unlabelled_find_the_law(tracks):
    """Both find r**2 alone, the coefficient within 3 standard errors; labels add nothing to the action form."""
    times, positions = tracks
    labelled = ips.learn(positions, times, diffusion=2.0)
    shuffled = np.stack([np.random.default_rng(k).permutation(x) for k, x in enumerate(positions)])
    unlabelled = ips.learn(shuffled, times, diffusion=2.0, labelled=False)
    for outcome in (labelled, unlabelled):
        (term,) = outcome.result["terms"]
        assert term["name"] == "r**2"
        assert abs(term["coefficient"] - 3.0) < 3 * term["standard_error"]
    assert labelled.result["terms"] == unlabelled.result["terms"]


def test_the_kernel_is_a_function(tracks):
    """The outcome's kernel is callable, prints its formula and has a band around it."""
    times, positions = tracks
    kernel = ips.learn(positions, times, diffusion=2.0, terms=["r**2"]).kernel
    value, lower, upper = kernel.band(np.array([0.5, 1.0]))
    np.testing.assert_allclose(kernel(np.array([0.5, 1.0])), value)
    assert (lower < value).all()
    assert (value < upper).all()
    assert "r**2" in str(kernel)


def test_diffusion_is_estimated_from_labels(tracks):
    """Without sigma**2 the labelled displacements give it, free of the drift to first order, with an honest error."""
    times, positions = tracks
    found = ips.learn(positions, times, terms=["r**2"]).result["diffusion"]
    # Each slice gives (dX_1 - dX_2)^2 / 2D: variance 2 sigma^4, covariance sigma^4 / 2 with its neighbour.
    scatter = 2.0 * np.sqrt(3 / (5000 * 39))
    assert 0.9 * scatter < found["standard_error"] < 2 * scatter
    assert abs(found["value"] - 2.0) < 3 * found["standard_error"]


def test_arrays_of_other_libraries_give_the_same_bits(tracks):
    """(T, N) and (T, N, 1), NumPy, Dask and xarray arrays are one and the same."""
    times, positions = tracks
    expected = ips.learn(positions, times, diffusion=2.0).result["terms"]
    for array in (
        positions[..., None],
        dask.array.from_array(positions, chunks=(7, 1000)),
        xarray.DataArray(positions, dims=("time", "particle")),
    ):
        assert ips.learn(array, times, diffusion=2.0).result["terms"] == expected


def test_a_file_goes_the_same_way(tracks, tmp_path):
    """A run file with [data] source = "import" gives what the arrays give, and keeps a report."""
    times, positions = tracks
    np.savez(tmp_path / "tracks.npz", times=times, positions=positions)
    (tmp_path / "own.toml").write_text('[system]\ndiffusion = 2.0\n[data]\nsource = "import"\nfile = "tracks.npz"\n')
    outcome = ips.run(tmp_path / "own.toml", tmp_path / "out")
    assert outcome.result["terms"] == ips.learn(positions, times, diffusion=2.0).result["terms"]
    assert outcome.result["errors"]["support_correct"] is None
    assert (tmp_path / "out" / "report.html").exists()


def test_unlabelled_slices_without_sigma_need_the_weak_form(tracks):
    """The action form refuses unlabelled slices without sigma**2, naming the key."""
    times, positions = tracks
    with pytest.raises(ips.InputError, match=r"`system\.diffusion` is required by the action form without labels"):
        ips.learn(positions, times, labelled=False, settings={"fit": {"form": "action"}})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, x: (t[::-1], x), r"`positions` must have finite, increasing times; got times\[0\] = .*drop repeats"),
        (lambda t, x: (t[:1], x[:1]), r"`positions` must hold at least two slices; got 1"),
        (lambda t, x: (t, x[:, :1]), r"`positions` must hold at least two particles; got 1"),
        (lambda t, x: (t, np.where(x > 2.5, np.nan, x)), r"`positions` must hold finite positions; got \d+ particles"),
        (lambda t, x: (t, 0 * x), r"`positions` must hold positions that differ"),
        (lambda t, x: (t[:-1], x), r"`positions` must hold times \(T,\) and positions \(T, N, d\)"),
        (lambda t, x: (t, x.astype(str)), r"`positions: positions` must hold real numbers; got dtype"),
    ],
)
def test_arrays_that_cannot_be_used(tracks, change, message):
    """Each is refused in one line."""
    times, positions = change(*tracks)
    with pytest.raises(ips.InputError, match=message):
        ips.learn(positions, times, diffusion=2.0)


def test_a_kept_run_of_arrays_goes_on_without_them(tracks, tmp_path):
    """What learn kept in a directory can be fitted again: the store has the particles."""
    times, positions = tracks
    first = ips.learn(positions, times, diffusion=2.0, out=tmp_path / "own", draw=False)
    refit = ips.fit(tmp_path / "own", sets=["fit.criterion=bic"])
    assert str(refit.kernel) == str(first.kernel)
    other = ips.run(tmp_path / "own" / "config.toml", tmp_path / "own", sets=['dictionary.terms=["r**2"]'], draw=False)
    assert other.reused[:2] == ("particles", "densities")
    with pytest.raises(ips.InputError, match="another run"):
        ips.learn(positions + 1.0, times, diffusion=2.0, out=tmp_path / "own")


def test_an_import_outlives_its_file(tracks, tmp_path):
    """A run goes on after its file is gone; a file that changed is another run."""
    times, positions = tracks
    np.savez(tmp_path / "tracks.npz", times=times, positions=positions)
    (tmp_path / "own.toml").write_text('[system]\ndiffusion = 2.0\n[data]\nsource = "import"\nfile = "tracks.npz"\n')
    first = ips.run(tmp_path / "own.toml", tmp_path / "out", draw=False)
    np.savez(tmp_path / "tracks.npz", times=times, positions=positions + 0.5)
    with pytest.raises(ips.InputError, match="a file that it reads has changed"):
        ips.run(tmp_path / "own.toml", tmp_path / "out")
    (tmp_path / "tracks.npz").unlink()
    again = ips.run(tmp_path / "own.toml", tmp_path / "out", sets=["fit.criterion=bic"], draw=False)
    assert again.result["terms"] == first.result["terms"]


def test_a_mistyped_argument_names_the_nearest(tracks):
    """A keyword that is none is refused in one line."""
    times, positions = tracks
    with pytest.raises(ips.InputError, match=r"`difusion` is not a known argument; did you mean diffusion\?"):
        ips.learn(positions, times, difusion=2.0)
