"""How much of the demand new products get, by which their standing is carried from one training to another.

An offset in log odds means something only beside the vectors that it was found with. Trained anew on later events, the
towers know more of what is new, the first buyers of a collection for one, and the same offset shows more of it. What
stays is the share of the softmax that a new item gets on the average, in shares of an item of the catalogue.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import expit

from models.ranking import Model, scored, sorted_by_length
from pipelines.snapshot import Queries, SnapshotData

_FARTHEST = 50.0  # log odds, beyond any that scores are apart


@dataclass(frozen=True)
class NewcomerShare:
    """A model's belief that the next item is a new one, as the questions have it."""

    log_odds: npt.NDArray[np.float64]  # [questions]
    part: float  # of the items that are new, above 0 and below 1

    @classmethod
    def of(
        cls, model: Model, data: SnapshotData, queries: Queries, is_new: npt.NDArray[np.bool_]
    ) -> "NewcomerShare":
        """By the scores of a model; `is_new` is [items], of which some are so and some are not.

        A question whose context met all items of a kind leaves no choice, and is left out.
        """
        kinds = np.stack([is_new, ~is_new], axis=1).astype(np.float32)
        odds = []
        for _, scores in scored(model, data, sorted_by_length(queries)[0]):
            highest = scores.max(axis=1, keepdims=True)
            weight = np.exp(scores - np.where(np.isfinite(highest), highest, 0)) @ kinds
            odds.append(weight[(weight > 0).all(axis=1)].astype(np.float64))
        found = np.concatenate(odds)
        return cls(np.log(found[:, 0] / found[:, 1]), float(is_new.mean()))

    def at(self, offset: float) -> float:
        """Share of the average new item where new items stand `offset` higher; 1, an even one, without a question."""
        if not len(self.log_odds):
            return 1.0
        return float(expit(self.log_odds + offset).mean() / self.part)

    def offset(self, share: float) -> float:
        """The offset at which the average new item has `share`, the opposite of `at`; the farthest where none gives it.

        Without a question there is nothing to carry over, and it is 0.
        """
        if not len(self.log_odds):
            return 0.0
        if not self.at(-_FARTHEST) < share < self.at(_FARTHEST):
            return -_FARTHEST if share < 1 else _FARTHEST
        return float(brentq(lambda offset: self.at(offset) - share, -_FARTHEST, _FARTHEST, xtol=1e-6))
