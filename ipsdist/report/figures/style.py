"""How every figure looks: size, type, colours that colour-blind readers tell apart, and PNG bytes without dates."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "BAND",
    "DATA",
    "GREY",
    "LEARNT",
    "PALETTE",
    "TRUTH",
    "WIDTH",
    "Missing",
    "Picture",
    "edges",
    "figure",
    "finite",
    "pick",
    "picture",
    "styled",
]  # fmt: skip

Array = npt.NDArray[np.float64]

WIDTH = 4.8
"""Printed width of a figure in inches: one image suits a print column, half a laptop's page and a whole phone."""

DATA: dict[str, Any] = {"color": "#8C8C8C", "linestyle": "-", "linewidth": 3.6}
LEARNT: dict[str, Any] = {"color": "#0072B2", "linestyle": (0, (6, 1.6)), "linewidth": 1.9}
TRUTH: dict[str, Any] = {"color": "#D55E00", "linestyle": (0, (1.4, 1.3)), "linewidth": 1.9}
BAND = "#A6D3EE"
GREY = "#767676"
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's colours, yellow left out because it vanishes on paper."""

_STYLE: dict[str, Any] = {
    "font.size": 9.5, "axes.labelsize": 9.5, "axes.titlesize": 9.5, "xtick.labelsize": 9.0, "ytick.labelsize": 9.0,
    "legend.fontsize": 9.0, "legend.frameon": False, "legend.handlelength": 2.6, "mathtext.fontset": "dejavusans",
    "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.7, "axes.unicode_minus": True,
    "axes.titlelocation": "left", "lines.linewidth": 1.6, "xtick.major.width": 0.7, "ytick.major.width": 0.7,
    "figure.facecolor": "white", "savefig.facecolor": "white", "figure.dpi": 100.0, "path.simplify": True,
    "figure.constrained_layout.h_pad": 0.03, "figure.constrained_layout.w_pad": 0.03,
}  # fmt: skip
_SESSION = (
    "backend",
    "interactive",
    "toolbar",
    "timezone",
    "webagg",
    "tk.",
    "keymap",
    "macosx",
    "figure.hooks",
    "datapath",
)


@dataclass(frozen=True)
class Picture:
    """One drawn figure with all that a page says about it; cells of ``rows`` are numbers, texts or None."""

    name: str
    title: str
    caption: str
    alt: str
    png: bytes
    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]


@dataclass(frozen=True)
class Missing:
    """A figure that was left out, and why."""

    title: str
    reason: str


@contextmanager
def styled() -> Iterator[None]:
    """Draw inside with this style, whatever the user's matplotlibrc says; what it says holds again afterwards."""
    import matplotlib

    defaults: dict[str, Any] = {k: v for k, v in matplotlib.rcParamsDefault.items() if not k.startswith(_SESSION)}
    with matplotlib.rc_context(cast(Any, defaults | _STYLE)):
        yield


def figure(height: float) -> Figure:
    """Return an empty figure of the common width and ``height`` inches; pyplot and its registry stay out of it."""
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH, height), layout="constrained")


def picture(
    drawn: Figure,
    name: str,
    title: str,
    caption: str,
    alt: str,
    columns: tuple[str, ...],
    rows: list[tuple[object, ...]],
) -> Picture:
    """Render at 200 dots an inch; the bytes carry neither date nor version."""
    buffer = io.BytesIO()
    drawn.savefig(buffer, format="png", dpi=200, metadata={"Software": None})
    return Picture(name, title, caption, alt, buffer.getvalue(), columns, tuple(rows))


def pick(count: int, most: int) -> npt.NDArray[np.intp]:
    """Return at most ``most`` indices of ``count`` things, evenly spread, first and last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.intp))


def edges(centres: Array) -> Array:
    """Return the n + 1 borders of n >= 2 increasing centres."""
    middle = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])


def finite(values: Array, default: float = 0.0) -> Array:
    """Return the finite values, or ``default`` alone when there is none."""
    kept = values[np.isfinite(values)]
    return kept if kept.size else np.array([default])
