"""The shoppers of a snapshot as the online process will meet them: whole histories, asked at `as_of`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq

from pipelines.columns import ITEM, USERS
from pipelines.contracts import Snapshot, Trained
from pipelines.snapshot import SnapshotData
from serving.encoding import Floats, History, Ints, Limits, encode
from serving.probe import NamedRequest
from serving.recommender import Request
from serving.user_tower import UserTower

_BATCH = 256


@dataclass(frozen=True)
class Shoppers:
    """Some of a snapshot's shoppers, each at one moment: user rows, which events come before, and when they ask."""

    user: npt.NDArray[np.integer[Any]]  # [shoppers]
    start: npt.NDArray[np.int64]  # [shoppers] first event of the user
    end: npt.NDArray[np.int64]  # [shoppers] first event that is not known yet
    now_us: npt.NDArray[np.int64]  # [shoppers] microseconds since 1970, UTC

    def requests(self, data: SnapshotData) -> list[Request]:
        """What the online process would be asked, in the snapshot's own rows and tokens."""
        h, spans = data.histories, [slice(s, e) for s, e in zip(self.start, self.end, strict=True)]
        # Copies: the snapshot is memory-mapped, a request stands for itself.
        histories = [History(h.item[s].copy(), h.time[s].copy(), h.type[s].copy(), h.weight[s].copy()) for s in spans]
        return [Request(history, int(now), np.array(data.user_tokens[u]))
                for u, now, history in zip(self.user, self.now_us, histories, strict=True)]

    def named(self, data: SnapshotData, user_tokens: Ints) -> list[NamedRequest]:
        """The same with items and event types by name, and tokens [users, K] of a bundle's own vocabulary."""
        ids, types = item_ids(data), np.array(data.spec["event_types"], np.str_)
        return [
            NamedRequest(ids[request.history.item], request.history.time, types[request.history.type],
                         request.history.weight, request.now_us, user_tokens[user])
            for user, request in zip(self.user, self.requests(data), strict=True)
        ]


def users_table(snapshot: Snapshot) -> pd.DataFrame | None:
    """The users' table that a snapshot was made from, None where the shop has none."""
    path = snapshot.ingested and Path(snapshot.ingested.path) / f"{USERS}.parquet"
    return pd.read_parquet(path) if path and path.exists() else None


def item_ids(data: SnapshotData) -> npt.NDArray[np.str_]:
    """Ids [items] of a snapshot's items, in row order."""
    return np.array(pq.read_table(data.path / "items.parquet", columns=[ITEM]).column(0).to_pylist(), np.str_)


def shoppers_at_end(trained: Trained, data: SnapshotData, count: int) -> Shoppers:
    """Up to `count` shoppers with their whole histories, evenly spaced among those with any event."""
    indptr, now_us = data.histories.indptr, int(trained.snapshot.window.as_of.timestamp() * 1_000_000)
    users = np.flatnonzero(np.diff(indptr))
    users = users[np.unique(np.linspace(0, len(users) - 1, min(count, len(users))).astype(np.int64))]
    return Shoppers(users, indptr[users], indptr[users + 1], np.full(len(users), now_us))


def requests_at_end(trained: Trained, count: int) -> list[Request]:
    """Up to `count` shoppers of the training's snapshot, see `shoppers_at_end`."""
    data = SnapshotData.load(trained.snapshot.path)
    return shoppers_at_end(trained, data, count).requests(data)


def user_vectors(trained: Trained, requests: Sequence[Request]) -> Floats:
    """User vectors [requests, D] by the training's own files, beside any bundle."""
    limits = Limits.of(SnapshotData.load(trained.snapshot.path).spec)
    item_inputs = np.load(Path(trained.path) / "item_inputs.npy", allow_pickle=False)
    tower = UserTower(Path(trained.path) / "user_tower.tflite")
    parts = []
    for first in range(0, len(requests), _BATCH):
        part = requests[first : first + _BATCH]
        now = np.array([request.now_us for request in part], np.int64)
        tokens = np.stack([request.user_tokens for request in part]).astype(np.int32)
        parts.append(tower.vectors(encode([r.history for r in part], now, tokens, item_inputs, limits)))
    return np.concatenate(parts)
