import json
from pathlib import Path

import numpy as np
import pytest

from models.ranking import rank
from models.requests import request_inputs
from models.two_tower_scorer import TwoTowerScorer
from pipelines.errors import DataError
from pipelines.protocol import encode_protocol
from pipelines.snapshot import TEST, SnapshotData
from pipelines.train import fit
from pipelines.train_settings import TrainSettings
from tests.world import write_protocol_world

TOY = TrainSettings(dimension=16, members=2, max_epochs=25, patience=5, dropout=0.1, learning_rate=0.01)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> SnapshotData:
    folder = tmp_path_factory.mktemp("world")
    (folder / "out").mkdir()
    encode_protocol(write_protocol_world(folder / "in", users=200, items=60), folder / "out")
    return SnapshotData.load(folder / "out")


def test_the_ring_is_learned_and_exported(world: SnapshotData, tmp_path: Path) -> None:
    said = fit(world, TOY, tmp_path)
    curves = json.loads((tmp_path / "curves.json").read_text())
    assert said["epochs"] == len(curves)
    assert said["best_epoch"] == 1 + int(np.argmax([c["valid_recall@10"] for c in curves]))
    # Who knows only the half finds the answer among 10 of about 25 unmet items; who knows the order always does.
    ranking = rank(TwoTowerScorer.load(tmp_path), world, world.queries(TEST), k=10)
    assert (ranking.rank > 0).mean() >= 0.9
    # The SavedModel and the LiteRT file are the same function.
    import tensorflow as tf

    queries = world.queries(TEST)
    inputs = request_inputs(world, queries, np.load(tmp_path / "item_inputs.npy"))
    saved = tf.saved_model.load(str(tmp_path / "saved_model")).signatures["serving_default"]
    vector = saved(**{k: tf.constant(v) for k, v in inputs.items()})["vector"].numpy()
    scores = TwoTowerScorer.load(tmp_path).scores(world, queries)
    assert np.allclose(vector @ np.load(tmp_path / "item_vectors.npy").T, scores, atol=1e-4)


def test_nothing_to_learn_from_is_said(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    encode_protocol(write_protocol_world(tmp_path / "in"), tmp_path / "out")
    split = np.load(tmp_path / "out" / "split.npy")
    np.save(tmp_path / "out" / "target.npy", np.zeros(len(split), bool))
    with pytest.raises(DataError, match="validation questions"):
        fit(SnapshotData.load(tmp_path / "out"), TrainSettings(), tmp_path)
