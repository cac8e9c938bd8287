"""A replica in epochs: any gangs, cuts, losses and restarts leave the same bits as one process, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ipsdist.model.errors import RunError
from ipsdist.stages.blocks import block_record, slice_blocks
from ipsdist.stages.devices import Card
from ipsdist.stages.replica import ReplicaJob
from tests.stages.replicas import alone, begun, configured, contents, drive, job_of, task_of

LABELS = "data.labelled=false", "data.labelled=true"
SHORT = "time.horizon=0.06", "system.replicas=1"
KINDS = {
    "line": (1, (*SHORT, "time.observe_every=3", "time.positions_at=[0.0,0.03,0.06]")),
    "often": (1, ("time.horizon=0.14", "time.observe_every=1", "time.positions_at=[]")),
    "chosen": (1, (*SHORT, "data.times=chebyshev", "data.slices=5", "time.positions_at=[]")),
    "plane": (2, SHORT),
    "spread": (1, (*SHORT, "system.diffusion=200.0", "time.observe_every=5", "time.positions_at=[]")),
    "single": (2, (*SHORT, "run.precision=float32", "time.positions_at=[0.04]")),
}
FATES = st.sampled_from(["", "", "", "", "lost", "fails", "killed", "late"])
_ALONE = {}


def _expected(kind, labels, folder):
    if (kind, labels) not in _ALONE:
        dimension, sets = KINDS[kind]
        _ALONE[kind, labels] = alone(folder / "alone", configured(folder, dimension, labels, *sets))
    return _ALONE[kind, labels]


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 60), FATES), min_size=1, max_size=6))
def test_epochs_change_no_bit(kind, labels, plan, tmp_path_factory):
    """Gangs that change their size, die, lose their driver, with any epochs, leave the arrays of one process."""
    folder = tmp_path_factory.mktemp("epochs")
    dimension, sets = KINDS[kind]
    expected, config = _expected(kind, labels, folder), configured(folder, dimension, labels, *sets)
    store = begun(folder / "store.zarr", config)
    n = config.system.particles
    drive(store, config, [(members, n * steps, fate) for members, steps, fate in [*plan, (2, 11 * n, "")]])
    assert contents(store) == expected


def test_the_mesh_does_grow(tmp_path):
    """The kind "spread" is what its name says: the mesh of its last slice is larger than that of its first."""
    dimension, sets = KINDS["spread"]
    config = configured(tmp_path, dimension, *sets)
    store = begun(tmp_path / "store.zarr", config)
    drive(store, config, [(1, 120_000, "")])
    count = store.read("particles/replica-0/block-0/count")
    assert (count[0] > 0).sum() < 0.7 * (count[-1] > 0).sum()


def test_few_particles_keep_their_track(tmp_path):
    """Replicas whose positions are all kept are cut into epochs with the same bits too."""
    sets = "system.particles=100", "time.horizon=0.1", "time.observe_every=1", "time.positions_at=[]"
    config = configured(tmp_path, 1, *sets)
    store = begun(tmp_path / "store.zarr", config)
    drive(store, config, [(1, 700, ""), (1, 3100, "late")])
    assert contents(store) == alone(tmp_path / "alone", config)
    assert store.read("particles/replica-0/block-0/positions").shape == (64, 100, 1)


def test_initial_positions_from_a_file(tmp_path):
    """Every member reads its own rows of a file of positions."""
    from ipsdist.stages.initial import INPUT_INITIAL

    config = configured(tmp_path, 1, *SHORT, "time.positions_at=[0.0]")
    x = np.random.default_rng(3).normal(size=(2000, 1))
    sets = f"initial.file={tmp_path / 'x.npy'}", *SHORT, "time.positions_at=[0.0]"
    store = begun(tmp_path / "store.zarr", config)
    store.write(INPUT_INITIAL, x, dims=("particle", "space"), compress=False)
    drive(store, configured(tmp_path, 1, *sets), [(3, 120_000, "")])
    np.testing.assert_array_equal(store.read("particles/replica-0/positions-0"), x)


def test_an_epoch_of_a_step_is_committed(tmp_path):
    """However few units are asked for, an epoch goes on by a step; what is committed is there for another driver."""
    config = configured(tmp_path, 1, *SHORT, "time.positions_at=[]")
    store = begun(tmp_path / "store.zarr", config)
    job = job_of(store, config)
    assert job.done == 0
    epoch = job.epoch(1, 1.0)
    assert epoch.units == 2000
    from ipsdist.model.together import ALONE

    job.commit([epoch.do(epoch.shares[0], ALONE, {}, lambda units: None)])
    assert job.done == 2000
    assert job_of(store, config).done == 2000
    assert [n for n in store.names("particles/replica-0") if n.startswith("checkpoint")] == ["checkpoint-1-2000"]


def test_epochs_end_where_little_is_kept(tmp_path):
    """An epoch that could end at the first slice of a block, or at a slice, does; a stub at the end is taken along."""
    config = configured(tmp_path, 1, "time.horizon=0.2", "time.observe_every=2", "time.positions_at=[]")
    store = begun(tmp_path / "store.zarr", config)
    job = job_of(store, config)
    ends = {steps: job.epoch(2, 2000.0 * steps).shares[0].step for steps in (1, 3, 9, 131, 150, 170, 500)}
    assert ends == {1: 1, 3: 2, 9: 8, 131: 128, 150: 128, 170: 200, 500: 200}
    arrays = {steps: job.epoch(2, 2000.0 * steps).shares[0].arrays for steps in (1, 9, 131)}
    assert arrays == {1: ("positions", "positions_last"), 9: ("positions", "positions_earlier"), 131: ("positions",)}


@pytest.mark.parametrize(
    ("stepping", "saving", "least"), [(0.02, 0.0, 200), (2.0, 0.0, 2), (1.0, 1.0, 9), (1.0, 50.0, 120)]
)
def test_epochs_are_worth_their_checkpoint(tmp_path, stepping, saving, least):
    """Whatever the driver believes, an epoch is not much shorter than wished, and saving takes a tenth of it."""
    config = configured(tmp_path, 1, "time.horizon=1.0", "time.observe_every=1000", "time.positions_at=[]")
    store = begun(tmp_path / "store.zarr", config)
    job = ReplicaJob(store, task_of(store, config), seconds=10.0)
    job.epoch(2, 2000.0)
    answer = {"step": 1, "lower": [0], "shape": [5], "stepping_seconds": stepping, "saving_seconds": saving}
    cost = {"cpu_seconds": 0.0, "peak_bytes": 0, "process": 0, "processor": "", "device": "cpu"}
    job.commit([{**answer, **cost}] * 2)
    assert job.epoch(2, 1.0).shares[0].step == 1 + least


def test_what_stepped_is_remembered_across_a_stop(tmp_path):
    """A replica that a GPU began and the CPU went on with names both."""
    config = configured(tmp_path, 1, "time.horizon=1.0", "time.observe_every=1000", "time.positions_at=[]")
    store = begun(tmp_path / "store.zarr", config)
    answer = {"lower": [0], "shape": [5], "stepping_seconds": 1.0, "saving_seconds": 0.0, "cpu_seconds": 0.0}
    answer |= {"peak_bytes": 0, "process": 0, "processor": ""}
    for device, expected in (("NVIDIA H200", ["NVIDIA H200"]), ("cpu", ["NVIDIA H200", "cpu"])):
        job = ReplicaJob(store, task_of(store, config), seconds=10.0)
        step = job.epoch(1, 2000.0).shares[0].step
        job.commit([{**answer, "step": step, "device": device}])
        assert job.payload()["devices"] == expected
    assert ReplicaJob(store, task_of(store, config)).devices() == {"devices": ["NVIDIA H200", "cpu"]}


def test_the_first_epoch_on_a_card_is_worth_its_checkpoint(tmp_path):
    """Where the particles lie on it; what is streamed, or not surely there, goes at the pace of a CPU."""
    sets = ("system.particles=100000000", "time.horizon=1.0", "time.observe_every=1000", "time.positions_at=[]")
    config = configured(tmp_path, 1, *sets)
    store = begun(tmp_path / "store.zarr", config)
    task, large, small = task_of(store, config), Card("H200", 10**11), Card("small", 10**9)
    first = {
        name: ReplicaJob(store, task, seconds=5.0, card=card).epoch(1, None).shares[0].step
        for name, card in (("none", None), ("large", large), ("small", small))
    }
    assert first["none"] == first["small"] < 10
    assert first["large"] == 1000  # all of them: 5 s, where a checkpoint takes 2.4


def test_checkpoints_of_other_gangs_are_read_and_go(tmp_path):
    """A checkpoint of two members is read by five; when the end is committed none is left."""
    config = configured(tmp_path, 1, *SHORT, "time.positions_at=[]")
    store = begun(tmp_path / "store.zarr", config)
    drive(store, config, [(2, 14000, ""), (5, 18000, ""), (1, 120_000, "")])
    assert sorted(n for n in store.names("particles/replica-0") if "checkpoint" in n) == []


def test_an_old_half_done_run_starts_again(tmp_path):
    """Blocks and checkpoints of an earlier version without the record of an epoch: the replica starts anew."""
    config = configured(tmp_path, 1, "time.horizon=0.2")
    store = begun(tmp_path / "store.zarr", config)
    wrong = np.zeros((2000, 1))
    store.write("particles/replica-0/checkpoint-0/positions", wrong, dims=("particle", "space"), compress=False)
    store.write("particles/replica-0/positions-0", wrong, dims=("particle", "space"), compress=False)
    block = slice_blocks(101, 1)[0]
    store.write("particles/replica-0/block-0/count", np.zeros((64, 5)), dims=("slice", "x"))
    store.commit(block_record(0, block), {"fingerprint": "f", "spacing": 1.0, "lower": [0], "shape": [5]})
    drive(store, config, [(2, 120_000, "")])
    assert contents(store) == alone(tmp_path / "alone", config)


def test_members_who_disagree_are_refused(tmp_path):
    """Members that answer with another step or mesh end the run: exact sums cannot differ."""
    config = configured(tmp_path, 1, *SHORT, "time.positions_at=[]")
    store = begun(tmp_path / "store.zarr", config)
    job = job_of(store, config)
    step = job.epoch(2, 2000.0).shares[0].step
    answer = {"step": step, "lower": [0], "shape": [5], "stepping_seconds": 1.0, "saving_seconds": 0.0}
    with pytest.raises(RunError, match=r"the members of a gang disagree on step and mesh \(.*\); this should be repor"):
        job.commit([answer, {**answer, "shape": [6]}])


def test_a_stage_begun_anew_stops_a_late_member(tmp_path):
    """A member that wakes up after another command has begun the particles anew writes nothing."""
    from ipsdist.model.together import ALONE

    config = configured(tmp_path, 1, *SHORT, "time.positions_at=[]")
    store = begun(tmp_path / "store.zarr", config)
    epoch = job_of(store, config).epoch(1, None)
    store.discard("particles")
    store.commit("particles/begun", {"fingerprint": "another"})
    with pytest.raises(RunError, match="the particles of this run have been begun anew by another command"):
        epoch.do(epoch.shares[0], ALONE, {}, lambda units: None)
    assert not store.exists("particles/replica-0/block-0/count")


def test_a_late_member_does_not_touch_kept_positions(tmp_path):
    """Positions that the run keeps are not overwritten either, once another command has begun the particles anew."""
    from ipsdist.model.together import ALONE

    config = configured(tmp_path, 1, *SHORT, "time.positions_at=[0.0]")
    store = begun(tmp_path / "store.zarr", config)
    epoch = job_of(store, config).epoch(1, None)
    store.commit("particles/begun", {"fingerprint": "another"})
    with pytest.raises(RunError, match="the particles of this run have been begun anew by another command"):
        epoch.do(epoch.shares[0], ALONE, {}, lambda units: None)
    with pytest.raises(RunError, match="it is not there"):
        store.read("particles/replica-0/positions-0")


def test_leftovers_of_a_dead_drivers_members_go(tmp_path):
    """Members outlive their driver by a moment: the checkpoint that they make while the next one works goes too."""
    config = configured(tmp_path, 1, *SHORT, "time.positions_at=[]")
    store = begun(tmp_path / "store.zarr", config)
    drive(store, config, [(2, 14000, "")])
    job = job_of(store, config)
    store.write("particles/replica-0/checkpoint-7-1000/positions", np.zeros((4, 1)), ("particle", "space"))
    assert job.epoch(2, None) is None
    assert [n for n in store.names("particles/replica-0") if "checkpoint" in n] == []
