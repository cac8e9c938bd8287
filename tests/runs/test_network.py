"""The key fit.network: refused, passed over with a reason, or off, where the extra is or is not installed."""

from __future__ import annotations

import pytest

from ipsdist.config import resolve
from ipsdist.model.errors import InputError
from ipsdist.runs.checks import check
from ipsdist.runs.inputs import Inputs
from ipsdist.runs.setup import prepare
from ipsdist.stages.network import network_road


def configured(network):
    """Return a polarization run, small, with the key as given."""
    return resolve("polarization", sets=["system.particles=2000", f'fit.network="{network}"'])


def test_on_without_the_extra_is_refused(monkeypatch):
    """The error names the key and the command that brings the packages; auto goes on."""
    monkeypatch.setattr("ipsdist.runs.checks.network_installed", lambda: False)
    setup = prepare(configured("on"), Inputs())
    with pytest.raises(InputError, match=r'fit\.network.*not installed.*pip install "\.\[neural\]"'):
        check(configured("on"), setup)
    check(configured("auto"), setup)


def test_on_with_the_extra_is_taken(monkeypatch):
    """With the packages there is nothing to refuse."""
    monkeypatch.setattr("ipsdist.runs.checks.network_installed", lambda: True)
    check(configured("on"), prepare(configured("on"), Inputs()))


def test_auto_without_the_extra_says_why(monkeypatch):
    """The record then holds no places, and a reason that says how to have them; off holds nothing at all."""
    monkeypatch.setattr("ipsdist.stages.network.network_installed", lambda: False)
    road = network_road(None, configured("auto"), 0.002)
    assert road["places"] is None
    assert road["pieces"] is None
    assert 'pip install ".[neural]"' in road["reason"]
    assert network_road(None, configured("off"), 0.002) is None
