"""Equations of few particles, and of tracks where particles come and go: direct sums over all pairs, no mesh."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ipsdist.config import RunConfig
from ipsdist.model.errors import InputError
from ipsdist.model.radial_basis import RadialBasis
from ipsdist.model.tracks import Ragged
from ipsdist.numerics.equations.direct import PotentialField, blur_length, blur_of_pairs, pair_positions
from ipsdist.numerics.equations.radial import RadialPairings
from ipsdist.numerics.equations.track_noise import TrackNoise, displacement_noise
from ipsdist.numerics.equations.tracks import IntervalPairings, pair_tracks
from ipsdist.stages.base import setup_of
from ipsdist.stages.blocks import Block, slice_blocks
from ipsdist.stages.tracks import read_ragged, slice_positions
from ipsdist.storage import Store

__all__ = ["load_intervals", "make_blur", "noise_of", "pair_directly", "pair_intervals"]

_BLUR = "equations/radial/blur"
_INTERVALS = ("first", "duration", "matched", "gram", "stratonovich", "divergence")
_LOOKS = 16


def make_blur(store: Store, config: RunConfig) -> None:
    """Choose the length over which pairs at a jump of the pair force are counted, before the first slice is paired."""
    setup = setup_of(store)
    if config.system.diffusion is not None:
        blur = blur_length(setup.slice_times, config.system.diffusion)
    elif setup.labelled and (sigma2 := noise_of(store, config).diffusion.value) > 0:
        blur = blur_length(setup.slice_times, sigma2)
    else:
        looks = np.unique(np.linspace(0, setup.slices - 1, _LOOKS).round().astype(int)).tolist()
        blur = blur_of_pairs([x for x in (_positions(store, config, k) for k in looks) if len(x) > 1])
    store.write(_BLUR, np.array([blur]), dims=("one",), units="length")


def _positions(store: Store, config: RunConfig, number: int) -> npt.NDArray[np.float64]:
    """Return the positions of one slice (n, d)."""
    if setup_of(store).ragged:
        return read_ragged(store, number, number + 1).positions
    return np.asarray(slice_positions(store, config, 0, number, number + 1)[0])


def noise_of(store: Store, config: RunConfig) -> TrackNoise:
    """Return what the displacements of labelled particles say about their noise."""
    setup = setup_of(store)
    if setup.ragged:
        return displacement_noise(read_ragged(store))
    positions = slice_positions(store, config, 0, 0, setup.slices)
    return displacement_noise(Ragged.of_array(setup.slice_times, positions))


def _blur(store: Store) -> float:
    return float(store.read(_BLUR)[0])


def _outside(config: RunConfig) -> list[PotentialField]:
    """Return the columns that follow the functions: unknown fields, then the known potential."""
    known = config.known()
    potentials = [f.potential for f in config.unknowns().fields] + ([] if known is None else [known])
    return [PotentialField.of(p, config.system.dimension) for p in potentials]


def pair_directly(store: Store, config: RunConfig, replica: int, block: Block, basis: RadialBasis) -> RadialPairings:
    """Pair the slices of a block, all of whose particles are there all the time."""
    setup = setup_of(store)
    stop = min(block.stop + 1, setup.slices)
    positions = slice_positions(store, config, replica, block.first, stop)
    found = pair_positions(positions, basis, _outside(config), blur=_blur(store), labelled=setup.labelled)
    n = len(block)
    return RadialPairings(np.arange(n), found.gram[:n], found.energy[:n], found.laplacian[:n], found.work[:n])


def pair_intervals(store: Store, config: RunConfig, block: Block, basis: RadialBasis) -> None:
    """Pair the intervals that begin in a block of tracks with gaps, births or deaths, and write them."""
    tracks = read_ragged(store, block.first, min(block.stop + 1, setup_of(store).slices))
    try:
        found = pair_tracks(tracks, basis, _outside(config), blur=_blur(store))
    except InputError:  # nobody is followed in this block; others have what is needed
        return
    dims: dict[str, Sequence[str]] = {"gram": ("interval", "function", "other_function")}
    for name in _INTERVALS:
        values = getattr(found, name)
        values = values + block.first if name == "first" else values
        default = ("interval",) if values.ndim == 1 else ("interval", "function")
        store.write(f"{_group(block)}/{name}", values, dims=dims.get(name, default))


def _group(block: Block) -> str:
    return f"equations/radial/replica-0/block-{block.number}"


def load_intervals(store: Store) -> IntervalPairings:
    """Read the intervals of all blocks."""
    setup = setup_of(store)
    groups = [_group(b) for b in slice_blocks(setup.slices, setup.dimension)]
    kept = [g for g in groups if store.exists(f"{g}/gram")]
    if not kept:
        rule = "must have two slices in a row with two particles each, one of them in both"
        raise InputError("data.file", rule, f"{setup.slices} slices without", "bring longer tracks, or denser ones")
    return IntervalPairings(*(np.concatenate([store.read(f"{g}/{name}") for g in kept]) for name in _INTERVALS))
