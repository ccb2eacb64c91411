"""How high new products stand: the prior of items without a training event, set on validation.

Training cannot tell. To it, a product that nobody bought is one that nobody wants, while in a living shop it
is one that nobody could buy yet. Their vectors come from their features; their prior is one offset for all
of them.

Nor can validation tell as a whole. Its first questions were asked before most of its new products had come, and
whoever counts those as shown and not wanted learns that new products are not wanted. So each question is judged
by the shelf as it was: an item comes when the shop says so, in the column `available_from`, or with its first event.
A release meets a shelf whose new products are there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from models.ranking import Floats, Model, scored, sorted_by_length, top_items
from models.window import chunks
from pipelines import columns as c
from pipelines.progress import log
from pipelines.snapshot import TEST, Queries, SnapshotData

STEP, HIGHEST = 0.25, 8.0  # in log odds; the highest would make any newcomer a best-seller
K = 10
FAIR = 0.8  # four fifths of what others have: where unequal chances begin to count as such
MAY_COST = 0.1  # of the recall, were all there that may have been
ALWAYS, NEVER = np.iinfo(np.int64).min, np.iinfo(np.int64).max  # times of arrival that nobody knows


@dataclass(frozen=True)
class Best:
    """The K best of some items for each target's question, best first as `top_items` orders them; both [targets, K]."""

    score: Floats  # -inf where there are fewer
    row: npt.NDArray[np.int32]

    @classmethod
    def of(cls, scores: Floats, rows: npt.NDArray[np.int64]) -> "Best":
        """Of scores [questions, n] of some items, whose rows [n] ascend."""
        place = top_items(scores, K)
        is_found = place >= 0
        score = np.where(is_found, np.take_along_axis(scores, np.maximum(place, 0), axis=1), -np.inf)
        return cls(score.astype(np.float32), np.where(is_found, rows[place], -1).astype(np.int32))

    @classmethod
    def joined(cls, parts: Sequence["Best"]) -> "Best":
        """One behind the other."""
        return cls(np.concatenate([part.score for part in parts]), np.concatenate([part.row for part in parts]))

    def of_questions(self, asked: npt.NDArray[np.int64]) -> "Best":
        """A row for each of `asked` [targets]."""
        return Best(self.score[asked], self.row[asked])

    def in_front(self, score: Floats, row: npt.NDArray[np.int32], shift: np.float32) -> npt.NDArray[np.intp]:
        """How many, raised by `shift`, stand before targets of a score and a row [targets]; of equals the lower row."""
        own, others = score[:, None], self.score + shift
        return np.asarray(((others > own) | ((others == own) & (self.row < row[:, None]))).sum(axis=1))


@dataclass(frozen=True)
class Standing:
    """What decides whether a target is among the K best, wherever new items stand.

    Nothing but the K best of the known items and the K best of the new ones can be in its way. `score` is -inf for
    what cannot be shown: what was met before, and what was not there yet.
    """

    score: Floats  # [targets]
    row: npt.NDArray[np.int32]  # [targets]
    is_new: npt.NDArray[np.bool_]  # [targets]
    known: Best
    new: Best

    @classmethod
    def of(
        cls, model: Model, data: SnapshotData, queries: Queries, is_new: npt.NDArray[np.bool_]
    ) -> tuple["Standing", "Standing"]:
        """Among all that may have been there when asked, and among what was: the catalogue is scored once a query.

        Args:
            is_new: [items]; what is not new was always there.
        """
        known, new = np.flatnonzero(~is_new), np.flatnonzero(is_new)
        came = arrivals(data)
        shelves: tuple[list[Standing], list[Standing]] = ([], [])
        for part, scores in scored(model, data, sorted_by_length(queries)[0]):
            row, asked = data.histories.item[part.target_event], part.target_query
            of_known = Best.of(scores[:, known], known).of_questions(asked)
            for shelf, times in zip(shelves, came, strict=True):
                is_there = times[new] < part.time[:, None]
                of_new = Best.of(np.where(is_there, scores[:, new], np.float32(-np.inf)), new).of_questions(asked)
                is_missed = is_new[row] & (times[row] >= part.time[asked])
                own = np.where(is_missed, np.float32(-np.inf), scores[asked, row])
                shelf.append(cls(own, row, is_new[row], of_known, of_new))
        return cls.joined(shelves[0]), cls.joined(shelves[1])

    @classmethod
    def joined(cls, parts: Sequence["Standing"]) -> "Standing":
        """One behind the other."""
        score, row, is_new = (np.concatenate([getattr(part, name) for part in parts])
                              for name in ("score", "row", "is_new"))
        return cls(score, row, is_new, Best.joined([part.known for part in parts]),
                   Best.joined([part.new for part in parts]))

    def is_hit(self, offset: float) -> npt.NDArray[np.bool_]:
        """Whether each target [targets] is among the K best once new items stand `offset` higher."""
        shift = np.float32(offset)
        own = np.where(self.is_new, self.score + shift, self.score)
        in_front = self.known.in_front(own, self.row, np.float32(0)) + self.new.in_front(own, self.row, shift)
        return np.asarray((in_front < K) & np.isfinite(own))


