"""The plan: what a run takes, said before it is spent, near to what it then takes; and refusals with both numbers."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ipsdist import runs
from ipsdist.cli.app import main
from ipsdist.config import resolve
from ipsdist.learning.network import network_installed
from ipsdist.model.errors import InputError
from ipsdist.model.words import size
from ipsdist.runs.inputs import read_inputs
from ipsdist.runs.plan import duration, planned
from ipsdist.runs.plan_sizes import driver_bytes, step_traffic
from ipsdist.runs.refusals import refuse_memory
from ipsdist.runs.setup import prepare
from ipsdist.runtime.epochs import Capacity
from ipsdist.stages.gang_size import PROCESS_BYTES, USABLE
from tests.runs.samples import write

GB = 1_000_000_000
STAGES = ["particles", "densities", "equations", "kernel"]


def made(*sets, source="cubic"):
    """Return configuration and setup of a case."""
    config = resolve(source, sets)
    return config, prepare(config, read_inputs(config))


# What it says


def test_every_stage_has_tasks_bytes_and_seconds():
    """The stages in order; work grows as the particles do, and a whole run is the sum of its stages."""
    plan, tenfold = (runs.plan(resolve("cubic", [f"system.particles={n}"])) for n in (10**6, 10**7))
    assert [row.stage for row in plan.rows] == STAGES
    assert all(row.tasks >= 1 and row.cpu_seconds > 0 and row.store_bytes > 0 for row in plan.rows)
    assert plan.store_bytes == sum(row.store_bytes for row in plan.rows)
    assert 8 < tenfold.rows[0].cpu_seconds / plan.rows[0].cpu_seconds < 12
    assert tenfold.rows[0].bytes_per_task > 3 * plan.rows[0].bytes_per_task
    assert "34 tasks" in plan.line()
    assert "on one core" in plan.line()
    assert len(plan.text().splitlines()) == 7


def test_workers_share_the_work_of_a_replica_that_is_large():
    """A gang of all workers: less memory each, less time; what each sends a step is the counts of the whole mesh."""
    config, setup = made("system.particles=10000000")
    alone, four = (planned(config, setup, Capacity(n, 8 * GB)) for n in (1, 4))
    assert (alone.gang, four.gang) == (1, 4)
    assert alone.traffic == 0
    assert four.traffic == step_traffic(setup, 4) > 8 * 1000
    assert four.worker_bytes < alone.worker_bytes
    assert alone.seconds / 4 < four.seconds < alone.seconds / 2
    assert "stepped by 4 workers together" in four.text()
    assert "by 4 workers together" in four.line()


def test_replicas_are_shared_out_whole():
    """Eight small replicas on four workers take two turns of each."""
    config, setup = made("system.replicas=8")
    row = planned(config, setup, Capacity(4, 8 * GB)).rows[0]
    assert (row.tasks, row.gang) == (8, 1)
    assert row.seconds(4) == pytest.approx(row.cpu_seconds / 4)
    assert row.seconds(3) == pytest.approx(row.cpu_seconds * 3 / 8)


def test_workers_share_the_cores_of_this_machine():
    """Eight workers on two cores are no faster than two; what one worker does by itself is not slowed."""
    config, setup = made("system.replicas=8")
    two, eight = (planned(config, setup, Capacity(n, 8 * GB), cores=2) for n in (2, 8))
    assert eight.seconds == pytest.approx(two.seconds, rel=0.05)
    assert planned(config, setup, Capacity(8, 8 * GB)).seconds < two.seconds
    config, setup = made()
    row = planned(config, setup, Capacity(8, 8 * GB), cores=2).rows[0]
    assert row.abreast(8) == 1


def test_traffic_is_the_lesser_of_two_ways_to_add_up():
    """Doubling sends the vector once a round, halving and gathering at most twice in all."""
    _, setup = made()
    one = step_traffic(setup, 2)
    assert [step_traffic(setup, n) / one for n in (1, 2, 64)] == [0, 1, pytest.approx(2 * 63 / 64, rel=1e-3)]


def test_break_points_are_a_matter_of_memory():
    """The parts of K terms at M nodes make a Gram of (M K)^2 numbers, a few times over."""
    few, many = (
        driver_bytes(*made(f"dictionary.terms={terms}", "fit.network=off", source="consensus"))
        for terms in ('["1","r"]', '["1","r","r**2","r**3","sin(r)","cos(r)","exp(r)","exp(-r)"]')
    )
    assert many > 3 * 8 * (768 * 8) ** 2
    assert 4 * few < many < 16 * few


def test_only_what_is_lacking_is_planned():
    """A run goes on with the stages that it has not done yet."""
    config, setup = made()
    plan = planned(config, setup, Capacity(1, None), ("equations", "kernel"), report=False)
    assert [row.stage for row in plan.rows] == ["equations", "kernel"]
    assert plan.seconds < runs.plan(config).seconds - 3


@pytest.mark.parametrize("particles", [20_000, 10**9])
def test_memory_is_one_figure(particles, tmp_path):
    """The table says how it comes from the largest task or the driver; line, table and refusal have the same."""
    config, setup = made(f"system.particles={particles}")
    alone = planned(config, setup, Capacity(1, None))
    figure = re.search(r"^memory ([\d.]+ [MG]B) \((.*) for .*, 250 MB for the program", alone.text(), re.MULTILINE)
    assert f"; memory {figure[1]}; " in alone.line()
    kernel, task = alone.driver_bytes, max(row.bytes_per_task for row in alone.rows[:3])
    large = particles == 10**9
    assert figure[2] == size(task if large else kernel)
    assert figure[1] == size((task + PROCESS_BYTES) / USABLE if large else kernel + PROCESS_BYTES)
    if large:
        with pytest.raises(
            InputError, match=rf"got {figure[1]} for a task of the particles \({size(task)}, the program"
        ):
            refuse_memory(alone, config, setup, GB, local=True)


def test_chunks_that_are_too_small_are_doubted(capsys):
    """One line with how much longer a step takes; the seconds of the plan have it; nothing where it does not matter."""
    usual, four = (runs.plan(resolve("cubic", [f"run.chunk={c}"])) for c in ('"auto"', 1))
    assert four.rows[0].cpu_seconds > 50 * usual.rows[0].cpu_seconds
    assert main(["plan", "cubic", "--set", "run.chunk=1"]) == 0
    (line,) = [row for row in capsys.readouterr().out.splitlines() if row.startswith("doubt")]
    assert 50 < float(re.search(r"run\.chunk = 1 makes a step about (\d+) times as long", line)[1]) < 1000
    for chunk in (4096, 10**6, '"auto"'):
        assert main(["plan", "cubic", "--set", f"run.chunk={chunk}"]) == 0
        assert "doubt" not in capsys.readouterr().out


def test_numbers_are_for_people():
    """Three digits and a unit."""
    assert [size(n) for n in (12, 3_450, 2.5e9, 7e15)] == ["12 B", "3.45 kB", "2.5 GB", "7e+03 TB"]
    said = [duration(s) for s in (0.04, 7.4, 100, 4000, 9e3, 1e6, 1e9)]
    assert said == ["0.04 s", "7 s", "100 s", "66.7 min", "2.5 h", "11.6 days", "31.7 years"]


# What it then takes

_RUN = """
import json, re, resource, sys, time
from pathlib import Path
from ipsdist import runs
from ipsdist.config import resolve
runs.run(resolve(sys.argv[1], json.loads(sys.argv[3])), Path(sys.argv[2]))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
if Path("/proc/self/status").exists():  # what the parent had when it forked counts above, but not here
    peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
