"""A training that is killed with SIGKILL, in a process of its own, goes on from its last checkpoint."""

import json
import logging
import re
import signal
from pathlib import Path

import pytest

from models import training
from pipelines.snapshot import SnapshotData
from pipelines.train import train
from pipelines.train_settings import TrainSettings
from tests.models.killing import SETTINGS, Trainings, checkpoints, order, snapshot, wait_for


def test_a_killed_training_ends_as_an_uninterrupted_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    two = {**SETTINGS, "members": 2}
    made, settings, root = snapshot(tmp_path), TrainSettings(**two), tmp_path / "killed"
    with Trainings() as trainings:
        child = trainings.start(made, root, tmp_path / "result", settings=two)
        wait_for(root, 11, child, tmp_path / "result", member=1)
    assert child.returncode == -signal.SIGKILL
    (folder,) = (root / "train" / ".checkpoints").iterdir()
    # The newest is damaged, as by a bit that flipped on the disk: the one before it is whole.
    newest, before, *_ = checkpoints(root, member=1)
    (weights,) = newest.glob("weights.data-*")
    damaged = bytearray(weights.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    weights.write_bytes(damaged)
    with caplog.at_level(logging.INFO, "vitrine"):
        resumed = train(made, settings, root)
    assert "a checkpoint is damaged and left out" in caplog.text
    # The first member was done, the second in the middle of its training, and mostly of an epoch.
    first, second = re.findall(r"resumed at epoch (\d+), batch (\d+) \(step (\d+)\)", caplog.text)
    assert first[:2] == ("4", "0")
    epoch, batch, step = map(int, second)
    assert step + epoch - 1 == order(before)
    assert epoch > 1
    assert 0 <= batch < 12
    assert not folder.exists()  # the result is sealed: nobody needs them any more
    whole = train(made, settings, tmp_path / "whole")
    curves, expected = (json.loads((Path(one.path) / "curves.json").read_text()) for one in (resumed, whole))
    assert len(curves) == len(expected) == 2 * 3
    for entry, other in zip(curves, expected, strict=True):
        assert entry == pytest.approx(other, abs=2e-3)
    assert resumed.best_epoch == whole.best_epoch


class Enough(Exception):
    pass


def test_a_watch_sees_each_epoch_and_may_end_the_training(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data, seen = SnapshotData.load(snapshot(tmp_path).path), []

    def watch(number: int, entry: dict[str, float]) -> None:
        seen.append((number, entry["epoch"], 0 <= entry["valid_recall@10"] <= 1))
        if number == 2:
            raise Enough

    settings = TrainSettings(**SETTINGS)
    with pytest.raises(Enough):
        training.fit(data, settings, watch, tmp_path / "checkpoints")
    assert seen == [(1, 1, True), (2, 2, True)]
    # What was trained before is not trained again, nor told again.
    fitted = training.fit(data, settings, lambda number, _: seen.append(number), tmp_path / "checkpoints")
    assert seen[2:] == [3]
    assert [entry["epoch"] for entry in fitted.curves] == [1, 2, 3]
    # Another training in the same folder starts from the beginning, and says so.
    with caplog.at_level(logging.INFO, "vitrine"):
        other = training.fit(data, TrainSettings(**{**SETTINGS, "max_epochs": 1, "mixed_precision": True}), None,
                             tmp_path / "checkpoints")
    assert "is of another training" in caplog.text
    assert "none of" in caplog.text
    # In mixed precision the weights, and what is exported, are float32.
    (model,) = other.members.models
    assert {v.dtype.name for v in model.variables} == {"float32"}
    assert {block.compute_dtype for block in model.users.blocks} == {"float32"}
