"""A scheduler by address or file: what does not answer, speaks otherwise or has no workers is one line in seconds."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import distributed
import pytest

from ipsdist.model.errors import InputError
from ipsdist.runtime.executor import make_executor
from tests.runtime import tasks

RULE = "`--scheduler` must be the address or the file of a running Dask scheduler; got "
START = "start one with `dask scheduler` and give the address it prints or its scheduler file"


def cluster_of(workers: int, **options: Any) -> distributed.LocalCluster:
    """Return a cluster of threads of this process that is reached by a socket."""
    return distributed.LocalCluster(
        n_workers=workers, processes=False, threads_per_worker=1, dashboard_address="127.0.0.1:0",
        **{"protocol": "tcp://", "host": "127.0.0.1", **options},
    )  # fmt: skip


@pytest.fixture(scope="module")
def plain() -> Iterator[str]:
    with cluster_of(1) as cluster:
        yield cluster.scheduler_address


@pytest.fixture(scope="module")
def security() -> distributed.Security:
    pytest.importorskip("cryptography", reason="certificates are made with it")
    return distributed.Security.temporary()


@pytest.fixture(scope="module")
def encrypted(security: distributed.Security) -> Iterator[str]:
    with cluster_of(1, protocol="tls://", security=security) as cluster:
        yield cluster.scheduler_address


def tls(security: distributed.Security) -> dict[str, Any]:
    """Return the configuration that holds its certificates; require-encryption is as in no configuration."""
    key, certificate = security.tls_client_key, security.tls_client_cert
    return {
        "distributed.comm.tls.ca-file": security.tls_ca_file,
        "distributed.comm.tls.client": {"key": key, "cert": certificate},
        "distributed.comm.require-encryption": None,
    }


def refused(scheduler: str, seconds: float = 30.0) -> str:
    """Return the line with which a scheduler is refused."""
    begun = time.monotonic()
    with dask.config.set({"ipsdist.connect-timeout": 1.0}), pytest.raises(InputError) as caught:
        make_executor(scheduler=scheduler)
    assert time.monotonic() - begun < seconds
    return str(caught.value)


def works(scheduler: str) -> bool:
    """Tell whether a task can be done there."""
    with make_executor(scheduler=scheduler) as executor:
        return dict(executor.run(tasks.walk, [(2, 0.0)], stage="s", observe=lambda k, done: None)) == {0: 2}


@pytest.fixture
def silent_port() -> Iterator[str]:
    """A port that accepts and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"tcp://127.0.0.1:{server.getsockname()[1]}"


def test_nobody_there(closed_port: str, silent_port: str) -> None:
    """Refused connections and a port that accepts and is silent, with the time-out that is set."""
    for address in (closed_port, silent_port):
        assert refused(address).startswith(f"{RULE}{address}, which does not answer (")


@pytest.mark.parametrize("scheduler", ["nothing://here", "ftp://127.0.0.1:1", "tcp://"])
def test_no_address(scheduler: str) -> None:
    """A scheme that is none of Dask's is refused without a connection."""
    assert refused(scheduler) == f"{RULE}{scheduler}; {START}"


@pytest.mark.parametrize("scheduler", ["127.0.0.1", "tls://host", "tcp://host/"])
def test_an_address_without_a_port(scheduler: str) -> None:
    """It is said what is missing."""
    assert refused(scheduler).startswith(f"{RULE}{scheduler}, which has no port; give ")


def test_files_that_are_not_there_not_ones_or_old(tmp_path: Path, closed_port: str) -> None:
    """Each is said in its own words, and an old file names the scheduler that it stands for."""
    missing, wrong, old = (tmp_path / f"{name}.json" for name in ("missing", "wrong", "old"))
    wrong.write_text("[]")
    old.write_text(json.dumps({"address": closed_port}))
    assert refused(str(missing)) == f"{RULE}{missing}, which is not there; {START}"
    assert refused(str(wrong)) == f"{RULE}{wrong}, which is not a scheduler file (TypeError); {START}"
    said = refused(str(old))
    assert said.startswith(f"{RULE}{old} of a scheduler at {closed_port}, which does not answer (")
    assert said.endswith(f"{START}; the file may be of one that has ended")


def test_tls_is_used_when_both_have_it(encrypted: str, security: distributed.Security) -> None:
    """By Dask's own configuration, and nothing else."""
    with dask.config.set(tls(security)):
        assert works(encrypted)


def test_tls_asked_of_a_scheduler_without(plain: str, security: distributed.Security) -> None:
    """Its plain answer is recognised."""
    asked = plain.replace("tcp", "tls")
    with dask.config.set(tls(security)):
        assert refused(asked) == f"{RULE}{asked}, which speaks no TLS; give {plain}"


def test_no_tls_asked_of_a_scheduler_with(encrypted: str) -> None:
    """With the address to give and where certificates belong."""
    asked = encrypted.replace("tls", "tcp")
    fix = f"give {encrypted}, with the certificates in distributed.comm.tls of Dask's configuration"
    assert refused(asked) == f"{RULE}{asked}, which speaks TLS only; {fix}"


def test_tls_without_certificates(encrypted: str, tmp_path: Path) -> None:
    """Nothing can be asked; and certificates that cannot be read are named."""
    said = "`--scheduler` by tls:// needs certificates; got " + encrypted
    assert refused(encrypted, 5.0).startswith(said)
    none = str(tmp_path / "none.pem")
    pair = {"key": none, "cert": none}
    with dask.config.set({"distributed.comm.tls.ca-file": none, "distributed.comm.tls.client": pair}):
        assert refused(encrypted, 5.0).startswith("`distributed.comm.tls` must name files with a key and certificates")


def test_tls_of_another_authority(encrypted: str) -> None:
    """A certificate that the scheduler does not know."""
    with dask.config.set(tls(distributed.Security.temporary())):
        said = refused(encrypted)
    assert said.startswith(f"{RULE}{encrypted}, which refuses this certificate, or is refused; give its authority as")


def test_encryption_that_is_required(plain: str, security: distributed.Security) -> None:
    """Dask's require-encryption is obeyed before a byte is sent."""
    with dask.config.set({**tls(security), "distributed.comm.require-encryption": True}):
        said = refused(plain, 5.0)
    assert said.startswith(f"`--scheduler` must be encrypted, Dask's configuration says; got {plain}; give its tls://")


def test_no_workers() -> None:
    """After the time that is set, and the user was told why nothing happens."""
    told: list[str] = []
    timeouts = {"ipsdist.workerless-timeout": 3.0}
    with cluster_of(0) as cluster, dask.config.set(timeouts), pytest.raises(InputError) as caught:
        make_executor(scheduler=cluster.scheduler_address, tell=told.append)
    said = "`--scheduler` must have workers; got none in 3 s; start some with `dask worker ADDRESS`"
    assert str(caught.value) == said
    assert told == ["waiting for a worker, 3 s at most"]
