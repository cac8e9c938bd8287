"""Studies of one seed: no mean, and no word of a standard error that nobody could have."""

from __future__ import annotations

from typing import Any

import pytest

from ipsdist.config.study import PlotSection
from ipsdist.report.figures.study import draw_study
from ipsdist.report.study_page import study_page
from ipsdist.studies.series import plot_of
from ipsdist.studies.summary import summary_of

UNITS = {"length": "m", "time": "s"}
PLOT = PlotSection(name="loss", x="system.particles", y="data_loss")


def rows(seeds: int) -> list[dict[str, Any]]:
    """Return a finished run of two sizes for each seed."""
    return [
        {"run": f"{n}-{s}", "system.particles": n, "seed": s, "data_loss": n + 0.1 * s, "status": "done", "error": None}
        for n in (1, 2)
        for s in range(seeds)
    ]


@pytest.mark.parametrize("seeds", [1, 2])
def test_figures_and_page_speak_of_errors_where_there_are_some(seeds: int) -> None:
    """One seed: the note, the table of the figure and that of the page have neither mean nor error; two have both."""
    made = plot_of(PLOT, rows(seeds), UNITS)
    assert made is not None
    picture = draw_study(made)
    summary = summary_of(rows(seeds), ["system.particles"], [])
    page = study_page({"name": "a", "summary": summary, "versions": {}}, rows(seeds), [picture])
    assert made.note == ("Of 1 seed each" if seeds == 1 else "Mean over 2 seeds with its standard error")
    for text in (picture.caption, page):
        assert ("standard error" in text.lower()) == (seeds == 2), text
    assert ("Means over the seeds" in page) == (seeds == 2)
    assert "data_loss" in page


def test_seeds_of_which_one_is_left_give_no_error() -> None:
    """Of two seeds a failure leaves one for each size: that is what is said."""
    left = [row for row in rows(2) if row["seed"] == 1]
    made = plot_of(PLOT, left, UNITS)
    assert made is not None
    assert made.note == "Of 1 seed each"


def test_a_mean_over_some_seeds_has_its_error() -> None:
    """One size with two seeds and one with one: a mean, and an error where there is one."""
    made = plot_of(PLOT, rows(2)[:3], UNITS)
    assert made is not None
    assert made.note == "Mean over 1 to 2 seeds with its standard error"
