"""How a run uses its workers, from the section ``ipsdist`` of Dask's configuration (YAML or DASK_IPSDIST__...)."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ipsdist.model.errors import InputError

__all__ = ["ADAPTIVE", "CLUSTERS", "SETTINGS", "Setting", "check_settings", "cluster_arguments", "document", "setting"]

_SECTION = "ipsdist"
CLUSTERS = ("local", "slurm", "mpi", "kubernetes", "cuda")
"""The clusters that ``--cluster`` starts: each is a module of ``clusters``, with a function of its name."""
ADAPTIVE = ("local", "slurm", "kubernetes")
"""Clusters whose workers may come and go with the work."""

_HEAD = """# Settings of clusters

They stand under `ipsdist:` in any YAML file of Dask's configuration (`~/.config/dask/ipsdist.yaml`, or a folder named
by `DASK_CONFIG`), or in the environment: `DASK_IPSDIST__GANG__SIZE=2` sets `ipsdist.gang.size`. None of them changes a
bit of an answer. An unknown setting is an error that names the nearest one.
"""


@dataclass(frozen=True)
class Setting:
    """One setting: its name below ``ipsdist``, its default, how a value is read, and the words for people."""

    name: str
    default: Any
    read: Callable[[Any], Any]
    """Returns the value to use; raises for what the rule forbids."""
    meaning: str
    rule: str


def setting(name: str) -> Any:
    """Return the value of one setting, e.g. ``setting("gang.size")``, or its default.

    Raises InputError for a value that its rule forbids.
    """
    found = _BY_NAME[name]
    value = _configured(name)
    if value is None:
        value = found.default
    try:
        return found.read(value)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        shown = "the default is nothing" if found.default in (None, {}) else f"the default is {found.default}"
        raise InputError(f"{_SECTION}.{name}", f"must be {found.rule}", repr(value), shown) from None


def check_settings() -> None:
    """Raise InputError for the first setting that is unknown, naming the nearest, or whose value is forbidden."""
    for name in _names(_configured(""), ""):
        if name in _BY_NAME or name.startswith(_FREE):
            continue
        near = difflib.get_close_matches(name, _BY_NAME, n=1, cutoff=0.0)[0]
        raise InputError(f"{_SECTION}.{name}", "is not a known setting", None, f"did you mean {_SECTION}.{near}?")
    for name in _BY_NAME:
        setting(name)


def cluster_arguments(cluster: str) -> dict[str, Any]:
    """Return what is set under ``cluster.<name>`` beyond our own settings: keyword arguments of its class."""
    ours = {s.name.rpartition(".")[2] for s in SETTINGS if s.name.startswith(f"cluster.{cluster}.")}
    section = _configured(f"cluster.{cluster}") or {}
    named = {str(key).replace("-", "_"): value for key, value in section.items()}
    return {key: value for key, value in named.items() if key not in ours}


def document() -> str:
    """Return docs/cluster-settings.md: every setting with its default, meaning and rule."""
    lines = [_HEAD, "| setting | default | meaning | rule |", "|---|---|---|---|"]
    lines += [f"| `{s.name}` | {_shown(s.default)} | {s.meaning} | {s.rule} |" for s in SETTINGS]
    return "\n".join(lines) + "\n\n" + _TAIL


def _configured(name: str) -> Any:
    import dask.config

    return dask.config.get(f"{_SECTION}.{name}".rstrip("."), default=None)


def _names(section: Any, prefix: str) -> Iterator[str]:
    """Yield the dotted names of all leaves; what stands under a setting that is a table belongs to it."""
    if not isinstance(section, Mapping):
        return
    for key, value in section.items():
        name = f"{prefix}{key}".replace("_", "-")
        if isinstance(value, Mapping) and name not in _BY_NAME:
            yield from _names(value, f"{name}.")
        else:
            yield name


def _shown(default: Any) -> str:
    return "" if default in (None, {}) else f"`{default}`"


def _size(value: Any) -> int | None:
    return None if value == "auto" else _whole(value)


def _whole(value: Any, lowest: int | None = 1) -> int:
    if isinstance(value, bool) or int(value) != float(value) or (lowest is not None and int(value) < lowest):
        raise ValueError
    return int(value)


def _optional(lowest: int) -> Callable[[Any], int | None]:
    return lambda value: None if value is None else _whole(value, lowest)


def _choice(value: Any) -> bool | None:
    if value != "auto" and not isinstance(value, bool):
        raise TypeError
    return None if value == "auto" else value


def _truth(value: Any) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise TypeError
    return value


def _seconds(lowest: float, highest: float = math.inf) -> Callable[[Any], float]:
    def read(value: Any) -> float:
        import dask.utils

        seconds = float(dask.utils.parse_timedelta(value))
        if isinstance(value, bool) or not lowest <= seconds <= highest or not math.isfinite(seconds):
            raise ValueError
        return seconds

    return read


def _bytes(value: Any) -> int | None:
    import dask.utils

    if value == "auto":
        return None
    found = int(dask.utils.parse_bytes(value))
    if isinstance(value, bool) or found < 1:
        raise ValueError
    return found


def _amounts(value: Any) -> dict[str, float]:
    found = {str(name): float(amount) for name, amount in value.items()}
    if not all(amount > 0 and math.isfinite(amount) for amount in found.values()):
        raise ValueError
    return found


def _of_cluster(name: str, wait: float) -> Iterator[Setting]:
    """Yield what we read ourselves of the section of a cluster."""
    key, rule = f"cluster.{name}.", "a whole number, at least"
    if name != "mpi":
        workers = f"workers of `--cluster {name}` without `--workers`"
        yield Setting(f"{key}workers", None, _optional(1), workers, f"{rule} 1")
    if name in ADAPTIVE:
        adapts = "with `maximum`, workers come and go with the work, never fewer than these"
        yield Setting(f"{key}minimum", None, _optional(0), adapts, f"{rule} 0")
        yield Setting(f"{key}maximum", None, _optional(1), "the most workers; together with `minimum`", f"{rule} 1")
    if name == "mpi":
        keys = (
            "TLS with keys made for this cluster; not set: where it has several hosts, and Dask's configuration no keys"
        )
        yield Setting(f"{key}security", None, _truth, keys, "true or false")
    if name != "local":
        yield Setting(f"{key}wait", wait, _seconds(1.0), "time for the first worker to come", "seconds, at least 1")


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "gang.size", "auto", _size,
        "workers that step one replica together; 1 is never a gang, n a gang of n even where it does not pay",
        '"auto" or a whole number, at least 1',
    ),
    Setting(
        "gang.epoch", 5.0, _seconds(0.05, 3600.0), "length of an epoch: work between two commits of a gang",
        "seconds, 0.05 to 3600",
    ),
    Setting(
        "gang.timeout", 30.0, _seconds(0.1),
        "silence of a peer that is waited for, after which the epoch is begun again", "seconds, at least 0.1",
    ),
    Setting(
        "gang.attempts", 5, _whole, "epochs in a row that may fail before the run gives up",
        "a whole number, at least 1",
    ),
    Setting(
        "gang.nccl", "auto", _choice,
        "members that step on GPUs add their counts there by NCCL, which speaks in the clear: auto, not between hosts "
        "of a cluster with TLS",
        '"auto", true or false',
    ),
    Setting("connect-timeout", 10.0, _seconds(0.1), "time for a scheduler to answer", "seconds, at least 0.1"),
    Setting(
        "workerless-timeout", 60.0, _seconds(0.1), "time without any worker after which a run gives up",
        "seconds, at least 0.1",
    ),
    Setting(
        "resources", {}, _amounts, "resources of Dask workers that every task asks for, e.g. `{GPU: 1}`",
        "a table of amounts above 0",
    ),
    Setting(
        "priority", 0, lambda value: _whole(value, None), "priority of every task; higher goes first", "a whole number"
    ),
    Setting(
        "local.memory", "auto", _bytes,
        "memory of each worker of `--workers N` and `--cluster local`; auto shares out what there is",
        '"auto" or bytes, e.g. "4 GB"',
    ),
    *(found for name in CLUSTERS for found in _of_cluster(name, 3600.0 if name == "slurm" else 300.0)),
)  # fmt: skip
"""All settings, in the order of the page."""

_BY_NAME = {found.name: found for found in SETTINGS}
_FREE = tuple(f"cluster.{name}." for name in CLUSTERS)
_TAIL = """Whatever else stands in `cluster.NAME` goes to the class of that cluster as a keyword argument:

| NAME | class |
|---|---|
| `local` | `distributed.LocalCluster` |
| `slurm` | `dask_jobqueue.SLURMCluster` (and its own section `jobqueue.slurm`); `security: true` unless set otherwise |
| `mpi` | `dask_mpi.initialize` |
| `kubernetes` | `dask_kubernetes.operator.KubeCluster` (and its own section `kubernetes`) |
| `cuda` | `dask_cuda.LocalCUDACluster` |
"""