print(json.dumps([time.process_time(), peak]))
"""


@pytest.mark.parametrize(
    ("source", "sets"),
    [
        ("cubic", ["system.particles=300000", "time.horizon=0.05"]),
        ("radial_2d", ["system.particles=100000", "time.horizon=0.01", "time.observe_every=10"]),
    ],
)
def test_a_plan_is_near_the_truth(source, sets, tmp_path):
    """Seconds within a factor of four (a busy machine), memory and store within two (benchmarks/plan.py)."""
    plan = runs.plan(resolve(source, sets))
    words = [sys.executable, "-c", _RUN, source, str(tmp_path / "out"), json.dumps(sets)]
    done = subprocess.run(words, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True)
    cpu, peak = json.loads(done.stdout.splitlines()[-1])
    store = sum(f.stat().st_size for f in (tmp_path / "out" / "store.zarr").rglob("*") if f.is_file())
    assert plan.cpu_seconds / 4 < cpu < plan.cpu_seconds * 4
    assert plan.peak_bytes / 2 < peak < plan.peak_bytes * 2
    assert plan.store_bytes / 2 < store < plan.store_bytes * 2


def test_the_rows_of_the_benchmark_are_planned_right(monkeypatch, tmp_path):
    """Over cases, forms and sizes: seconds within a factor of two, memory never far too little."""
    folder = Path(__file__).parents[2] / "benchmarks"
    if not (folder / "plan.py").exists():
        pytest.skip("the benchmarks are not beside the tests")
    monkeypatch.syspath_prepend(folder)
    spec = importlib.util.spec_from_file_location("benchmark_of_plans", folder / "plan.py")
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    rows = benchmark.load(Path(__file__).parents[1] / "data" / "plan.jsonl")
    assert len(rows) > 20
    for row in rows:
        if row["name"] in ("polarization", "consensus, 6 terms") and not network_installed():
            continue
        source, sets = benchmark.case(row["name"], tmp_path)
        plan = runs.plan(resolve(source, sets))
        assert 0.5 < plan.cpu_seconds / (row["cpu"] * row["speed"]) < 2.0, row["name"]
        assert 0.75 < plan.peak_bytes / row["peak"] < 2.2, row["name"]
        assert 0.5 < plan.store_bytes / sum(row["store"].values()) < 2.0, row["name"]


# Imports


def test_an_import_is_planned(tmp_path, capsys):
    """From the store that the import filled; the run that follows finds what the plan said."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 400, 1)) + np.cumsum(rng.normal(0, 0.05, (30, 400, 1)), axis=0)
    np.savez(tmp_path / "tracks.npz", times=np.arange(30) * 0.01, positions=x)
    assert main(["import", str(tmp_path / "tracks.npz"), str(tmp_path / "mine")]) == 0
    capsys.readouterr()
    assert main(["plan", str(tmp_path / "mine" / "config.toml")]) == 0
    assert capsys.readouterr().out.split("\n")[1].split()[:2] == ["particles", "1"]
    assert sorted(p.name for p in (tmp_path / "mine").iterdir()) == ["config.toml", "store.zarr"]


