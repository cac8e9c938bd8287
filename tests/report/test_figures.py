"""Figures are drawn from what there is, are not blank, hold no dates, and leave matplotlib as they found it."""

from __future__ import annotations

import io
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
from PIL import Image

from ipsdist.report.figures import FIGURE_NAMES, draw
from ipsdist.report.figures.density import snapshots
from ipsdist.report.figures.style import styled
from tests.report.samples import normal, sample_data, sample_history, sample_plane, sample_result


@pytest.fixture(scope="module")
def drawn():
    """Pictures and omissions of the full run in one dimension."""
    return draw(sample_result(), sample_data())


def by_name(pictures):
    return {picture.name: picture for picture in pictures}


def shown(data):
    """Return the snapshots of a run."""
    with styled():
        return snapshots(data)


def pixels(picture):
    """Return the colours of a picture (rows, columns, 3), signed."""
    return np.asarray(Image.open(io.BytesIO(picture.png)).convert("RGB"), dtype=int)


def test_full_run_has_every_figure(drawn):
    """A run with truth, prediction and history has all figures of one dimension and leaves none out."""
    pictures, missing = drawn
    assert [p.name for p in pictures] == [
        name for name in FIGURE_NAMES if "snapshots" not in name and name != "break_points"
    ]
    assert missing == []


def test_images_are_not_blank_and_of_print_size(drawn):
    """Every image is 4.8 inches wide at 200 dots an inch and holds ink of both colour and black."""
    for picture in drawn[0]:
        image = Image.open(io.BytesIO(picture.png))
        assert image.width == 960
        assert image.info["dpi"] == pytest.approx((200, 200), abs=0.1)
        pixels = np.asarray(image.convert("RGB"), dtype=float)
        assert pixels.std() > 10
        assert np.ptp(pixels, axis=2).max() > 40 or picture.name == "free_energy"


def test_bytes_repeat_and_hold_no_text_chunks(drawn):
    """Drawing again gives the same bytes, with neither a date nor the version of the library in them."""
    again = by_name(draw(sample_result(), sample_data())[0])
    for picture in drawn[0]:
        assert again[picture.name].png == picture.png
        assert b"tEXt" not in picture.png
        assert b"tIME" not in picture.png


def test_users_settings_neither_matter_nor_change(drawn):
    """A user's matplotlib settings do not reach the figures and hold afterwards."""
    with matplotlib.rc_context({"lines.linewidth": 9.0, "font.size": 30.0, "axes.facecolor": "black"}):
        before = dict(matplotlib.rcParams)
        pictures = by_name(draw(sample_result(), sample_data())[0])
        assert dict(matplotlib.rcParams) == before
    assert pictures["kernel"].png == by_name(drawn[0])["kernel"].png


def test_alt_texts_hold_the_numbers(drawn):
    """The description of a figure says its main numbers."""
    pictures = by_name(drawn[0])
    assert "r**2 3.003 ± 0.012 (true 3)" in pictures["coefficients"].alt
    assert "From the data: 0.004 at the start, 0.01 at the end, at most 0.01" in pictures["wasserstein"].alt
    assert "prediction: 0 at the start, 0.0005 at the end, at most 0.0005 at time 1" in pictures["wasserstein"].alt
    assert "0.078, at r = 5" in pictures["kernel"].alt  # 0.00312 * 25
    assert all(len(picture.alt) > 60 for picture in pictures.values())


def test_tables_fit_their_columns(drawn):
    """Every row of a figure's table has a cell for each column, and there are rows."""
    for picture in drawn[0]:
        assert picture.rows
        assert {len(row) for row in picture.rows} == {len(picture.columns)}


def test_what_is_missing_is_left_out_with_a_reason():
    """Without prediction, truth and history there are fewer figures, and every omission has a reason."""
    pictures, missing = draw(sample_result(), replace(sample_plane(), energy_times=None, energy_data=None))
    assert [p.name for p in pictures] == ["kernel", "coefficients", "density_snapshots"]
    reasons = {left.title: left.reason for left in missing}
    assert len(reasons) == 4
    assert "best subset does not iterate" in reasons["Loss over the iterations"]
    assert "true" not in by_name(pictures)["kernel"].columns


def test_single_slice_has_no_heat_map():
    """One observed time gives a profile and no heat map."""
    data = sample_data()
    one = replace(
        data, times=data.times[:1], density_data=data.density_data[:1], density_true=None, density_learnt=None
    )
    pictures, missing = draw(sample_result(), one)
    assert "density_profiles" in by_name(pictures)
    assert [left.title for left in missing] == ["Evolution of the density"]


@pytest.mark.parametrize("dimension", [2, 3])
def test_plane_and_space(dimension):
    """Two and three dimensions show snapshots; the table holds the peaks of the density itself."""
    data = sample_plane(dimension)
    picture = by_name(draw(sample_result(), data)[0])["density_snapshots"]
    assert [row[1] for row in picture.rows] == [float(u.max()) for u in data.density_data]
    assert ("summed over z" in picture.caption) == (dimension == 3)


def test_space_is_also_seen_from_the_side():
    """Three dimensions have a second view, x against z, whose colours are those of the sum over y."""
    data = sample_plane(3)
    side = by_name(draw(sample_result(), data)[0])["density_snapshots_side"]
    assert "summed over y" in side.caption
    turned = replace(
        data,
        grid=(data.grid[0], data.grid[2], data.grid[1]),
        density_data=np.ascontiguousarray(data.density_data.swapaxes(2, 3)),
    )
    image = pixels(shown(turned))
    # The same picture but for the letter at the left and the colour scale's label.
    assert (np.abs(pixels(side) - image)[:, 60:].max(axis=2) > 0).mean() < 1e-3
    flat = by_name(draw(sample_result(), sample_plane(2))[0])
    assert "density_snapshots_side" not in flat
    # What three dimensions lack is said where it would stand.
    told = "In three dimensions a force mesh gives no band without a dictionary."
    assert told in by_name(draw(sample_result(), replace(data, free_value=None))[0])["kernel"].caption
    assert told not in flat["kernel"].caption


