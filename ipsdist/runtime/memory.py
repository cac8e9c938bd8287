"""How much memory this process may use."""

from __future__ import annotations

import os
import resource
from pathlib import Path, PurePosixPath

__all__ = ["group_limits", "memory_here"]

_GROUPS, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def memory_here() -> int:
    """Return the bytes that this process may use: those of the machine, or of its control groups or limit."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *group_limits(_GROUPS, _OWN)]
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return min([*found, *([limit] if limit != resource.RLIM_INFINITY else [])])


def group_limits(groups: Path, own: Path) -> list[int]:
    """Return the limits of the control groups of a process, from the root down: a job of Slurm is one within others.

    ``groups`` is where they are mounted, ``own`` the file that says in which the process is (``/proc/self/cgroup``).
    """
    try:
        lines = own.read_text().splitlines()
    except OSError:
        lines = []
    found = []
    # The root counts where the file is silent too: a container may have mounted its own group there.
    for line in ["0::/", "1:memory:/", *lines]:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            top, name = groups, "memory.max"
        elif "memory" in controllers.split(","):
            top, name = groups / "memory", "memory.limit_in_bytes"
        else:
            continue
        below = PurePosixPath(path.lstrip("/"))
        found += [limit for group in (below, *below.parents) if (limit := _limit(top / group / name)) is not None]
    return found


def _limit(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):  # no such group, or "max"
        return None
