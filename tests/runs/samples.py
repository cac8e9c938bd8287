"""Small runs that the tests share: seconds each, every stage of the road."""

from __future__ import annotations

from pathlib import Path
from typing import Any

SMALL = {
    1: """
[system]
particles = 2000
kernel = "3*r**2"
diffusion = 2.0
[time]
horizon = 0.2
step = 1e-3
observe_every = 2
positions_at = [0.0, 0.1]
[initial]
mixture = [{weight = 0.5, mean = 1.0, variance = 0.25}, {weight = 0.5, mean = -1.0, variance = 0.25}]
[grid]
lower = -5.0
upper = 5.0
cells = 80
[dictionary]
terms = ["1", "r", "r**2", "r**3"]
""",
    2: """
[system]
dimension = 2
particles = 1000
replicas = 2
kernel = "3*r**2"
diffusion = 2.0
[time]
horizon = 0.1
step = 1e-3
observe_every = 2
[initial]
uniform = {lower = -1.5, upper = 1.5}
[grid]
lower = -4.0
upper = 4.0
cells = 32
[dictionary]
terms = ["r", "r**2"]
""",
}


def write(folder: Path, dimension: int = 1) -> Path:
    """Write the small run file of a dimension."""
    path = folder / f"small{dimension}.toml"
    path.write_text(SMALL[dimension])
    return path


def answer(result: dict[str, Any]) -> dict[str, Any]:
    """Return what must be the same bits whoever did the work: everything but cost and the number of workers."""
    return {key: value for key, value in result.items() if key not in ("cost", "workers")}


BOX = ("system.particles=1000", "initial.uniform={lower=-1.5,upper=1.5}", "system.diffusion=1.0")
NARROW = ("system.particles=500", "system.diffusion=0.5", "system.replicas=2", "time.observe_every=5")
FINE = 'dictionary.terms=["r","r**2","cos(20*r)"]'
EXPERIMENTS = {  # seed and settings of runs that are pooled
    "clouds": (1, ()),
    "box": (2, (*BOX, "time.observe_every=4")),
    "narrow": (3, NARROW),
    "close": (10, ("system.particles=500", FINE)),
    "linear": (4, ("system.kernel=3*r", "system.particles=1000")),
    "twin": (1, ("system.particles=500",)),
    "exponential": (2, (*BOX, "time.observe_every=4", 'dictionary.terms=["r**2","exp(-r)"]')),
    "far": (5, ("time.observe_every=50", FINE)),
    "drift": (6, ("system.particles=500", "dictionary.drift=true")),
    "strong": (7, ("system.particles=500", "fit.form=strong")),
    "likelihood": (8, ("system.particles=500", "fit.form=likelihood", "time.observe_every=1")),
    "phases": (9, ("system.particles=500", "fit.selection=two_phase")),
}
