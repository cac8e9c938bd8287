"""A Slurm of one node for tests, on the loopback address: brought up from nothing, taken down to nothing."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Slurm", "missing", "one_node"]

_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo")
_CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MpiDefault=none
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
KillWait=2
MinJobAge=3600
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 RealMemory=4000 State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""
"""Eight CPUs whatever the machine has (slurmd is told not to mind): two jobs must fit beside each other."""


@dataclass(frozen=True)
class Slurm:
    """The daemons' folder, and the environment in which its commands speak to it."""

    folder: Path
    environment: Mapping[str, str]

    def __call__(self, *words: str) -> str:
        """Run a command of Slurm and return what it printed."""
        done = subprocess.run(words, env=self.environment, text=True, capture_output=True, timeout=60)
        assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
        return done.stdout.strip()

    def submit(self, script: Path | str, *words: str, options: tuple[str, ...] = ()) -> int:
        """Submit a batch script with its arguments; return the number of the job."""
        return int(self("sbatch", "--parsable", *options, str(script), *words))

    def jobs(self, state: str = "RUNNING") -> list[int]:
        """Return the jobs that are in a state."""
        return [int(word) for word in self("squeue", "-h", "-o", "%i", "-t", state).split()]

    def state(self, job: int) -> str:
        """Return the state of a job: PENDING, RUNNING, COMPLETED, CANCELLED, FAILED ..."""
        return self("squeue", "-h", "-o", "%T", "-t", "all", "-j", str(job))

    def wait(self, job: int, seconds: float = 240.0) -> str:
        """Wait until a job has ended; return its last state."""
        end = time.monotonic() + seconds
        while (state := self.state(job)) in ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING"):
            assert time.monotonic() < end, f"job {job} is {state} after {seconds:g} s"
            time.sleep(0.5)
        return state


def missing() -> str | None:
    """Say why no Slurm can be brought up here; None when it can."""
    if os.geteuid() != 0:
        return "needs root"
    absent = [name for name in _PROGRAMS if shutil.which(name) is None]
    packages = "apt-get install --no-install-recommends slurmctld slurmd slurm-client munge"
    return f"needs {', '.join(absent)} ({packages})" if absent else None


@contextmanager
def one_node(folder: Path) -> Iterator[Slurm]:
    """Start munged, slurmctld and slurmd with everything below ``folder``; end them and their jobs."""
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    conf = folder / "slurm.conf"
    conf.write_text(_CONF.format(host=socket.gethostname().partition(".")[0], folder=folder, ports=_free_ports(2)))
    environment = {**os.environ, "SLURM_CONF": str(conf)}
    # Jobs must not take this process for one of a job of another Slurm.
    environment = {k: v for k, v in environment.items() if not k.startswith("SLURM_") or k == "SLURM_CONF"}
    munged = ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket"]
    munged += [f"--{name}-file={folder}/munge.{name}" for name in ("pid", "log", "seed")]
    daemons: list[subprocess.Popen[bytes]] = []
    slurm = Slurm(folder, environment)
    try:
        daemons.append(_daemon(folder, environment, munged))
        _until(lambda: (folder / "munge.socket").exists(), "munged", folder)
        daemons.append(_daemon(folder, environment, ["slurmctld", "-D"]))
        daemons.append(_daemon(folder, environment, ["slurmd", "-D", "-N", _host(conf)]))
        _until(lambda: _idle(slurm), "slurmd", folder)
        yield slurm
    finally:
        with suppress(Exception):
            slurm("scancel", "--state=PENDING", "-f", *map(str, slurm.jobs("PENDING")))
        with suppress(Exception):
            for job in (*slurm.jobs("RUNNING"), *slurm.jobs("PENDING")):
                slurm("scancel", "-f", str(job))
            _until(lambda: not slurm.jobs("RUNNING,COMPLETING"), "scancel", folder)
        for daemon in reversed(daemons):
            daemon.send_signal(signal.SIGTERM)
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def _host(conf: Path) -> str:
    return next(line.split("=")[1].split()[0] for line in conf.read_text().splitlines() if line.startswith("NodeName="))


def _daemon(folder: Path, environment: Mapping[str, str], words: list[str]) -> subprocess.Popen[bytes]:
    with (folder / f"{words[0]}.out").open("wb") as said:
        return subprocess.Popen(words, env=environment, stdout=said, stderr=said, stdin=subprocess.DEVNULL)


def _idle(slurm: Slurm) -> bool:
    with suppress(AssertionError, subprocess.TimeoutExpired):
        return slurm("sinfo", "-h", "-o", "%T") == "idle"
    return False


def _until(true: object, what: str, folder: Path, seconds: float = 60.0) -> None:
    """Wait until a condition holds; fail with what the daemons said."""
    assert callable(true)
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            said = "\n".join(f"{p.name}: {p.read_text(errors='replace')[-800:]}" for p in folder.glob("*.[lo]*"))
            raise AssertionError(f"{what} did not come up in {seconds:g} s\n{said}")
        time.sleep(0.2)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
