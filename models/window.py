"""The training window of a snapshot, read chunk by chunk."""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.snapshot import TRAIN, SnapshotData

_EVENTS_AT_ONCE = 1_000_000


@dataclass(frozen=True)
class Window:
    """From the oldest positive training event to the newest, microseconds; both 0 where there is none.

    `is_ahead`: all that is not trained on lies after all of train, so that the calendar divides them. Otherwise
    each user is cut at their own last events: the time of day says nothing of what is asked next, and each user is
    asked equally often.
    """

    oldest: int
    newest: int
    is_ahead: bool

    @classmethod
    def of(cls, data: SnapshotData) -> "Window":
        """The window of a snapshot."""
        never = np.iinfo(np.int64)
        oldest, newest, first_asked = never.max, never.min, never.max
        for part in chunks(data):
            oldest = int(part.time.min(initial=oldest, where=part.is_trained))
            newest = int(part.time.max(initial=newest, where=part.is_trained))
            first_asked = int(part.time.min(initial=first_asked, where=part.split != TRAIN))
        if newest < oldest:
            return cls(0, 0, False)
        return cls(oldest, newest, first_asked >= newest)


@dataclass(frozen=True)
class Chunk:
    """Some events of the log, as they lie in the snapshot. Arrays are all [events]."""

    time: npt.NDArray[np.int64]
    item: npt.NDArray[np.int32]
    weight: npt.NDArray[np.float32]
    split: npt.NDArray[np.uint8]
    target: npt.NDArray[np.bool_]
    is_trained: npt.NDArray[np.bool_]  # TRAIN and of positive weight


def chunks(data: SnapshotData) -> Iterator[Chunk]:
    """All events, so many at once that memory stays bounded."""
    h = data.histories
    for first in range(0, len(h.time), _EVENTS_AT_ONCE):
        part = slice(first, first + _EVENTS_AT_ONCE)
        split, weight = np.asarray(h.split[part]), np.asarray(h.weight[part])
        yield Chunk(np.asarray(h.time[part]), np.asarray(h.item[part]), weight, split, np.asarray(h.target[part]),
                    (split == TRAIN) & (weight > 0))
        give_back(data)


def give_back(data: SnapshotData) -> None:
    """Let go of the snapshot's pages: they stay in the system's cache while nothing else needs the memory."""
    h = data.histories
    for array in (h.item, h.time, h.type, h.split, h.weight, data.user_tokens):
        if isinstance(array.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            array.base.madvise(mmap.MADV_DONTNEED)
