"""Figures of a study: means over seeds with error bars, fitted rates and reference slopes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ipsdist.report.figures.style import GREY, PALETTE, Picture, figure, picture, styled
from ipsdist.report.terms import figure_name, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Rate", "Series", "StudyPlot", "draw_study"]

_MARKERS = "osD^vP*"
_NAMED = 7
"""Places on a logarithmic axis up to which each is written."""
_MANY = 30
"""Points from which a curve has a band instead of bars."""


@dataclass(frozen=True)
class Rate:
    """A fitted law: log y = v + slope (u - u_mean), with u = log x (power) or x (exponential)."""

    slope: float
    error: float | None
    """Standard error."""
    at_mean: tuple[float, float]
    """(mean of u, mean of log y)."""

    @property
    def text(self) -> str:
        """The slope with its standard error."""
        return number(self.slope, 3) + ("" if self.error is None else f" ± {number(self.error, 2)}")


@dataclass(frozen=True)
class Series:
    """Means at numbers or names ``x``, and their standard errors (None where there is one value only)."""

    label: str
    x: tuple[Any, ...]
    y: tuple[float, ...]
    error: tuple[float | None, ...]
    rate: Rate | None

    @property
    def numeric(self) -> bool:
        """Whether x are numbers."""
        return all(isinstance(x, int | float) for x in self.x)


@dataclass(frozen=True)
class StudyPlot:
    """One figure of a study."""

    name: str
    title: str
    x_label: str
    y_label: str
    log: str
    joined: bool
    """Whether a line joins the points."""
    series: tuple[Series, ...]
    law: str | None
    """``power`` or ``exponential`` where a rate was fitted."""
    reference: float | None
    """Slope of a reference line."""
    note: str


def draw_study(plot: StudyPlot) -> Picture:
    """Draw a plot with error bars (a band where there are many points) and its rates."""
    with styled():
        drawn = figure(3.2)
        ax = drawn.subplots()
        places = _places(plot)
        for k, series in enumerate(plot.series):
            _draw(ax, plot, series, k, places)
        _axes(ax, plot, places)
        if len(ax.get_legend_handles_labels()[1]) > 0:
            columns = 1 if max(len(t) for t in ax.get_legend_handles_labels()[1]) > 24 else 2
            drawn.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=columns)
        known = any(error is not None for s in plot.series for error in s.error)
        columns_of_rows = ("series", plot.x_label or "term", *(("mean", "standard error") if known else ("value",)))
        rows: list[tuple[object, ...]] = [
            (s.label, x, y, e)[: len(columns_of_rows)]
            for s in plot.series
            for x, y, e in zip(s.x, s.y, s.error, strict=True)
        ]
        alt = f"{plot.y_label} against {plot.x_label or 'term'}. " + " ".join(_said(s) for s in plot.series)
        return picture(drawn, plot.name, plot.title, f"{plot.note}.{_rates(plot)}", alt, columns_of_rows, rows)


def _places(plot: StudyPlot) -> Mapping[Any, float] | None:
    """Return where names stand on the axis; None where x are numbers."""
    if all(s.numeric for s in plot.series):
        return None
    names = dict.fromkeys(x for s in plot.series for x in s.x)
    return {name: float(k) for k, name in enumerate(names)}


def _draw(ax: Axes, plot: StudyPlot, series: Series, k: int, places: Mapping[Any, float] | None) -> None:
    colour, marker = PALETTE[k % len(PALETTE)], _MARKERS[k % len(_MARKERS)]
    shift = 0.0 if places is None else 0.12 * (k - (len(plot.series) - 1) / 2)
    x = np.array([float(v) if places is None else places[v] + shift for v in series.x])
    y = np.array(series.y)
    error = np.array([0.0 if e is None else e for e in series.error])
    line = "-" if plot.joined and places is None else ""
    rate = "" if series.rate is None else f"rate {series.rate.text}"
    label = ", ".join(part for part in (series.label, rate) if part) or None
    if len(x) > _MANY:
        ax.plot(x, y, color=colour, label=label)
        ax.fill_between(x, y - error, y + error, color=colour, alpha=0.25, linewidth=0)
        return
    ax.errorbar(
        x,
        y,
        error,
        color=colour,
        marker=marker,
        linestyle=line,
        markersize=4.5,
        capsize=2.5,
        linewidth=1.2,
        label=label,
    )
    if series.rate is not None:
        ax.plot(x, _law(plot, x, series.rate.slope, series.rate.at_mean), color=colour, linestyle=":", linewidth=1.2)


def _law(plot: StudyPlot, x: Any, slope: float, at: tuple[float, float]) -> Any:
    u = np.log(x) if plot.law == "power" else x
    return np.exp(at[1] + slope * (u - at[0]))


def _axes(ax: Axes, plot: StudyPlot, places: Mapping[Any, float] | None) -> None:
    if "y" in plot.log and all(y > 0 for s in plot.series for y in s.y):
        ax.set_yscale("log")
    first = plot.series[0]
    if places is not None:
        ax.set_xticks(list(places.values()), [figure_name(str(name), 16) for name in places])
        ax.tick_params(axis="x", rotation=30 if len(places) > 4 else 0)
        ax.set_xlim(-0.5, len(places) - 0.5)
        if ax.get_yscale() == "linear":
            ax.axhline(0.0, color=GREY, linewidth=0.6, zorder=0)
    elif "x" in plot.log and all(x > 0 for s in plot.series for x in s.x):
        ax.set_xscale("log")
        values = sorted({float(x) for s in plot.series for x in s.x})
        if len(values) <= _NAMED:  # the program's own ticks would write over each other
            ax.set_xticks(values, [f"{x:g}" for x in values])
            ax.set_xticks([], minor=True)
    if plot.reference is not None and first.rate is not None:
        ends = np.array([min(first.x), max(first.x)], dtype=np.float64)
        line = _law(plot, ends, plot.reference, first.rate.at_mean)
        ax.plot(ends, line, color=GREY, linestyle=(0, (4, 2)), linewidth=1.2, label=f"rate {number(plot.reference, 3)}")
    ax.set(xlabel=plot.x_label, ylabel=plot.y_label)


def _rates(plot: StudyPlot) -> str:
    """Say the fitted rates in words."""
    law = {"power": "y ~ x^p, p", "exponential": "y ~ exp(p x), p"}.get(plot.law or "", "")
    told = [f"{s.label + ': ' if s.label else ''}{s.rate.text}" for s in plot.series if s.rate is not None]
    return f" Fitted {law} = {'; '.join(told)}." if told else ""


def _said(series: Series) -> str:
    of = f"{series.label}: " if series.label else ""
    first, last = series.x[0], series.x[-1]
    return f"{of}{number(series.y[0], 3)} at {first} to {number(series.y[-1], 3)} at {last}."
