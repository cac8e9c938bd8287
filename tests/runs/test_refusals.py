"""What cannot be afforded is refused before anything is spent: with both numbers, and with what would fit."""

from __future__ import annotations

import os
import re
import resource
import shutil
from collections import namedtuple

import dask
import pytest

import ipsdist as ips
from ipsdist.cli.app import main
from ipsdist.config import resolve
from ipsdist.model.errors import InputError
from ipsdist.runs import refusals
from ipsdist.runs.beforehand import foreseen
from ipsdist.runs.plan import planned
from ipsdist.runs.refusals import refuse_disk, refuse_memory
from ipsdist.runtime.epochs import Capacity
from ipsdist.runtime.memory import group_limits, memory_here
from ipsdist.stages.gang_size import PROCESS_BYTES, USABLE
from ipsdist.storage import place
from tests.runs.test_plan import GB, made


def refused(sets, capacity, here=100 * GB, local=False, source="cubic"):
    """Return the words with which a run is refused for its memory."""
    config, setup = made(*sets, source=source)
    with pytest.raises(InputError) as error:
        refuse_memory(planned(config, setup, capacity), config, setup, here, local=local)
    return str(error.value)


def number(text, pattern):
    """Return the number that stands in a text where the pattern has its group."""
    return float(re.search(pattern, text).group(1))


def test_a_replica_too_large_for_its_workers_is_refused():
    """With what it needs, what they have, and how many of them would do: so many then fit, one less does not."""
    sets = ["system.particles=2000000000"]
    said = refused(sets, Capacity(4, GB))
    assert said.startswith("`--workers` must each have the memory of a task; got ")
    assert re.search(
        r"for a share of the particles \(.*, the program and 6 % to spare\), against 1 GB of each of 4 work", said
    )
    count = int(number(said, r"; (\d+) workers like these would fit"))
    config, setup = made(*sets)
    fits = [planned(config, setup, Capacity(n, GB)).worker_bytes <= USABLE * GB for n in (count - 1, count)]
    assert fits == [False, True]


