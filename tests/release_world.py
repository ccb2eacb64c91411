"""A shop whose model is arithmetic, from snapshot to registered, so that every slate is known by hand.

40 items; item i is of group i % 4 and was bought 40 - i times. Its input vector is the one-hot vector of its
group, its item vector twice that and, as prior, (40 - i) / 1000. The user tower adds up the inputs of the
history and appends a 1. So

    score(user, i) = 2 * (events of the user in group i % 4) + (40 - i) / 1000

12 users; user u bought items g, g + 4, g + 8 of group g = u % 4, one a day.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from ai_edge_litert import schema_py_generated as lite

from pipelines.artifacts import seal, stage_key, write_json
from pipelines.contracts import Evaluated, Registered, Snapshot, Trained, Window
from serving.encoding import History
from tests.door_world import write_doors

ITEMS, GROUPS, USERS, VISITS = 40, 4, 12, 5
AS_OF = datetime(2026, 11, 1, tzinfo=UTC)
DAY_US = 86_400_000_000
NOW_US = int(AS_OF.timestamp()) * 1_000_000
NO_TOKENS = np.zeros(1, np.int32)
METRICS = {"recall@10": 0.2, "recall@50": 0.4, "ndcg@10": 0.1, "coverage@10": 0.5}
EVENTS = 1000  # of the evaluation
BASELINES = ("popularity", "als", "itemknn", "ease")


def expected_score(row: int, events_in_group: int) -> float:
    """The formula above."""
    return 2 * events_in_group + (ITEMS - row) / 1000


def history_of(user: int) -> History:
    """Events of a user; item g three days before as_of, g + 8 the day before."""
    items = np.array([user % 4, user % 4 + 4, user % 4 + 8], np.int32)
    return History(items, NOW_US - DAY_US * np.array([3, 2, 1]), np.zeros(3, np.int16), np.ones(3, np.float32))


def item_arrays() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """(item vectors [40, 5], item inputs [40, 4])."""
    inputs = np.eye(GROUPS, dtype=np.float32)[np.arange(ITEMS) % GROUPS]
    prior = (ITEMS - np.arange(ITEMS, dtype=np.float32)) / 1000
    return np.concatenate([2 * inputs, prior[:, None]], axis=1), inputs


def write_snapshot(folder: Path) -> dict[str, Any]:
    """The files of a snapshot and the fields of its contract."""
    own = [history_of(user) for user in range(USERS)]
    events = 3 * USERS
    arrays = {
        "indptr": np.arange(0, events + 1, 3), "item": np.concatenate([h.item for h in own]),
        "time": np.concatenate([h.time for h in own]), "type": np.zeros(events, np.int16),
        "split": np.zeros(events, np.uint8), "weight": np.ones(events, np.float32), "target": np.zeros(events, bool),
        "row": np.arange(events), "item_tokens_indptr": np.zeros(ITEMS + 1, np.int64),
        "item_tokens": np.zeros(0, np.int32), "item_token_weights": np.zeros(0, np.float32),
        "item_dense": np.zeros((ITEMS, 0), np.float32), "item_counts": ITEMS - np.arange(ITEMS),
        "user_tokens": np.zeros((USERS, 1), np.int32),
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    write_json(folder / "spec.json", {
        "format": 1, "event_types": ["purchase"], "visits": VISITS, "user_slots": 1, "user_token_count": 3,
        "item_token_count": 1, "dense": 0, "event_weights": {"purchase": 1.0}, "item_fields": [], "user_fields": [],
        "display": {"title": "name", "category": None, "price": None, "image": None},
    })
    write_json(folder / "vocabulary.json", {})
    pq.write_table(pa.table({"item_id": [f"i{row:02d}" for row in range(ITEMS)],
                             "name": [f"Item {row}" for row in range(ITEMS)]}), folder / "items.parquet")
    return {"window": Window(as_of=AS_OF), "users": USERS, "items": ITEMS, "events": events, "train_events": events,
            "valid_targets": 0, "test_targets": 0}


def user_tower(event_types: int = 1, visits: int = VISITS, groups: int = GROUPS, user_slots: int = 1) -> bytes:
    """The LiteRT model: visits summed over the slots, times the identity, and a bias of 0, ..., 0, 1."""
    widths: dict[str, tuple[list[int], int]] = {
        "visits": ([visits, groups], 0), "counts": ([visits], 0), "types": ([visits, event_types], 0),
        "gaps": ([visits], 2), "wait": ([], 2), "user": ([user_slots], 2),
    }
    tensors = [_tensor(name, [1, *shape], kind, 0, [-1, *shape]) for name, (shape, kind) in widths.items()]
    kernel = np.eye(groups + 1, groups, dtype=np.float32)
    bias = np.eye(groups + 1, dtype=np.float32)[groups]
    constants = [np.array([1], np.int32), kernel, bias]
    tensors += [
        _tensor("axis", [1], 2, 1), _tensor("kernel", [groups + 1, groups], 0, 2), _tensor("bias", [groups + 1], 0, 3),
        _tensor("summed", [1, groups], 0, 0, [-1, groups]), _tensor("vector", [1, groups + 1], 0, 0, [-1, groups + 1]),
    ]
    reducer, dense = lite.ReducerOptionsT(keepDims=False), lite.FullyConnectedOptionsT()
    operators = [
        lite.OperatorT(opcodeIndex=0, inputs=[0, 6], outputs=[9], builtinOptions=reducer,
                       builtinOptionsType=lite.BuiltinOptions.ReducerOptions),
        lite.OperatorT(opcodeIndex=1, inputs=[9, 7, 8], outputs=[10], builtinOptions=dense,
                       builtinOptionsType=lite.BuiltinOptions.FullyConnectedOptions),
    ]
    codes = [lite.OperatorCodeT(deprecatedBuiltinCode=code, builtinCode=code, version=1)
             for code in (lite.BuiltinOperator.SUM, lite.BuiltinOperator.FULLY_CONNECTED)]
    graph = lite.SubGraphT(tensors=tensors, inputs=list(range(6)), outputs=[10], operators=operators, name="main")
    signature = lite.SignatureDefT(
        inputs=[lite.TensorMapT(name=name, tensorIndex=index) for index, name in enumerate(widths)],
        outputs=[lite.TensorMapT(name="vector", tensorIndex=10)], signatureKey="serving_default", subgraphIndex=0,
    )
    buffers = [lite.BufferT(), *(lite.BufferT(data=np.frombuffer(c.tobytes(), np.uint8)) for c in constants)]
    model = lite.ModelT(version=3, operatorCodes=codes, subgraphs=[graph], buffers=buffers, signatureDefs=[signature],
                        description="")
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _tensor(name: str, shape: list[int], kind: int, buffer: int, signature: list[int] | None = None) -> Any:
    return lite.TensorT(name=name, shape=shape, type=kind, buffer=buffer, shapeSignature=signature)


def make_registered(
    root: Path,
    *,
    metrics: dict[str, Any] | None = None,
    vectors: npt.NDArray[np.float32] | None = None,
    parent: int | None = None,
    champion: str | None = None,
    as_of: datetime = AS_OF,
    doors: bool = False,
    **training: Any,
) -> Registered:
    """Sealed folders of all stages up to registration.

    Args:
        root: artefact root.
        metrics: metrics.json; by default the challenger is twice as good as every baseline.
        vectors: item vectors in place of the world's own.
        parent, champion: what was live.
        as_of: end of the window; the events stay where they are.
        doors: whether it has learned to answer words and pictures, see tests/door_world.py.
        training: further fields of the training's settings.json, to tell two trainings apart.
    """
    key = stage_key("world", as_of.isoformat(), training, None if vectors is None else vectors.tolist(), parent,
                    champion, metrics, doors)
    snapshot = seal(Snapshot, root, "features", key,
                    lambda out: write_snapshot(out) | {"window": Window(as_of=as_of)})

    def build_trained(out: Path) -> dict[str, Any]:
        own_vectors, inputs = item_arrays()
        np.save(out / "item_vectors.npy", own_vectors if vectors is None else vectors)
        np.save(out / "item_inputs.npy", inputs)
        (out / "user_tower.tflite").write_bytes(user_tower())
        write_json(out / "settings.json", training)
        if doors:
            write_doors(out)
        return {"snapshot": snapshot, "dimension": 4, "epochs": 1, "best_epoch": 1, "valid_recall_at_10": 0.2}

    trained = seal(Trained, root, "train", key, build_trained)
    models = model_figures() if metrics is None else metrics

    def build_evaluated(out: Path) -> dict[str, Any]:
        write_evaluation(out, models)
        return {"trained": trained, "parent": parent, "champion": champion, "metrics": METRICS,
                "baselines": {name: models[name]["metrics"] for name in BASELINES if name in models}}

    evaluated = seal(Evaluated, root, "evaluate", key, build_evaluated)

    def build_registered(out: Path) -> dict[str, Any]:
        write_json(out / "registered.json", {"run_id": "r1"})
        return {"evaluated": evaluated, "experiment_id": "1", "run_id": "r1", "model_name": "vitrine",
                "model_version": "1"}

    return seal(Registered, root, "register", key, build_registered)


def write_evaluation(out: Path, models: dict[str, Any]) -> None:
    """The files of an evaluation of EVENTS events, one a user, that give each model its recall@10.

    Who finds more finds all that another does, and more. Every other event is a new user's. Champion and challenger
    share 6 of their first 10.
    """
    write_json(out / "metrics.json", models)
    place = np.random.default_rng(0).permutation(EVENTS)
    for name, found in models.items():
        recall = found["metrics"].get("recall@10") or 0.0
        is_found = place < round(np.nan_to_num(recall) * EVENTS)
        np.save(out / f"rank_{name}.npy", is_found.astype(np.int32))
    pq.write_table(pa.table({"user_id": [f"u{n}" for n in range(EVENTS)]}), out / "targets.parquet")
    write_json(out / "slices.json", ["new_user"])
    np.save(out / "slices.npy", np.arange(EVENTS)[None] % 2 == 0)
    if "champion" in models:
        np.save(out / "shared.npy", np.full(EVENTS, 6))


def model_figures(**champion: Any) -> dict[str, Any]:
    """metrics.json: the challenger at recall@10 .2, each baseline at .1, and a champion where one is given."""
    slices = {"new_user": {"events": 500, "recall@10": 0.10, "ndcg@10": 0.05},
              "new_item": {"events": 20, "recall@10": 0.02, "ndcg@10": 0.01}}
    models: dict[str, Any] = {"two_tower": {"metrics": dict(METRICS), "slices": slices, "intervals": {}}}
    models |= {name: {"metrics": {"recall@10": 0.1, "coverage@10": 0.1}, "slices": {}, "intervals": {}}
               for name in BASELINES}
    return models | ({"champion": champion} if champion else {})
