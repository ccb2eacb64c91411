"""The training log as visits, read from the memory-mapped snapshot.

A visit is all that a user did at one instant.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.window import Window
from pipelines.snapshot import TRAIN, SnapshotData

Ints = npt.NDArray[np.int64]
EVENNESS = 0.5  # 0: every event weighs the same in the loss, 1: every user does


@dataclass(frozen=True)
class Visits:
    """Visits of some users: only TRAIN events of positive weight, by user, then time."""

    event_ptr: npt.NDArray[np.int64]  # [visits + 1] into the event arrays
    item: npt.NDArray[np.int32]  # [events]
    type: npt.NDArray[np.int16]  # [events]
    weight: npt.NDArray[np.float32]  # [events]
    target_weight: npt.NDArray[np.float32]  # [events] weight in the loss
    is_new: npt.NDArray[np.bool_]  # [events] the user's first meeting with the item: a target
    time: npt.NDArray[np.int64]  # [visits]
    user_ptr: npt.NDArray[np.int64]  # [users + 1] into the visits
    user: npt.NDArray[np.int32]  # [users] row of each in the user table

    @classmethod
    def of(cls, data: SnapshotData) -> "Visits":
        """Visits of all users, for a log that fits into memory."""
        return cls.of_users(data, 0, data.num_users, Window.of(data))

    @classmethod
    def of_users(cls, data: SnapshotData, first: int, last: int, window: Window) -> "Visits":
        """Visits of the users first <= u < last of a snapshot.

        Where each user will be asked equally often, a user's events weigh less in the loss the more they are.
        """
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
        targets = np.bincount(user[is_new], minlength=users)[user]
        evenly = np.ones(len(kept)) if window.is_ahead else targets ** -EVENNESS
        return cls(
            np.append(visit, len(kept)), item, np.asarray(h.type[events])[kept], weight,
            (weight * evenly).astype(np.float32), is_new, time[visit],
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
