"""What a study's figures show: means over the seeds with their standard errors, and fitted rates."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ipsdist.config.study import PlotSection, axis_label
from ipsdist.report.figures.study import Rate, Series, StudyPlot
from ipsdist.studies.paths import number

__all__ = ["mean_and_error", "plot_of"]

Row = Mapping[str, Any]
"""The cells of a finished run, and under the paths of the plots what they lead to."""

_LABELS = {
    "wasserstein2.values": "W2 from the data ({length})",
    "wasserstein2": "W2 of the solutions ({length})",
    "data_loss": "L_data",
    "kernel_relative_l2": "relative L2 error of phi",
    "errors.kernel_relative_l2": "relative L2 error of phi",
    "support_correct": "share of right supports",
    "cpu_seconds": "CPU time (s)",
    "history.loss": "loss per panel",
    "iteration": "iteration",
    "wasserstein2.times": "t ({time})",
}


def mean_and_error(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean, and its standard error where there are at least two values."""
    if len(values) < 2:
        return statistics.fmean(values), None
    return statistics.fmean(values), statistics.stdev(values) / math.sqrt(len(values))


def plot_of(plot: PlotSection, rows: Sequence[Row], units: Mapping[str, str]) -> StudyPlot | None:
    """Return a plot of the finished runs ``rows``; None where none of them has what it shows."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row.get(name) for name in plot.by), []).append(row)
    make: Callable[[str, Sequence[Row]], Series | None] = {
        "points": lambda label, own: _points(plot, label, own),
        "curve": lambda label, own: _curve(plot, label, own),
        "terms": lambda label, own: _terms(label, own),
    }[plot.kind]
    terms = plot.kind == "terms"
    labels = {key: _series_label(plot.by, key) or ("learnt" if terms else "") for key in groups}
    series = [s for key, own in groups.items() if (s := make(labels[key], own)) is not None]
    if not series:
        return None
    if terms and (truth := _truth(rows)) is not None:
        series.append(truth)
    x = plot.x or ("term" if terms else "iteration")
    y = plot.y or "coefficient"
    return StudyPlot(
        name=plot.name,
        title=plot.title or f"{y} against {x}",
        x_label=plot.x_label or ("" if terms else _axis(x, units)),
        y_label=plot.y_label or _axis(y, units),
        log=plot.log,
        joined=plot.kind != "terms",
        series=tuple(series),
        law=None if plot.fit == "none" else plot.fit,
        reference=plot.reference,
        note=_note(_counts(plot, groups.values()), series),
    )


def _note(counted: str, series: Iterable[Series]) -> str:
    """Say what the points are; of single runs there is no mean, and no standard error of one."""
    if counted in ("1 seed", "1 run"):
        return f"Of {counted} each"
    errors = any(error is not None for each in series for error in each.error)
    return f"Mean over {counted}" + (" with its standard error" if errors else "")


def _counts(plot: PlotSection, groups: Iterable[Sequence[Row]]) -> str:
    """Return what a mean is taken over: seeds, or runs where other keys vary that the plot does not part."""
    seeds: dict[tuple[int, str], list[int]] = {}
    for group, own in enumerate(groups):
        for row in own:
            seeds.setdefault((group, repr(row.get(plot.x or "")) if plot.kind == "points" else ""), []).append(
                row["seed"]
            )
    word = "run" if any(len(set(each)) < len(each) for each in seeds.values()) else "seed"
    sizes = sorted({len(each) for each in seeds.values()})
    return f"{sizes[0]} to {sizes[-1]} {word}s" if len(sizes) > 1 else f"{sizes[0]} {word}{'s' * (sizes[0] > 1)}"


def _axis(name: str, units: Mapping[str, str]) -> str:
    """Return the label of an axis: what it is, with its unit."""
    text = axis_label(name)
    if text is None:
        whole = [known for known in _LABELS if name == known or name.startswith(f"{known}.")]
        text = _LABELS[max(whole, key=len)].format(**units) if whole else name
    how = name.rpartition(".")[2]
    if how != name and how in ("max", "mean", "last"):
        text = {"max": "largest ", "mean": "mean ", "last": "last "}[how] + text
    return text


def _series_label(by: Sequence[str], key: tuple[Any, ...]) -> str:
    return ", ".join(f"{name.rpartition('.')[2]} {value}" for name, value in zip(by, key, strict=True))


def _points(plot: PlotSection, label: str, rows: Sequence[Row]) -> Series | None:
    pairs = [(row.get(plot.x or ""), number(row.get(plot.y or ""))) for row in rows]
    known = [(x, y) for x, y in pairs if x is not None and y is not None]
    if not known:
        return None
    if all(number(x) is not None for x, _ in known):
        numeric = [(float(x), y) for x, y in known]
        return _grouped(label, sorted(numeric), _rate(plot.fit, numeric))
    return _grouped(label, [(str(x), y) for x, y in known], None)


def _curve(plot: PlotSection, label: str, rows: Sequence[Row]) -> Series | None:
    """Return the mean curve; the rate is the mean of those of the runs, whose points are not independent."""
    curves = [c for row in rows if (c := _pairs(plot, row))]
    if not curves:
        return None
    rates = [r.slope for c in curves if (r := _rate(plot.fit, c)) is not None]
    together = [pair for c in curves for pair in c]
    rate = _rate(plot.fit, together)
    if rate is not None and rates:
        mean, error = mean_and_error(rates)
        rate = Rate(mean, error, rate.at_mean)
    return _grouped(label, sorted(together), rate)


def _pairs(plot: PlotSection, row: Row) -> list[tuple[float, float]]:
    y = row.get(plot.y or "")
    if not isinstance(y, list):
        return []
    counted = plot.x is None or plot.x == "iteration"
    x = range(1, len(y) + 1) if counted else row.get(plot.x or "")
    if not isinstance(x, list | range) or len(x) != len(y):
        return []
    known = [(float(a), float(b)) for a, b in zip(x, y, strict=True) if None not in (number(a), number(b))]
    if not plot.excess:
        return known
    return [(a, b - known[-1][1]) for a, b in known if b > known[-1][1]]


def _terms(label: str, rows: Sequence[Row]) -> Series | None:
    prefix = "coefficient."
    names = dict.fromkeys(name for row in rows for name in row if name.startswith(prefix))
    pairs = [(n.removeprefix(prefix), v) for n in names for row in rows if (v := number(row.get(n))) is not None]
    return _grouped(label, pairs, None) if pairs else None


def _truth(rows: Sequence[Row]) -> Series | None:
    """Return the true coefficients, where the runs know them: what was learnt less its error, and 0 of other terms."""
    told = [row for row in rows if any(name.startswith("error.") for name in row)]
    if not told:
        return None
    names = dict.fromkeys(n.removeprefix("coefficient.") for row in rows for n in row if n.startswith("coefficient."))
    first = told[0]
    values = tuple(
        float(first.get(f"coefficient.{n}", 0.0) - first[f"error.{n}"]) if f"error.{n}" in first else 0.0 for n in names
    )
    return Series("truth", tuple(names), values, (None,) * len(values), None)


def _grouped(label: str, pairs: Sequence[tuple[Any, float]], rate: Rate | None) -> Series:
    """Return the means over pairs of equal x, in the order in which x comes."""
    together: dict[Any, list[float]] = {}
    for x, y in pairs:
        together.setdefault(x, []).append(y)
    found = [mean_and_error(values) for values in together.values()]
    return Series(label, tuple(together), tuple(m for m, _ in found), tuple(e for _, e in found), rate)


def _rate(law: str, pairs: Sequence[tuple[float, float]]) -> Rate | None:
    """Return the least-squares slope of log y against log x (power) or x (exponential), with its standard error."""
    usable = [(x, y) for x, y in pairs if y > 0 and (x > 0 or law == "exponential")]
    if law == "none" or len({x for x, _ in usable}) < 2:
        return None
    x, y = (np.array(side, dtype=np.float64) for side in zip(*usable, strict=True))
    u, v = (np.log(x) if law == "power" else x), np.log(y)
    centred = u - u.mean()
    slope = float(centred @ v / (centred @ centred))
    rest = v - v.mean() - slope * centred
    error = float(np.sqrt(rest @ rest / (len(u) - 2) / (centred @ centred))) if len(u) > 2 else None
    return Rate(slope, error, (float(u.mean()), float(v.mean())))
