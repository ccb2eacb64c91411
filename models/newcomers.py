"""How high new products stand: the prior of items without a training event, set on validation.

Training cannot tell. To it, a product that nobody bought is one that nobody wants, while in a living shop it
is one that nobody could buy yet. Their vectors come from their features; their prior is one offset for all
of them, raised as far as a budget of validation recall allows.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.ranking import Floats, Model, scored, sorted_by_length, top_items
from pipelines.progress import log
from pipelines.snapshot import Queries, SnapshotData

STEP, HIGHEST = 0.5, 8.0  # in log odds; the highest would make any newcomer a best-seller
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

    Nothing but the K best of the known items and the K best of the new ones can be in its way.
    """

    score: Floats  # [targets]
    row: npt.NDArray[np.int32]  # [targets]
    is_new: npt.NDArray[np.bool_]  # [targets]
    known: Best
    new: Best

    @classmethod
    def of(cls, model: Model, data: SnapshotData, queries: Queries, is_new: npt.NDArray[np.bool_]) -> "Standing":
        """Score the catalogue once for every query; `is_new` is [items]."""
        parts = []
        for part, scores in scored(model, data, sorted_by_length(queries)[0]):
            row, asked = data.histories.item[part.target_event], part.target_query
            best = [Best.of(scores, kept).of_questions(asked) for kept in (~is_new, is_new)]
            parts.append((scores[asked, row], row, is_new[row], best[0].score, best[0].row, best[1].score, best[1].row))
        whole = [np.concatenate(column) for column in zip(*parts, strict=True)]
        return cls(whole[0], whole[1], whole[2], Best(*whole[3:5]), Best(*whole[5:]))

    def is_hit(self, offset: float) -> npt.NDArray[np.bool_]:
        """Whether each target [targets] is among the K best once new items stand `offset` higher."""
        shift = np.float32(offset)
        own = np.where(self.is_new, self.score + shift, self.score)
        in_front = self.known.in_front(own, self.row, np.float32(0)) + self.new.in_front(own, self.row, shift)
        return np.asarray(in_front < K)


def newcomer_offset(
    model: Model, data: SnapshotData, valid: Queries, is_new: npt.NDArray[np.bool_], budget: float
) -> float:
    """The largest offset for the items `is_new` [items] that costs no recall@10 on `valid`, or one that costs some.

    Some is spent where that finds more of the new items that are asked for: on the smallest offset that finds most.
    They may cost as large a part of the recall without an offset as they have in the answers of `valid`, for where
    hardly anybody bought something new, little speaks for showing it.

    Args:
        budget: at most so large a part; 0 takes what costs nothing.
    """
    if not is_new.any():
        return 0.0
    standing = Standing.of(model, data, valid, is_new)
    offsets = np.arange(0.0, HIGHEST + STEP, STEP)
    found = [standing.is_hit(offset) for offset in offsets.tolist()]
    hits, of_new = (np.array([hit[chosen].sum() for hit in found]) for chosen in (slice(None), standing.is_new))
    allowed = min(budget, float(standing.is_new.mean()))
    free = _leading(hits >= hits[0]) - 1
    most = int(of_new[: _leading(hits >= hits[0] * (1 - allowed))].argmax())
    chosen = most if of_new[most] > of_new[free] else free
    log.info("newcomers: %s items without a training event stand %.2f higher in log odds; %d hits on valid, %d without "
             "an offset, and %d of new items", f"{is_new.sum():,}", offsets[chosen], hits[chosen], hits[0],
             of_new[chosen])
    return float(offsets[chosen])


def _leading(is_so: npt.NDArray[np.bool_]) -> int:
    """How many are so before the first that is not."""
    return len(is_so) if is_so.all() else int(is_so.argmin())
