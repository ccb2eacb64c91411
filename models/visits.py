"""The training log as visits, read from the memory-mapped snapshot.

A visit is all that a user did at one instant.
"""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.snapshot import TRAIN, VALID, SnapshotData

Ints = npt.NDArray[np.int64]

_EVENTS_AT_ONCE = 1_000_000


@dataclass(frozen=True)
class Recency:
    """Weight of an event in the loss by its age: half of it is gone after `half_life` of the training window."""

    newest: int  # microseconds
    span: int  # microseconds from the oldest training event to the newest
    half_life: float  # part of `span`; 0 for weights that do not age

    @classmethod
    def of(cls, data: SnapshotData, half_life: float) -> "Recency":
        """The training window of a snapshot.

        Args:
            data: the snapshot.
            half_life: part of the training window after which an event counts half in the loss; 0 for never.
                Only where all of valid lies after all of train: where each user is cut at their own last
                events, the calendar says nothing of what is asked next.
        """
        h = data.histories
        never = np.iinfo(np.int64)
        oldest, newest, first_valid = never.max, never.min, never.max
        for first in range(0, len(h.time), _EVENTS_AT_ONCE):
            part = slice(first, first + _EVENTS_AT_ONCE)
            time, split = np.asarray(h.time[part]), np.asarray(h.split[part])
            is_kept = (split == TRAIN) & (h.weight[part] > 0)
            oldest = int(time.min(initial=oldest, where=is_kept))
            newest = int(time.max(initial=newest, where=is_kept))
            first_valid = int(time.min(initial=first_valid, where=split == VALID))
            give_back(data)
        if newest < oldest:  # no training event
            return cls(0, 0, 0)
        return cls(newest, newest - oldest, half_life if first_valid >= newest else 0)

    def decay(self, time: Ints) -> npt.NDArray[np.float64]:
        """Factors [n] of events at `time` [n] microseconds."""
        if not self.half_life:
            return np.ones(len(time))
        age = (self.newest - time) / max(self.span, 1)
        return np.asarray(np.exp2(-age / self.half_life))


@dataclass(frozen=True)
class Visits:
    """Visits of some users: only TRAIN events of positive weight, by user, then time."""

    event_ptr: npt.NDArray[np.int64]  # [visits + 1] into the event arrays
    item: npt.NDArray[np.int32]  # [events]
    type: npt.NDArray[np.int16]  # [events]
    weight: npt.NDArray[np.float32]  # [events]
    target_weight: npt.NDArray[np.float32]  # [events] weight in the loss: newer events say more
    is_new: npt.NDArray[np.bool_]  # [events] the user's first meeting with the item: a target
    time: npt.NDArray[np.int64]  # [visits]
    user_ptr: npt.NDArray[np.int64]  # [users + 1] into the visits
    user: npt.NDArray[np.int32]  # [users] row of each in the user table

    @classmethod
    def of(cls, data: SnapshotData, half_life: float = 0) -> "Visits":
        """Visits of all users, for a log that fits into memory; `half_life` as in `Recency.of`."""
        return cls.of_users(data, 0, data.num_users, Recency.of(data, half_life))

    @classmethod
    def of_users(cls, data: SnapshotData, first: int, last: int, recency: Recency) -> "Visits":
        """Visits of the users first <= u < last of a snapshot."""
        h, users = data.histories, last - first
        events = slice(int(h.indptr[first]), int(h.indptr[last]))
        user = np.repeat(np.arange(users, dtype=np.int32), np.diff(h.indptr[first : last + 1]))
        weight = np.asarray(h.weight[events])
        kept = np.flatnonzero((h.split[events] == TRAIN) & (weight > 0))
        user, weight = user[kept], weight[kept]
        item, time = np.asarray(h.item[events])[kept], np.asarray(h.time[events])[kept]
        begins = np.ones(len(kept), bool)
        begins[1:] = (user[1:] != user[:-1]) | (time[1:] != time[:-1])
        visit = np.flatnonzero(begins)
        _, met = np.unique(user.astype(np.int64) << 32 | item, return_index=True)
        is_new = np.zeros(len(kept), bool)
        is_new[met] = True
        return cls(
            np.append(visit, len(kept)), item, np.asarray(h.type[events])[kept], weight,
            (weight * recency.decay(time)).astype(np.float32), is_new, time[visit],
            np.searchsorted(user[visit], np.arange(users + 1)), np.arange(first, last, dtype=np.int32),
        )


def runs_of_users(data: SnapshotData, events: int) -> Iterator[tuple[int, int]]:
    """Consecutive users first <= u < last in runs of about so many events; at least one user each."""
    indptr, first = data.histories.indptr, 0
    while first < data.num_users:
        last = int(np.searchsorted(indptr, indptr[first] + events, side="right")) - 1
        last = min(max(last, first + 1), first + events, data.num_users)
        yield first, last
        first = last


def give_back(data: SnapshotData) -> None:
    """Let go of the snapshot's pages: they stay in the system's cache while nothing else needs the memory."""
    h = data.histories
    for array in (h.item, h.time, h.type, h.split, h.weight, data.user_tokens):
        if isinstance(array.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            array.base.madvise(mmap.MADV_DONTNEED)
