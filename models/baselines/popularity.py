"""The best-selling items for everybody: of all the time, or of late."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from models.baselines.interactions import buyers
from models.baselines.tuning import best, valid_queries
from models.ranking import Floats
from pipelines.snapshot import Queries, SnapshotData

HALF_LIVES = (np.inf, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01)  # parts of the train window


@dataclass(frozen=True)
class Popularity:
    """Items by the number of users who bought them, those of late counting more: see `interactions.buyers`."""

    half_life: float
    counts: Floats = field(repr=False)  # [items]
    name: str = "popularity"

    def refit(self, data: SnapshotData) -> "Popularity":
        """With the same parameters, on the train events of `data`."""
        return fit(data, self.half_life)

    def scores(self, data: SnapshotData, queries: Queries) -> Floats:
        """Scores [queries, items]: the same row for everybody."""
        return np.broadcast_to(self.counts, (len(queries), data.num_items))


def fit(data: SnapshotData, half_life: float = np.inf) -> Popularity:
    """Count the buyers of each item in the train events."""
    return Popularity(half_life, buyers(data, half_life))


def tuned(data: SnapshotData, half_lives: Sequence[float] = HALF_LIVES) -> Popularity:
    """With the half-life of the highest recall@10 on valid."""
    return best((fit(data, half_life) for half_life in half_lives), data, valid_queries(data))
