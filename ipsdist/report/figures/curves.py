"""Curves over time: free energies ([S] Fig. 2 d) and the Wasserstein distance ([S] Fig. 4 d)."""

from __future__ import annotations

import numpy as np

from ipsdist.report.data import ReportData
from ipsdist.report.figures.style import DATA, LEARNT, TRUTH, Missing, Picture, figure, finite, pick, picture
from ipsdist.report.terms import number, plain_label

__all__ = ["free_energy", "wasserstein"]


def free_energy(data: ReportData) -> Picture | Missing:
    """Draw the free energy of the data, along the truth and along the learnt equation."""
    title = "Free energy"
    curves = [
        (text, values, look)
        for text, values, look in (
            ("particles", data.energy_data, DATA),
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
    caption = "Free energy of the particles' density and along the mean-field equation, where it never rises."
    return picture(drawn, "free_energy", title, caption, alt, ("time", *(text for text, _, _ in curves)), rows)


def wasserstein(data: ReportData) -> Picture | Missing:
    """Draw W2 between the data's density and the one that the learnt kernel predicts."""
    title = "Wasserstein distance of the prediction"
    times, values = data.wasserstein_times, data.wasserstein_values
    if times is None or values is None:
        return Missing(
            title, "No density was predicted with the learnt kernel, so there is nothing to compare the data with."
        )
    drawn = figure(2.7)
    ax = drawn.subplots()
    ax.plot(times, values, marker="o", markersize=3.5 if len(times) <= 40 else 0, color=LEARNT["color"])
    top = float(finite(values).max())
    ax.set_ylim(0, 1.1 * top or 1.0)
    if top < 1e-3:
        ax.ticklabel_format(axis="y", scilimits=(-3, 4), useMathText=True)
    unit = plain_label(data.length_unit)
    ax.set(xlabel=f"time $t$ ({plain_label(data.time_unit)})", ylabel=f"distance $W_2$ ({unit})")
    rows: list[tuple[object, ...]] = [(float(times[k]), float(values[k])) for k in pick(len(times), 11)]
    worst = int(np.nanargmax(np.where(np.isfinite(values), values, -np.inf)))
    alt = (
        f"W2 against time: {number(float(values[0]), 3)} at the start, {number(float(values[-1]), 3)} at the end, "
        f"at most {number(top, 3)} at time {number(float(times[worst]), 3)}."
    )
    caption = "W₂ between the particles' density and the one that the equation with the learnt kernel predicts."
    return picture(drawn, "wasserstein", title, caption, alt, ("time", "W2"), rows)
