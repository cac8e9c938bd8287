"""Which column or array holds what: names that the user gave, common names, and the nearest names in errors."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ipsdist.model.errors import InputError

__all__ = ["Columns", "choose_columns", "one_of", "plain", "unit_of"]

PARTICLE = (
    *("particle", "particle_id", "particleid", "track_id", "trackid", "track", "trajectory", "traj"),
    *("cell_id", "cell", "animal", "object", "id", "label", "name"),
)
TIME = ("t", "time", "times", "position_t", "frame", "frames", "step")
AXES = tuple((a, f"position_{a}", f"pos_{a}", f"{a}_position", f"centroid_{a}") for a in "xyz")

_UNIT = re.compile(r"\s*[\[(]\s*([^\])]*?)\s*[\])]\s*$")


@dataclass(frozen=True)
class Columns:
    """Columns of a track table, by their place in it."""

    particle: int | None
    """None when the snapshots are unlabelled."""
    time: int
    position: tuple[int, ...]
    names: tuple[str, ...]
    """All names of the table."""

    @property
    def used(self) -> tuple[int, ...]:
        """Places of the columns that are read: particle (if any), time, position."""
        return (*(() if self.particle is None else (self.particle,)), self.time, *self.position)

    def name(self, place: int) -> str:
        """Return the name of a column as the table has it."""
        return self.names[place]


def plain(name: str) -> str:
    """Return a name as it is compared: lower case, without a unit in brackets, spaces as underscores."""
    return re.sub(r"[\s-]+", "_", _UNIT.sub("", name).strip().lower())


def unit_of(name: str) -> str | None:
    """Return the unit in brackets at the end of a name, ``x [um]``; None when there is none."""
    found = _UNIT.search(name)
    return found.group(1) or None if found else None


def choose_columns(
    names: Sequence[str], particle: str | None, time: str | None, position: Sequence[str] | None, *, labelled: bool
) -> Columns:
    """Find the columns of a track table.

    Parameters
    ----------
    names : all columns of the table.
    particle, time, position : names the user gave; None to go by common names, regardless of case and units.
    labelled : a particle column is needed.

    Raises InputError naming the nearest columns when one is missing, and when one column would serve twice.
    """
    who = None
    if labelled:
        fix = "give --particle COLUMN, or --unlabelled for snapshots without identities"
        who = one_of(names, particle, PARTICLE, "--particle", "the particles", fix)
    when = one_of(names, time, TIME, "--time", "the times", "give --time COLUMN")
    where = _position(names, position)
    places = [*(() if who is None else (who,)), when, *where]
    for place in places:
        if places.count(place) > 1:
            rule = "must name a different column for each of particle, time and position"
            raise InputError("--position", rule, f"{names[place]!r} twice", "name them: --particle, --time, --position")
        if list(names).count(names[place]) > 1:
            rule, got = "must have one column of a name", f"two columns {names[place]!r}"
            raise InputError("SOURCE", rule, got, "rename one of them")
    return Columns(who, when, where, tuple(names))


def one_of(names: Sequence[str], given: str | None, common: Sequence[str], argument: str, what: str, fix: str) -> int:
    """Return the place of the name given, or of the first common name. Raises InputError naming the nearest ones."""
    if given is not None:
        if given in names:
            return list(names).index(given)
        like = [k for k, name in enumerate(names) if plain(name) == plain(given)]
        if len(like) == 1:
            return like[0]
        low = [name.lower() for name in names]
        nearest = [names[low.index(n)] for n in difflib.get_close_matches(given.lower(), low, n=2, cutoff=0.5)]
        hint = f"did you mean {' or '.join(nearest)}? " if nearest else ""
        raise InputError(argument, "must name a column or array of the source", repr(given), f"{hint}{_have(names)}")
    low = [plain(name) for name in names]
    for candidate in common:
        if candidate in low:
            return low.index(candidate)
    near = difflib.get_close_matches(common[0], low, n=2, cutoff=0.5)
    hint = f"nearest: {', '.join(names[low.index(n)] for n in near)}; " if near else ""
    rule = f"is needed: nothing has a common name for {what}"
    raise InputError(argument, rule, None, f"{hint}{_have(names)}; {fix}")


def _position(names: Sequence[str], given: Sequence[str] | None) -> tuple[int, ...]:
    fix = "give --position COLUMN,COLUMN"
    if given is not None:
        if not 1 <= len(given) <= 3:
            raise InputError("--position", "must name one, two or three columns", ",".join(given), "for example x,y")
        return tuple(one_of(names, name, (), "--position", "the positions", fix) for name in given)
    places = [one_of(names, None, AXES[0], "--position", "the x of the positions", fix)]
    low = [plain(name) for name in names]
    for axis in AXES[1:]:
        found = next((low.index(name) for name in axis if name in low), None)
        if found is None:
            break
        places.append(found)
    return tuple(places)


def _have(names: Sequence[str]) -> str:
    shown = [name if name else "(no name)" for name in names[:20]]
    return f"the source has {', '.join(shown)}{', ...' if len(names) > 20 else ''}"
