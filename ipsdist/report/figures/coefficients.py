"""All coefficients of the dictionary against the truth, with 95 % intervals ([S] Fig. 4 g)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ipsdist.report.data import ReportData
from ipsdist.report.figures.style import GREY, LEARNT, TRUTH, Missing, Picture, figure, picture
from ipsdist.report.terms import figure_name, number, with_error

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["coefficients", "true_coefficient"]

_MOST = 24


def coefficients(result: Mapping[str, Any], data: ReportData) -> Picture | Missing:
    """Draw one row for every term: kept with its interval, dropped as an empty dot at 0, the truth as a diamond."""
    title = "Coefficients of the dictionary"
    kept = {term["name"]: term for term in result["terms"]}
    true = dict(data.truth or {})
    names = list(dict.fromkeys([*data.names, *kept, *true]))
    if len(names) > _MOST:
        names = [name for name in names if name in kept or name in true][:_MOST]
    if not names:
        return Missing(title, "No term was kept.")
    standard = bool(true) and any(term["standard_error"] for term in kept.values())
    drawn = figure(1.35 + 0.235 * len(names))
    axes = drawn.subplots(1, 2, sharey=True, width_ratios=(1.45, 1.0)) if standard else [drawn.subplots()]
    _values(axes[0], names, kept, true)
    if standard:
        _errors(axes[1], names, kept, true)
    axes[0].set_yticks(range(len(names)), [figure_name(name) for name in names])
    axes[0].set_ylim(len(names) - 0.4, -0.6)
    _write_values(axes[-1], names, kept)
    drawn.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    alt = "Coefficients. Kept: " + ("; ".join(_words(term, true) for term in kept.values()) or "none") + "."
    alt += f" Dropped: {', '.join(result['dropped']) or 'none'}."
    columns = ("term", "learnt", "lower 95 %", "upper 95 %") + (("true",) if data.truth is not None else ())
    rows = [_row(name, kept, data) for name in names]
    extra = (
        "; right, the distance from the truth in standard errors (within ±1.96 for 95 % of runs)" if standard else ""
    )
    caption = f"The coefficient of every term of the dictionary with its 95 % interval{extra}."
    return picture(drawn, "coefficients", title, caption, alt, columns, rows)


def true_coefficient(truth: Mapping[str, float], name: str) -> float:
    """Return the true coefficient of a term: 0 for one that the truth lacks."""
    return truth.get(name, 0.0)


def _values(ax: Axes, names: list[str], kept: Mapping[str, Any], true: Mapping[str, float]) -> None:
    ax.axvline(0, color=GREY, linewidth=0.6)
    rows = [k for k, name in enumerate(names) if name in kept]
    chosen = [kept[names[k]] for k in rows]
    ends = [term["interval95"] or [term["coefficient"]] * 2 for term in chosen]
    values = [term["coefficient"] for term in chosen]
    spread = [
        [v - low for v, (low, _) in zip(values, ends, strict=True)],
        [high - v for v, (_, high) in zip(values, ends, strict=True)],
    ]
    if true:
        at = [k for k, name in enumerate(names) if name in true]
        look: dict[str, Any] = {
            "marker": "D",
            "markersize": 9,
            "markerfacecolor": "none",
            "markeredgewidth": 1.5,
            "linestyle": "",
        }
        ax.plot([true[names[k]] for k in at], at, label="true", color=TRUTH["color"], **look)
    if rows:
        ax.errorbar(
            values,
            rows,
            xerr=spread,
            fmt="o",
            markersize=4,
            capsize=5,
            color=LEARNT["color"],
            label="kept, 95 % interval",
        )
    empty = [k for k, name in enumerate(names) if name not in kept]
    if empty:
        ax.plot([0.0] * len(empty), empty, "o", markersize=4, color=GREY, markerfacecolor="white", label="dropped")
    ax.margins(x=0.12)
    if not rows and not true:
        ax.set_xlim(-1, 1)
    ax.locator_params(axis="x", nbins=4)
    ax.set_xlabel("coefficient")


def _errors(ax: Axes, names: list[str], kept: Mapping[str, Any], true: Mapping[str, float]) -> None:
    ax.axvspan(-1.96, 1.96, color="#E3E3E3", linewidth=0)
    ax.axvline(0, color=GREY, linewidth=0.6)
    rows, scores = [], []
    for k, name in enumerate(names):
        term = kept.get(name)
        if term and term["standard_error"]:
            rows.append(k)
            scores.append((term["coefficient"] - true_coefficient(true, name)) / term["standard_error"])
    widest = max([4.0, *(1.15 * abs(score) for score in scores)])
    ax.plot(scores, rows, "o", markersize=5, color=LEARNT["color"])
    ax.set_xlim(-widest, widest)
    ax.locator_params(axis="x", nbins=5, integer=True)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel("standard errors\nfrom the truth")


def _write_values(ax: Axes, names: list[str], kept: Mapping[str, Any]) -> None:
    """Write the kept values at the right edge, where they cannot meet a marker."""
    right = ax.secondary_yaxis("right")
    rows = [k for k, name in enumerate(names) if name in kept]
    terms = [kept[names[k]] for k in rows]
    right.set_yticks(rows, [with_error(term["coefficient"], term["standard_error"]) for term in terms])
    right.tick_params(length=0)
    right.spines["right"].set_visible(False)


def _row(name: str, kept: Mapping[str, Any], data: ReportData) -> tuple[object, ...]:
    term = kept.get(name)
    low, high = (term and term["interval95"]) or (None, None)
    shown = (name, term["coefficient"] if term else "dropped", low, high)
    return shown if data.truth is None else (*shown, true_coefficient(data.truth, name))


def _words(term: Mapping[str, Any], true: Mapping[str, float]) -> str:
    text = f"{term['name']} {with_error(term['coefficient'], term['standard_error'])}"
    return f"{text} (true {number(true_coefficient(true, term['name']), 6)})" if true else text