def arrivals(data: SnapshotData) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The last instants at which each item may not have been there, and was not: microseconds [items] each.

    Both are the one before it came, where the shop says when. Otherwise an item may have been there ALWAYS, and was not
    until its first event, or NEVER. Events of test are not looked at.
    """
    first = np.full(data.num_items, NEVER)
    for part in chunks(data):
        is_told = part.split != TEST
        np.minimum.at(first, part.item[is_told], part.time[is_told])
    said = _said(data.path)
    if said is None:
        return np.full(data.num_items, ALWAYS), first
    is_said = said != ALWAYS
    # What was bought was there, whatever the column says.
    came = np.minimum(np.where(is_said, said - 1, NEVER), first)
    return np.where(is_said, came, ALWAYS), np.where(is_said, came, first)


def _said(snapshot: Path) -> npt.NDArray[np.int64] | None:
    """Times of the item table's `available_from` [items], ALWAYS where it is empty; None where it has none."""
    path = snapshot / "items.parquet"
    schema = pq.read_schema(path)
    found = schema.get_field_index(c.ARRIVES)
    if found < 0 or not pa.types.is_timestamp(schema.types[found]):  # text by that name is a feature
        return None
    column = pq.read_table(path, columns=[c.ARRIVES]).column(0).cast(pa.timestamp("us", "UTC"), safe=False)
    return np.asarray(column.cast(pa.int64()).fill_null(ALWAYS).to_numpy(), np.int64)


def newcomer_offset(
    model: Model, data: SnapshotData, valid: Queries, is_new: npt.NDArray[np.bool_], budget: float
) -> float:
    """The offset for the items `is_new` [items] that finds most of `valid` on the shelves that its questions met.

    Where that is not fair, finding new items less than four fifths as often as known ones, the smallest larger one is
    taken that is, within the budget; without one, nothing is spent. What costs nothing is given in any case: the
    largest offset that loses nothing on the shelves, nor would if all were there that may have been. Without a question
    that could show a new item nothing is known, and there is none.

    Args:
        budget: part of the recall@10 that fairness may cost at most, on the shelves. Were all there that may have been,
            no offset may cost more than a tenth, or the budget if that is more: where nobody says when items come,
            those without an event may be there and not wanted.
    """
    if not is_new.any() or is_new.all():
        return 0.0
    may_be, was = Standing.of(model, data, valid, is_new)
    offsets = np.arange(0.0, HIGHEST + STEP, STEP)
    at_worst = np.array([may_be.is_hit(offset).sum() for offset in offsets.tolist()])
    found = np.stack([was.is_hit(offset) for offset in offsets.tolist()])  # [offsets, targets]
    hits = found.sum(axis=1)
    if not at_worst[0] or not np.isfinite(may_be.new.score).any():
        return 0.0
    within = _leading(at_worst >= at_worst[0] * (1 - max(MAY_COST, budget)))
    best = int(hits[:within].argmax())
    is_taken = _is_fair(found, was) & (hits >= hits[best] * (1 - budget))
    chosen = best + int(is_taken[best:within].argmax())  # the best itself where none is taken
    is_free = hits[: _leading(at_worst >= at_worst[0])] >= hits[best]
    chosen = max(chosen, int(np.flatnonzero(is_free).max(initial=0)))
    log.info("newcomers: %s items without a training event stand %.2f higher in log odds; %d hits on valid among what "
             "was there, %d of them new, and %d without an offset", f"{is_new.sum():,}", offsets[chosen], hits[chosen],
             found[chosen, was.is_new].sum(), hits[0])
    return float(offsets[chosen])


def _is_fair(found: npt.NDArray[np.bool_], was: Standing) -> npt.NDArray[np.bool_]:
    """Whether, of targets that were there, new ones are found FAIR times as often as known ones; [offsets]."""
    could = np.isfinite(was.score)
    new, known = could & was.is_new, could & ~was.is_new
    if not new.any() or not known.any():
        return np.zeros(len(found), np.bool_)
    return np.asarray(found[:, new].mean(axis=1) >= FAIR * found[:, known].mean(axis=1))


def _leading(is_so: npt.NDArray[np.bool_]) -> int:
    """How many are so before the first that is not."""
    return len(is_so) if is_so.all() else int(is_so.argmin())
