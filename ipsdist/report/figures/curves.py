"""Curves over time: free energies ([S] Fig. 2 d) and the Wasserstein distances ([S] Figs. 3, 4 d)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ipsdist.report.data import ReportData
from ipsdist.report.figures.style import DATA, LEARNT, TRUTH, Missing, Picture, figure, finite, pick, picture
from ipsdist.report.terms import number, plain_label

__all__ = ["free_energy", "wasserstein"]

Array = npt.NDArray[np.float64]


def free_energy(data: ReportData) -> Picture | Missing:
    """Draw the free energy of the data, along the truth and along the learnt equation."""
    title = "Free energy"
    curves = [
        (text, values, look)
        for text, values, look in (
            ("data", data.energy_data, DATA),
            ("learnt kernel", data.energy_learnt, LEARNT),
            ("true kernel", data.energy_true, TRUTH),
        )
        if values is not None
    ]
    if data.energy_times is None or not curves:
        return Missing(title, "No free energy was computed.")
    drawn = figure(3.1)
    ax = drawn.subplots()
    for text, values, look in curves:
        ax.plot(data.energy_times, values, label=text, marker="o" if len(values) == 1 else "", **look)
    length, time = plain_label(data.length_unit), plain_label(data.time_unit)
    ax.set(xlabel=f"time $t$ ({time})", ylabel=f"free energy $F$\n({length}²/{time})")
    drawn.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    rows: list[tuple[object, ...]] = [
        (float(data.energy_times[k]), *(float(values[k]) for _, values, _ in curves))
        for k in pick(len(data.energy_times), 11)
    ]
    alt = "Free energy against time. " + " ".join(
        f"{text.capitalize()}: from {number(float(values[0]))} to {number(float(values[-1]))}."
        for text, values, _ in curves
    )
    caption = "Free energy of the data's density and along the mean-field equation, where it never rises."
    return picture(drawn, "free_energy", title, caption, alt, ("time", *(text for text, _, _ in curves)), rows)


def wasserstein(data: ReportData) -> Picture | Missing:
    """Draw W2 of the learnt kernel's prediction from the data and from the true kernel's prediction."""
    title = "Wasserstein distance of the prediction"
    times = data.wasserstein_times
    curves = [
        (text, values, look)
        for text, values, look in (
            ("from the data", data.wasserstein_values, DATA),
            ("from the true kernel's prediction", data.wasserstein_solutions, LEARNT),
        )
        if values is not None
    ]
    if times is None or not curves:
        return Missing(
            title, "No density was predicted with the learnt kernel, so there is nothing to compare the data with."
        )
    drawn = figure(3.1)
    ax = drawn.subplots()
    for text, values, look in curves:
        ax.plot(times, values, label=text, marker="o", markersize=3.5 if len(times) <= 40 else 0, **look)
    top = max(float(finite(values).max()) for _, values, _ in curves)
    ax.set_ylim(0, 1.1 * top or 1.0)
    if top < 1e-3:
        ax.ticklabel_format(axis="y", scilimits=(-3, 4), useMathText=True)
    length, time = plain_label(data.length_unit), plain_label(data.time_unit)
    ax.set(xlabel=f"time $t$ ({time})", ylabel=f"distance $W_2$ ({length})")
    drawn.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    rows: list[tuple[object, ...]] = [
        (float(times[k]), *(float(values[k]) for _, values, _ in curves)) for k in pick(len(times), 11)
    ]
    alt = "W2 of the learnt kernel's prediction against time. " + " ".join(
        f"{text.capitalize()}: {_course(times, values)}." for text, values, _ in curves
    )
    caption = "W₂ of the density that the equation with the learnt kernel predicts from the data's density"
    caption += ", and from the one that the true kernel predicts from the same start." if len(curves) > 1 else "."
    return picture(drawn, "wasserstein", title, caption, alt, ("time", *(f"W2 {text}" for text, _, _ in curves)), rows)


def _course(times: Array, values: Array) -> str:
    """Return a curve in words: both ends and the greatest value."""
    worst = int(np.nanargmax(np.where(np.isfinite(values), values, -np.inf)))
    return (
        f"{number(float(values[0]), 3)} at the start, {number(float(values[-1]), 3)} at the end, "
        f"at most {number(float(values[worst]), 3)} at time {number(float(times[worst]), 3)}"
    )
