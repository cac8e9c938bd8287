"""Dictionaries of imports in lengths of their own."""

import numpy as np

from ipsdist.config import resolve
from ipsdist.importers.convert import Choices, import_tracks
from tests.importers.tracks import rows_of, wanderers, write_csv


def terms(tmp_path, factor, name, sets=()):
    times, x = wanderers(6, 12)
    source = write_csv(tmp_path / f"{name}.csv", rows_of(times, x * factor / np.ptp(x, axis=(0, 1)).max()))
    imported = import_tracks(source, tmp_path / name, Choices(sets=sets))
    return imported, resolve(tmp_path / name / "config.toml").dictionary.terms


def test_pixels_get_terms_of_their_size(tmp_path):
    """A box of a thousand: powers and exponentials in 200, 50 and 10 or so; said in the report of the import."""
    imported, found = terms(tmp_path, 1000.0, "pixels")
    long, middle, short = imported.lengths
    assert 1000 / 6 / 1.6 < long < 1414 / 6 * 1.6
    assert long > middle > short > 1000 / 100 / 1.6
    assert found[1] == f"r/{long:g}"
    assert f"r/{short:g}*exp(-r/{short:g})" in found
    assert (
        "terms",
        f"scaled by {long:g}, {middle:g}, {short:g} length (dictionary.terms in config.toml)",
    ) in imported.lines()


def test_boxes_of_usual_size_and_own_dictionaries_stay(tmp_path):
    """Distances of order one keep the default terms, and what the user names is kept at any size."""
    assert terms(tmp_path, 5.0, "usual")[1] == resolve("cubic").dictionary.terms
    imported, found = terms(tmp_path, 1000.0, "own", ('dictionary.terms=["r", "1"]',))
    assert found == ("r", "1")
    assert imported.lengths == ()
