"""A run as `ipsdist run` does it, that writes down how far it is and which epochs it began. Not a benchmark itself."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import ipsdist as ips
from ipsdist.cli.exits import exit_code
from ipsdist.runtime.progress import Progress
from ipsdist.stages.replica import ReplicaJob


def listen(file: Any) -> None:
    """Write down every epoch that a gang is asked to do, and every one that is committed."""
    epoch, commit = ReplicaJob.epoch, ReplicaJob.commit

    def asked(self: ReplicaJob, members: int, units: float | None) -> Any:
        found = epoch(self, members, units)
        if found is not None:
            write(file, "epoch", found.units, members)
        return found

    def committed(self: ReplicaJob, answers: Any) -> None:
        commit(self, answers)
        write(file, "commit", self.done, len(answers))

    ReplicaJob.epoch, ReplicaJob.commit = asked, committed  # type: ignore[method-assign]


def write(file: Any, *words: Any) -> None:
    """Write one line with the time."""
    file.write(json.dumps([time.time(), *words]) + "\n")
    file.flush()


def main() -> None:
    given = json.loads(sys.argv[1])
    with open(given["log"], "a") as file:
        listen(file)

        def observe(progress: Progress) -> None:
            write(file, progress.stage, progress.done)

        def command() -> None:
            ips.run(given["source"], given["out"], sets=given["sets"], observe=observe, draw=False, **given["how"])
            write(file, "end")

        sys.exit(exit_code(command, ["run"]))


if __name__ == "__main__":
    main()