def test_fewer_processes_of_this_machine_would_fit():
    """They share its memory."""
    here = 8 * GB
    said = refused(["time.observe_every=10"], Capacity(16, here // 16), here, local=True, source="radial_3d")
    fewer = int(number(said, r"--workers (\d+) would fit$"))
    assert re.search(r"for a task of the equations \(.*to spare\), against 500 MB of each of 16 workers", said)
    config, setup = made("time.observe_every=10", source="radial_3d")
    for count, fits in ((fewer, True), (fewer + 1, False)):
        plan = planned(config, setup, Capacity(count, here // count))
        assert (plan.worker_bytes <= USABLE * (here // count)) == fits


def test_a_system_too_large_for_this_process_is_refused():
    """The largest number of particles that fits is said, and half the bytes of each where that is enough."""
    sets = ["system.particles=300000000"]
    said = refused(sets, Capacity(1, None), 6 * GB, local=True)
    assert said.startswith("`system.particles` must fit the memory of this machine; got ")
    assert 'run.precision = "float32" would fit, or system.particles = ' in said
    particles = int(number(said, r"system\.particles = (\d+) would fit"))
    config, setup = made(f"system.particles={particles}")
    refuse_memory(planned(config, setup, Capacity(1, None)), config, setup, 6 * GB, local=True)


def test_a_selection_too_large_for_the_driver_is_refused():
    """By the number of terms that it can hold."""
    terms = 'dictionary.terms=["1","r","r**2","r**3","r**4","sin(r)","cos(r)","exp(-r)"]'
    said = refused([terms, "fit.network=off"], Capacity(2, GB), GB, source="consensus")
    count = int(number(said, r"; at most (\d+) terms would fit$"))
    assert said.startswith("`dictionary.terms` must leave a selection that this machine can hold; got ")
    assert 4 <= count < 8


def test_unknown_memory_is_not_refused():
    """Of workers elsewhere that say nothing of theirs, nothing is known."""
    config, setup = made("system.particles=2000000000")
    refuse_memory(planned(config, setup, Capacity(4, None)), config, setup, GB, local=False)


def test_a_store_too_large_for_its_disk_is_refused(tmp_path, monkeypatch):
    """With both numbers; what a run that goes on has written already is not asked for again."""
    config, setup = made()
    plan = planned(config, setup, Capacity(1, None))
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(GB, GB - 10**6, 10**6))
    with pytest.raises(
        InputError, match=r"`--out` must be on a disk with room for the store; got about .* MB for 980 kB"
    ):
        refuse_disk(plan, place(tmp_path / "new" / "run"))
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "chunk").write_bytes(bytes(plan.store_bytes))
    refuse_disk(plan, place(tmp_path / "old"))
    refuse_disk(plan, place("memory://run"))


def test_memory_here_is_a_limit_that_holds(monkeypatch):
    """At most that of the machine; a limit of this process counts."""
    assert PROCESS_BYTES < memory_here() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (PROCESS_BYTES, resource.RLIM_INFINITY))
    assert memory_here() == PROCESS_BYTES


@pytest.mark.parametrize(
    ("own", "limits", "lowest"),
    [
        ("0::/slurm/job_7/step\n", {"slurm/memory.max": "900", "slurm/job_7/memory.max": "300"}, 300),
        ("0::/a/b\n", {"memory.max": "200", "a/memory.max": "300", "a/b/memory.max": "max"}, 200),
        ("4:memory:/job\n0::/\n", {"memory/job/memory.limit_in_bytes": "150", "job/memory.max": "1"}, 150),
        ("5:cpuset,memory:/other\n", {"memory/memory.limit_in_bytes": "77"}, 77),
    ],
)
def test_limits_of_control_groups_within_others_count(own, limits, lowest, tmp_path):
    """Those of all groups from that of the process up to the root, of both versions; of no other."""
    (tmp_path / "own").write_text(own)
    for name, text in limits.items():
        (tmp_path / "groups" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "groups" / name).write_text(text)
    assert min(group_limits(tmp_path / "groups", tmp_path / "own")) == lowest


def test_memory_that_is_set_is_what_must_be_set_otherwise(capsys):
    """Fewer workers would not have more; a plan with --worker-memory blames that, and has one number for one need."""
    with dask.config.set({"ipsdist.local.memory": "200 MB"}):
        said = refused([], Capacity(2, GB // 5), 8 * GB, local=True)
    assert re.search(r'; ipsdist\.local\.memory = "[\d.]+ MB" would fit$', said)
    assert main(["plan", "cubic", "--worker-memory", "200 MB"]) == 2
    out, err = capsys.readouterr()
    assert err.startswith("error: `--worker-memory` must be the memory of a task; got ")
    assert "against 200 MB of the worker; " in err
    assert re.search(r"a worker needs ([\d.]+ MB)", out).group(1) == re.search(r"got ([\d.]+ MB)", err).group(1)


@pytest.fixture
def small_machine(monkeypatch):
    """Let this machine have 8 GB, however large it is."""
    monkeypatch.setattr(refusals, "memory_here", lambda: 8 * GB)


def test_a_refused_run_leaves_nothing(small_machine, tmp_path, capsys):
    """Exit code 2, one line, no directory."""
    words = ["run", "cubic", "--out", str(tmp_path / "out"), "--set", "system.particles=2000000000"]
    words += ["--set", "run.precision=float64"]
    assert main(words) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_what_is_foreseen_is_what_a_run_meets(small_machine, tmp_path):
    """The same words from the plan and from the run."""
    config = resolve("cubic", ["system.particles=2000000000"])
    _, refusal = foreseen(config, Capacity(1, None), place(tmp_path), local=True)
    with pytest.raises(ips.InputError) as error:
        ips.run("cubic", tmp_path / "out", sets=["system.particles=2000000000"])
    assert str(error.value) == str(refusal)
