"""The learnt kernel against the truth with its 95 % band, and its error ([S] Fig. 2 c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ipsdist.report.data import ReportData
from ipsdist.report.figures.style import BAND, GREY, LEARNT, TRUTH, Array, Picture, figure, finite, pick, picture
from ipsdist.report.terms import number, plain_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["kernel"]


_FREE: dict[str, Any] = {"color": "#AA4499", "linewidth": 0.9, "linestyle": (0, (3, 1, 1, 1))}


def kernel(data: ReportData) -> Picture:
    """Draw phi(r) over the distances seen, the density of the distances in grey, and below it error and band width."""
    known = data.kernel_true is not None
    drawn = figure(4.7 if known else 3.7)
    upper, lower = drawn.subplots(2, 1, sharex=True, height_ratios=(2.0, 1.0))
    _curves(upper, data)
    _spread(lower, data)
    frame = _range(data)
    upper.set_ylim(*frame)
    upper.set_ylabel(rf"kernel $\varphi(r)$ ({plain_label(data.length_unit)}/{plain_label(data.time_unit)})")
    lower.set(
        xlabel=f"distance $r$ ({plain_label(data.length_unit)})", ylabel="absolute error" if known else "half width"
    )
    drawn.align_ylabels()
    handles, labels = upper.get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside upper center", ncols=2)
    lower.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, borderpad=0.1)
    columns = ("r", "learnt", "lower 95 %", "upper 95 %") + (("true", "absolute error") if known else ())
    return picture(drawn, "kernel", "The interaction kernel", _caption(data, frame), _alt(data), columns, _rows(data))


def _curves(ax: Axes, data: ReportData) -> None:
    if data.rho is not None:
        grey = ax.twinx()
        grey.fill_between(data.radii, data.rho, color="#DDDDDD", linewidth=0)
        grey.set_ylim(0, 3.2 * float(finite(data.rho, 1.0).max() or 1.0))
        grey.set_axis_off()
        grey.set_zorder(ax.get_zorder() - 1)
        ax.patch.set_visible(False)
    ax.axhline(0, color=GREY, linewidth=0.6)
    ax.fill_between(data.radii, data.kernel_lower, data.kernel_upper, color=BAND, linewidth=0, label="95 % band")
    ax.plot(data.radii, data.kernel_value, label="learnt", **(LEARNT | {"linestyle": "-"}))
    if data.kernel_true is not None:
        ax.plot(data.radii, data.kernel_true, label="true", **TRUTH)
    if data.free_lower is not None and data.free_upper is not None:
        ax.plot(data.radii, data.free_lower, label="95 % band without a dictionary", **_FREE)
        ax.plot(data.radii, data.free_upper, **_FREE)
    if data.rho is not None:
        ax.fill_between([], [], color="#DDDDDD", label="pair distances seen (scaled to fit)")


def _range(data: ReportData) -> tuple[float, float]:
    """Return limits that hold the whole kernel, unless it is steep near r = 0: then as it is for nine pairs in ten."""
    curves = np.concatenate([c for c in (data.kernel_value, data.kernel_true) if c is not None])
    whole = finite(curves)
    low, high = float(whole.min()), float(whole.max())
    steep = int(np.nan_to_num(np.abs(data.kernel_value)).argmax()) < len(data.radii) / 20
    if steep and data.rho is not None and np.isfinite(data.rho).all() and data.rho.sum() > 0:
        beyond = finite(data.kernel_value[np.cumsum(data.rho) >= 0.1 * data.rho.sum()])
        if high - low > 2.5 * float(np.ptp(beyond)) > 0:
            low, high = float(beyond.min()), float(beyond.max())
    margin = 0.07 * (high - low) or 1.0
    return low - margin, high + margin


def _spread(ax: Axes, data: ReportData) -> None:
    half = (data.kernel_upper - data.kernel_lower) / 2
    drawn = [half]
    if data.kernel_true is not None:
        error = np.abs(data.kernel_value - data.kernel_true)
        drawn.append(error)
        ax.plot(data.radii, error, color=LEARNT["color"], label="|learnt − true|")
    ax.plot(data.radii, half, color=GREY, linestyle="--", label="half width of the band")
    sizes = finite(np.concatenate(drawn))
    if (sizes > 0).any():
        ax.set_yscale("log")
        ax.set_ylim(max(float(sizes[sizes > 0].min()), float(sizes.max()) * 1e-5), 2.0 * float(sizes.max()))


def _rows(data: ReportData) -> list[tuple[object, ...]]:
    columns: list[Array] = [data.radii, data.kernel_value, data.kernel_lower, data.kernel_upper]
    if data.kernel_true is not None:
        columns += [data.kernel_true, np.abs(data.kernel_value - data.kernel_true)]
    return [tuple(float(c[j]) for c in columns) for j in pick(len(data.radii), 13)]


def _caption(data: ReportData, frame: tuple[float, float]) -> str:
    known = data.kernel_true is not None
    below = "its absolute error beside the half width of the band" if known else "the half width of the band"
    text = "The learnt kernel with its 95 % band over the distances seen (their density in grey); positive attracts."
    text += f" Below, {below}."
    if data.free_value is not None:
        text += " Dash-dotted: the 95 % band of a smooth kernel without a dictionary, for all distances at once."
    elif data.dimension == 3:
        text += " In three dimensions a force mesh gives no band without a dictionary."
    outside = (data.kernel_value < frame[0]) | (data.kernel_value > frame[1])
    if not outside.any():
        return text
    last, first = number(float(data.radii[outside].max()), 2), number(float(data.kernel_value[0]), 3)
    return f"{text} The frame leaves out the steep part below r = {last}, where it reaches {first}."


def _alt(data: ReportData) -> str:
    ends = f"{number(float(data.radii[0]), 3)} to {number(float(data.radii[-1]), 3)}"
    text = (
        f"Kernel against distance r from {ends}. The learnt kernel goes from {number(float(data.kernel_value[0]), 3)} "
        f"to {number(float(data.kernel_value[-1]), 3)}; the half width of its 95 % band is at most "
        f"{number(float(finite(data.kernel_upper - data.kernel_lower).max()) / 2, 3)}."
    )
    if data.kernel_true is None:
        return text
    error = np.abs(data.kernel_value - data.kernel_true)
    worst = int(np.nanargmax(error)) if np.isfinite(error).any() else 0
    most, place = number(float(error[worst]), 3), number(float(data.radii[worst]), 3)
    return f"{text} Its largest distance from the true kernel is {most}, at r = {place}."
