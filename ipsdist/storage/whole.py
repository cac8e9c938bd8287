"""Files that appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

from ipsdist.storage.places import Place, place

__all__ = ["write_whole"]


def write_whole(where: Path | Place, content: bytes) -> None:
    """Write a file so that no reader meets half of it. Raises OSError when the disk refuses; nothing is left then."""
    place(where).write_whole(content)
