"""Parts of a store that are lost or damaged: what they are, and the command that makes them again."""

from __future__ import annotations

import shlex

from ipsdist.model.errors import RunError

__all__ = ["DamagedError"]

_COMMANDS = {"particles": "simulate", "densities": "estimate", "equations": "assemble", "kernel": "fit"}


class DamagedError(RunError):
    """A file of a store is missing, or is not what was written: a chunk of an array, a description or a record.

    ``name`` is that of the array or record, ``what`` the first half of the message, which names the file.
    """

    def __init__(self, name: str, what: str, directory: str) -> None:
        self.name, self.what, self.directory = name, what, directory
        verb = _COMMANDS.get(self.stage)
        fix = (
            f"make it again with `{shlex.join(['ipsdist', verb, directory])}`" if verb else "remove the run, repeat it"
        )
        super().__init__(f"{what}; {fix}")

    @property
    def stage(self) -> str:
        """The stage that makes it."""
        return self.name.partition("/")[0]

    def __reduce__(self) -> tuple[type[DamagedError], tuple[str, str, str]]:
        return DamagedError, (self.name, self.what, self.directory)  # a worker's error crosses to the driver
