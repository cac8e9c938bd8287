"""How many workers step one replica: rules, limits, and memory that is measured."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from ipsdist.config import resolve
from ipsdist.runs.inputs import Inputs
from ipsdist.runs.setup import prepare
from ipsdist.runtime.epochs import Capacity
from ipsdist.stages.gang_size import PROCESS_BYTES, USABLE, fewest_members, gang_size, member_bytes
from ipsdist.stages.initial import precision_of
from ipsdist.stages.parts import CHUNK_BYTES, parts_of

GB = 10**9


def _case(*sets):
    config = resolve("cubic", sets)
    return config, prepare(config, Inputs())


@pytest.mark.parametrize(
    ("sets", "workers", "wanted", "expected"),
    [
        (("system.particles=10000000",), 2, None, 2),
        (("system.particles=10000000",), 64, None, 64),
        (("system.particles=200000",), 64, None, 3),  # each has at least 2**16 coordinates
        (("system.particles=20000",), 2, None, 1),
        (("system.particles=20000",), 2, 2, 2),
        (("system.particles=20000",), 2, 5, 2),
        (("system.particles=10000000",), 2, 1, 1),
        (("system.particles=10000000", "system.replicas=2"), 2, None, 1),
        (("system.particles=10000000", "system.replicas=2"), 3, None, 3),
        (("system.particles=200000", "system.replicas=2"), 64, None, 3),
        (("system.particles=200000", "system.replicas=3"), 64, None, 1),  # gangs take turns: 3 at once are as quick
        (("system.particles=10000000", "force.method=prefix"), 2, None, 1),
        (("system.particles=10000000", "force.method=prefix"), 2, 2, 1),
        (("system.particles=250",), 2, 2, 1),
    ],
)
def test_who_gets_a_gang(sets, workers, wanted, expected):
    """Few replicas of many particles do, or who asks for it; exact forces and few particles never."""
    config, setup = _case(*sets)
    assert gang_size(config, setup, Capacity(workers, None), wanted) == expected


def test_memory_makes_a_gang():
    """Replicas that do not fit one worker get as many as they need, however many replicas there are."""
    config, setup = _case("system.particles=100000000", "run.precision=float32", "system.replicas=8")
    needed = fewest_members(config, setup, GB)
    assert needed == 2
    assert gang_size(config, setup, Capacity(4, GB)) == 4
    assert gang_size(config, setup, Capacity(4, 10 * GB)) == 1
    for particles in (3 * 10**8, 10**9):
        larger = replace(setup, particles=particles)
        needed = fewest_members(config, larger, GB)
        fits = [PROCESS_BYTES + member_bytes(config, larger, n) <= USABLE * GB for n in (needed - 1, needed)]
        assert fits == [False, True]
    assert fewest_members(config, setup, PROCESS_BYTES) is None


@pytest.mark.parametrize("sets", [(), ("time.positions_at=[0.0]",), ("run.precision=float32",)])
@pytest.mark.parametrize("particles", [7, 1000, 10**6 + 1, 10**8, 2**31 - 1])
@pytest.mark.parametrize("members", [1, 2, 3, 48, 1024])
def test_parts_cover_all_in_whole_chunks(sets, particles, members):
    """Every particle has one owner, parts are whole small chunks of whole Philox blocks, and as even as can be."""
    config, setup = _case(*sets)
    parts = parts_of(config, replace(setup, particles=particles), members)
    assert parts.rows % parts.chunk == 0 == parts.rows % 4
    assert parts.chunk * precision_of(config).itemsize <= CHUNK_BYTES + 64
    bounds = [parts.of(rank) for rank in range(members)]
    assert [a for a, _ in bounds] == [0, *(b for _, b in bounds[:-1])]
    assert bounds[-1][1] == particles
    if not config.time.positions_at:
        assert parts.rows < particles / members + 4 + 4 * -(-parts.rows // parts.chunk)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of a process from /proc")
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_memory_is_what_is_said(tmp_path, precision):
    """A labelled replica of four million particles, in epochs of one step, stays within what `member_bytes` says."""
    code = """
import json, sys
from tests.stages.replicas import begun, drive
from ipsdist.config import resolve
from ipsdist.stages.gang_size import member_bytes
from ipsdist.stages.base import setup_of
from pathlib import Path
import psutil
def go(particles, name):
    sets = [f"system.particles={particles}", "time.step=1e-5", "time.horizon=6e-5", "time.observe_every=2"]
    config = resolve("cubic", [*sets, "run.precision=" + sys.argv[2], "force.spacing=0.01"])
    store = begun(Path(sys.argv[1]) / name, config)
    drive(store, config, [(1, particles, "")])
    return member_bytes(config, setup_of(store), 1)
go(20000, "small")
Path('/proc/self/clear_refs').write_text('5')  # the peak begins anew: compiling has had a higher one
before = psutil.Process().memory_info().rss
said = go(4000000, "large")
lines = Path('/proc/self/status').read_text().splitlines()
peak = next(1024 * int(line.split()[1]) for line in lines if line.startswith('VmHWM'))
print(json.dumps([peak - before, said]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), precision], check=True, capture_output=True, text=True, timeout=120
    )
    taken, said = json.loads(done.stdout)
    positions = 3 * 4_000_000 * (4 if precision == "float32" else 8)
    assert positions / 2 < taken < said < 2.5 * positions
