"""A run that the first format wrote is gone on with by every later version."""

import json
import shutil
from pathlib import Path

import pytest

import ipsdist as ips

FIXTURE = Path(__file__).parents[1] / "data" / "format1_run"


def test_a_run_of_format_1_goes_on(tmp_path):
    """Its stages are taken as done but for the kernel, whose rule has changed since; the answer is the same."""
    out = tmp_path / "run"
    shutil.copytree(FIXTURE, out)
    told = json.loads((FIXTURE / "result.json").read_text())["terms"]
    again = ips.run(out / "config.toml", out, draw=False)
    assert again.reused == ("particles", "densities", "equations")
    refit = ips.fit(out)
    (term,) = told
    assert refit.kernel.coefficients[0] == pytest.approx(term["coefficient"], rel=1e-9)
    assert refit.kernel.standard_errors[0] == pytest.approx(term["standard_error"], rel=1e-9)
