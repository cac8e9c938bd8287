"""Make format1_run, a run of format 1 that later versions go on with: `python -m tests.data.make_format1_run`."""

from pathlib import Path

import ipsdist as ips
from ipsdist.storage import FORMAT

PATH = Path(__file__).with_name("format1_run")
RUN_FILE = """
[system]
particles = 300
kernel = "3*r**2"
diffusion = 2.0
[time]
horizon = 0.1
step = 1e-3
observe_every = 5
[initial]
mixture = [{weight = 0.5, mean = 1.0, variance = 0.25}, {weight = 0.5, mean = -1.0, variance = 0.25}]
[grid]
lower = -5.0
upper = 5.0
cells = 40
[dictionary]
terms = ["r", "r**2"]
[fit]
prediction = "off"
"""


def main() -> None:
    if FORMAT != 1:
        raise SystemExit(f"this program writes format {FORMAT}; format1_run stays as it is")
    source = PATH.with_suffix(".toml")
    source.write_text(RUN_FILE)
    ips.run(source, PATH, draw=False)
    source.unlink()


if __name__ == "__main__":
    main()
