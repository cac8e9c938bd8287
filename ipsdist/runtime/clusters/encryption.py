"""TLS as Dask's configuration has it, and what a scheduler speaks when it and that do not agree."""

# mypy: untyped-calls-exclude="distributed"

from __future__ import annotations

import socket
import ssl
from typing import Any

import distributed
from distributed.comm.addressing import parse_host_port

from ipsdist.model.errors import InputError

__all__ = ["certificates", "keys_of_its_own", "speaks_tls"]

_SECONDS = 2.0
_PLAIN = ("WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")


def certificates() -> dict[str, Any]:
    """Return what Dask connects with: ``ssl_context`` (or None) and ``require_encryption``.

    Raises InputError for certificates that cannot be read.
    """
    try:
        found: dict[str, Any] = distributed.Security().get_connection_args("client")
    except (OSError, ValueError) as error:
        rule = "must name files with a key and certificates"
        raise InputError("distributed.comm.tls", rule, error, "mend it in Dask's configuration") from error
    return found


def keys_of_its_own() -> dict[str, Any]:
    """Return a configuration of Dask with TLS and keys that nobody else has, held in memory alone."""
    made = distributed.Security.temporary()
    found: dict[str, Any] = {
        "distributed.comm.require-encryption": True,
        "distributed.comm.tls.ca-file": made.tls_ca_file,
    }
    for role in ("client", "scheduler", "worker"):
        found[f"distributed.comm.tls.{role}.key"] = getattr(made, f"tls_{role}_key")
        found[f"distributed.comm.tls.{role}.cert"] = getattr(made, f"tls_{role}_cert")
    return found


def speaks_tls(address: str) -> bool | None:
    """Tell whether what listens there answers a greeting of TLS; None when it does not answer at all."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        host, port = parse_host_port(address.rpartition("://")[2], 8786)
        with socket.create_connection((host, port), timeout=_SECONDS) as plain, context.wrap_socket(plain):
            return True
    except ssl.SSLError as error:
        # An alert (it wants another certificate, say) is TLS as well.
        return error.reason not in _PLAIN
    except (OSError, ValueError):
        return None
