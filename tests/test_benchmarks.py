"""Every benchmark can be imported and explains itself; the table of the accuracy benchmark is computed right."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
SCRIPTS = sorted(p for p in FOLDER.glob("*.py") if not p.name.startswith("_"))

pytestmark = pytest.mark.skipif(not SCRIPTS, reason="the benchmarks are not beside the tests")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda s: s.stem)
def test_benchmarks_explain_themselves(script):
    """--help works without the peers that a benchmark compares with."""
    done = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout


def test_accuracy_table_counts(monkeypatch):
    """Hits, mean and RMSE in bounds, and coverage are those of the rows."""
    monkeypatch.syspath_prepend(FOLDER)
    spec = importlib.util.spec_from_file_location("accuracy", FOLDER / "accuracy.py")
    accuracy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(accuracy)
    errors = [0.01, -0.02, 0.06]
    rows = [
        {
            "experiment": "cubic",
            "seed": k,
            "right": True,
            "errors": {"r**2": e},
            "standard_errors": {"r**2": 0.01},
            "sigma2": [2.0 + 3 * e, 0.02],
            "confounded": [],
        }
        for k, e in enumerate(errors)
    ]
    wrong = {"right": False, "errors": {"r**2": -3.0}, "standard_errors": {}}
    rows.append({**rows[0], "seed": 3, **wrong, "sigma2": [2.0, None], "confounded": [["r", "r**2"]]})
    line, sigma2, groups = accuracy.table(rows).splitlines()[1:]
    assert "3 /  4" in line
    assert f"{np.mean(errors) / 0.01:.2f}" in line
    assert f"{np.sqrt(np.mean(np.square(errors))) / 0.01:.2f}" in line
    assert "1/ 3" in line
    assert "2/ 3" in line
    assert line.endswith(f"{np.std(np.array(errors) / 0.01):.2f}")
    assert "sigma^2" in sigma2
    assert f"{3 * np.mean(errors) / 0.02:.2f}" in sigma2
    assert "3 times nothing; 1 times r | r**2" in groups
