"""What faults are made of: commands with all their processes, hosts with a link that drops, small disks. For Linux."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

MARK = "IPSDIST_TRIAL"
_SUBNET = "198.18.0"
"""Addresses that are set aside for benchmarks (RFC 2544)."""


class Trial:
    """A directory, and all processes that were started for it, by a mark in their environment.

    Schedulers and workers that `cluster` starts have another mark: they are the user's, who ends them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.mark = folder, uuid.uuid4().hex
        self.log = folder / "progress.jsonl"
        for name in ("tmp", "user"):
            (folder / name).mkdir(parents=True)

    def start(
        self, words: Sequence[str], settings: dict[str, Any] | None = None, host: str = "", users: bool = False
    ) -> subprocess.Popen:
        """Start a command with settings of Dask, in a namespace where one is named; stderr goes to a file."""
        mark, errors = f"{self.mark}{'-user' * users}", "cluster.txt" if users else "stderr.txt"
        scratch = str(self.folder / ("user" if users else "tmp"))
        environment = {**os.environ, MARK: mark, "TMPDIR": scratch, "PYTHONWARNINGS": "ignore"}
        for name, value in (settings or {}).items():
            environment[f"DASK_{name.upper().replace('.', '__').replace('-', '_')}"] = str(value)
        inside = ["ip", "netns", "exec", host] if host else []
        with (self.folder / errors).open("a") as file:
            return subprocess.Popen([*inside, *words], env=environment, stdout=subprocess.DEVNULL, stderr=file)

    def run(
        self, source: Path, sets: Sequence[str], how: dict[str, Any], settings: dict[str, Any], host: str = "",
        out: Path | None = None,
    ) -> subprocess.Popen:  # fmt: skip
        """Start the run of the trial."""
        given = {"source": str(source), "out": str(out or self.folder / "out"), "sets": list(sets), "how": how}
        given["log"] = str(self.log)
        return self.start(
            [sys.executable, str(Path(__file__).with_name("_driver.py")), json.dumps(given)], settings, host
        )

    def cluster(
        self, addresses: Sequence[str] = ("127.0.0.1",) * 2, hub: str = "", hosts: Sequence[str] = ("", "")
    ) -> tuple[subprocess.Popen, str]:
        """Start a scheduler, and a worker at each of these addresses; return the scheduler and its file."""
        file = self.folder / f"scheduler-{uuid.uuid4().hex[:6]}.json"
        own = f"{_SUBNET}.1" if hub else "127.0.0.1"
        common = ["--scheduler-file", str(file), "--dashboard-address", "127.0.0.1:0"]
        words = [sys.executable, "-m", "dask", "scheduler", "--host", own, "--port", "0", *common]
        scheduler = self.start(words, host=hub, users=True)
        await_that(file.exists, 60)
        common += ["--nthreads", "1"]
        for address, host in zip(addresses, hosts, strict=True):
            self.start([sys.executable, "-m", "dask", "worker", "--host", address, *common], host=host, users=True)
        return scheduler, str(file)

    def processes(self, users: bool = False) -> list[psutil.Process]:
        """Return all processes of the trial that are there, or those of the user's cluster."""
        found, mark = [], f"{self.mark}{'-user' * users}"
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def workers(self, driver: subprocess.Popen) -> list[psutil.Process]:
        """Return the worker processes that a command has started itself."""
        with contextlib.suppress(psutil.Error):
            children = psutil.Process(driver.pid).children(recursive=True)
            return [p for p in children if "--multiprocessing-fork" in _words(p)]
        return []

    def lines(self) -> list[list[Any]]:
        """Return what the runs wrote down: [time, word, ...]."""
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def leftovers(self, patience: float = 30.0) -> tuple[int, list[str]]:
        """Return the number of processes that do not end by themselves, and the files that are no part of a run."""
        end = time.monotonic() + patience
        while (left := self.processes()) and time.monotonic() < end:
            time.sleep(0.2)
        odd = (".partial", ".tmp", ".discarded", ".arriving", ".probe", ".dirlock")
        own = (p for name in ("out", "tmp") for p in (self.folder / name).rglob("*"))
        return len(left), [str(p.relative_to(self.folder)) for p in own if odd_name(p.name, odd)]

    def clear(self) -> None:
        """End what is left: the user's cluster as users do, the rest at once."""
        cluster = self.processes(users=True)
        for process in cluster:
            with contextlib.suppress(psutil.Error):
                process.terminate()
        psutil.wait_procs(cluster, timeout=15)
        for process in (*self.processes(), *self.processes(users=True)):
            with contextlib.suppress(psutil.Error):
                process.kill()


