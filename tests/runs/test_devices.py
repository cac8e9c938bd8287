"""A GPU that is asked for and not there is refused before anything is written; one that is there is said."""

from __future__ import annotations

import os
from dataclasses import replace
from types import SimpleNamespace

import dask
import pytest

import ipsdist as ips
from ipsdist.arrays import NoDeviceError
from ipsdist.cli.app import main
from ipsdist.config import resolve
from ipsdist.model.errors import InputError
from ipsdist.numerics.particles import device_check
from ipsdist.runs import refusals
from ipsdist.runs.beforehand import foresee, foreseen
from ipsdist.runs.devices import ask
from ipsdist.runs.fingerprints import fingerprints
from ipsdist.runs.info import info
from ipsdist.runs.inputs import read_inputs
from ipsdist.runs.order import STAGES
from ipsdist.runs.setup import prepare
from ipsdist.runtime.epochs import Capacity
from ipsdist.runtime.executor import SerialExecutor
from ipsdist.stages import devices
from ipsdist.stages.device_plan import device_plan
from ipsdist.stages.devices import Card
from ipsdist.storage import place
from tests.host_device import COMPILER, HostDevice
from tests.runs.samples import write
from tests.runs.test_bits import arrays as stored
from tests.runs.test_plan import made

GB = 10**9
ALL = tuple(stage.name for stage in STAGES)
H200 = Card("NVIDIA H200", 139 * GB)
NO_GPU = 'must find a GPU where the particles are stepped; got "gpu", but '
FIX = '; use run.device = "auto", or see docs/gpu.md'


@pytest.fixture(autouse=True)
def found(monkeypatch):
    """Return what this process finds, to be set: None, a name of what is missing, or bytes that are free."""
    seen = SimpleNamespace(free=None)

    def find():
        if seen.free is None:
            raise NoDeviceError("CuPy is not installed")
        return SimpleNamespace(name=H200.name, free_bytes=lambda: seen.free)

    monkeypatch.setattr(devices, "find_device", find)
    monkeypatch.setattr(device_check, "check", lambda device, dimension, dtype: None)
    monkeypatch.setattr(refusals, "memory_here", lambda: 400 * GB)
    monkeypatch.setattr(refusals, "refuse_disk", lambda plan, out: None)
    devices._first.cache_clear()
    yield seen
    devices._first.cache_clear()


class Workers(SerialExecutor):
    """An executor with workers elsewhere that answer as it is told."""

    name = "slurm"
    elsewhere = True

    def __init__(self, *answers, memory=400 * GB):
        super().__init__()
        self.answers, self.workers = answers, len(answers)
        self.capacity = Capacity(len(answers), memory)

    def everywhere(self, function, *arguments):
        """Answer by name."""
        assert (function, arguments) == (devices.card_here, ())
        return {f"worker {chr(97 + k)}": answer for k, answer in enumerate(self.answers)}


class Local(SerialExecutor):
    """Workers of this machine."""

    def __init__(self, name, workers):
        super().__init__()
        self.name, self.workers, self.capacity = name, workers, Capacity(workers, 8 * GB)


def told(executor, *sets, stages=ALL):
    """Return what a run says before it begins."""
    config, setup = made(*sets)
    lines = []
    foresee(config, setup, stages, executor, place("memory://out"), lines.append, report=True)
    return lines


def refused(executor, *sets):
    with pytest.raises(InputError) as error:
        told(executor, *sets)
    return str(error.value)


# A GPU that is not there


def test_it_is_refused_and_nothing_is_written(tmp_path, capsys):
    """One line, exit code 2."""
    source, out = write(tmp_path), tmp_path / "runs" / "out"
    assert main(["run", str(source), "--out", str(out), "--device", "gpu"]) == 2
    assert capsys.readouterr().err == f"error: `run.device` {NO_GPU}CuPy is not installed{FIX}\n"
    assert sorted(os.listdir(tmp_path)) == [source.name]


def test_auto_is_the_cpu_then(tmp_path):
    """Without a word; the answer and `info` say what stepped."""
    outcome = ips.run(write(tmp_path), tmp_path / "out", draw=False)
    assert outcome.result["device"] == "cpu"
    assert info(tmp_path / "out")["device"] == "cpu"
    assert len(told(SerialExecutor())) == 1


