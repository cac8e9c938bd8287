"""Break points by both roads ([S] Fig. 5): density, network, its slope, pieces, the misfit around each place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ipsdist.model.radial import RadialKernel
from ipsdist.report.data import ReportData
from ipsdist.report.figures.style import (
    BAND,
    GREY,
    LEARNT,
    PALETTE,
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

__all__ = ["break_points"]

_TITLE = "Break points"
_NETWORK: dict[str, Any] = {"color": PALETTE[2], "linestyle": (0, (3, 1, 1, 1)), "linewidth": 1.6}
_HIGH = 3.84
"""Misfit at the ends of a 95 % interval."""
_NEAR = 0.02
"""Share of the distances, nearest to 0, where phi / r is not drawn."""


def break_points(result: Mapping[str, Any], data: ReportData) -> Picture | Missing:
    """Draw how a kernel in pieces was found: f(r) = phi(r) / r by network and pieces, from one set of equations."""
    roads = result["breakpoint_roads"]
    network = roads["network"]
    trained = network is not None and network["places"] is not None
    profiles = roads["profile"]["profiles"]
    drawn = figure(7.3 + 1.7 * trained - 1.7 * (not profiles))
    rows = [["density"], ["network"], ["slope"], ["pieces"]] if trained else [["density"], ["pieces"]]
    across = max(1, len(profiles))
    names: list[Any] = [row * across for row in rows] + ([[f"misfit {k}" for k in range(across)]] if profiles else [])
    axes = drawn.subplot_mosaic(names, height_ratios=[1.15, *[1.0] * (len(names) - 1)])
    _density(axes["density"], data)
    if trained:
        _network(axes["network"], data, network)
        _slope(axes["slope"], data, network)
    _pieces(axes["pieces"], data, roads)
    for k, (profile, place) in enumerate(zip(profiles, result["breakpoints"], strict=False)):
        _profile(axes[f"misfit {k}"], profile, place, data, first=k == 0)
    for letter, ax in zip("abcdefghij", axes.values(), strict=False):
        ax.set_title(f"({letter}) {ax.get_title(loc='left')}")
    drawn.align_ylabels([axes[row[0]] for row in names])
    handles: dict[str, Any] = {}
    for name in ("network", "pieces") if trained else ("pieces",):
        found, texts = axes[name].get_legend_handles_labels()
        handles |= dict(zip(texts, found, strict=True))
    drawn.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=2)
    columns = ("road", "break point", "place", "lower 95 %", "upper 95 %")
    return picture(drawn, "break_points", _TITLE, _caption(network), _alt(result), columns, _rows(result))


def _density(ax: Axes, data: ReportData) -> None:
    from matplotlib.colors import PowerNorm

    slices, points = pick(len(data.times), 200), pick(len(data.grid[0]), 200)
    shown = data.density_data[np.ix_(slices, points)]
    ax.set(title="density of the data (root scale)", ylabel=f"$x$ ({plain_label(data.length_unit)})")
    ax.set_xlabel(f"time $t$ ({plain_label(data.time_unit)})", labelpad=1)
    if len(slices) > 1:
        norm = PowerNorm(0.5, 0.0, float(finite(shown).max()) or 1.0)
        image = ax.pcolorfast(
            edges(data.times[slices]), edges(data.grid[0][points]), shown.T, norm=norm, cmap="cividis"
        )
        bar = ax.figure.colorbar(image, ax=ax, pad=0.02, aspect=10)
        bar.set_label(f"1/{plain_label(data.length_unit)}")


def _network(ax: Axes, data: ReportData, network: Mapping[str, Any]) -> None:
    radii, values = (np.asarray(network[name]) for name in ("radii", "values"))
    ax.axhline(0, color=GREY, linewidth=0.6)
    _truth(ax, data)
    ax.plot(radii, values, label="network", **(LEARNT | {"color": PALETTE[2], "linestyle": "-"}))
    _frame(ax, data, values[radii > _NEAR * radii[-1]])
    ax.set(title="network fitted to the equations", ylabel=_label(data))
    _distances(ax, data, radii[-1])


def _slope(ax: Axes, data: ReportData, network: Mapping[str, Any]) -> None:
    radii, slopes = np.asarray(network["radii"]), np.abs(network["gradient"])
    ranked = np.isin(radii, network["ranked"])
    ax.plot(radii, slopes, color=PALETTE[2], linewidth=1.2)
    ax.plot(radii[ranked], slopes[ranked], ".", color=PALETTE[4], markersize=4.5, label=f"{ranked.sum()} largest")
    for k, place in enumerate(network["candidates"]):
        ax.axvline(place, color=GREY, linestyle=":", linewidth=1.1, label="candidate" if k == 0 else "")
    top = float(slopes[ranked].max()) if ranked.any() else float(slopes.max())
    ax.set_ylim(0, 1.15 * top or 1.0)
    length, time = plain_label(data.length_unit), plain_label(data.time_unit)
    ax.set(title="its slope by automatic differentiation", ylabel=f"$|f'|$ (1/({length} {time}))")
    ax.legend(loc="best")
    _distances(ax, data, radii[-1])


def _pieces(ax: Axes, data: ReportData, roads: Mapping[str, Any]) -> None:
    kept = data.radii > max(_NEAR * data.radii[-1], 0.0)
    radii = data.radii[kept]
    learnt, lower, upper = (part[kept] / radii for part in (data.kernel_value, data.kernel_lower, data.kernel_upper))
    ax.axhline(0, color=GREY, linewidth=0.6)
    ax.fill_between(radii, lower, upper, color=BAND, linewidth=0, step="mid")
    _truth(ax, data)
    ax.plot(radii, learnt, label="pieces, profile misfit", **(LEARNT | {"linestyle": "-"}))
    network = roads["network"]
    shown = [learnt]
    if network is not None and network["places"] is not None:
        shown.append(_road(network["pieces"], radii))
        ax.plot(radii, shown[-1], label="pieces, network", **_NETWORK)
    _frame(ax, data, np.concatenate(shown))
    for lower_end, upper_end in roads["profile"]["intervals"]:
        ax.axvspan(lower_end, upper_end, color=BAND, linewidth=0, zorder=0)
    ax.set(title="pieces between the break points", ylabel=_label(data), xlabel=_across(data))
    _distances(ax, data, radii[-1])


def _profile(ax: Axes, profile: Mapping[str, Any], found: Mapping[str, Any], data: ReportData, *, first: bool) -> None:
    ax.plot(profile["places"], profile["misfit"], color=LEARNT["color"], marker=".", markersize=4)
    ax.axvspan(*found["interval95"], color=BAND, linewidth=0, zorder=0)
    ax.axhline(_HIGH, color=GREY, linestyle="--", linewidth=0.9)
    top = min(4.0 * _HIGH, 1.1 * max(profile["misfit"])) or 1.0
    near = [place for place, misfit in zip(profile["places"], profile["misfit"], strict=True) if misfit <= top]
    near += [*found["interval95"], found["place"]]
    margin = 0.06 * (max(near) - min(near)) or 1.0
    ax.set(xlim=(min(near) - margin, max(near) + margin), ylim=(0, top))
    ax.locator_params(axis="x", nbins=3)
    ax.set(title=f"misfit near {number(found['place'], 3)}", xlabel=f"place ({plain_label(data.length_unit)})")
    if first:
        ax.set_ylabel("less the least\n(units of $\\sigma^2$)")


def _truth(ax: Axes, data: ReportData) -> None:
    if data.kernel_true is not None:
        away = data.radii > _NEAR * data.radii[-1]
        ax.plot(data.radii[away], data.kernel_true[away] / data.radii[away], label="true", **TRUTH)


def _frame(ax: Axes, data: ReportData, shown: Array) -> None:
    """Set limits that hold what is drawn, the network's noise at distances hardly seen aside."""
    most = data.kernel_true if data.kernel_true is not None else data.kernel_value
    away = data.radii > _NEAR * data.radii[-1]
    sure = finite(most[away] / data.radii[away])
    low, high = float(min(sure.min(), np.quantile(shown, 0.02))), float(max(sure.max(), np.quantile(shown, 0.98)))
    margin = 0.15 * (high - low) or 1.0
    ax.set_ylim(low - margin, high + margin)


