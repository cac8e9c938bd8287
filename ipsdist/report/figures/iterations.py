"""How the two phases got there: coefficients and loss over iterations ([S] Fig. 2 e, f)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ipsdist.report.data import ReportData
from ipsdist.report.figures.style import GREY, PALETTE, Array, Missing, Picture, figure, finite, picture
from ipsdist.report.terms import figure_name, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["coefficient_history", "loss_history"]

_STYLES = (
    "-",
    (0, (5, 1.5)),
    (0, (1.5, 1.2)),
    (0, (6, 1.5, 1.5, 1.5)),
    (0, (3, 1)),
    (0, (8, 2)),
    (0, (4, 1, 1, 1, 1, 1)),
)
_SHOWN = 7


def coefficient_history(result: Mapping[str, Any], data: ReportData) -> Picture | Missing:
    """Draw all coefficients over the turns of Phase I, and after Phase II behind a line."""
    title = "Coefficients over the iterations"
    if not data.history:
        return Missing(title, _no_history(result))
    path = np.array([turn.coefficients for turn in data.history], dtype=np.float64)
    if data.history_final is not None:
        path = np.vstack([path, data.history_final])
    turns = np.arange(1, len(path) + 1)
    coloured = _leaders(path[-1])
    drawn = figure(3.5)
    ax = drawn.subplots()
    _draw_paths(ax, data, path, coloured)
    top = float(np.abs(finite(path[-1])).max()) or 1.0
    if float(np.abs(finite(path)).max()) > 20 * top:
        ax.set_yscale("symlog", linthresh=2 * top)
        ax.set_ylabel(f"coefficient (logarithmic beyond ±{number(2 * top, 2)})")
    else:
        ax.set_ylabel("coefficient")
    ax.set_xlim(0.5, len(path) + 0.5)
    _number(ax, len(data.history))
    if data.history_final is not None:
        ax.axvline(len(path) - 0.5, color=GREY, linewidth=0.8)
        for text, place, side in (("phase I", 0.0, "left"), ("phase II", 1.0, "right")):
            ax.annotate(text, (place, 1.0), xycoords="axes fraction", ha=side, va="bottom", fontsize=9.0)
    ax.set_xlabel("iteration")
    handles, labels = ax.get_legend_handles_labels()
    across = 2 if max(len(data.names[j]) for j in (*coloured, 0)) > 12 else 4
    drawn.legend(handles, labels, loc="outside upper center", ncols=across)
    rows: list[tuple[object, ...]] = [
        (_turn(k, path, data), *(float(path[k, j]) for j in coloured), int(np.count_nonzero(path[k])))
        for k in _rows(len(path))
    ]
    columns = ("iteration", *(data.names[j] for j in coloured), "terms not masked")
    final = ", ".join(f"{data.names[j]} {number(float(path[-1, j]), 4)}" for j in coloured) or "none"
    alt = f"Coefficients of {len(data.names)} terms over {len(turns)} iterations; not masked at the end: {final}."
    caption = "The coefficients over the iterations of the two phases; grey terms end masked, a cross marks where."
    caption += _aside(result)
    return picture(drawn, "coefficient_history", title, caption, alt, columns, rows)


def _aside(result: Mapping[str, Any]) -> str:
    """Say so when another selection gave the answer: the two phases are drawn for comparison then."""
    if result["selection"] == "two_phase":
        return ""
    return " For comparison only: this selection did not give the answer above, and may end elsewhere."


def loss_history(result: Mapping[str, Any], data: ReportData) -> Picture | Missing:
    """Draw the loss over the turns of Phase I with importance sampling and without."""
    title = "Loss over the iterations"
    if not data.history:
        return Missing(title, _no_history(result))
    runs = [
        (text, np.array([turn.loss for turn in turns], dtype=np.float64), look)
        for text, turns, look in (
            ("importance sampling", data.history, {"color": PALETTE[0], "linestyle": "-", "marker": "o"}),
            ("even sampling", data.history_uniform, {"color": PALETTE[1], "linestyle": (0, (5, 1.5)), "marker": "s"}),
        )
        if turns
    ]
    every = finite(np.concatenate([losses for _, losses, _ in runs]))
    # Forms without an energy know their loss up to a constant, which may make it negative: only differences count then.
    floor = 0.0 if every.min() > 0 else float(every.min())
    drawn = figure(3.0)
    ax = drawn.subplots()
    for text, losses, look in runs:
        ax.plot(np.arange(1, len(losses) + 1), losses - floor, markersize=3.5, label=text, **look)
    spread = every - floor
    if spread.max() > 30 * max(float(spread.min()), 0.0) and (spread > 0).any():
        low = max(float(spread[spread > 0].min()), 1e-5 * float(spread.max()))
        whole = 10.0 ** np.floor(np.log10(low))  # a power of ten below the linear part would be written over its 0
        ax.set_yscale("log" if floor == 0 else "symlog", **({} if floor == 0 else {"linthresh": whole}))
    ax.set(xlabel="iteration", ylabel="loss per panel" if floor == 0 else "loss above its lowest value")
    _number(ax, max(len(losses) for _, losses, _ in runs))
    drawn.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    longest = max(len(losses) for _, losses, _ in runs)
    rows: list[tuple[object, ...]] = [
        (k + 1, *(float(losses[k]) if k < len(losses) else None for _, losses, _ in runs)) for k in _rows(longest)
    ]
    alt = "Loss against iteration. " + " ".join(
        f"With {text} it goes from {number(float(losses[0]), 4)} to {number(float(losses[-1]), 4)} in {len(losses)}."
        for text, losses, _ in runs
    )
    other = "" if data.history_uniform else "; a run without importance sampling was not made"
    caption = f"The misfit over all panels after each turn of phase I{other}." + _aside(result)
    return picture(drawn, "loss_history", title, caption, alt, ("iteration", *(text for text, _, _ in runs)), rows)


def _draw_paths(ax: Axes, data: ReportData, path: Array, coloured: Sequence[int]) -> None:
    turns = np.arange(1, len(path) + 1)
    marker = "o" if len(path) <= 60 else ""
    for k, j in enumerate(coloured):
        look: dict[str, Any] = {"color": PALETTE[k], "linestyle": _STYLES[k], "marker": marker, "markersize": 3.5}
        ax.plot(turns, path[:, j], label=figure_name(data.names[j]), zorder=3, **look)
    label = "masked in the end"
    for j in range(path.shape[1]):
        if j in coloured:
            continue
        ax.plot(turns, path[:, j], color="#A0A0A0", linewidth=0.9, label=label)
        label = ""
        gone = np.flatnonzero(path[:, j] == 0)
        if gone.size and gone[0] > 0:
            ax.plot(turns[gone[0]], 0.0, color=GREY, marker="x", markersize=5, linestyle="")


def _number(ax: Axes, turns: int) -> None:
    """Set ticks at whole turns; what stands behind the last one (phase II) has no number."""
    step = max(1, round(turns / 8))
    ax.set_xticks(range(step, turns + 1, step))


def _leaders(final: Array) -> list[int]:
    """Return the terms that are not masked at the end, the largest ones if more than the colours, in their order."""
    order = np.argsort(-np.abs(np.nan_to_num(final)), kind="stable")
    return sorted(int(j) for j in order[:_SHOWN] if final[j] != 0)


def _rows(count: int) -> list[int]:
    """Return the turns a table names: all of up to 20, else the first 19 and the last."""
    return list(range(count)) if count <= 20 else [*range(19), count - 1]


def _turn(k: int, path: Array, data: ReportData) -> object:
    return "phase II" if data.history_final is not None and k == len(path) - 1 else k + 1


def _no_history(result: Mapping[str, Any]) -> str:
    return f"The selection {result['selection'].replace('_', ' ')} does not iterate, so there is no history."
