"""Settings in Dask's configuration: defaults, values from the environment, one line for what is forbidden, the page."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dask
import pytest

from ipsdist.model.errors import InputError
from ipsdist.runtime.settings import SETTINGS, check_settings, cluster_arguments, document, setting


def test_every_default_obeys_its_rule() -> None:
    """Nothing is set here, so all of them are read."""
    check_settings()
    assert setting("gang.size") is None
    assert (setting("gang.epoch"), setting("gang.timeout"), setting("gang.attempts")) == (5.0, 30.0, 5)
    assert setting("gang.nccl") is None
    assert (setting("connect-timeout"), setting("workerless-timeout")) == (10.0, 60.0)
    assert (setting("resources"), setting("priority"), setting("local.memory")) == ({}, 0, None)


def test_values_come_from_the_environment_and_from_yaml(tmp_path: Path) -> None:
    """As Dask reads them: numbers, tables, units; the environment wins."""
    (tmp_path / "ipsdist.yaml").write_text("ipsdist:\n  gang: {size: 3, epoch: 2}\n  local: {memory: 2 GB}\n")
    environment = {
        **os.environ,
        "DASK_CONFIG": str(tmp_path),
        "DASK_IPSDIST__GANG__SIZE": "2",
        "DASK_IPSDIST__RESOURCES": '{"GPU": 1}',
        "DASK_IPSDIST__CONNECT_TIMEOUT": "3s",
        "DASK_IPSDIST__GANG__NCCL": "false",
        "DASK_IPSDIST__CLUSTER__SLURM__JOB_NAME": "mine",
    }
    say = (
        "from ipsdist.runtime.settings import *; check_settings();"
        "print(setting('gang.size'), setting('gang.nccl'), setting('gang.epoch'), setting('local.memory'),"
        " setting('resources'), setting('connect-timeout'), cluster_arguments('slurm'))"
    )
    done = subprocess.run([sys.executable, "-c", say], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split(" ", 4) == ["2", "False", "2.0", "2000000000", "{'GPU': 1.0} 3.0 {'job_name': 'mine'}\n"]


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        (
            "gang.size",
            0,
            '`ipsdist.gang.size` must be "auto" or a whole number, at least 1; got 0; the default is auto',
        ),
        ("gang.size", 2.5, None),
        ("gang.size", True, None),
        ("gang.size", "all", None),
        ("gang.epoch", 1e-3, "`ipsdist.gang.epoch` must be seconds, 0.05 to 3600; got 0.001; the default is 5.0"),
        ("gang.epoch", "5 apples", None),
        ("gang.timeout", "nan", None),
        ("gang.attempts", [], None),
        (
            "gang.nccl",
            "never",
            "`ipsdist.gang.nccl` must be \"auto\", true or false; got 'never'; the default is auto",
        ),
        ("gang.nccl", 1, None),
        ("connect-timeout", {"a": 1}, None),
        ("resources", 5, "`ipsdist.resources` must be a table of amounts above 0; got 5; the default is nothing"),
        ("resources", {"GPU": -1}, None),
        ("priority", "high", None),
        ("local.memory", "much", None),
        ("local.memory", 0, None),
        ("cluster.slurm.workers", 0, None),
        ("cluster.kubernetes.wait", "inf", None),
    ],
)
def test_a_forbidden_value_is_one_line(name: str, value: Any, line: str | None) -> None:
    """It names the setting, the rule, what came and the default."""
    with dask.config.set({f"ipsdist.{name}": value}), pytest.raises(InputError) as caught:
        check_settings()
    assert str(caught.value).startswith(f"`ipsdist.{name}` must be ")
    assert line is None or str(caught.value) == line


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("gang.sise", "gang.size"),
        ("gang", "gang.size"),
        ("conect-timeout", "connect-timeout"),
        ("cluster.slrum.workers", "cluster.slurm.workers"),
    ],
)
def test_an_unknown_setting_names_the_nearest(name: str, near: str) -> None:
    """A word that nothing reads would be a wish that nobody hears."""
    with dask.config.set({"ipsdist": {}}), dask.config.set({f"ipsdist.{name}": 1}), pytest.raises(InputError) as caught:
        check_settings()
    assert str(caught.value) == f"`ipsdist.{name}` is not a known setting; did you mean ipsdist.{near}?"


def test_what_is_not_ours_goes_to_the_class_of_the_cluster() -> None:
    """Dashes are underscores there; our own keys are not passed on."""
    section = {"cores": 4, "job-extra-directives": ["--exclusive"], "workers": 8, "wait": 5}
    with dask.config.set({"ipsdist.cluster.slurm": section}):
        check_settings()
        assert cluster_arguments("slurm") == {"cores": 4, "job_extra_directives": ["--exclusive"]}
    assert cluster_arguments("mpi") == {}


def test_the_page_is_written_from_the_settings() -> None:
    """docs/cluster-settings.md is what `document` says; every setting has words."""
    page = Path(__file__).parents[2] / "docs" / "cluster-settings.md"
    assert page.read_text(encoding="utf-8") == document(), "write ipsdist.runtime.settings.document() there"
    assert all(found.meaning and found.rule for found in SETTINGS)