def _distances(ax: Axes, data: ReportData, reach: float) -> None:
    ax.set_xlim(0.0, max(float(data.radii[-1]), float(reach)))


def _road(pieces: list[Mapping[str, Any]], radii: Array) -> Array:
    """Return f = phi / r of the pieces of a road."""
    values = np.zeros_like(radii)
    for piece in pieces:
        inside = radii > piece["lower"]
        if piece["upper"] is not None:
            inside &= radii <= piece["upper"]
        for name, coefficient in zip(piece["terms"], piece["coefficients"], strict=True):
            term = RadialKernel.parse(name, cutoff=float(radii[0]), argument="dictionary.terms")
            values[inside] += coefficient * term(radii[inside])
    return values / radii


def _label(data: ReportData) -> str:
    return rf"$f = \varphi/r$ (1/{plain_label(data.time_unit)})"


def _across(data: ReportData) -> str:
    return f"distance $r$ ({plain_label(data.length_unit)})"


def _caption(network: Mapping[str, Any] | None) -> str:
    text = "Where the kernel breaks. The pieces and the misfit around each place come from the profile of the misfit"
    text += " (shaded: 95 % intervals; dashed: the misfit at their ends)."
    if network is None:
        return f"{text} No network was asked for."
    if network["places"] is None:
        return f"{text} No network: {network['reason']}."
    return (
        f"{text} The network f is fitted to the same equations, in the H⁻¹(u) norm of the mean-field residual; the"
        " largest |f′| where the data determine f gather at candidates; those not worth a piece are dropped."
    )


def _alt(result: Mapping[str, Any]) -> str:
    roads = result["breakpoint_roads"]
    profile = ", ".join(number(b, 4) for b in roads["profile"]["places"]) or "none"
    text = f"Break points by the profile of the misfit: {profile}."
    network = roads["network"]
    if network is None or network["places"] is None:
        return f"{text} The road by a neural network was not taken; density over time, pieces and misfits are shown."
    places = ", ".join(number(b, 4) for b in network["places"]) or "none"
    candidates = ", ".join(number(b, 4) for b in network["candidates"]) or "none"
    return f"{text} By a neural network: {places}, from the candidates {candidates}."


def _rows(result: Mapping[str, Any]) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = [
        ("profile", k + 1, found["place"], *found["interval95"]) for k, found in enumerate(result["breakpoints"])
    ]
    network = result["breakpoint_roads"]["network"]
    places = None if network is None else network["places"]
    rows += [("network", k + 1, place, None, None) for k, place in enumerate(places or ())]
    return rows or [("profile", None, None, None, None)]
