"""How high new products stand: the prior of items without a training event, set on validation.

Training cannot tell. To it, a product that nobody bought is one that nobody wants, while in a living shop it
is one that nobody could buy yet. Their vectors come from their features; their prior is one offset for all
of them, raised as far as a budget of validation recall allows.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.ranking import Floats, Model, scored, sorted_by_length
from pipelines.progress import log
from pipelines.snapshot import Queries, SnapshotData

STEP, HIGHEST = 0.5, 8.0  # in log odds; the highest would make any newcomer a best-seller
K = 10


@dataclass(frozen=True)
class Standing:
    """What decides whether a target is among the K best, wherever new items stand.

    Nothing but the K best of the known items and the K best of the new ones can be in its way.
    """

    target: Floats  # [targets] scores
    is_new: npt.NDArray[np.bool_]  # [targets]
    known: Floats  # [targets, K] highest scores of known items for the target's question, in any order
    new: Floats  # [targets, K] the same of new items

    @classmethod
    def of(cls, model: Model, data: SnapshotData, queries: Queries, is_new: npt.NDArray[np.bool_]) -> "Standing":
        """Score the catalogue once for every query; `is_new` [items] has at least one item."""
        parts = []
        for part, scores in scored(model, data, sorted_by_length(queries)[0]):
            item, asked = data.histories.item[part.target_event], part.target_query
            known, new = (_highest(scores[:, chosen])[asked] for chosen in (~is_new, is_new))
            parts.append((scores[asked, item], is_new[item], known, new))
        return cls(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def is_hit(self, offset: float) -> npt.NDArray[np.bool_]:
        """Whether each target [targets] is among the K best once new items stand `offset` higher; ties are hits."""
        shift = np.float32(offset)
        own = (self.target + shift * self.is_new)[:, None]
        in_front = (self.known > own).sum(axis=1) + (self.new + shift > own).sum(axis=1)
        return np.asarray(in_front < K)


def _highest(scores: Floats) -> Floats:
    """The K highest of each row [rows, n], filled with -inf where n is less, as [rows, K]."""
    if scores.shape[1] <= K:
        return np.pad(scores, ((0, 0), (0, K - scores.shape[1])), constant_values=-np.inf)
    return np.asarray(-np.partition(-scores, K - 1, axis=1)[:, :K])


def newcomer_offset(
    model: Model, data: SnapshotData, valid: Queries, is_new: npt.NDArray[np.bool_], budget: float
) -> float:
    """The largest offset for the items `is_new` [items] whose recall@10 on `valid` is within the budget.

    They may cost as large a part of the recall without an offset as they have in the answers of `valid`, for where
    hardly anybody bought something new, little speaks for showing it.

    Args:
        budget: at most so large a part; 0 takes what costs nothing.
    """
    if not is_new.any():
        return 0.0
    standing = Standing.of(model, data, valid, is_new)
    allowed = min(budget, float(standing.is_new.mean()))
    lowest, chosen = 0.0, 0.0
    for offset in np.arange(0.0, HIGHEST + STEP, STEP).tolist():
        hit = standing.is_hit(offset)
        recall, of_new = float(hit.mean()), float(hit[standing.is_new].mean()) if standing.is_new.any() else np.nan
        if not offset:
            lowest = recall * (1 - allowed)
        if recall < lowest:
            break
        chosen = offset
        log.debug("newcomers at %+.2f: valid recall@10 %.4f, of new items %.4f", offset, recall, of_new)
    log.info("newcomers: %s items without a training event stand %.2f higher in log odds, for which %.2g of the "
             "recall might be lost", f"{is_new.sum():,}", chosen, allowed)
    return chosen
