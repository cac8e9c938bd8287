"""What `import ipsdist` offers: a run by name or file, its stages one by one, and learning from arrays."""

from __future__ import annotations

import difflib
import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from ipsdist.arrays import to_host
from ipsdist.config import RunConfig, resolve
from ipsdist.importers.npz import check_tracks
from ipsdist.model.errors import InputError
from ipsdist.runs import pipeline, pooled
from ipsdist.runs.inputs import Inputs
from ipsdist.runs.pipeline import Options, Outcome
from ipsdist.runs.pooled import Pooled
from ipsdist.storage import Place, place

__all__ = ["assemble", "estimate", "fit", "learn", "options_of", "pool", "run", "simulate"]

_OWN = ("diffusion", "labelled", "terms", "cutoff", "settings", "out", "seed", "sets")
"""Arguments that are not `Options`."""


def run(
    source: str | Path,
    out: Path | Place | str | None = None,
    *,
    seed: int | None = None,
    sets: Sequence[str] = (),
    options: Options | None = None,
    **how: Any,
) -> Outcome:
    """Run a case or a run file from particles to report, like ``ipsdist run``.

    Parameters
    ----------
    source : name of a case, or path of a TOML run file.
    out : directory of the run, or a URL such as ``s3://bucket/name``; ``runs/NAME`` by default. What it has is kept.
    seed : seed of all noise; default that of the file.
    sets : ``section.key=value`` texts that change the run file.
    options, how : `Options`, or its fields as keywords: ``workers=2``, ``cluster="slurm"`` (or local, mpi, kubernetes,
        cuda), ``scheduler="tcp://..."``, ``client=`` (your own Dask client), ``observe=`` (called with `Progress`
        events), ``draw=False`` (no figures, no page).

    Raises InputError before anything is written, RunError when work fails.
    """
    config = resolve(source, sets, seed)
    return pipeline.run(config, Path("runs") / config.name if out is None else place(out), options_of(options, how))


def simulate(out: Path | Place | str, sets: Sequence[str] = (), options: Options | None = None, **how: Any) -> Outcome:
    """Do the particles of a run directory again; ``how`` are fields of `Options`."""
    return pipeline.redo(place(out), "particles", sets, options_of(options, how))


def estimate(out: Path | Place | str, sets: Sequence[str] = (), options: Options | None = None, **how: Any) -> Outcome:
    """Do the densities of a run directory again; ``sets`` changes keys of this or later stages."""
    return pipeline.redo(place(out), "densities", sets, options_of(options, how))


def assemble(out: Path | Place | str, sets: Sequence[str] = (), options: Options | None = None, **how: Any) -> Outcome:
    """Do the equations of a run directory again; ``sets`` changes keys of this or later stages."""
    return pipeline.redo(place(out), "equations", sets, options_of(options, how))


def fit(out: Path | Place | str, sets: Sequence[str] = (), options: Options | None = None, **how: Any) -> Outcome:
    """Do the kernel of a run directory again; ``sets`` changes keys of this or later stages."""
    return pipeline.redo(place(out), "kernel", sets, options_of(options, how))


def pool(
    directories: Sequence[str | Path | Place], out: Path | Place | str | None = None, sets: Sequence[str] = ()
) -> Pooled:
    """Learn one law from several finished runs, like ``ipsdist pool``: their equations add, each over its sigma**2.

    Parameters
    ----------
    directories : directories of at least two runs; they are only read.
    out : directory for pooled.json, pooled.html and its figure; None keeps nothing but what is returned.
    sets : texts that change ``dictionary.terms`` (default those of the first run) or keys of ``fit``.

    Raises InputError before anything is written.
    """
    return pooled.pool(directories, None if out is None else place(out), sets)


def learn(
    positions: Any,
    times: Any,
    diffusion: float | None = None,
    *,
    labelled: bool = True,
    terms: str | Sequence[str] | None = None,
    cutoff: float | None = None,
    settings: Mapping[str, Any] | None = None,
    out: Path | Place | str | None = None,
    options: Options | None = None,
    **how: Any,
) -> Outcome:
    """Learn the interaction kernel of particles that others made.

    Parameters
    ----------
    positions : (T, N, d), or (T, N) in one dimension; a NumPy, CuPy, Dask or xarray array.
    times : (T,) increasing.
    diffusion : sigma**2 (length**2 / time); None learns it with the rest.
    labelled : row i is the same particle at all times.
    terms, cutoff : the dictionary, and the radius inside which its singular terms are frozen; the default eight terms.
    settings : further sections of a run file, for example ``{"fit": {"criterion": "bic"}}``.
    out : directory to keep (store, result.json, report.html); None keeps nothing but the returned outcome.
    options, how : `Options`, or its fields as keywords.

    Raises InputError, one line, for arrays that cannot be used.
    """
    tracks = check_tracks(to_host(times), to_host(positions), "positions")
    config = _config(tracks.positions.shape[2], diffusion, labelled, terms, cutoff, settings or {})
    digest = hashlib.sha256(tracks.times.tobytes())
    digest.update(tracks.positions.data)
    inputs = Inputs(tracks=tracks, digests={"positions": digest.hexdigest()})
    given = options_of(options, how)
    if out is not None:
        return pipeline.run(config, place(out), given, inputs=inputs)
    with tempfile.TemporaryDirectory(prefix="ipsdist-") as folder:
        outcome = pipeline.run(config, Path(folder), replace(given, draw=False), inputs=inputs)
    return replace(outcome, out=None)


def options_of(options: Options | None, how: Mapping[str, Any]) -> Options:
    """Return the options with some of their fields given by name. Raises InputError, naming the nearest, for others."""
    known = [field.name for field in fields(Options)]
    for name in how:
        if name not in known:
            near = difflib.get_close_matches(name, [*known, *_OWN], n=1, cutoff=0.0)[0]
            raise InputError(name, "is not a known argument", None, f"did you mean {near}?")
    return replace(options or Options(), **how)


def _config(
    dimension: int,
    diffusion: float | None,
    labelled: bool,
    terms: str | Sequence[str] | None,
    cutoff: float | None,
    settings: Mapping[str, Any],
) -> RunConfig:
    values: dict[str, Any] = {
        "name": "learn",
        "system": {"dimension": dimension},
        "data": {"source": "import", "file": "arrays", "labelled": labelled},
        "dictionary": {},
    }
    if diffusion is not None:
        values["system"]["diffusion"] = float(diffusion)
    if terms is not None:
        values["dictionary"]["terms"] = (terms,) if isinstance(terms, str) else tuple(terms)
    if cutoff is not None:
        values["dictionary"]["cutoff"] = float(cutoff)
    for section, keys in settings.items():
        values[section] = {**values.get(section, {}), **keys}
    return RunConfig.build(values)
