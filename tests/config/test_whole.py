"""Integer keys: 1e9 is 1000000000 wherever it is given; what is no whole number is refused as ever."""

from __future__ import annotations

import tomllib
from fractions import Fraction
from typing import Any, get_args

import numpy as np
import pytest

from ipsdist.config import RunConfig, resolve
from ipsdist.config.keys import Section, holds_integers, whole
from ipsdist.config.study import load_study, row_config
from ipsdist.model.errors import InputError
from ipsdist.studies.order import run_name


@pytest.mark.parametrize("value", [1e3, 1000, np.float64(1e3), np.int64(1000), Fraction(1000)])
def test_whole_numbers_of_any_type_are_integers(value):
    """As Python's int, which is what is hashed and written."""
    assert (whole(value), type(whole(value))) == (1000, int)


@pytest.mark.parametrize("value", [1.5, True, "1e3", float("inf"), None, [1.0]])
def test_all_else_stays_what_it_is(value):
    """A rule of the key refuses it."""
    assert whole(value) is value


def test_the_resolved_run_file_has_the_integer(tmp_path):
    """By --set, in a run file and as an argument; optional keys, lists and the seed alike."""
    file = tmp_path / "a.toml"
    file.write_text('case = "cubic"\n[system]\nparticles = 2e4\n[grid]\nlower = -4\nupper = 4\ncells = [1e2]\n')
    config = resolve(file, ["run.chunk=1e3", "fit.every=2.0", "system.replicas=1e1"], seed=3.0)
    written = tomllib.loads(config.to_toml())
    found = [written["system"]["particles"], *written["grid"]["cells"], written["system"]["replicas"]]
    found += [written["run"]["chunk"], written["run"]["seed"], written["fit"]["every"]]
    assert found == [20000, 100, 10, 1000, 3, 2]
    assert {type(value) for value in found} == {int}
    assert resolve("cubic", ["system.particles=2e4"]) == resolve("cubic", ["system.particles=20000"])


@pytest.mark.parametrize("value", ["1.5", "1e20", "1.0", "true", "nan", "1e400", '"1e3"'])
def test_the_rule_of_the_key_holds_as_ever(value):
    """Fractions, and whole numbers beyond the limits of the key."""
    with pytest.raises(InputError, match=r"`system\.particles` must be a whole number from 2 to 2\*\*31 - 1; got "):
        resolve("cubic", [f"system.particles={value}"])


def _all(model: type[Section]) -> dict[str, Any]:
    return {name: field for name, field in model.model_fields.items() if "int" in _types(field.annotation)}


def _types(kind: Any) -> set[str]:
    return {getattr(kind, "__name__", ""), *(name for part in get_args(kind) for name in _types(part))}


def test_no_integer_key_is_left_out():
    """Every key of a run file whose type has an int in it takes whole floats."""
    sections = [f.annotation for f in RunConfig.model_fields.values() if isinstance(f.annotation, type)]
    fields = [f for s in sections if issubclass(s, Section) for f in _all(s).values()]
    assert len(fields) > 8
    assert all(holds_integers(field) for field in fields)


def test_runs_of_a_study_are_named_by_integers(tmp_path):
    """And are the same run, so that nothing is done twice."""
    file = tmp_path / "s.toml"
    file.write_text('case = "cubic"\nseeds = 2.0\n[[vary]]\nkey = "system.particles"\nvalues = [1e3, 2000]\n')
    study, base, rows = load_study(file)
    assert study.seed_list == (0, 1)
    assert [run_name(row.varied, row.seed) for row in rows][::2] == ["particles-1000_seed-0", "particles-2000_seed-0"]
    assert row_config(base, rows[0]).system.particles == 1000
    file.write_text(file.read_text().replace("2000", "1000"))
    with pytest.raises(InputError, match="must not give the same run twice"):
        load_study(file)
