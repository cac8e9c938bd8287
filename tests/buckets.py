"""An object store on loopback that speaks the protocol of S3, for tests: nothing outside this machine is asked."""

from __future__ import annotations

import logging
import os
import uuid
import warnings
from collections.abc import Iterator

import pytest

__all__ = ["bucket", "s3_server"]


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Return the address of a server; processes that tests start find it by their environment."""
    pytest.importorskip("obstore", reason="obstore is not installed (the extra s3)")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        server = pytest.importorskip("moto.server", reason="moto[server] is not installed")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    address = f"http://127.0.0.1:{running.get_host_and_port()[1]}"
    keys = {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": "us-east-1",
    }
    before = {name: os.environ.get(name) for name in keys}
    os.environ.update(keys)
    yield address
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})
    running.stop()


@pytest.fixture
def bucket(s3_server: str) -> str:
    """Return the URL of an empty bucket."""
    import obstore
    from obstore.store import S3Store

    name = f"b-{uuid.uuid4().hex}"
    # A bucket is made by a PUT of its name, which is an object of no name at the root of the server.
    import urllib.request

    urllib.request.urlopen(urllib.request.Request(f"{s3_server}/{name}", method="PUT")).close()
    store = S3Store(name, client_options={"allow_http": True})
    assert not list(obstore.list(store))
    return f"s3://{name}"
