"""The shoppers of a snapshot as the online process will meet them: whole histories, asked at `as_of`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipelines.contracts import Trained
from pipelines.snapshot import SnapshotData
from serving.encoding import Floats, History, Limits, encode
from serving.recommender import Request
from serving.user_tower import UserTower

_BATCH = 256


def requests_at_end(trained: Trained, count: int) -> list[Request]:
    """Up to `count` shoppers of the training's snapshot, evenly spaced among those with any event."""
    data = SnapshotData.load(trained.snapshot.path)
    h, now_us = data.histories, int(trained.snapshot.window.as_of.timestamp() * 1_000_000)
    users = np.flatnonzero(np.diff(h.indptr))
    users = users[np.unique(np.linspace(0, len(users) - 1, min(count, len(users))).astype(np.int64))]
    spans = [slice(h.indptr[u], h.indptr[u + 1]) for u in users]
    # Copies: the snapshot is memory-mapped, a request stands for itself.
    histories = [History(h.item[s].copy(), h.time[s].copy(), h.type[s].copy(), h.weight[s].copy()) for s in spans]
    return [Request(history, now_us, np.array(data.user_tokens[u]))
            for u, history in zip(users, histories, strict=True)]


def user_vectors(trained: Trained, requests: Sequence[Request]) -> Floats:
    """User vectors [requests, D] by the training's own files, beside any bundle."""
    spec = SnapshotData.load(trained.snapshot.path).spec
    limits = Limits(spec["visits"], len(spec["event_types"]), spec["user_slots"])
    item_inputs = np.load(Path(trained.path) / "item_inputs.npy", allow_pickle=False)
    tower = UserTower(Path(trained.path) / "user_tower.tflite")
    parts = []
    for first in range(0, len(requests), _BATCH):
        part = requests[first : first + _BATCH]
        now = np.array([request.now_us for request in part], np.int64)
        tokens = np.stack([request.user_tokens for request in part]).astype(np.int32)
        parts.append(tower.vectors(encode([r.history for r in part], now, tokens, item_inputs, limits)))
    return np.concatenate(parts)