def odd_name(name: str, odd: tuple[str, ...]) -> bool:
    """Tell whether a file or directory is left of something that did not come to its end."""
    return name.endswith(odd) or name.startswith(("checkpoint-", "worker-"))


def _words(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.Error):
        return process.cmdline()
    return []


def ports(processes: Sequence[psutil.Process]) -> set[tuple[str, int]]:
    """Return the addresses and ports at which any of the processes listens."""
    found = set()
    for process in processes:
        with contextlib.suppress(psutil.Error):
            listening = (c for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN)
            found |= {(c.laddr.ip, c.laddr.port) for c in listening}
    return found


def outside(processes: Sequence[psutil.Process]) -> list[str]:
    """Return the addresses beyond loopback at which any of the processes listens."""
    return sorted(ip for ip, _ in ports(processes) if not ip.startswith("127.") and ip != "::1")


def await_that(condition: Any, seconds: float, pause: float = 0.02) -> bool:
    """Wait until a condition holds; tell whether it did in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(pause)
    return True


def digest(out: Path) -> str:
    """Return the SHA-256 of all that must be the same bits: the answer, and every array but checkpoints."""
    import zarr

    result = json.loads((out / "result.json").read_text())
    plain = {key: value for key, value in result.items() if key not in ("cost", "workers")}
    found = hashlib.sha256(json.dumps(plain, sort_keys=True).encode())
    arrays = dict(zarr.open_group(str(out / "store.zarr"), mode="r").members(max_depth=None))
    for name in sorted(arrays):
        if isinstance(arrays[name], zarr.Array) and "checkpoint-" not in name:
            found.update(f"{name} {arrays[name].shape} {arrays[name].dtype}".encode())
            found.update(arrays[name][...].tobytes())
    return found.hexdigest()


@contextlib.contextmanager
def hosts(count: int) -> Iterator[tuple[str, list[str], list[str], Any]]:
    """Make hosts as network namespaces on one bridge; yield the hub, the hosts, their addresses, and ``link``.

    ``link(number, up)`` takes the link of a host down or up. Nothing of it is seen outside these namespaces.
    """
    name = f"ips{uuid.uuid4().hex[:6]}"
    hub, each = f"{name}-hub", [f"{name}-{k}" for k in range(count)]

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True)

    def link(number: int, up: bool) -> None:
        ip("-n", hub, "link", "set", f"v{number}", "up" if up else "down")

    try:
        for one in (hub, *each):
            ip("netns", "add", one)
            ip("-n", one, "link", "set", "lo", "up")
        ip("-n", hub, "link", "add", "bridge", "type", "bridge")
        ip("-n", hub, "addr", "add", f"{_SUBNET}.1/24", "dev", "bridge")
        ip("-n", hub, "link", "set", "bridge", "up")
        for k, one in enumerate(each):
            ip("-n", hub, "link", "add", f"v{k}", "type", "veth", "peer", "name", "eth0", "netns", one)
            ip("-n", hub, "link", "set", f"v{k}", "master", "bridge", "up")
            ip("-n", one, "addr", "add", f"{_SUBNET}.{k + 2}/24", "dev", "eth0")
            ip("-n", one, "link", "set", "eth0", "up")
        yield hub, each, [f"{_SUBNET}.{k + 2}" for k in range(count)], link
    finally:
        for one in (*each, hub):
            subprocess.run(["ip", "netns", "del", one], check=False, capture_output=True)


@contextlib.contextmanager
def disk(folder: Path, size: int) -> Iterator[Path]:
    """Mount a disk of so many bytes at a folder; yield the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def fill(file: Path) -> None:
    """Write a file until the disk is full."""
    with contextlib.suppress(OSError), file.open("wb", buffering=0) as filler:
        for piece in (2**20, 2**12):
            with contextlib.suppress(OSError):
                while filler.write(bytes(piece)):
                    pass


def able() -> str | None:
    """Return why hosts and disks cannot be made here; None where they can."""
    if os.geteuid() != 0:
        return "needs root"
    made = subprocess.run(["ip", "netns", "add", "ipsdist-able"], check=False, capture_output=True)
    subprocess.run(["ip", "netns", "del", "ipsdist-able"], check=False, capture_output=True)
    return None if made.returncode == 0 else "needs network namespaces"
