"""A release of any size that nothing was trained for, and shoppers with histories, for benchmarks of serving.

Item vectors lie around centres (benchmarks/ann.py), with an item prior as last column; the user tower has the shape of
a trained one with its first random weights, whose answer is near to what a shopper has looked at. All that the online
process does is the same as with a real release. The folder is filled once and found again:

    store/generated/...   the release log with its one release
    sessions/generated.db  written anew before each run, for stored events grow old
"""

import shutil
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.ann import clustered, drawn_centres
from pipelines.artifacts import FORMAT, MANIFEST, folder_files, write_json
from pipelines.columns import PURCHASE
from pipelines.index import IndexSettings, build_scann
from serving.bundle_files import INDEX
from serving.encoding import Floats
from serving.release import Release
from serving.sessions.contract import Event
from serving.sessions.sqlite import SqliteSessions
from serving.store import ReleaseStore

SHOP = "generated"
DIMENSION, BLOCKS, HEADS, VISITS = 64, 2, 2, 50
TYPES = ("view", PURCHASE)
USERS = 2000
_TUNED_WITH, _CATEGORIES, _HOUR_US = 500, 200, 3_600_000_000
SPEC: Mapping[str, Any] = {
    "format": 1, "event_types": list(TYPES), "event_weights": {"view": 1.0, PURCHASE: 3.0}, "visits": VISITS,
    "user_slots": 1, "user_token_count": 3, "item_token_count": 1, "dense": 0, "user_fields": [],
    "item_fields": [{"name": "category", "kind": "categorical"}, {"name": "price", "kind": "numeric"}],
    "display": {"title": "title", "category": "category", "price": "price", "image": None},
}


def item_id(row: int) -> str:
    """Id of an item."""
    return f"P-{row:08d}"


def user_id(number: int) -> str:
    """Id of a shopper."""
    return f"C-{number:06d}"


def make_release(home: Path, items: int, seed: int = 0) -> None:
    """Make the release in `home`; at once where it is there already.

    Raises:
        ValueError: the folder holds a release of another number of items.
    """
    mark = home / "items"
    if mark.exists():
        if (held := int(mark.read_text())) != items:
            raise ValueError(f"{home} holds a release of {held:,} items where {items:,} are asked for: give another "
                             "folder, or remove this one")
        return
    rng, making = np.random.default_rng(seed), home / "making"
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    inputs = clustered(items, DIMENSION, rng, drawn_centres(DIMENSION, rng))
    prior = rng.normal(0, 0.05, (items, 1)).astype(np.float32)
    vectors = np.concatenate([inputs, prior], axis=1)
    np.save(making / "item_inputs.npy", inputs, allow_pickle=False)
    np.save(making / "item_vectors.npy", vectors, allow_pickle=False)
    np.save(making / "popularity.npy", np.argsort(-prior[:, 0], kind="stable").astype(np.int64), allow_pickle=False)
    category = rng.integers(_CATEGORIES, size=items)
    pq.write_table(pa.table({
        "item_id": [item_id(row) for row in range(items)],
        "title": [f"Product {row} of kind {kind}" for row, kind in enumerate(category.tolist())],
        "category": [f"Category {kind}" for kind in category.tolist()],
        "price": np.round(np.exp(rng.normal(4, 1, items)), 2)}), making / "items.parquet")
    for name, value in (("spec", SPEC), ("vocabulary", {}), ("tombstones", []), ("provenance", {})):
        write_json(making / f"{name}.json", value)
    (making / "user_tower.tflite").write_bytes(random_tower(seed))
    build_scann(vectors, shoppers_vectors(making, _TUNED_WITH, items, rng), IndexSettings(recall_target=0.95),
                making / INDEX)
    write_json(making / MANIFEST, {"format": FORMAT, "files": folder_files(making)})
    store, now = ReleaseStore(home / "store" / SHOP), datetime.now(UTC)
    store.commit(Release(
        number=1, parent=None, bundle=store.add_bundle(making), training="0" * 64, verdict="0" * 64, as_of=now,
        actor="benchmark", reason="generated", created_at=now, metrics={}, run_id="none", model_name="none",
        model_version="1"))
    shutil.rmtree(making)
    mark.write_text(str(items))


def user_tower(seed: int) -> Any:
    """The Keras layer, with the weights that training would begin with."""
    from models.legacy_keras import tf
    from models.user_tower import UserTower

    tf.keras.utils.set_random_seed(seed)
    return UserTower(DIMENSION, BLOCKS, HEADS, 0.0, VISITS, SPEC["user_token_count"])


def random_tower(seed: int) -> bytes:
    """The tower as training exports it, for LiteRT."""
    import tempfile

    from models.legacy_keras import tf
    from models.served_tower import ServedTower

    served = ServedTower([user_tower(seed)], dict(SPEC))
    with tempfile.TemporaryDirectory(prefix="vitrine-tower-") as folder:
        sized = {f"visits_{slots}": served.of_size(slots) for slots in served.sizes}
        tf.saved_model.save(served, folder, signatures=sized)
        return bytes(tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(sized)).convert())


def history(number: int, items: int) -> tuple[np.ndarray, np.ndarray]:
    """Item rows [VISITS] and event types [VISITS] of a shopper, from all over the catalogue."""
    rng = np.random.default_rng([7, number])
    return rng.integers(items, size=VISITS), (rng.random(VISITS) < 0.1).astype(np.int64)


def shoppers_vectors(bundle: Path, users: int, items: int, rng: np.random.Generator) -> Floats:
    """Vectors [users, D + 1] by the exported tower of shoppers that no request is about."""
    from serving.encoding import History, Limits, encode
    from serving.user_tower import UserTower

    inputs = np.load(bundle / "item_inputs.npy", mmap_mode="r")
    times = np.arange(VISITS, dtype=np.int64) * _HOUR_US
    histories = [History(rng.integers(items, size=VISITS).astype(np.int32), times,
                         np.zeros(VISITS, np.int16), np.ones(VISITS, np.float32)) for _ in range(users)]
    return UserTower(bundle / "user_tower.tflite").vectors(encode(
        histories, np.full(users, times[-1] + _HOUR_US), np.zeros((users, 1), np.int32), inputs,
        Limits(VISITS, len(TYPES), 1)))


def write_sessions(home: Path, items: int) -> None:
    """A session store in which every shopper has VISITS events, an hour apart, the last an hour ago."""
    file = home / "sessions" / f"{SHOP}.db"
    for path in file.parent.glob(f"{file.name}*"):
        path.unlink()
    sessions, now_us = SqliteSessions(file), time.time_ns() // 1000
    for first in range(0, USERS, 100):
        events = []
        for number in range(first, min(first + 100, USERS)):
            rows, types = history(number, items)
            events += [Event(f"e-{number}-{place}", user_id(number), item_id(int(row)), TYPES[code],
                             now_us - _HOUR_US * (VISITS - place))
                       for place, (row, code) in enumerate(zip(rows, types, strict=True))]
        sessions.add(events, now_us)
    sessions.close()


if __name__ == "__main__":
    make_release(Path(sys.argv[1]), int(sys.argv[2]))
