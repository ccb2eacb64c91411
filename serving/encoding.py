"""From a history of events to the user tower's inputs: one piece of code for training's evaluation,
the gate, and the online process, so that what was measured is what serves.

Events of one instant are a visit: a set, whose inner order means nothing. The last `visits - 1` visits
stand one by one, right-aligned; everything older is pooled into the first slot, so that no history is
ever cut off.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from serving.calendar import SLOTS, calendar_tokens, first_token

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
    user_slots: int  # K, of the user's own features
    calendar: int | None = None  # the first of the calendar's tokens, None where the tower knows none

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> "Limits":
        """Those of a specification."""
        return cls(spec["visits"], len(spec["event_types"]), spec["user_slots"], first_token(spec))

    @property
    def user_width(self) -> int:
        """Tokens of a request: the user's own and the calendar's."""
        return self.user_slots + (SLOTS if self.calendar is not None else 0)


def gap_bucket(microseconds: npt.NDArray[np.int64]) -> Ints:
    """1 + log2 of whole seconds, at most GAP_BUCKETS - 1; the same bucket offline and online."""
    seconds = np.maximum(microseconds // _SECOND, 0) + 1
    _, exponent = np.frexp(seconds)  # seconds = m * 2 ** exponent with m from 0.5 to 1: 1 + the whole part of log2
    buckets: Ints = np.minimum(exponent, GAP_BUCKETS - 1)
    return buckets


def encode(
    histories: Sequence[History],
    now: npt.NDArray[np.int64],
    user_tokens: Ints,
    item_inputs: Floats,
    limits: Limits,
) -> dict[str, npt.NDArray[np.generic]]:
    """The user tower's inputs for a batch of requests, in as few slots as the longest history allows.

    Args:
        histories: one a request; empty for a user nobody knows.
        now: [batch] time of each request, microseconds.
        user_tokens: [batch, K] feature tokens of the users, 0 for padding; the moment's tokens are added here.
        item_inputs: [items, D] input vectors of the item tower.
        limits: the most slots, T and K.

    Returns:
        With L the visits of the longest history, at least 1 and at most the limit: visits float32 [batch, L, D]
        (weighted sum of the visit's input vectors), counts float32 [batch, L] (weights summed, 0 for an
        empty slot), types float32 [batch, L, T] (share of each event type), gaps int32 [batch, L] (bucket of
        the time since the slot before), wait int32 [batch] (bucket of the time since the last visit), user
        int32 [batch, K], and the calendar's three columns behind them where the limits know one.
    """
    user_tokens = np.concatenate([user_tokens, calendar_tokens(now, limits.calendar)], axis=1)
    if len(histories) == 1:
        return _encode_one(histories[0], now, user_tokens, item_inputs, limits)
    batch, types_known = len(histories), limits.event_types
    row, item, time, kind, weight = _joined(histories)
    number, visits_of = _visits(row, time, batch)
    slots = int(np.clip(visits_of.max(initial=0), 1, limits.visits))
    cells = batch * slots
    visits = np.zeros((cells, item_inputs.shape[1]), np.float32)
    counts = np.zeros(cells, np.float32)
    types = np.zeros((cells, types_known), np.float32)
    gaps = np.zeros(cells, np.int32)
    wait = np.zeros(batch, np.int32)
    if len(row):
        # A row's last visit lies in the last slot, what is too old in slot 0.
        cell = row * slots + np.maximum(slots - visits_of[row] + number, 0)
        first = np.flatnonzero(run_starts(cell))
        filled = cell[first]
        visits[filled] = np.add.reduceat(item_inputs[item] * weight[:, None], first, axis=0)
        counts[filled] = np.add.reduceat(weight, first)
        types[:] = np.bincount(cell * types_known + kind, weight, cells * types_known).reshape(cells, types_known)
        types /= np.maximum(counts, 1e-9)[:, None]
        # A pooled slot ends with its last event: the gap of the slot after it is counted from there.
        ends = time[np.append(first[1:], len(time)) - 1]
        follows = np.flatnonzero(~run_starts(row[first])[1:])
        gaps[filled[follows + 1]] = gap_bucket(time[first[follows + 1]] - ends[follows])
        last = np.append(np.flatnonzero(run_starts(row))[1:], len(row)) - 1
        wait[row[last]] = gap_bucket(now[row[last]] - time[last])
    return {
        "visits": visits.reshape(batch, slots, -1), "counts": counts.reshape(batch, slots),
        "types": types.reshape(batch, slots, -1), "gaps": gaps.reshape(batch, slots), "wait": wait,
        "user": user_tokens,
    }


def _encode_one(
    history: History, now: npt.NDArray[np.int64], user_tokens: Ints, item_inputs: Floats, limits: Limits
) -> dict[str, npt.NDArray[np.generic]]:
    """`encode` of one request, as each answer of the online process asks for it.

    A request by itself leaves no slot empty, so that nothing has to be put in its place: a third of the calls.
    """
    item, time, kind, weight = history.item, history.time, history.type, history.weight
    if len(weight) and weight.min() <= 0:
        kept = weight > 0
        item, time, kind, weight = item[kept], time[kept], kind[kept], weight[kept]
    if not len(item):
        return {"visits": np.zeros((1, 1, item_inputs.shape[1]), np.float32), "counts": np.zeros((1, 1), np.float32),
                "types": np.zeros((1, 1, limits.event_types), np.float32), "gaps": np.zeros((1, 1), np.int32),
                "wait": np.zeros(1, np.int32), "user": user_tokens}
    first = np.flatnonzero(run_starts(time))
    if len(first) > limits.visits:  # what is too old is pooled into slot 0
        first = first[-limits.visits :]
        first[0] = 0
    slots = len(first)
    ends = np.empty_like(first)
    ends[:-1], ends[-1] = first[1:], len(time)
    counts = np.add.reduceat(weight, first)
    slot = np.repeat(np.arange(slots), ends - first)
    summed = np.bincount(slot * limits.event_types + kind, weight, slots * limits.event_types).astype(np.float32)
    types = np.divide(summed.reshape(slots, -1), np.maximum(counts, 1e-9)[:, None], dtype=np.float32)
    # From the end of each slot to the beginning of the next, and from that of the last one to now.
    follows = np.empty_like(time)[:slots]
    follows[:-1], follows[-1] = time[first[1:]], now[0]
    waits = gap_bucket(follows - time[ends - 1])
    gaps = np.zeros(slots, np.int32)
    gaps[1:] = waits[:-1]
    return {"visits": np.add.reduceat(item_inputs[item] * weight[:, None], first, axis=0)[None],
            "counts": counts[None], "types": types[None], "gaps": gaps[None], "wait": waits[-1:], "user": user_tokens}


def _joined(histories: Sequence[History]) -> tuple[npt.NDArray[Any], ...]:
    """Events of positive weight of all histories: row, item, time, type and weight, each [events]."""
    parts = [[np.asarray(getattr(h, name)) for h in histories] for name in ("item", "time", "type", "weight")]
    row = np.repeat(np.arange(len(histories)), [len(h.item) for h in histories])
    if not len(row):
        nothing = np.zeros(0, np.int64)
        return nothing, nothing, nothing, nothing, nothing
    item, time, kind, weight = (np.concatenate(part) for part in parts)
    kept = weight > 0
    return row[kept], item[kept], time[kept], kind[kept], weight[kept]


def run_starts(values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Where a value differs from the one before, and the first [n]; np.diff with a prefix takes five times as long."""
    begins = np.ones(len(values), bool)
    np.not_equal(values[1:], values[:-1], out=begins[1:])
    return begins


def _visits(
    row: npt.NDArray[np.int64], time: npt.NDArray[np.int64], batch: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Which visit of its row each event belongs to, from 0 [events], and how many visits each row has [batch]."""
    begins = run_starts(row)
    begins[1:] |= time[1:] > time[:-1]
    of_row = np.bincount(row[begins], minlength=batch)
    return np.cumsum(begins) - 1 - (np.cumsum(of_row) - of_row)[row], of_row
