"""The encoded shop as arrays: what training, evaluation and the baselines read.

Files of a snapshot folder (all arrays .npy, memory-mapped on load, never pickled):

    spec.json              FeatureSpec as written by the features stage (see pipelines/features.py)
    items.parquet          item_id and the columns people read (title, price, ...), in row order
    users.parquet          user_id, in row order
    item_tokens_indptr     int64 [items + 1]      CSR of each item's feature tokens
    item_tokens            int32 [nnz]
    item_token_weights     float32 [nnz]
    item_dense             float32 [items, dense] standardised numbers, given vectors, picture features
    item_counts            int64 [items]          positive train events: the popularity
    user_tokens            int32 [users, slots]   0 is padding
    indptr                 int64 [users + 1]      histories as CSR, by user, then time
    item, time, type, split, weight, target, row  one entry an event, see `Histories`

and, made by the features stage where the shop has words or pictures, what search learns from:

    item_texts.parquet     words of each item, see pipelines/item_texts.py
    pictures.npy, picture_rows.npy  thumbnails of the items that have a picture, see pipelines/pictures.py

and item_pictures.npy, uint64 [items], by which a later catalogue's pictures are told from these.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.artifacts import read_json

TRAIN, VALID, TEST = 0, 1, 2


@dataclass(frozen=True)
class Histories:
    """Events of all users: `indptr[u]:indptr[u + 1]` are user u's, in time order."""

    indptr: npt.NDArray[np.int64]  # [users + 1]
    item: npt.NDArray[np.int32]  # [events]
    time: npt.NDArray[np.int64]  # [events] microseconds since 1970, UTC
    type: npt.NDArray[np.int16]  # [events] index into spec["event_types"]
    split: npt.NDArray[np.uint8]  # [events] TRAIN, VALID or TEST
    weight: npt.NDArray[np.float32]  # [events] 0 for what is no positive (returns)
    target: npt.NDArray[np.bool_]  # [events] evaluated, in its split
    row: npt.NDArray[np.int64]  # [events] row_id of the source, or its position


@dataclass(frozen=True)
class Queries:
    """Questions "what next for `user`, just before `time`?" and the events that answer them.

    The context of query q is events `start[q]:end[q]` of the histories: all events at strictly earlier times.
    """

    user: npt.NDArray[np.int32]  # [queries]
    start: npt.NDArray[np.int64]  # [queries] first event of the user
    end: npt.NDArray[np.int64]  # [queries] first event that is not earlier than `time`
    time: npt.NDArray[np.int64]  # [queries] microseconds
    target_query: npt.NDArray[np.int64]  # [targets] index into the queries
    target_event: npt.NDArray[np.int64]  # [targets] index into the histories

    def __len__(self) -> int:
        return len(self.user)

    def only(self, rows: npt.NDArray[np.int64]) -> "Queries":
        """These queries, rows ascending, with their targets renumbered."""
        is_kept = np.isin(self.target_query, rows)
        return Queries(self.user[rows], self.start[rows], self.end[rows], self.time[rows],
                       np.searchsorted(rows, self.target_query[is_kept]), self.target_event[is_kept])

    def part(self, first: int, last: int) -> "Queries":
        """Queries first <= q < last, with their targets renumbered."""
        low, high = np.searchsorted(self.target_query, [first, last])
        cut = slice(first, last)
        return Queries(self.user[cut], self.start[cut], self.end[cut], self.time[cut],
                       self.target_query[low:high] - first, self.target_event[low:high])


@dataclass(frozen=True)
class SnapshotData:
    """A snapshot folder, opened."""

    path: Path
    spec: dict[str, Any]
    histories: Histories
    item_tokens_indptr: npt.NDArray[np.int64]
    item_tokens: npt.NDArray[np.int32]
    item_token_weights: npt.NDArray[np.float32]
    item_dense: npt.NDArray[np.float32]
    item_counts: npt.NDArray[np.int64]
    user_tokens: npt.NDArray[np.int32]

    @property
    def num_items(self) -> int:
        """Rows of the catalogue."""
        return len(self.item_counts)

    @property
    def num_users(self) -> int:
        """Rows of the user table."""
        return len(self.histories.indptr) - 1

    @classmethod
    def load(cls, folder: str | Path) -> "SnapshotData":
        """Memory-map a snapshot folder."""
        folder = Path(folder)

        def array(name: str) -> npt.NDArray[Any]:
            loaded: npt.NDArray[Any] = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            return loaded

        histories = Histories(**{f.name: array(f.name) for f in fields(Histories)})
        own = [f.name for f in fields(cls) if f.name not in ("path", "spec", "histories")]
        return cls(folder, read_json(folder / "spec.json"), histories, **{n: array(n) for n in own})

    def queries(self, split: int) -> Queries:
        """One query for each user and instant at which `split` has evaluated events, by user and time."""
        h = self.histories
        events = np.flatnonzero(h.target & (h.split == split))
        user = np.searchsorted(h.indptr, events, side="right") - 1
        time = h.time[events]
        is_first = np.ones(len(events), bool)
        is_first[1:] = (user[1:] != user[:-1]) | (time[1:] != time[:-1])
        first = np.flatnonzero(is_first)
        start = h.indptr[user[first]]
        # The context ends at the first event of that instant, evaluated or not.
        asked = zip(start, events[first] + 1, time[first], strict=True)
        end = np.array([s + np.searchsorted(h.time[s:e], t) for s, e, t in asked], dtype=np.int64)
        return Queries(user[first].astype(np.int32), np.asarray(start), end, np.asarray(time[first]),
                       np.cumsum(is_first) - 1, events)