def test_a_file_of_arrays_is_planned_too(tmp_path):
    """Before anything is imported: the positions it will keep are in the store's bytes."""
    x = np.random.default_rng(0).normal(size=(20, 1000, 1))
    np.savez(tmp_path / "x.npz", times=np.arange(20) * 0.01, positions=x)
    (tmp_path / "x.toml").write_text(f'[data]\nsource = "import"\nfile = "{tmp_path}/x.npz"\n')
    assert runs.plan(resolve(tmp_path / "x.toml")).rows[0].store_bytes > x.nbytes


# The command


def test_a_run_says_its_plan_first(tmp_path, capsys):
    """One line on stderr before the first stage; nothing when quiet, nothing where nothing is left to do."""
    words = ["run", str(write(tmp_path)), "--out", str(tmp_path / "out")]
    assert main(words) == 0
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("plan       ")
    assert "tasks; memory " in said[0]
    assert said[1].startswith("particles")
    assert main(words) == 0
    assert "plan" not in capsys.readouterr().err
    assert main(["fit", str(tmp_path / "out"), "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_the_command_refuses_after_its_table(capsys):
    """What does not fit is shown all the same; exit code 2."""
    words = ["plan", "cubic", "--set", "system.particles=2000000000", "--workers", "4", "--worker-memory", "1 GB"]
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert re.search(r"a worker needs [\d.]+ GB and has 1 GB", out)
    assert re.search(r"\d+ workers like these would fit", err)


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (["--workers", "0"], "`--workers` must be at least 1; got 0"),
        (["--worker-memory", "much"], "`--worker-memory` must be a number of bytes; got much"),
        (["--worker-memory", "-1"], "`--worker-memory` must be a number of bytes; got -1"),
        (["--cluster", "slrum"], "`--cluster` must be one of local, slurm"),
        (["--cluster", "slurm"], "`--cluster` must have a number of workers to plan for; got slurm"),
        (["--cluster", "slurm", "--scheduler", "tcp://x:1"], "`--cluster` cannot be combined with `--scheduler`"),
    ],
)
def test_workers_that_cannot_be(words, rule, capsys):
    """One line, exit code 2, nothing started."""
    assert main(["plan", "cubic", *words]) == 2
    assert rule in capsys.readouterr().err


def test_a_cluster_is_planned_without_being_started(monkeypatch, capsys):
    """Workers and memory are those of Dask's configuration."""
    import dask

    slurm = {"workers": 6, "cores": 4, "memory": "16 GB"}
    with dask.config.set({"ipsdist.cluster.slurm": slurm, "jobqueue.slurm": None}):
        assert main(["plan", "cubic", "--cluster", "slurm"]) == 0
    out = capsys.readouterr().out
    assert "has 4 GB" in out
    assert "on 6 workers" in out


def test_info_needs_a_run(tmp_path):
    """A directory that is none is refused."""
    with pytest.raises(InputError, match="`DIR` must be the directory of a run"):
        runs.info(Path(tmp_path))
