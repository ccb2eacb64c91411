"""Training batches: sequences of visits, every visit asked from what lies before it.

A sequence is a run of one user's visits (a visit is all that happened at one instant). At each of its
positions the model is asked for the whole next visit, so one pass over a history trains every position
at once. Sequences of like length share a batch, so that little of it is padding.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.visits import Visits
from serving.calendar import calendar_tokens
from serving.encoding import gap_bucket

Ints = npt.NDArray[np.int64]
Batch = dict[str, npt.NDArray[np.generic]]
MET_A_BATCH = 2_000_000  # some 50 bytes each while a batch is made


@dataclass(frozen=True)
class Sequences:
    """Inputs of a sequence are the visits [first, last - 1), its targets the visits [target, last) of `user`.

    Visits of the user before `first` are pooled into one slot in front. All arrays are int64 [sequences].
    """

    user: Ints  # index into the users of the visits
    first: Ints
    target: Ints
    last: Ints

    def __len__(self) -> int:
        return len(self.user)

    def part(self, rows: Ints) -> "Sequences":
        """The sequences of some rows, in their order."""
        return Sequences(self.user[rows], self.first[rows], self.target[rows], self.last[rows])


def cut(visits: Visits, slots: int) -> Sequences:
    """Every visit is the target of exactly one sequence, whose inputs fill at most `slots` slots."""
    # The first run fills the window; later ones advance by half of it and keep half as context.
    whole, step = slots + 1, slots // 2
    number = np.diff(visits.user_ptr)
    runs = np.where(number > 0, 1 - (-np.maximum(number - whole, 0) // step), 0)
    user, run = _ranges(np.zeros(len(runs), np.int64), runs)
    begin, end = visits.user_ptr[user], visits.user_ptr[user + 1]
    last = np.minimum(begin + whole + run * step, end)
    target = np.where(run > 0, begin + whole + (run - 1) * step, begin)
    first = np.maximum(begin, last - slots)  # one slot is left for what is pooled
    return Sequences(user, np.where(first == begin + 1, begin, first), target, last)


@dataclass(frozen=True)
class Share:
    """The part of each batch that one of several workers takes: every `workers`-th sequence."""

    index: int = 0
    workers: int = 1


WHOLE = Share()


def plan(
    visits: Visits, sequences: Sequences, slots_a_batch: int, rng: np.random.Generator, with_later: bool = False
) -> list[Ints]:
    """Rows of the sequences of each batch, in random order.

    A batch has at most `slots_a_batch` slots, padding included, and at most MET_A_BATCH (question, met event) pairs,
    of which a user with n events has n^2 / 2, and `with_later` up to n^2. A sequence that is above either is a batch
    of its own.
    """
    # Sorting by length with noise keeps batches random without padding everything to the longest.
    length = sequences.last - sequences.first
    order = np.argsort(length * rng.uniform(0.9, 1.1, len(length)) + rng.uniform(0, 0.9, len(length)), kind="stable")
    size = length[order] + 1
    before = visits.event_ptr[sequences.last - (not with_later)] - visits.event_ptr[visits.user_ptr[sequences.user]]
    met = ((sequences.last - sequences.target) * before)[order]
    batches, start = [], 0
    while start < len(order):
        ahead = slice(start, start + max(slots_a_batch // int(size[start]), 1))
        padded = np.maximum.accumulate(size[ahead]) * np.arange(1, len(size[ahead]) + 1)
        fits = min(np.searchsorted(padded, slots_a_batch, side="right"),
                   np.searchsorted(np.cumsum(met[ahead]), MET_A_BATCH, side="right"))
        batches.append(order[start : start + max(int(fits), 1)])
        start += max(int(fits), 1)
    return [batches[number] for number in rng.permutation(len(batches))]


def assemble(
    visits: Visits, sequences: Sequences, user_tokens: npt.NDArray[np.int32], event_types: int,
    share: Share = WHOLE, with_later: bool = False, calendar: int | None = None,
) -> Batch:
    """One batch as the model takes it, or a worker's share of it.

    A worker who has nothing to do, because a batch has fewer sequences than there are workers, takes the first
    one with a weight of zero: all have to be in step.

    Args:
        visits: what the sequences were cut from.
        sequences: of this batch.
        user_tokens: int32 [all users, K].
        event_types: kinds of events there are.
        share: which worker's part to make.
        with_later: what a sequence asks for later takes no part in a question either. Where the batch's targets stand
            for the catalogue they are offered for certain, however rare they are.
        calendar: the first of the calendar's tokens, None where the towers know none.

    Returns:
        arrays, with B sequences of T slots (slot 0 is the start: nothing known yet), E events, Q questions,
        P (question, item) pairs and M met items:
        event_item int32 [E], event_slot int32 [E] (b * T + t), event_weight float32 [E],
        types float32 [B, T, types], gaps int32 [B, T], counts float32 [B, T], user int32 [B, K],
        query_slot int32 [Q], query_wait int32 [Q], query_time int64 [Q], query_calendar int32 [Q, 3 or 0],
        target_query int32 [P], target_item int32 [P], target_weight float32 [P], met_query int32 [M],
        met_item int32 [M] (by question: met before it, and `with_later` after it).
    """
    own = np.arange(share.index, len(sequences), share.workers)
    is_idle = not len(own)
    sequences = sequences.part(own if not is_idle else np.zeros(1, np.int64))
    begin = visits.user_ptr[sequences.user]
    first, target, last = sequences.first, sequences.target, sequences.last
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
    pair_query, pair = _ranges(visits.event_ptr[question], visits.event_ptr[question + 1])
    new = visits.is_new[pair]
    pair_query, pair = pair_query[new], pair[new]
    batch = {
        "event_item": visits.item[event], "event_slot": event_slot.astype(np.int32), "event_weight": weight,
        "types": types.reshape(len(sequences), size, event_types).astype(np.float32),
        "gaps": gaps.reshape(len(sequences), size), "counts": counts.reshape(len(sequences), size),
        "user": np.asarray(user_tokens[visits.user[sequences.user]]),
        "query_slot": query_slot.astype(np.int32), "query_wait": wait.astype(np.int32),
        "query_time": visits.time[question], "query_calendar": calendar_tokens(visits.time[question], calendar),
        "target_query": pair_query.astype(np.int32), "target_item": visits.item[pair],
        "target_weight": visits.target_weight[pair] * np.float32(not is_idle),
    }
    # Everything that the user had met before: it is not recommended again, so it is no negative either.
    own = visits.event_ptr[question]
    met_query, met = _ranges(visits.event_ptr[begin[asked]], visits.event_ptr[last[asked]] if with_later else own)
    hidden = visits.is_new[met]
    if with_later:
        hidden &= (met < own[met_query]) | (met >= visits.event_ptr[question + 1][met_query])
    met_query, met = met_query[hidden], met[hidden]
    batch |= {"met_query": met_query.astype(np.int32), "met_item": visits.item[met]}
    return batch


def _ranges(first: Ints, last: Ints) -> tuple[Ints, Ints]:
    """For half-open ranges: the number of the range each member belongs to, and the members."""
    lengths = np.maximum(last - first, 0)
    owner = np.repeat(np.arange(len(first)), lengths)
    offset = np.arange(len(owner)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return owner, first[owner] + offset
