"""Two and three dimensions from particles to the page."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from ipsdist.config import resolve
from ipsdist.runs import pipeline

SMALL_SPACE = (
    "system.particles=2000",
    "time.horizon=0.04",
    "force.spacing=0.25",
    "grid.cells=[12, 12, 12]",
    'dictionary.terms=["r**2"]',
)


def test_three_dimensions_reach_the_page(tmp_path):
    """A small radial_3d: right within four standard errors, two views of the density, no band, and so said."""
    pipeline.run(resolve("radial_3d", SMALL_SPACE, seed=4), tmp_path / "out")
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    (term,) = result["terms"]
    assert term["name"] == "r**2"
    assert abs(term["coefficient"] - 3.0) < 4 * term["standard_error"] < 0.6
    assert result["nonparametric"] is None
    assert len(result["wasserstein2"]["values"]) == 11
    energy = result["free_energy"]["learnt"]
    assert all(after <= before + 1e-12 * max(1.0, abs(before)) for before, after in pairwise(energy))
    page = (tmp_path / "out" / "report.html").read_text()
    assert "In three dimensions a force mesh gives no band without a dictionary." in page
    for name in ("density_snapshots", "density_snapshots_side"):
        assert (tmp_path / "out" / "figures" / f"{name}.png").exists()


@pytest.mark.long
@pytest.mark.parametrize("name", ["radial_2d", "radial_2d_four", "radial_2d_ring"])
def test_the_plane_at_full_size(name, tmp_path):
    """20 000 particles in steps of 1e-3: the right term of eight, its error below 0.035 (published: 0.084)."""
    sets = ("time.step=1e-3", "time.observe_every=10", "grid.cells=[24, 24]")
    result = pipeline.run(resolve(name, sets, seed=5), tmp_path / "out", pipeline.Options(draw=False)).result
    assert [t["name"] for t in result["terms"]] == ["r**2"]
    assert abs(result["terms"][0]["coefficient"] - 3.0) < 0.035
