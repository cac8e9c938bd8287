"""What a run reads from outside, once: files or arrays go into the store, and the store is read from then on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ipsdist.config import RunConfig
from ipsdist.importers.npz import Tracks, digest, read_initial, read_tracks
from ipsdist.model.errors import InputError
from ipsdist.stages.initial import INPUT_INITIAL, initial_positions
from ipsdist.stages.tracks import POSITIONS, RAGGED, TIMES, read_ragged
from ipsdist.storage import Store, is_url

__all__ = ["Inputs", "file_digests", "known_digests", "read_inputs", "start_sample", "track_shape", "write_inputs"]

Array = npt.NDArray[np.float64]

_RECORD = "input/done"
_SAMPLE = 4096
_LOOKS = 64


@dataclass(frozen=True)
class Inputs:
    """Positions that others made, or initial ones, and the digests of where they came from."""

    tracks: Tracks | None = None
    initial: Array | None = None
    digests: Mapping[str, str] = field(default_factory=dict)


def read_inputs(config: RunConfig) -> Inputs:
    """Read the files that a run names. Raises InputError."""
    if config.data.source == "import":
        path = Path(str(config.data.file))
        if is_url(config.data.file) or path.is_dir():
            fix = f"use --out {str(config.data.file).rpartition('/')[0]}"
            raise InputError("--out", "must be the directory of the import", "another one", fix)
        return Inputs(tracks=read_tracks(path), digests={"data.file": digest(path)})
    if config.initial_law() is None:
        path = Path(str(config.initial.file))
        initial = read_initial(path, config.system_value().particles, config.system.dimension)
        return Inputs(initial=initial, digests={"initial.file": digest(path)})
    return Inputs()


def file_digests(config: RunConfig) -> dict[str, str]:
    """Return the digests of the files that a run names, as `read_inputs` gives them. Raises OSError and InputError."""
    if config.data.source == "import":
        return {"data.file": digest(Path(str(config.data.file)))}
    named = config.initial_law() is None and config.initial.file is not None
    return {"initial.file": digest(Path(str(config.initial.file)))} if named else {}


def track_shape(inputs: Inputs | Store) -> tuple[tuple[float, ...], int, int, bool]:
    """Return times (T,), particles, dimension of positions that others made, and whether particles come and go.

    The number of particles is then the largest at once.
    """
    if isinstance(inputs, Inputs):
        assert inputs.tracks is not None
        _, particles, dimension = inputs.tracks.positions.shape
        return tuple(inputs.tracks.times.tolist()), particles, dimension, False
    times = tuple(inputs.read(TIMES).tolist())
    if not inputs.exists(POSITIONS):
        present = np.diff(inputs.read(f"{RAGGED}/offset"))
        return times, int(present.max()), inputs.read(f"{RAGGED}/positions", slice(0, 1)).shape[1], True
    _, particles, dimension = inputs.read(POSITIONS, slice(0, 1)).shape
    return times, particles, dimension, False


def known_digests(store: Store, config: RunConfig) -> Mapping[str, str] | None:
    """Return the digests of what a store has taken in, or None when it has not taken in everything.

    A file that is still there is looked at again, so that a changed one is noticed; one that is gone is not missed.
    """
    stored = store.record(_RECORD)
    if stored is None:
        return None
    files = {"data.file": config.data.file, "initial.file": config.initial.file}
    return {
        name: digest(Path(path)) if (path := files.get(name)) and not is_url(path) and Path(path).is_file() else old
        for name, old in stored.items()
    }


def write_inputs(store: Store, inputs: Inputs) -> None:
    """Put the inputs into the store, where every task finds them, and commit that."""
    if inputs.tracks is not None:
        x = inputs.tracks.positions
        dims = ("time", "particle", "space")
        store.create_array(POSITIONS, x.shape, x.dtype, dims, (1, *x.shape[1:]), "length", False)
        store.write_region(POSITIONS, 0, x)
        store.write(TIMES, inputs.tracks.times, dims=("time",), units="time")
    if inputs.initial is not None:
        store.write(INPUT_INITIAL, inputs.initial, dims=("particle", "space"), units="length", compress=False)
    store.commit(_RECORD, dict(inputs.digests))


def start_sample(config: RunConfig, inputs: Inputs | Store) -> Array:
    """Return up to 4096 positions (n, d) from which spacing, grid and largest step are chosen; the same on every call.

    Simulated particles are looked at at the start, over as many replicas as it takes; those that others made at both
    ends. Rows of a file are taken evenly from all of it, because files are often sorted.
    """
    if config.data.source == "import":
        return _evenly(_ends(inputs))
    law = config.initial_law()
    if law is None:
        initial = inputs.read(INPUT_INITIAL) if isinstance(inputs, Store) else inputs.initial
        assert initial is not None
        return _evenly(initial)
    system = config.system_value()
    replicas = range(min(system.replicas, -(-_SAMPLE // system.particles)))
    return np.concatenate([initial_positions(law, config, r, _SAMPLE) for r in replicas])[:_SAMPLE]


def _evenly(positions: Array) -> Array:
    rows = np.unique(np.linspace(0, len(positions) - 1, _SAMPLE).astype(np.intp))
    return positions[rows]


def _ends(inputs: Inputs | Store) -> Array:
    if isinstance(inputs, Store):
        last = len(inputs.read(TIMES)) - 1
        if not inputs.exists(POSITIONS):
            # Few may be there at either end: all of a short film, an even choice of a long one.
            looks = np.unique(np.linspace(0, last, _LOOKS).round().astype(int)).tolist()
            return np.concatenate([read_ragged(inputs, k, k + 1).positions for k in looks])
        ends = [inputs.read(POSITIONS, slice(k, k + 1))[0] for k in (0, last)]
    else:
        assert inputs.tracks is not None
        ends = [inputs.tracks.positions[0], inputs.tracks.positions[-1]]
    return np.concatenate(ends)
