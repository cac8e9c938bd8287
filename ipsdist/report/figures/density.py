"""The density in time: heat maps and profiles in 1-D, snapshots in 2-D and 3-D ([S] Fig. 2 a, b; Fig. 6 a)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ipsdist.model.unknowns import AXES
from ipsdist.report.data import ReportData
from ipsdist.report.figures.style import (
    DATA,
    LEARNT,
    TRUTH,
    Array,
    Missing,
    Picture,
    edges,
    figure,
    finite,
    pick,
    picture,
)
from ipsdist.report.terms import number, plain_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize
    from matplotlib.image import AxesImage

__all__ = ["heat_maps", "profiles", "side_snapshots", "snapshots"]

_DATA = "from the data"
_LEARNT = "mean-field equation with the learnt kernel"
_TRUE = "mean-field equation with the true kernel"
_SNAPSHOTS = 4
_FAINT = 0.01
"""Of the peak of its picture, what is drawn at least; emptier borders are cut off."""


def heat_maps(data: ReportData) -> Picture | Missing:
    """Draw the 1-D density over time and space: particles, mean-field equation, and their difference."""
    title = "Evolution of the density"
    if len(data.times) < 2:
        return Missing(title, "There is only one observed time.")
    label, model = _model(data)
    slices, points = pick(len(data.times), 200), pick(len(data.grid[0]), 200)
    borders = edges(data.times[slices]), edges(data.grid[0][points])
    shown = [density[np.ix_(slices, points)] for density in (data.density_data, model) if density is not None]
    drawn = figure(1.0 + 1.55 * (2 * len(shown) - 1))
    axes = drawn.subplots(2 * len(shown) - 1, 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    norm = _norm(shown, peaks=shown[0].max(axis=1))
    images = [_map(ax, borders, density, norm, "cividis") for ax, density in zip(axes, shown, strict=False)]
    drawn.colorbar(images[0], ax=list(axes[: len(shown)]), label=_scale(data, norm), pad=0.02, aspect=10 * len(shown))
    for ax, text in zip(axes, (f"(a) {_DATA}", f"(b) {label}", "(c) data less equation"), strict=False):
        ax.set(title=text, ylabel=f"position $x$ ({plain_label(data.length_unit)})")
    if len(shown) == 2:
        from matplotlib.colors import Normalize

        difference = shown[0] - shown[1]
        most = float(np.abs(finite(difference)).max()) or 1.0
        image = _map(axes[2], borders, difference, Normalize(-most, most), "PuOr")
        drawn.colorbar(image, ax=axes[2], label="difference", pad=0.02, aspect=10)
    axes[-1].set_xlabel(f"time $t$ ({plain_label(data.time_unit)})")
    beside = "" if model is None else f", and that of the {label}, on one colour scale"
    caption = f"The density of the data in time{beside}."
    columns, rows = _summary(data, model, label)
    return picture(
        drawn,
        "density_evolution",
        title,
        caption,
        _alt(data, model, label, "heat maps over time and place"),
        columns,
        rows,
    )


def profiles(data: ReportData) -> Picture:
    """Draw the 1-D density at the first, a middle and the last time."""
    title = "Profiles of the density"
    x = data.grid[0]
    slices = pick(len(data.times), 3)
    drawn = figure(0.75 + 1.45 * len(slices))
    axes = drawn.subplots(len(slices), 1, sharex=True, squeeze=False)[:, 0]
    curves = [
        ("data", data.density_data, DATA),
        ("learnt kernel", data.density_learnt, LEARNT),
        ("true kernel", data.density_true, TRUTH),
    ]
    for ax, k in zip(axes, slices, strict=True):
        for text, density, look in curves:
            if density is not None:
                ax.plot(x, density[k], label=text, **look)
        ax.set_title(f"$t$ = {number(float(data.times[k]), 4)}")
        ax.set_ylim(bottom=0)
        ax.margins(x=0)
    drawn.supylabel(f"density (1/{plain_label(data.length_unit)})", fontsize=9.5)
    axes[-1].set_xlabel(f"position $x$ ({plain_label(data.length_unit)})")
    drawn.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    present = [(text, density) for text, density, _ in curves if density is not None]
    rows: list[tuple[object, ...]] = [
        (float(data.times[k]), float(x[j]), *(float(density[k, j]) for _, density in present))
        for k in slices
        for j in pick(len(x), 9)
    ]
    alt = (
        f"Density against position at {len(slices)} times, curves for {', '.join(text for text, _ in present)}. "
        + " ".join(
            f"At time {number(float(data.times[k]), 3)} the data's peak "
            f"is {number(float(data.density_data[k].max()), 3)} "
            f"at x = {number(float(x[data.density_data[k].argmax()]), 3)}."
            for k in slices
        )
    )
    caption = "The density at the first, the middle and the last time: data against the mean-field equation."
    return picture(
        drawn, "density_profiles", title, caption, alt, ("time", "position", *(text for text, _ in present)), rows
    )


def snapshots(data: ReportData) -> Picture:
    """Draw the density in the plane at up to four times, a row each for particles, true and learnt kernel.

    In three dimensions it is summed over the third axis. One colour scale for all; empty borders are cut off.
    """
    return _snapshots(data, 1, "density_snapshots", "Snapshots of the density")


def side_snapshots(data: ReportData) -> Picture:
    """Draw `snapshots` of three dimensions from the side: x across and z up, summed over the second axis."""
    return _snapshots(data, 2, "density_snapshots_side", "Snapshots of the density from the side")


def _snapshots(data: ReportData, up: int, name: str, title: str) -> Picture:
    slices = _telling(data)
    curves = (
        ("data", data.density_data),
        ("true", data.density_true),
        ("learnt", data.density_learnt),
    )
    rows = [(text, _plane(data, density[slices], up)) for text, density in curves if density is not None]
    shown = [density for _, density in rows]
    across, upward = _occupied(shown, 1), _occupied(shown, 2)
    borders = edges(data.grid[0][across]), edges(data.grid[up][upward])
    tall = min(float(np.ptp(borders[1]) / np.ptp(borders[0])), 2.0)
    drawn = figure(1.25 + len(rows) * (0.1 + 3.8 / len(slices) * tall))
    axes = drawn.subplots(len(rows), len(slices), sharex=True, sharey=True, squeeze=False)
    norm = _norm(shown, peaks=shown[0].max(axis=(1, 2)), most=2.5)
    for row, (text, density) in zip(axes, rows, strict=True):
        for ax, values in zip(row, density, strict=True):
            image = _map(ax, borders, values[np.ix_(across, upward)], norm, "cividis")
            ax.set_aspect("equal")
            ax.locator_params(nbins=4)
        row[0].set_ylabel(text)
    for ax, k in zip(axes[0], slices, strict=True):
        ax.set_title(f"$t$ = {number(float(data.times[k]), 3)}", loc="center")
    unit = plain_label(data.length_unit)
    drawn.supxlabel(f"${AXES[0]}$ ({unit})", fontsize=9.5)
    drawn.supylabel(f"${AXES[up]}$ ({unit})", fontsize=9.5)
    drawn.colorbar(image, ax=axes, label=_scale(data, norm), location="top", fraction=0.06, aspect=40, pad=0.02)
    label, model = _model(data)
    alt = _alt(data, model, label, f"snapshots in the plane of {AXES[0]} and {AXES[up]}")
    return picture(drawn, name, title, _told(data, slices, up), alt, *_summary(data, model, label, slices))


def _told(data: ReportData, slices: npt.NDArray[np.intp], up: int) -> str:
    """Return the caption of snapshots."""
    kernels = [text for text, u in (("true", data.density_true), ("learnt", data.density_learnt)) if u is not None]
    law = f"with the {' and the '.join(kernels)} kernel"
    beside = f", and of the mean-field equation {law} that starts from it" if kernels else ""
    summed = f", summed over {AXES[3 - up]}" if data.dimension == 3 else ""
    when = f"{len(slices)} times evenly spread"
    if not np.array_equal(slices, pick(len(data.times), _SNAPSHOTS)):
        when = "the first time, after a third and two thirds of the way to the last density, and at the last time"
    scale = "One colour scale; what is empty all around is cut off."
    return f"The density of the data{beside}{summed}, at {when}. {scale}"


def _telling(data: ReportData) -> npt.NDArray[np.intp]:
    """Return the slices to show: first, last, and those where 1/3 and 2/3 of the distance to the last one are gone.

    Even times mostly show one end state again and again. Where nothing moves beyond its noise they must do.
    """
    last = len(data.times) - 1
    even = pick(last + 1, _SNAPSHOTS)
    way = np.array([np.abs(u - data.density_data[-1]).mean() for u in data.density_data])
    if len(even) < _SNAPSHOTS or not np.isfinite(way).all():
        return even
    left = [int(np.argmax(way <= way[0] * (1.0 - k / (_SNAPSHOTS - 1)))) for k in range(1, _SNAPSHOTS - 1)]
    chosen = np.array([0, *left, last], dtype=np.intp)
    return chosen if (np.diff(chosen) > 0).all() else even


def _occupied(shown: list[Array], axis: int) -> npt.NDArray[np.intp]:
    """Return at most 200 grid points of an axis of (S, nx, ny), without the borders where every picture is empty."""
    count = shown[0].shape[axis]
    seen = np.zeros(count, dtype=bool)
    for density in shown:
        seen |= (density > _FAINT * density.max(axis=(1, 2), keepdims=True)).any(axis=(0, 3 - axis))
    places = np.flatnonzero(seen)
    first, stop = (max(0, places[0] - 2), min(count, places[-1] + 3)) if len(places) else (0, count)
    return np.asarray(first + pick(stop - first, 200))


def _model(data: ReportData) -> tuple[str, Array | None]:
    """Return the density that stands beside the data: the learnt kernel's, else the true one's."""
    if data.density_learnt is None and data.density_true is not None:
        return _TRUE, data.density_true
    return _LEARNT, data.density_learnt


def _plane(data: ReportData, density: Array, up: int) -> Array:
    """Return (S, across, up): the density itself, or its integral over the axis that is neither x nor ``up``."""
    if data.dimension == 2:
        return density
    return np.asarray(np.trapezoid(density, data.grid[3 - up], axis=4 - up))


def _norm(shown: list[Array], peaks: Array, most: float = 4.0) -> Normalize:
    """Return a common colour scale: of roots where the peak changes ``most``-fold or more, so that flat times show."""
    from matplotlib.colors import Normalize, PowerNorm

    top = max(float(finite(density).max()) for density in shown) or 1.0
    return (
        PowerNorm(0.5, 0.0, top)
        if float(finite(peaks).min()) * most < float(finite(peaks).max())
        else Normalize(0.0, top)
    )


def _scale(data: ReportData, norm: Normalize) -> str:
    power = "" if min(data.dimension, 2) == 1 else "$^2$"
    root = "" if type(norm).__name__ == "Normalize" else ", root scale"
    return f"density (1/{plain_label(data.length_unit)}{power}){root}"


def _map(ax: Axes, borders: tuple[Array, Array], values: Array, norm: Normalize, colours: str) -> AxesImage:
    """Draw values (first axis across, second axis up): an image where the cells are even, else cell by cell."""
    return ax.pcolorfast(*borders, values.T, norm=norm, cmap=colours)  # type: ignore[return-value]


def _summary(
    data: ReportData, model: Array | None, label: str, chosen: npt.NDArray[np.intp] | None = None
) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    """Return the table of peaks over time, at the slices chosen or at 11."""
    short = "true kernel" if label == _TRUE else "learnt kernel"
    columns = ("time", "peak, data") + (() if model is None else (f"peak, {short}", "largest difference"))
    rows: list[tuple[object, ...]] = []
    for k in pick(len(data.times), 11) if chosen is None else chosen:
        ours = data.density_data[k]
        other = () if model is None else (float(model[k].max()), float(np.abs(ours - model[k]).max()))
        rows.append((float(data.times[k]), float(ours.max()), *other))
    return columns, rows


def _alt(data: ReportData, model: Array | None, label: str, kind: str) -> str:
    first, last = data.density_data[0], data.density_data[-1]
    text = (
        f"Density as {kind}. The data's peak goes from {number(float(first.max()), 3)} "
        f"at time {number(float(data.times[0]), 3)} to {number(float(last.max()), 3)} "
        f"at time {number(float(data.times[-1]), 3)}."
    )
    if model is None:
        return text
    worst = float(np.abs(finite(data.density_data - model)).max())
    peak = number(float(model[-1].max()), 3)
    return f"{text} The {label} ends with a peak of {peak}; the largest difference anywhere is {number(worst, 3)}."