def test_a_plan_is_shown_all_the_same(capsys):
    """Its table, then the refusal that the run would meet."""
    assert main(["plan", "cubic", "--device", "gpu"]) == 2
    out, err = capsys.readouterr()
    assert out.startswith("stage ")
    assert "store about" in out
    assert err == f"error: `run.device` {NO_GPU}CuPy is not installed{FIX}\n"


def test_workers_that_are_not_there_are_not_asked(capsys):
    """A plan for them says so."""
    assert main(["plan", "cubic", "--device", "gpu", "--worker-memory", "4 GB"]) == 0
    assert "\ndevice gpu, which the workers are asked for when the run begins\n" in capsys.readouterr().out
    assert main(["plan", "cubic", "--worker-memory", "4 GB"]) == 0
    assert "device" not in capsys.readouterr().out


def test_stages_without_particles_need_none(tmp_path):
    """What a GPU has stepped is fitted anywhere: nothing is looked for where the particles are there."""
    source = write(tmp_path)
    ips.run(source, tmp_path / "out", draw=False)
    ips.run(source, tmp_path / "out", sets=["run.device=gpu", "fit.criterion=bic"], draw=False)
    assert main(["fit", str(tmp_path / "out"), "-q", "--set", "run.device=gpu"]) == 0
    assert ask(resolve("cubic", ["run.device=gpu"]), ALL[1:], Workers("no GPU was found")).without == {}


def test_workers_without_one_are_named(found):
    """Three of them, the others by number; and why. It counts what they have, not what this process has."""
    found.free = 139 * GB
    said = refused(Workers(H200, "no GPU was found", OSError("no answer in 30 s")), "run.device=gpu")
    theirs = "worker b says: no GPU was found, worker c does not answer (OSError: no answer in 30 s)"
    assert said == f"`run.device` {NO_GPU}{theirs}{FIX}"
    said = refused(Workers(*["no GPU was found"] * 9), "run.device=gpu")
    assert "worker c says: no GPU was found, and 6 more workers; use" in said


def test_workers_that_take_no_tasks_need_none():
    """Of a mixed cluster, some are asked that lack the resources of our tasks."""
    with dask.config.set({"ipsdist.resources": {"GPU": 1}}):
        assert len(told(Workers(H200, "no GPU was found"), "run.device=gpu")) == 2
        assert "worker a says" in refused(Workers("no GPU was found"), "run.device=gpu")


def test_forces_that_a_gpu_has_not(found):
    """Refused where it was asked for; auto steps them on the CPU."""
    found.free = 139 * GB
    said = refused(SerialExecutor(), "force.method=prefix", "run.device=gpu")
    rule = 'must be auto or mesh on a GPU, or direct with force.device = "gpu"'
    assert said == f'`force.method` {rule}; got prefix; choose that, or run.device = "auto"'
    assert len(told(SerialExecutor(), "force.method=prefix")) == 1


# What is said of one that is there


def test_a_run_says_where_it_steps(found):
    """In a line after its plan: which card, how much of it, and how."""
    found.free = 139 * GB
    plan, device = told(SerialExecutor(), "system.particles=1000000000")
    assert plan.startswith("plan       ")
    assert device == "device     NVIDIA H200: 24 GB of 139 GB free, resident; times are those of a CPU"
    found.free = 5 * GB
    _, device = told(SerialExecutor(), "system.particles=1000000000")
    text = "device     NVIDIA H200: 403 MB of 5 GB free, streamed from the host, 8388608 particles at a time; times"
    assert device.startswith(text)
    assert len(told(SerialExecutor(), "run.device=cpu")) == 1
    assert len(told(SerialExecutor(), stages=ALL[1:])) == 1


def test_workers_share_the_card_of_this_machine(found):
    """Those of --workers do, and it may not hold all of their parts; of --cluster cuda each has its own."""
    found.free = 10 * GB
    sets = ["system.particles=300000000"]
    one = told(Local("local", 2), *sets)[1]
    assert "3.6 GB of 10 GB free, for each of the 2 workers that share it, resident;" in one
    found.free = 5 * GB
    one = told(Local("local", 2), *sets)[1]
    assert "share it, resident for as many of them as it holds, streamed for the others;" in one
    assert "share" not in told(Local("cuda", 2), *sets)[1]


def test_workers_elsewhere_are_asked(found):
    """The one with least memory counts; some without a card is said, and the plan is that of CPUs."""
    line = told(Workers(H200, replace(H200, free=90 * GB)), "system.particles=1000000000")[1]
    assert line.startswith("device     2 times NVIDIA H200: 12 GB of 90 GB free, resident;")
    line = told(Workers(H200, "CuPy is not installed"), "system.particles=1000000000")[1]
    assert line == "device     1 of 2 workers have a GPU: worker b says: CuPy is not installed"


