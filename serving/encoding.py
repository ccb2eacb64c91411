"""From a history of events to the user tower's inputs: one piece of code for training's evaluation,
the gate, and the online process, so that what was measured is what serves.

Events of one instant are a visit: a set, whose inner order means nothing. The last `visits - 1` visits
stand one by one, right-aligned; everything older is pooled into the first slot, so that no history is
ever cut off.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]

GAP_BUCKETS = 32  # log2 of seconds, 0 for "no earlier visit"
_SECOND = 1_000_000  # times are microseconds


@dataclass(frozen=True)
class History:
    """One user's events before the request, in time order. Arrays are all [events]."""

    item: npt.NDArray[np.int32]  # row of the item in the bundle
    time: npt.NDArray[np.int64]  # microseconds since 1970, UTC
    type: npt.NDArray[np.int16]  # index into the specification's event types
    weight: npt.NDArray[np.float32]  # 0: the event is seen but is no sign of taste


@dataclass(frozen=True)
class Limits:
    """Shape of the user tower's inputs, from the feature specification."""

    visits: int  # L, slots of the sequence
    event_types: int  # T
    user_slots: int  # K


def gap_bucket(microseconds: npt.NDArray[np.int64]) -> Ints:
    """1 + log2 of whole seconds, at most GAP_BUCKETS - 1; the same bucket offline and online."""
    seconds = np.maximum(microseconds // _SECOND, 0) + 1
    return np.minimum(1 + np.floor(np.log2(seconds)), GAP_BUCKETS - 1).astype(np.int32)


def visit_slots(time: npt.NDArray[np.int64], visits: int) -> npt.NDArray[np.int64]:
    """Slot [events] of each event: the last visit lies in slot `visits` - 1, what is too old in slot 0."""
    if not len(time):
        return np.zeros(0, np.int64)
    number = np.cumsum(np.diff(time, prepend=time[0]) > 0)
    return np.maximum(visits - 1 - (number[-1] - number), 0)


def encode(
    histories: Sequence[History],
    now: npt.NDArray[np.int64],
    user_tokens: Ints,
    item_inputs: Floats,
    limits: Limits,
) -> dict[str, npt.NDArray[np.generic]]:
    """The user tower's inputs for a batch of requests.

    Args:
        histories: one a request; empty for a user nobody knows.
        now: [batch] time of each request, microseconds.
        user_tokens: [batch, K] feature tokens of the users, 0 for padding.
        item_inputs: [items, D] input vectors of the item tower.
        limits: L, T and K.

    Returns:
        visits float32 [batch, L, D] (weighted sum of the visit's input vectors), counts float32 [batch, L]
        (weights summed, 0 for an empty slot), types float32 [batch, L, T] (share of each event type),
        gaps int32 [batch, L] (bucket of the time since the slot before), wait int32 [batch] (bucket of
        the time since the last visit), user int32 [batch, K].
    """
    batch, slots = len(histories), limits.visits
    visits = np.zeros((batch, slots, item_inputs.shape[1]), np.float32)
    counts = np.zeros((batch, slots), np.float32)
    types = np.zeros((batch, slots, limits.event_types), np.float32)
    gaps = np.zeros((batch, slots), np.int32)
    wait = np.zeros(batch, np.int32)
    for row, history in enumerate(histories):
        kept = history.weight > 0
        time, weight = history.time[kept], history.weight[kept]
        if not len(time):
            continue
        slot = visit_slots(time, slots)
        np.add.at(visits[row], slot, item_inputs[history.item[kept]] * weight[:, None])
        np.add.at(counts[row], slot, weight)
        np.add.at(types[row], (slot, history.type[kept]), weight)
        is_first = np.diff(slot, prepend=-1) > 0
        begins = time[is_first]
        # A pooled first slot ends with its last event: the next gap is counted from there.
        ends = time[np.append(np.flatnonzero(is_first)[1:] - 1, len(time) - 1)]
        gaps[row, slot[is_first][1:]] = gap_bucket(begins[1:] - ends[:-1])
        wait[row] = gap_bucket(now[row : row + 1] - time[-1])[0]
    types /= np.maximum(counts, 1e-9)[:, :, None]
    return {"visits": visits, "counts": counts, "types": types, "gaps": gaps, "wait": wait,
            "user": user_tokens}