def test_snapshots_show_the_way_not_the_end():
    """A density that is soon at rest is shown where a third and two thirds of its way are gone; noise at even times."""
    plane = sample_plane()
    times = np.linspace(0, 1, 101)
    x, y = np.meshgrid(*plane.grid, indexing="ij")
    first, last = normal(x, 1, 0.1) * normal(y, 0, 0.1), normal(x, -1, 0.1) * normal(y, 0, 0.1)
    left = np.exp(-20 * times)[:, None, None]
    density = left * first + (1 - left) * last
    soon = replace(plane, times=times, density_data=density, energy_times=None, energy_data=None)
    picture = shown(soon)
    assert [row[0] for row in picture.rows] == [0.0, 0.03, 0.06, 1.0]  # log(3/2) / 20 = 0.0203, log(3) / 20 = 0.0549
    assert "a third" in picture.caption
    rough = np.abs(np.random.default_rng(2).standard_normal((101, *x.shape)))
    still = shown(replace(soon, density_data=rough))
    assert [row[0] for row in still.rows] == [0.0, 0.33, 0.67, 1.0]
    assert "evenly" in still.caption


def test_snapshots_have_a_row_for_every_density():
    """Particles, true and learnt kernel stand above each other; what is empty all around is cut off."""
    data = sample_plane()
    alone = shown(data)
    known = replace(data, density_true=data.density_data, density_learnt=data.density_data)
    three = shown(known)
    assert "equation with the true and the learnt kernel" in three.caption
    assert "equation" not in alone.caption
    assert len(pixels(three)) > 1.8 * len(pixels(alone))
    wide = tuple(np.linspace(-30, 30, 10 * (len(axis) - 1) + 1) for axis in data.grid)
    padded = np.zeros((len(data.times), *(len(axis) for axis in wide)))
    low = [(len(w) - len(a)) // 2 for w, a in zip(wide, data.grid, strict=True)]
    padded[:, low[0] : low[0] + 61, low[1] : low[1] + 49] = data.density_data
    cut = shown(replace(data, grid=wide, density_data=padded))
    assert np.abs(pixels(cut) - pixels(alone)).mean() < 1


def test_snapshots_lie_the_right_way_round():
    """The first axis runs to the right and the second upwards: of two spots, that at (+2, +2) is at the upper right."""
    data = sample_plane()
    x, y = np.meshgrid(*data.grid, indexing="ij")
    bright, faint = (normal(x, m, 0.05) * normal(y, m, 0.05) for m in (2, -2))
    spots = replace(data, density_data=np.array([bright + 0.1 * faint] * 3))
    image = pixels(shown(spots))
    panels = image[130:]  # below the colour scale
    yellow = (panels[..., 0] > 200) & (panels[..., 2] < 120)
    blue = (panels[..., 2] > 60) & (panels[..., 0] < 20)
    rows, columns = np.nonzero(blue)
    first = columns < columns.min() + 240
    spot_rows, spot_columns = np.nonzero(yellow)
    middle = (rows[first].min() + rows[first].max()) / 2, (columns[first].min() + columns[first].max()) / 2
    in_first = spot_columns < columns.min() + 256
    assert spot_rows[in_first].mean() < middle[0] - 50
    assert spot_columns[in_first].mean() > middle[1] + 50


def test_steep_kernel_leaves_the_frame_and_says_so():
    """A kernel that is singular near 0 is framed for the distances that matter, and the caption says what is cut."""
    data = sample_data()
    phi = data.radii - np.maximum(data.radii, 0.05) ** -1.5
    steep = replace(data, kernel_true=phi, kernel_value=phi, kernel_lower=phi - 0.01, kernel_upper=phi + 0.01)
    caption = by_name(draw(sample_result(), steep)[0])["kernel"].caption
    assert "leaves out the steep part below r = 0.1" in caption
    assert "reaches −89.4" in caption


def test_hostile_labels_are_no_mathtext():
    """Units and names from outside with dollars and braces are drawn as they are."""
    data = replace(sample_data(), length_unit="$\\frac{", time_unit="_{^", names=("$\\bad{", *sample_data().names[1:]))
    result = sample_result(terms=[], dropped=["$\\bad{"])
    pictures, _ = draw(result, data)
    assert len(pictures) == 8


def test_loss_known_up_to_a_constant():
    """Negative losses (forms without an energy) are drawn above their lowest value and listed as they are."""
    history = tuple(replace(turn, loss=turn.loss - 100.0) for turn in sample_history())
    data = replace(sample_data(), history=history, history_uniform=())
    picture = by_name(draw(sample_result(), data)[0])["loss_history"]
    assert [row[1] for row in picture.rows] == [turn.loss for turn in history]
    assert "was not made" in picture.caption


def test_shapes_are_checked():
    """Arrays that do not fit the grid, the distances or their times are refused when the data are made."""
    data = sample_data()
    with pytest.raises(ValueError, match=r"`density_data` must have the shape \(101, 161\); got \(101, 160\)"):
        replace(data, density_data=data.density_data[:, 1:])
    with pytest.raises(ValueError, match="`rho` must have the shape"):
        replace(data, rho=np.ones(3))
    with pytest.raises(ValueError, match="one value for every one of their times"):
        replace(data, energy_data=np.ones(3))
