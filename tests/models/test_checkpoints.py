import shutil
from pathlib import Path

import pytest

from models.checkpoints import Checkpoints
from models.legacy_keras import tf
from pipelines.errors import VitrineError


def group(*values: float) -> dict[str, list[tf.Variable]]:
    return {"a": [tf.Variable([value, value]) for value in values], "b": [tf.Variable(3, dtype=tf.int64)]}


def first(tensors: dict[str, list[tf.Variable]]) -> float:
    return float(tensors["a"][0].numpy()[0])


def test_the_newest_of_all_attempts_is_read(tmp_path: Path) -> None:
    stale, retry = Checkpoints(tmp_path, "x"), Checkpoints(tmp_path, "x")
    assert retry.newest() is None
    stale.save(7, {"n": 7}, group(7.0))
    retry.save(5, {"n": 5}, group(5.0))
    assert stale.own != retry.own
    found = Checkpoints(tmp_path, "x").newest()
    assert found is not None
    assert found.state == {"n": 7}
    into = group(0.0)
    assert Checkpoints.restore(found, into)
    assert first(into) == 7


def test_two_are_kept_and_damage_falls_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keeper = Checkpoints(tmp_path, "x")
    for step in range(1, 5):
        keeper.save(step, {"n": step}, group(step))
    assert sorted(path.name for path in keeper.own.iterdir()) == ["checkpoint-000000003", "checkpoint-000000004"]
    (weights,) = (keeper.own / "checkpoint-000000004").glob("weights.data-*")
    weights.write_bytes(weights.read_bytes()[:-1])
    assert keeper.newest().state == {"n": 3}
    assert "damaged" in caplog.text
    (keeper.own / "checkpoint-000000003" / "manifest.json").unlink()
    assert keeper.newest() is None
    assert "none of 2 checkpoints" in caplog.text


def test_half_a_checkpoint_is_invisible_and_written_anew(tmp_path: Path) -> None:
    keeper = Checkpoints(tmp_path, "x")
    (keeper.own / ".partial").mkdir()
    (keeper.own / ".partial" / "weights.index").write_bytes(b"half")
    assert keeper.newest() is None
    keeper.save(1, {"n": 1}, group(1.0))
    assert keeper.newest().state == {"n": 1}


def test_another_work_and_other_weights_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keeper = Checkpoints(tmp_path, "x")
    keeper.save(1, {}, group(1.0))
    assert Checkpoints(tmp_path, "y").newest() is None
    assert "another training" in caplog.text
    into = group(0.0, 0.0)
    assert not Checkpoints.restore(keeper.newest(), into)
    assert first(into) == 0
    assert "other weights" in caplog.text


def test_an_attempt_whose_work_was_sealed_by_another_stops(tmp_path: Path) -> None:
    keeper = Checkpoints(tmp_path / "work", "x")
    shutil.rmtree(tmp_path / "work")
    with pytest.raises(VitrineError, match="another attempt has finished") as found:
        keeper.save(1, {}, group(1.0))
    assert found.value.is_retryable
