"""Runs that were stopped: where they go on is said, and how far they are is seen, in steps, tasks and bytes."""

from __future__ import annotations

import numpy as np
import pytest

import ipsdist as ips
from ipsdist.cli.app import main
from ipsdist.config import resolve
from ipsdist.runs import info
from ipsdist.runs.plan import plan
from ipsdist.runs.reached import Reached, line
from ipsdist.storage import Store
from tests.runs.samples import write


def stopped(source, out, stage, share, monkeypatch, sets=()):
    """Stop a run when more than a share of a stage is done; return what it has said."""
    said = []
    monkeypatch.setattr("ipsdist.stages.replica._SECONDS", 0.02)

    def stop(progress):
        if progress.stage == stage and progress.done > share * progress.total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ips.run(source, out, sets=sets, draw=False, observe=stop, tell=said.append)
    return said


def of_steps(out, replicas=1):
    """Return the committed steps of every replica as the store has them."""
    store = Store.open(out / "store.zarr")
    records = [store.record(f"particles/replica-{r}.epoch") for r in range(replicas)]
    return [0 if record is None else record["reached"]["step"] for record in records]


def test_a_run_goes_on_where_it_stopped_and_says_so(tmp_path, monkeypatch):
    """With the committed step; the plan is of what is left; a new run, and one that is done, say nothing of it."""
    source, out = write(tmp_path), tmp_path / "out"
    said = stopped(source, out, "particles", 0.6, monkeypatch)
    assert not [text for text in said if text.startswith("goes on")]
    (step,) = of_steps(out)
    assert 0 < step < 200
    found = info(out)
    assert found["stages"] == {
        "particles": "begun",
        "densities": "missing",
        "equations": "missing",
        "kernel": "missing",
    }
    own = found["progress"]["particles"]
    assert (own["replica_steps"], own["steps"], own["tasks_done"], own["tasks"]) == ([step], 200, 0, 1)
    assert own["bytes"] == sum(f.stat().st_size for f in (out / "store.zarr/particles").rglob("*") if f.is_file()) > 0
    assert found["device"] == "cpu"
    again = []
    ips.run(source, out, draw=False, tell=again.append)
    assert [text.split()[0] for text in again] == ["plan", "goes"]
    assert again[1] == f"goes on    particles at step {step} of 200"
    last = []
    ips.run(source, out, draw=False, tell=last.append)
    assert last == []
    assert info(out)["progress"]["particles"]["replica_steps"] == [200]


def test_replicas_and_tasks_are_counted(tmp_path, monkeypatch):
    """Which of the replicas are done, and how many blocks of a later stage."""
    source, out = write(tmp_path), tmp_path / "out"
    sets = ["system.replicas=3", "time.observe_every=1"]
    stopped(source, out, "particles", 0.5, monkeypatch, sets)
    steps = of_steps(out, 3)
    assert info(out)["progress"]["particles"]["replica_steps"] == steps
    assert steps[0] == 200
    assert steps[2] == 0
    stopped(source, out, "equations", 0.3, monkeypatch, sets)
    found = info(out)
    assert list(found["stages"].values()) == ["done", "done", "begun", "missing"]
    own = found["progress"]["equations"]
    names = Store.open(out / "store.zarr").records("equations")
    assert own["tasks_done"] == len([name for name in names if name != "begun"]) > 0
    assert own["tasks_done"] < own["tasks"]
    said = []
    ips.run(source, out, sets=sets, draw=False, tell=said.append)
    assert said[1] == f"goes on    particles, densities done; equations {own['tasks_done']} of {own['tasks']} tasks"


def test_another_fit_keeps_what_was_done_and_is_no_stop(tmp_path):
    """The changed stage is missing, and the ones before it stand; a stage that is done again goes on from nothing."""
    source, out = write(tmp_path), tmp_path / "out"
    ips.run(source, out, draw=False)
    said = []
    ips.run(source, out, sets=["fit.criterion=bic"], draw=False, tell=said.append)
    assert said[1] == "goes on    particles, densities, equations done"
    said = []
    ips.fit(out, sets=["fit.criterion=ebic"], tell=said.append)
    assert [text.split()[0] for text in said] == ["plan"]


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        ((300,), "at step 300 of 1000"),
        ((1000, 0, 0), "1 of 3 replicas done"),
        ((1000, 300, 0), "1 of 3 replicas done, 1 at step 300 of 1000"),
        ((200, 300, 700), "0 of 3 replicas done, 3 at steps 200 to 700 of 1000"),
    ],
)
def test_replicas_in_a_few_words(steps, text):
    """One is said by its step; of several those under way, however many."""
    one = Reached("particles", "begun", 0, len(steps), sum(steps) / (1000 * len(steps)), steps, 1000)
    assert one.text == text
    assert line([one]) == f"particles {text}"


def test_what_is_begun_but_not_committed_goes_on_nowhere():
    """A run that was stopped in its first moments is a new one."""
    one = Reached("particles", "begun", 0, 1, 0.0, (0,), 1000)
    assert line([one, Reached("densities", "missing", 0, 4, 0.0)]) == ""


def test_the_plan_of_what_is_left():
    """Nine tenths of the particles done leave a tenth of their seconds; the other stages take theirs."""
    whole = plan(resolve("cubic"))
    left = whole.left({"particles": 0.9})
    assert left.rows[0].cpu_seconds == pytest.approx(0.1 * whole.rows[0].cpu_seconds)
    assert left.rows[1:] == whole.rows[1:]
    assert left.seconds == pytest.approx(whole.seconds - 0.9 * whole.rows[0].cpu_seconds)


def test_the_directory_of_an_import_has_tracks_and_no_stage(tmp_path, capsys):
    """Before its run begins: what the tracks are, and what comes next."""
    x = np.random.default_rng(0).normal(size=(20, 400, 1))
    np.savez(tmp_path / "x.npz", times=np.arange(20) * 0.01, positions=x)
    assert main(["import", str(tmp_path / "x.npz"), str(tmp_path / "mine")]) == 0
    capsys.readouterr()
    assert main(["info", str(tmp_path / "mine")]) == 0
    lines = dict(row.split(maxsplit=1) for row in capsys.readouterr().out.splitlines())
    assert (lines["particles"], lines["slices"], lines["stages.particles"]) == ("400", "20", "missing")
    assert lines["next"] == f"ipsdist report {tmp_path / 'mine'} (does what is missing)"


def test_directories_are_told_apart(tmp_path):
    """One of a run is no case and no run file, one of a study is no run: both say what goes on with them."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "config.toml").write_text("")
    with pytest.raises(ips.InputError, match=r"a, the directory of a run; go on with `ipsdist report .*a`"):
        ips.run(str(tmp_path / "a"), tmp_path / "out")
    (tmp_path / "b" / "runs").mkdir(parents=True)
    (tmp_path / "b" / "study.toml").write_text("")
    with pytest.raises(ips.InputError, match=r"must be the directory of a run; got .*b; its runs are in .*b/runs"):
        info(tmp_path / "b")