def test_what_has_no_particles_to_step_is_said():
    """Densities that are solved do without a GPU, even where one was asked for."""
    sets = ["data.source=mean_field", "run.device=gpu"]
    assert told(SerialExecutor(), *sets)[1] == "device     cpu, for there are no particles to step"


def test_a_plan_has_the_line_too(found, capsys):
    """Among its notes."""
    found.free = 139 * GB
    assert main(["plan", "cubic", "--set", "system.particles=1000000000"]) == 0
    assert "\ndevice NVIDIA H200: 24 GB of 139 GB free, resident; times are those of a CPU\n" in capsys.readouterr().out


def test_the_host_needs_less(found, monkeypatch):
    """Positions on the card are not in the memory of the process: what it alone could not hold is not refused."""
    monkeypatch.setattr(refusals, "memory_here", lambda: 8 * GB)
    sets = ["system.particles=1000000000", "time.step=1e-3"]
    assert refused(SerialExecutor(), *sets).startswith("`system.particles` must fit the memory of this machine")
    found.free = 139 * GB
    assert len(told(SerialExecutor(), *sets)) == 2
    found.free = 5 * GB  # streamed: they lie on the host
    assert refused(SerialExecutor(), *sets).startswith("`system.particles` must fit the memory of this machine")


# A device that has no more memory than was planned


@pytest.mark.skipif(COMPILER is None, reason="there is no g++")
def test_a_run_in_the_memory_of_its_plan(tmp_path, monkeypatch):
    """With the bytes of all particles but the 5 % they are streamed, and the device never has less than it needs."""
    source = write(tmp_path)
    config = resolve(source)
    needed = device_plan(10**12, config, prepare(config, read_inputs(config)), 1).bytes
    device = HostDevice(needed)
    ips.run(source, tmp_path / "cpu", sets=["run.device=cpu"], draw=False)
    monkeypatch.setattr(devices, "find_device", lambda: device)
    lines = []
    outcome = ips.run(source, tmp_path / "gpu", sets=["run.device=gpu"], draw=False, tell=lines.append)
    assert any("host: " in line and "streamed" in line for line in lines)
    launched = {name.removesuffix("_near") for name, *_ in device.launches}
    assert launched >= {"draw_mixture", "step", "deposit", "flux", "squares"}
    assert device.free_bytes() == needed
    assert stored(outcome.out) == stored(tmp_path / "cpu")


# No room


@pytest.mark.parametrize(
    ("sets", "free", "said"),
    [
        (
            ["system.particles=1000000000", "run.chunk=200000000"],
            4 * GB,
            "`run.chunk` must be a piece of the particles that the GPU holds; got 9.6 GB for 4 GB free on NVIDIA H200",
        ),
        ([], 50_000, "`run.device` must be a GPU with room for the force mesh; got "),
    ],
)
def test_a_card_too_small(sets, free, said, found):
    """Refused with both numbers and what would fit, by the plan and by the run."""
    found.free = free
    assert refused(SerialExecutor(), *sets).startswith(said)
    _, refusal = foreseen(resolve("cubic", sets), Capacity(1, None), place("memory://out"), local=True)
    assert str(refusal).startswith(said)


def test_equations_on_a_gpu_that_is_not_there_are_refused(tmp_path, capsys):
    """Before anything is written; what a GPU rounds differently is made anew when it is asked for."""
    source = write(tmp_path)
    assert main(["run", str(source), "--out", str(tmp_path / "out"), "-q", "--set", "fit.device=gpu"]) == 2
    why = 'error: `fit.device` must find a GPU where equations are computed; got "gpu", but '
    said = capsys.readouterr().err
    assert said.startswith(why)
    assert said.endswith('use fit.device = "cpu", or see docs/gpu.md\n')
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()
    cpu, gpu = (fingerprints(STAGES, resolve("cubic", [f"fit.device={d}"]), {}) for d in ("cpu", "gpu"))
    assert [name for name in cpu if cpu[name] != gpu[name]] == ["equations", "kernel"]


def test_no_fingerprint_knows_the_device():
    """Bits are the same: what the CPU has stepped need not be stepped again."""
    cpu, gpu = (fingerprints(STAGES, resolve("cubic", [f"run.device={d}"]), {}) for d in ("cpu", "gpu"))
    assert cpu == gpu
