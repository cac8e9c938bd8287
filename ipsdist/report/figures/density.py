"""The density in time: heat maps and profiles in 1-D, snapshots in 2-D and 3-D ([S] Fig. 2 a, b; Fig. 6 a)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

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

__all__ = ["heat_maps", "profiles", "snapshots"]

_PARTICLES = "from the particles"
_LEARNT = "mean-field equation with the learnt kernel"
_TRUE = "mean-field equation with the true kernel"


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
    for ax, text in zip(axes, (f"(a) {_PARTICLES}", f"(b) {label}", "(c) particles less equation"), strict=False):
        ax.set(title=text, ylabel=f"position $x$ ({plain_label(data.length_unit)})")
    if len(shown) == 2:
        from matplotlib.colors import Normalize

        difference = shown[0] - shown[1]
        most = float(np.abs(finite(difference)).max()) or 1.0
        image = _map(axes[2], borders, difference, Normalize(-most, most), "PuOr")
        drawn.colorbar(image, ax=axes[2], label="difference", pad=0.02, aspect=10)
    axes[-1].set_xlabel(f"time $t$ ({plain_label(data.time_unit)})")
    beside = "" if model is None else f", and that of the {label}, on one colour scale"
    caption = f"The density of the particles in time{beside}."
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
        ("particles", data.density_data, DATA),
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
            f"At time {number(float(data.times[k]), 3)} the particles' peak "
            f"is {number(float(data.density_data[k].max()), 3)} "
            f"at x = {number(float(x[data.density_data[k].argmax()]), 3)}."
            for k in slices
        )
    )
    caption = "The density at the first, the middle and the last time: particles against the mean-field equation."
    return picture(
        drawn, "density_profiles", title, caption, alt, ("time", "position", *(text for text, _ in present)), rows
    )


def snapshots(data: ReportData) -> Picture:
    """Draw the first, middle and last density in the plane; in three dimensions summed over the third axis."""
    title = "Snapshots of the density"
    slices = pick(len(data.times), 3)
    label, model = _model(data)
    shown = [_plane(data, density[slices]) for density in (data.density_data, model) if density is not None]
    points = [pick(len(axis), 200) for axis in data.grid[:2]]
    borders = edges(data.grid[0][points[0]]), edges(data.grid[1][points[1]])
    drawn = figure(0.9 + 1.75 * len(shown))
    axes = drawn.subplots(len(shown), len(slices), sharex=True, sharey=True, squeeze=False)
    norm = _norm(shown, peaks=shown[0].max(axis=(1, 2)))
    for row, density in zip(axes, shown, strict=True):
        for ax, values in zip(row, density, strict=True):
            image = _map(ax, borders, values[np.ix_(*points)], norm, "cividis")
            ax.set_aspect("equal")
            ax.locator_params(nbins=4)
    for ax, k in zip(axes[0], slices, strict=True):
        ax.set_title(f"$t$ = {number(float(data.times[k]), 3)}", loc="center")
    for row, text in zip(axes, ("particles", "equation"), strict=False):
        row[0].set_ylabel(f"{text}\n$y$ ({plain_label(data.length_unit)})")
    for ax in axes[-1]:
        ax.set_xlabel(f"$x$ ({plain_label(data.length_unit)})")
    drawn.colorbar(
        image,
        ax=axes,
        label=_scale(data, norm),
        orientation="horizontal",
        location="bottom",
        fraction=0.06,
        aspect=40,
        pad=0.02,
    )
    what = "" if model is None else f" (upper row) and of the {label} (lower row), on one colour scale"
    summed = ", summed over the third axis" if data.dimension == 3 else ""
    caption = f"The density of the particles{what} at the first, the middle and the last time{summed}."
    columns, rows = _summary(data, model, label, most=3)
    return picture(
        drawn, "density_snapshots", title, caption, _alt(data, model, label, "snapshots in the plane"), columns, rows
    )


def _model(data: ReportData) -> tuple[str, Array | None]:
    """Return the density that stands beside the data: the learnt kernel's, else the true one's."""
    if data.density_learnt is None and data.density_true is not None:
        return _TRUE, data.density_true
    return _LEARNT, data.density_learnt


def _plane(data: ReportData, density: Array) -> Array:
    """Return (S, nx, ny): the density itself, or its integral over the third axis."""
    if data.dimension == 2:
        return density
    return np.asarray(np.trapezoid(density, data.grid[2], axis=-1))


def _norm(shown: list[Array], peaks: Array) -> Normalize:
    """Return a common colour scale: of roots where the peak changes more than fourfold, so that flat times show."""
    from matplotlib.colors import Normalize, PowerNorm

    top = max(float(finite(density).max()) for density in shown) or 1.0
    return (
        PowerNorm(0.5, 0.0, top) if float(finite(peaks).min()) * 4 < float(finite(peaks).max()) else Normalize(0.0, top)
    )


def _scale(data: ReportData, norm: Normalize) -> str:
    power = "" if min(data.dimension, 2) == 1 else "$^2$"
    root = "" if type(norm).__name__ == "Normalize" else ", root scale"
    return f"density (1/{plain_label(data.length_unit)}{power}){root}"


def _map(ax: Axes, borders: tuple[Array, Array], values: Array, norm: Normalize, colours: str) -> AxesImage:
    """Draw values (first axis across, second axis up): an image where the cells are even, else cell by cell."""
    return ax.pcolorfast(*borders, values.T, norm=norm, cmap=colours)  # type: ignore[return-value]


def _summary(
    data: ReportData, model: Array | None, label: str, most: int = 11
) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    """Return the table of peaks over time."""
    short = "true kernel" if label == _TRUE else "learnt kernel"
    columns = ("time", "peak, particles") + (() if model is None else (f"peak, {short}", "largest difference"))
    rows: list[tuple[object, ...]] = []
    for k in pick(len(data.times), most):
        ours = data.density_data[k]
        other = () if model is None else (float(model[k].max()), float(np.abs(ours - model[k]).max()))
        rows.append((float(data.times[k]), float(ours.max()), *other))
    return columns, rows


def _alt(data: ReportData, model: Array | None, label: str, kind: str) -> str:
    first, last = data.density_data[0], data.density_data[-1]
    text = (
        f"Density as {kind}. The particles' peak goes from {number(float(first.max()), 3)} "
        f"at time {number(float(data.times[0]), 3)} to {number(float(last.max()), 3)} "
        f"at time {number(float(data.times[-1]), 3)}."
    )
    if model is None:
        return text
    worst = float(np.abs(finite(data.density_data - model)).max())
    peak = number(float(model[-1].max()), 3)
    return f"{text} The {label} ends with a peak of {peak}; the largest difference anywhere is {number(worst, 3)}."
