"""Small studies: seconds each."""

from __future__ import annotations

from pathlib import Path

SMALL = """
name = "small"
case = "small1.toml"
seeds = 2
columns = ["condition", "free_energy.data.last"]

[set]
system.particles = 600
time.horizon = 0.1
time.positions_at = []
grid.cells = 60

[[vary]]
key = "fit.every"
values = [1, 5]

[[vary]]
key = "density.bandwidth"
values = ["scott", 0.2]

[[plot]]
name = "w2"
x = "density.bandwidth"
y = "wasserstein2.values.max"
by = ["fit.every"]

[[plot]]
name = "over_time"
kind = "curve"
x = "wasserstein2.times"
y = "wasserstein2.values"

[[plot]]
name = "coefficients"
kind = "terms"
"""


def write(folder: Path, text: str = SMALL) -> Path:
    """Write a study file beside the small run file."""
    from tests.runs import samples

    samples.write(folder)
    path = folder / "study.toml"
    path.write_text(text)
    return path


def cells(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """Return the rows without what the clock says."""
    return [{k: v for k, v in row.items() if not k.startswith("cpu_seconds")} for row in rows]
