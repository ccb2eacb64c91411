"""Training batches: sequences of visits, every visit asked from what lies before it.

A sequence is a run of one user's visits (a visit is all that happened at one instant). At each of its
positions the model is asked for the whole next visit, so one pass over a history trains every position
at once. Sequences of like length share a batch, so that little of it is padding.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.snapshot import TRAIN, VALID, SnapshotData
from serving.encoding import gap_bucket

Ints = npt.NDArray[np.int64]
EVENNESS = 0.5  # 0: every event weighs the same, 1: every user does


@dataclass(frozen=True)
class Visits:
    """The training log as visits: only TRAIN events of positive weight, by user, then time."""

    event_ptr: npt.NDArray[np.int64]  # [visits + 1] into the event arrays
    item: npt.NDArray[np.int32]  # [events]
    type: npt.NDArray[np.int16]  # [events]
    weight: npt.NDArray[np.float32]  # [events]
    target_weight: npt.NDArray[np.float32]  # [events] weight in the loss: newer events say more
    is_new: npt.NDArray[np.bool_]  # [events] the user's first meeting with the item: a target
    time: npt.NDArray[np.int64]  # [visits]
    user_ptr: npt.NDArray[np.int64]  # [users + 1] into the visits

    @classmethod
    def of(cls, data: SnapshotData, half_life: float = 0) -> "Visits":
        """Visits of a snapshot's training events.

        Args:
            half_life: part of the training window after which an event counts half in the loss; 0 for never.
                Only where all of valid lies after all of train. Where each user is cut at their own last
                events, the calendar says nothing of what is asked next, and each user is asked equally
                often: there, a user's events weigh less the more they are.
        """
        h = data.histories
        user = np.repeat(np.arange(data.num_users), np.diff(h.indptr))
        kept = np.flatnonzero((h.split == TRAIN) & (h.weight > 0))
        user, item, time = user[kept], np.asarray(h.item[kept]), np.asarray(h.time[kept])
        begins = np.ones(len(kept), bool)
        begins[1:] = (user[1:] != user[:-1]) | (time[1:] != time[:-1])
        first = np.flatnonzero(begins)
        _, met = np.unique(user.astype(np.int64) << 32 | item, return_index=True)
        is_new = np.zeros(len(kept), bool)
        is_new[met] = True
        weight = np.asarray(h.weight[kept])
        if len(kept) and h.time[h.split == VALID].min(initial=time.max()) >= time.max():
            age = (time.max() - time) / max(np.ptp(time), 1)
            share = np.exp2(-age / half_life) if half_life else np.ones(len(kept))
        else:
            targets = np.bincount(user[is_new], minlength=data.num_users)
            share = np.maximum(targets[user], 1.0) ** -EVENNESS
        target_weight = (weight * share).astype(np.float32)
        user_ptr = np.searchsorted(user[first], np.arange(data.num_users + 1))
        return cls(np.append(first, len(kept)), item, np.asarray(h.type[kept]), weight, target_weight, is_new,
                   time[first], user_ptr)


@dataclass(frozen=True)
class Sequence:
    """Inputs are the visits [first, last - 1), targets the visits [target, last) of `user`.

    Visits of the user before `first` are pooled into one slot in front.
    """

    user: int
    first: int
    target: int
    last: int


def cut(visits: Visits, slots: int) -> list[Sequence]:
    """Every visit is the target of exactly one sequence, whose inputs fill at most `slots` slots."""
    found = []
    for user in range(len(visits.user_ptr) - 1):
        begin, end = int(visits.user_ptr[user]), int(visits.user_ptr[user + 1])
        target = begin
        while target < end:
            # The first run fills the window; later ones advance by half of it and keep half as context.
            last = min(end, target + (slots + 1 if target == begin else slots // 2))
            first = max(begin, last - slots)  # one slot is left for what is pooled
            found.append(Sequence(user, begin if first == begin + 1 else first, target, last))
            target = last
    return found


def epoch(
    visits: Visits, sequences: list[Sequence], user_tokens: npt.NDArray[np.int32], event_types: int,
    slots_a_batch: int, rng: np.random.Generator,
) -> Iterator[dict[str, npt.NDArray[np.generic]]]:
    """Batches of all sequences in random order, those of like length together.

    Yields dictionaries of arrays, with B sequences of T slots (slot 0 is the start: nothing known yet),
    E events, Q questions, P (question, item) pairs and M met items:
        event_item int32 [E], event_slot int32 [E] (b * T + t), event_weight float32 [E],
        types float32 [B, T, types], gaps int32 [B, T], counts float32 [B, T], user int32 [B, K],
        query_slot int32 [Q], query_wait int32 [Q], target_query int32 [P], target_item int32 [P],
        target_weight float32 [P], met_query int32 [M], met_item int32 [M] (met before the question).
    """
    # Sorting by length with noise keeps batches random without padding everything to the longest.
    length = np.array([s.last - s.first for s in sequences])
    order = np.argsort(length * rng.uniform(0.9, 1.1, len(length)) + rng.uniform(0, 0.9, len(length)), kind="stable")
    batches, start = [], 0
    while start < len(order):
        end, longest = start, 0
        while end < len(order):
            longest = max(longest, length[order[end]] + 1)
            if end > start and longest * (end - start + 1) > slots_a_batch:
                break
            end += 1
        batches.append(order[start:end])
        start = end
    rng.shuffle(batches)
    for batch in batches:
        yield _assemble(visits, [sequences[i] for i in batch], user_tokens, event_types)


def _assemble(
    visits: Visits, sequences: list[Sequence], user_tokens: npt.NDArray[np.int32], event_types: int
) -> dict[str, npt.NDArray[np.generic]]:
    users = np.array([s.user for s in sequences])
    begin = visits.user_ptr[users]
    first, target, last = (np.array([getattr(s, n) for s in sequences]) for n in ("first", "target", "last"))
    is_pooled = (first > begin).astype(np.int64)
    inputs = last - 1 - first  # visits that stand alone
    size = int((inputs + is_pooled).max()) + 1

    # Input visits with their slot; the pooled ones all fall into slot 1.
    seq, visit = _ranges(begin, last - 1)
    slot = np.maximum(visit - first[seq] + 1 + is_pooled[seq], 1)
    event_of, event = _ranges(visits.event_ptr[visit], visits.event_ptr[visit + 1])
    event_slot = (seq * size + slot)[event_of]
    weight = visits.weight[event]
    cells = len(sequences) * size
    counts = np.bincount(event_slot, weight, cells).astype(np.float32)
    of_type = np.bincount(event_slot * event_types + visits.type[event], weight, cells * event_types)
    types = of_type.reshape(cells, event_types) / np.maximum(counts, 1e-9)[:, None]
    gaps = np.zeros(cells, np.int32)
    later = np.flatnonzero((visit > begin[seq]) & (visit >= first[seq]))
    gaps[seq[later] * size + slot[later]] = gap_bucket(visits.time[visit[later]] - visits.time[visit[later] - 1])

    # Questions: each target visit, asked from the slot of the visit before it.
    asked, question = _ranges(target, last)
    query_slot = asked * size + question - first[asked] + is_pooled[asked]
    wait = np.where(question > begin[asked],
                    gap_bucket(visits.time[question] - visits.time[np.maximum(question - 1, 0)]), 0)
    # Everything that the user had met before: it is not recommended again, so it is no negative either.
    met_query, met = _ranges(visits.event_ptr[begin[asked]], visits.event_ptr[question])
    met_query, met = met_query[visits.is_new[met]], met[visits.is_new[met]]
    pair_query, pair = _ranges(visits.event_ptr[question], visits.event_ptr[question + 1])
    new = visits.is_new[pair]
    pair_query, pair = pair_query[new], pair[new]
    return {
        "event_item": visits.item[event], "event_slot": event_slot.astype(np.int32), "event_weight": weight,
        "types": types.reshape(len(sequences), size, event_types).astype(np.float32),
        "gaps": gaps.reshape(len(sequences), size), "counts": counts.reshape(len(sequences), size),
        "user": user_tokens[users], "query_slot": query_slot.astype(np.int32), "query_wait": wait.astype(np.int32),
        "target_query": pair_query.astype(np.int32), "target_item": visits.item[pair],
        "target_weight": visits.target_weight[pair],
        "met_query": met_query.astype(np.int32), "met_item": visits.item[met],
    }


def _ranges(first: Ints, last: Ints) -> tuple[Ints, Ints]:
    """For half-open ranges: the number of the range each member belongs to, and the members."""
    lengths = np.maximum(last - first, 0)
    owner = np.repeat(np.arange(len(first)), lengths)
    offset = np.arange(len(owner)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return owner, first[owner] + offset
