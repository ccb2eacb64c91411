"""How high new products stand: the prior of items without a training event, set on validation.

Training cannot tell. To it, a product that nobody bought is one that nobody wants, while in a living shop it
is one that nobody could buy yet. Their vectors come from their features; their prior is one offset for all
of them, raised as far as a budget of validation recall allows.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.ranking import Floats, Model, rank
from pipelines.progress import log
from pipelines.snapshot import Queries, SnapshotData

STEP, HIGHEST = 0.5, 8.0  # in log odds; the highest would make any newcomer a best-seller
K = 10


@dataclass(frozen=True)
class Raised:
    """A model with the scores of some items raised."""

    model: Model
    is_raised: npt.NDArray[np.bool_]  # [items]
    offset: float

    @property
    def name(self) -> str:
        """The model's own name and the offset."""
        return f"{self.model.name} with newcomers at {self.offset:+g}"

    def scores(self, data: SnapshotData, queries: Queries) -> Floats:
        """Scores [queries, items]."""
        return self.model.scores(data, queries) + self.is_raised.astype(np.float32) * np.float32(self.offset)


def newcomer_offset(
    model: Model, data: SnapshotData, valid: Queries, is_new: npt.NDArray[np.bool_], budget: float
) -> float:
    """The largest offset for the items `is_new` [items] that costs at most `budget` of the recall@10 on `valid`.

    Args:
        budget: part of the recall without an offset that may be lost; 0 takes what costs nothing.
    """
    if not is_new.any():
        return 0.0
    target_is_new = is_new[data.histories.item[valid.target_event]]
    lowest, chosen = 0.0, 0.0
    for offset in np.arange(0.0, HIGHEST + STEP, STEP).tolist():
        hit = rank(Raised(model, is_new, offset), data, valid, k=K).rank > 0
        recall, of_new = float(hit.mean()), float(hit[target_is_new].mean()) if target_is_new.any() else float("nan")
        if not offset:
            lowest = recall * (1 - budget)
        if recall < lowest:
            break
        chosen = offset
        log.debug("newcomers at %+.2f: valid recall@10 %.4f, of new items %.4f", offset, recall, of_new)
    log.info("newcomers: %s items without a training event stand %.2f higher in log odds", f"{is_new.sum():,}", chosen)
    return chosen
