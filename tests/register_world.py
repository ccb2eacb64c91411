"""A retrain of a shop of three items as `register` takes it, written by hand."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.artifacts import write_json
from pipelines.contracts import Evaluated, Ingested, Origin, Snapshot, Trained, Window
from pipelines.snapshot import TEST, TRAIN
from serving.doors import Door, Doors

ORIGIN = Origin(actor="ada", dag_id="retrain", dag_run_id="manual_1", git_revision="abc123")
ITEM_INPUTS = np.array([[1, 0], [0, 1], [1, 1]], np.float32)
SECOND = 1_000_000
SPEC = {
    "visits": 4, "user_slots": 2, "event_types": ["purchase", "view"], "event_weights": {"purchase": 1.0, "view": 0.5},
    "item_fields": [{"name": "colour", "kind": "category"}], "user_fields": [{"name": "country", "kind": "category"}],
}


def numbers_of(recall: float, new: float) -> dict[str, Any]:
    return {
        "metrics": {"recall@10": recall, "ndcg@10": recall / 2},
        "slices": {"all": {"events": 8, "recall@10": recall, "ndcg@10": 0.1},
                   "new_items": {"events": 2, "recall@10": new, "ndcg@10": 0.0}},
        "intervals": {"recall@10": [recall - 0.1, recall + 0.1]},
        "exposure": {"gini": recall / 10, "popular_share": 0.25, "never_bought_share": 0.125},
    }


METRICS = {"two_tower": numbers_of(0.5, 0.2), "als": numbers_of(0.4, 0.3), "popularity": numbers_of(0.0, 0.0)}


def write_tower(folder: Path) -> Path:
    """Inputs as serving/encoding.py makes them for 4 visits, 1 event type, 2 user slots; visits @ a known matrix."""
    from models.legacy_keras import tf

    shapes = {"visits": ([None, 4, 2], tf.float32), "counts": ([None, 4], tf.float32),
              "types": ([None, 4, 1], tf.float32), "gaps": ([None, 4], tf.int32), "wait": ([None], tf.int32),
              "user": ([None, 2], tf.int32)}

    class Tower(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            self.kernel = tf.Variable([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
            specs = {name: tf.TensorSpec(shape, kind, name) for name, (shape, kind) in shapes.items()}
            self.serve = tf.function(self.vector).get_concrete_function(**specs)

        def vector(self, **inputs: Any) -> dict[str, Any]:
            return {"vector": tf.reduce_sum(inputs["visits"], 1) @ self.kernel}

    tower = Tower()
    tf.saved_model.save(tower, str(folder), signatures={"serving_default": tower.serve})
    return folder


def write_snapshot(folder: Path) -> None:
    """User 0 took item 0 at second 1 and item 1 at second 2 (the test target); user 1 took item 2 at second 1."""
    folder.mkdir()
    write_json(folder / "spec.json", SPEC)
    write_json(folder / "settings.json", {"visits": 4, "valid_share": 0.1})
    arrays = {
        "item_tokens_indptr": np.zeros(4, np.int64), "item_tokens": np.zeros(0, np.int32),
        "item_token_weights": np.zeros(0, np.float32), "item_dense": np.zeros((3, 0), np.float32),
        "item_counts": np.array([1, 0, 1]), "user_tokens": np.array([[7, 8], [9, 0]], np.int32),
        "indptr": np.array([0, 2, 3]), "item": np.array([0, 1, 2], np.int32),
        "time": np.array([1, 2, 1]) * SECOND, "type": np.zeros(3, np.int16),
        "split": np.array([TRAIN, TEST, TRAIN], np.uint8), "weight": np.ones(3, np.float32),
        "target": np.array([False, True, False]), "row": np.arange(3),
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)


def write_evaluated(folder: Path, saved_model: Path) -> Evaluated:
    """An evaluated training in `folder`: recall@10 .5 of the two-tower, .4 of ALS, of eight events."""
    write_snapshot(folder / "snapshot")
    (folder / "trained").mkdir()
    (folder / "trained" / "saved_model").symlink_to(saved_model)
    np.save(folder / "trained" / "item_inputs.npy", ITEM_INPUTS)
    np.save(folder / "trained" / "item_vectors.npy", np.zeros((3, 3), np.float32))
    write_json(folder / "trained" / "settings.json", {"dimension": 2, "optimizer": {"rate": 0.1}})
    write_json(folder / "trained" / "curves.json", [
        {"epoch": 1, "loss": 3.0, "valid_recall@10": 0.3}, {"epoch": 2, "loss": 2.0, "valid_recall@10": 0.4}])
    write_json(folder / "trained" / "timings.json", {"epoch_seconds": [12.5, 10.0], "search_seconds": 3.5})
    write_json(folder / "trained" / "doors.json", Doors(
        search=Door(figures={"exact_recall@10": 0.75}), pictures=Door(figures={"precision@10": 0.5})))
    (folder / "evaluated").mkdir()
    write_json(folder / "evaluated" / "metrics.json", METRICS)
    write_json(folder / "evaluated" / "models.json", list(METRICS))
    np.save(folder / "evaluated" / "exposure.npy", np.array([[5, 5, 0], [0, 5, 5], [10, 0, 0]]))
    as_of = datetime(2011, 12, 10, tzinfo=UTC)
    window, day = Window(as_of=as_of), datetime(2011, 12, 9, tzinfo=UTC)

    def at(name: str) -> dict[str, str]:
        return {"path": str(folder / name), "key": name, "digest": name * 8}

    ingested = Ingested(**at("lake"), source="/data/online_retail", window=window, events=3, items=3, users=2, days=1,
                        first_event=day, last_event=day)
    snapshot = Snapshot(**at("snapshot"), ingested=ingested, window=window, users=2, items=3, events=3,
                        train_events=2, valid_targets=0, test_targets=1)
    trained = Trained(**at("trained"), snapshot=snapshot, dimension=2, epochs=2, best_epoch=2, is_refit=False,
                      valid_recall_at_10=0.4)
    return Evaluated(**at("evaluated"), trained=trained, parent=3, champion=None,
                     metrics={"recall@10": 0.5}, baselines={"als": {"recall@10": 0.4}})
