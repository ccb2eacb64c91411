"""Two worker processes on one machine train as one process does, lose one another and resume."""

import json
import re
import signal
from pathlib import Path

import pytest

from models import training
from models.distribution import Workers
from pipelines.contracts import Trained
from pipelines.errors import SettingsError, WorkerLost
from pipelines.settings import Cluster, load_settings
from pipelines.snapshot import SnapshotData
from pipelines.train_settings import TrainSettings
from tests.models.killing import SETTINGS, Trainings, checkpoints, free_ports, said, snapshot, wait_for


def test_two_workers_train_as_one_and_resume_when_one_was_killed(tmp_path: Path) -> None:
    made, root = snapshot(tmp_path), tmp_path / "two"
    ports, results = free_ports(2), [tmp_path / f"first-{index}" for index in range(2)]
    with Trainings() as trainings:
        workers = [trainings.start(made, root, result, (index, ports)) for index, result in enumerate(results)]
        wait_for(root, 11, workers[0], results[0])
        workers[1].kill()
        # The chief does not wait for the dead: it fails, with an error that a retry can mend.
        assert workers[0].wait(180) == 9, said(results[0])
    assert workers[1].returncode == -signal.SIGKILL
    assert "WorkerLost: worker 0 of 2 lost another one" in said(results[0])
    assert len({checkpoint.parent for checkpoint in checkpoints(root)}) == 1  # only the chief writes
    assert list((root / "train").glob(".attempt-*")) == []

    ports, results = free_ports(2), [tmp_path / f"second-{index}" for index in range(2)]
    with Trainings() as trainings:
        workers = [trainings.start(made, root, result, (index, ports)) for index, result in enumerate(results)]
        assert [worker.wait(900) for worker in workers] == [0, 0], said(results[0]) + said(results[1])
    for result in results:
        epoch, step = re.search(r"resumed at epoch (\d+), batch \d+ \(step (\d+)\)", said(result)).groups()
        assert int(step) + int(epoch) - 1 >= 11
    both = [Trained.model_validate_json(result.read_text()) for result in results]
    assert both[0] == both[1]  # the chief's result, in all workers

    curves = json.loads((Path(both[0].path) / "curves.json").read_text())
    expected = training.fit(SnapshotData.load(made.path), TrainSettings(**SETTINGS)).curves
    assert len(curves) == len(expected) == 3
    for entry, other in zip(curves, expected, strict=True):
        assert entry["loss"] == pytest.approx(other["loss"], rel=2e-3)
        assert entry["valid_recall@10"] == pytest.approx(other["valid_recall@10"], abs=0.03)


def test_two_workers_share_a_sampled_softmax_too(tmp_path: Path) -> None:
    """Of 24 items a thousand draws leave none out, for one worker or for each of two: the loss is no luck."""
    sampled = {**SETTINGS, "full_softmax_below": 0, "negatives": 1000, "max_epochs": 2, "refit": False}
    made, ports, results = snapshot(tmp_path), free_ports(2), [tmp_path / f"of-{index}" for index in range(2)]
    with Trainings() as trainings:
        workers = [trainings.start(made, tmp_path / "two", result, (index, ports), sampled)
                   for index, result in enumerate(results)]
        assert [worker.wait(900) for worker in workers] == [0, 0], said(results[0]) + said(results[1])
    both = [Trained.model_validate_json(result.read_text()) for result in results]
    assert both[0] == both[1]
    curves = json.loads((Path(both[0].path) / "curves.json").read_text())
    expected = training.fit(SnapshotData.load(made.path), TrainSettings(**sampled)).curves
    assert [entry["loss"] for entry in curves] == pytest.approx([entry["loss"] for entry in expected], rel=2e-3)


def test_a_worker_that_never_comes_is_named() -> None:
    here, there = free_ports(2)
    cluster = Cluster(workers=(f"127.0.0.1:{here}", f"127.0.0.1:{there}"), index=0)
    with pytest.raises(WorkerLost, match=f"waited 1 s for 127.0.0.1:{there}"):
        Workers.join(cluster, seconds=1)


def test_tf_config_names_the_cluster() -> None:
    def cluster(document: object) -> Cluster | None:
        return load_settings({"TF_CONFIG": json.dumps(document)}).cluster

    two = {"worker": ["a:1", "b:1"]}
    assert cluster({"cluster": two, "task": {"type": "worker", "index": 1}}) == Cluster(workers=("a:1", "b:1"), index=1)
    with_chief = {"worker": ["b:1"], "chief": ["a:1"]}
    assert cluster({"cluster": with_chief, "task": {"type": "worker", "index": 0}}) == Cluster(
        workers=("a:1", "b:1"), index=1)
    assert load_settings({}).cluster is None
    for document in ({"cluster": two}, {"cluster": two, "task": {"type": "worker", "index": 2}},
                     {"cluster": {**two, "ps": ["c:1"]}, "task": {"type": "worker", "index": 0}},
                     {"cluster": {"worker": ["a"]}, "task": {"type": "worker", "index": 0}}, [1]):
        with pytest.raises(SettingsError, match="TF_CONFIG is"):
            cluster(document)
