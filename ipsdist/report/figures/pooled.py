"""The pooled kernel with its 95 % band, the kernels of the experiments alone, and how far they are from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ipsdist.report.figures.style import BAND, GREY, LEARNT, PALETTE, Array, Picture, figure, finite, pick, picture
from ipsdist.report.terms import number, plain_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Curves", "pooled_kernel"]

_DASHES = ("-", (0, (6, 2.5)), (0, (2, 2)), (0, (6, 2, 1.5, 2)))
"""So that of two kernels which are the same both are seen; four, because there are six colours."""
_NEAR = 0.05
"""Share of the distances, the nearest, where a steep kernel may leave the frame."""
_STEEP = 2.5
_LEGEND = 12
"""Experiments that the legend names."""


@dataclass(frozen=True)
class Curves:
    """Kernels of a pool of E experiments at R distances."""

    radii: Array
    """(R,) increasing, length."""
    value: Array
    """(R,) the pooled kernel, length / time."""
    lower: Array
    """(R,) lower end of its 95 % band."""
    upper: Array
    """(R,) upper end."""
    own: tuple[Array, ...]
    """E of (R,) the kernel of each experiment alone; nan beyond the distances that it saw."""


def pooled_kernel(curves: Curves, names: Sequence[str]) -> Picture:
    """Draw the pooled phi(r) with its band and the experiments' own ones, and below it their differences."""
    drawn = figure(4.7)
    upper, lower = drawn.subplots(2, 1, sharex=True, height_ratios=(1.7, 1.0))
    upper.axhline(0, color=GREY, linewidth=0.6)
    upper.fill_between(curves.radii, curves.lower, curves.upper, color=BAND, linewidth=0, label="pooled, 95 % band")
    upper.plot(curves.radii, curves.value, label="pooled", **(LEARNT | {"linestyle": "-"}))
    lower.fill_between(curves.radii, curves.lower - curves.value, curves.upper - curves.value, color=BAND, linewidth=0)
    lower.axhline(0, color=LEARNT["color"], linewidth=LEARNT["linewidth"])
    _own(upper, lower, curves, names)
    upper.set_ylim(*_frame(curves.radii, [curves.value, *curves.own]))
    lower.set_ylim(*_frame(curves.radii, [curves.lower - curves.value, curves.upper - curves.value, *_apart(curves)]))
    upper.set_ylabel(r"kernel $\varphi(r)$ (length/time)")
    lower.set(xlabel="distance $r$ (length)", ylabel="own less pooled")
    drawn.align_ylabels()
    drawn.legend(*upper.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    columns = ("r", "pooled", "lower 95 %", "upper 95 %", *(plain_label(name) for name in names))
    title = "The interaction kernel of all experiments"
    return picture(drawn, "pooled", title, _caption(), _alt(curves, names), columns, _rows(curves))


def _own(upper: Axes, lower: Axes, curves: Curves, names: Sequence[str]) -> None:
    colours = PALETTE[1:]
    for k, (name, values, apart) in enumerate(zip(names, curves.own, _apart(curves), strict=True)):
        look: dict[str, Any] = {"color": colours[k % len(colours)], "linestyle": _DASHES[k % len(_DASHES)]}
        look["linewidth"] = 1.0
        label = plain_label(name if len(name) <= 24 else f"…{name[-23:]}") if k < _LEGEND else None
        upper.plot(curves.radii, values, label=label, **look)
        lower.plot(curves.radii, apart, **look)


def _apart(curves: Curves) -> list[Array]:
    return [own - curves.value for own in curves.own]


def _frame(radii: Array, drawn: Sequence[Array]) -> tuple[float, float]:
    """Return limits that hold the curves, or all but the steep part near r = 0 where that would flatten the rest."""
    far = radii >= _NEAR * radii[-1]
    whole, rest = (finite(np.concatenate(part)) for part in (list(drawn), [curve[far] for curve in drawn]))
    kept = rest if float(np.ptp(whole)) > _STEEP * float(np.ptp(rest)) > 0 else whole
    low, high = float(kept.min()), float(kept.max())
    margin = 0.07 * (high - low) or 1.0
    return low - margin, high + margin


def _rows(curves: Curves) -> list[tuple[object, ...]]:
    columns = (curves.radii, curves.value, curves.lower, curves.upper, *curves.own)
    return [tuple(float(c[j]) if np.isfinite(c[j]) else None for c in columns) for j in pick(len(curves.radii), 13)]


def _caption() -> str:
    return (
        "The pooled kernel with its 95 % band, and the kernel that each experiment finds alone (thin), over the "
        "distances that it saw; positive attracts. Below, the differences from the pooled one: a kernel alone may well "
        "lie outside the band of the pool, which is narrower than its own."
    )


def _alt(curves: Curves, names: Sequence[str]) -> str:
    text = (
        f"Kernel against distance r from 0 to {number(float(curves.radii[-1]), 3)}. The pooled kernel goes from "
        f"{number(float(curves.value[0]), 3)} to {number(float(curves.value[-1]), 3)}; the half width of its 95 % band "
        f"is at most {number(float(finite(curves.upper - curves.lower).max()) / 2, 3)}."
    )
    worst = [float(np.abs(finite(apart)).max()) for apart in _apart(curves)]
    most = int(np.argmax(worst))
    return f"{text} The kernel furthest from it is that of {names[most]}, by up to {number(worst[most], 3)}."
