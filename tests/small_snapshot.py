"""Snapshots written out by hand, an event a line."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from pipelines.artifacts import write_json
from pipelines.snapshot import TRAIN, SnapshotData

TYPES = ["buy", "return"]
DAY_US = 86_400_000_000

Event = tuple[int, int, int, str, int, bool]  # user, item, day, type, split, is it evaluated


def small_snapshot(folder: Path, events: Sequence[Event], users: int, items: int) -> SnapshotData:
    """Write the events, which stand in time order, as a snapshot; items are called i0, i1, ..., users u0, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(events, columns=["user", "item", "day", "type", "split", "target"])
    table["row"] = np.arange(len(table)) + 100
    table = table.sort_values("user", kind="stable")
    weight = (table["type"] == "buy").to_numpy(np.float32)
    is_sold = (table["split"] == TRAIN).to_numpy() & (weight > 0)
    arrays = {
        "indptr": np.searchsorted(table["user"], np.arange(users + 1)).astype(np.int64),
        "item": table["item"].to_numpy(np.int32), "time": table["day"].to_numpy(np.int64) * DAY_US,
        "type": table["type"].map(TYPES.index).to_numpy(np.int16), "split": table["split"].to_numpy(np.uint8),
        "weight": weight, "target": table["target"].to_numpy(bool), "row": table["row"].to_numpy(np.int64),
        "item_tokens_indptr": np.zeros(items + 1, np.int64), "item_tokens": np.zeros(0, np.int32),
        "item_token_weights": np.zeros(0, np.float32), "item_dense": np.zeros((items, 0), np.float32),
        "item_counts": np.bincount(table["item"][is_sold], minlength=items),
        "user_tokens": np.zeros((users, 1), np.int32),
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    write_json(folder / "spec.json", {
        "format": 1, "event_types": TYPES, "visits": 5, "user_slots": 1, "user_token_count": 1, "item_token_count": 0,
        "dense": 0, "event_weights": {"buy": 1.0, "return": 0.0}, "item_fields": [], "user_fields": [],
        "display": {"title": None, "category": None, "price": None, "image": None},
    })
    pd.DataFrame({"item_id": [f"i{n}" for n in range(items)]}).to_parquet(folder / "items.parquet")
    pd.DataFrame({"user_id": [f"u{n}" for n in range(users)]}).to_parquet(folder / "users.parquet")
    return SnapshotData.load(folder)
