"""How high new products stand: the prior of items without a training event, set on validation.

Training cannot tell. To it, a product that nobody bought is one that nobody wants, while in a living shop it
is one that nobody could buy yet. Their vectors come from their features; their prior is one offset for all
of them.

Nor can validation tell as a whole. Its first questions were asked before most of its new products had come, and
whoever counts those as shown and not wanted learns that new products are not wanted. So each question is judged
by the shelf as it was: an item comes with its first event. A release meets a shelf whose new products are there.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.ranking import Floats, Model, scored, sorted_by_length, top_items
from models.window import chunks
from pipelines.progress import log
from pipelines.snapshot import TEST, Queries, SnapshotData

STEP, HIGHEST = 0.25, 8.0  # in log odds; the highest would make any newcomer a best-seller
K = 10


@dataclass(frozen=True)
class Best:
    """The K best of some items for each target's question, best first as `top_items` orders them; both [targets, K]."""

    score: Floats  # -inf where there are fewer
    row: npt.NDArray[np.int32]

    @classmethod
    def of(cls, scores: Floats, kept: npt.NDArray[np.bool_]) -> "Best":
        """Of scores [questions, items], the best of the items `kept` [items]."""
        row = top_items(np.where(kept, scores, -np.inf), K)
        return cls(np.where(row < 0, -np.inf, np.take_along_axis(scores, row, axis=1)), row)

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
        """Among all items, and among those that were there when asked: the catalogue is scored once for every query.

        Args:
            is_new: [items]; what is not new was always there.
        """
        came = np.where(is_new, first_events(data), np.iinfo(np.int64).min)
        parts: list[tuple[list[npt.NDArray[Any]], ...]] = []
        for part, scores in scored(model, data, sorted_by_length(queries)[0]):
            row, asked = data.histories.item[part.target_event], part.target_query
            known = Best.of(scores, ~is_new).of_questions(asked)
            columns = []
            for _ in range(2):
                new = Best.of(scores, is_new).of_questions(asked)
                columns.append([scores[asked, row], row, is_new[row], known.score, known.row, new.score, new.row])
                scores[part.time[:, None] <= came] = -np.inf
            parts.append(tuple(columns))
        every, there = (cls._of_parts(list(column)) for column in zip(*parts, strict=True))
        return every, there

    @classmethod
    def _of_parts(cls, parts: list[list[npt.NDArray[Any]]]) -> "Standing":
        whole = [np.concatenate(column) for column in zip(*parts, strict=True)]
        return cls(whole[0], whole[1], whole[2], Best(*whole[3:5]), Best(*whole[5:]))

    def is_hit(self, offset: float) -> npt.NDArray[np.bool_]:
        """Whether each target [targets] is among the K best once new items stand `offset` higher."""
        shift = np.float32(offset)
        own = np.where(self.is_new, self.score + shift, self.score)
        in_front = self.known.in_front(own, self.row, np.float32(0)) + self.new.in_front(own, self.row, shift)
        return np.asarray((in_front < K) & np.isfinite(own))


def first_events(data: SnapshotData) -> npt.NDArray[np.int64]:
    """When each item [items] has its first event of train and valid, microseconds; the largest number for never."""
    first = np.full(data.num_items, np.iinfo(np.int64).max)
    for part in chunks(data):
        is_told = part.split != TEST
        np.minimum.at(first, part.item[is_told], part.time[is_told])
    return first


def newcomer_offset(
    model: Model, data: SnapshotData, valid: Queries, is_new: npt.NDArray[np.bool_], budget: float
) -> float:
    """The offset for the items `is_new` [items] that finds most of `valid` on the shelves that its questions met.

    A larger one is taken where it is as good within the noise and gives new items what the best denies them: to be
    found as often as known ones are. Of several, each time, it is the smallest; but never one below what costs nothing
    even if all new items had been there from the first question on.

    Args:
        budget: part of the recall@10 that may be lost at most, were they all there from the first question on: a
            bound for where few came before the questions end, and little is known.
    """
    if not is_new.any():
        return 0.0
    every, there = Standing.of(model, data, valid, is_new)
    offsets = np.arange(0.0, HIGHEST + STEP, STEP)
    hits = np.array([every.is_hit(offset).sum() for offset in offsets.tolist()])
    found = np.stack([there.is_hit(offset) for offset in offsets.tolist()])  # [offsets, targets]
    within = _leading(hits >= hits[0] * (1 - budget))
    best = int(found[:within].sum(axis=1).argmax())
    fair = np.flatnonzero(_is_fair(found, there) & _is_as_good(found, best))
    chosen = next((int(at) for at in fair if best <= at < within), best)
    chosen = max(chosen, _leading(hits >= hits[0]) - 1)
    log.info("newcomers: %s items without a training event stand %.2f higher in log odds; %d hits on valid among what "
             "was there, %d of them new, and %d without an offset", f"{is_new.sum():,}", offsets[chosen],
             found[chosen].sum(), found[chosen, there.is_new].sum(), found[0].sum())
    return float(offsets[chosen])


def _is_fair(found: npt.NDArray[np.bool_], there: Standing) -> npt.NDArray[np.bool_]:
    """Whether, of targets that were there, new ones are found as often as known ones; [offsets]."""
    could = np.isfinite(there.score)
    new, known = could & there.is_new, could & ~there.is_new
    if not new.any() or not known.any():
        return np.zeros(len(found), np.bool_)
    return np.asarray(found[:, new].mean(axis=1) >= found[:, known].mean(axis=1))


def _is_as_good(found: npt.NDArray[np.bool_], best: int) -> npt.NDArray[np.bool_]:
    """Whether each offset is at most a standard error of the paired difference behind the best; [offsets]."""
    lost = found[best].sum() - found.sum(axis=1)
    return np.asarray(lost <= np.sqrt((found != found[best]).sum(axis=1)))


def _leading(is_so: npt.NDArray[np.bool_]) -> int:
    """How many are so before the first that is not."""
    return len(is_so) if is_so.all() else int(is_so.argmin())
