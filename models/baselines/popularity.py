"""The best-selling items for everybody."""

from dataclasses import dataclass, field

import numpy as np

from models.baselines.interactions import buyers
from models.ranking import Floats
from pipelines.snapshot import Queries, SnapshotData


@dataclass(frozen=True)
class Popularity:
    """Items by the number of users who bought them."""

    counts: Floats = field(repr=False)  # [items]
    name: str = "popularity"

    def refit(self, data: SnapshotData) -> "Popularity":
        """With the same parameters, on the train events of `data`."""
        return fit(data)

    def scores(self, data: SnapshotData, queries: Queries) -> Floats:
        """Scores [queries, items]: the same row for everybody."""
        return np.broadcast_to(self.counts, (len(queries), data.num_items))


def fit(data: SnapshotData) -> Popularity:
    """Count the buyers of each item in the train events."""
    return Popularity(buyers(data))


def tuned(data: SnapshotData) -> Popularity:
    """The same as `fit`: there is nothing to tune."""
    return fit(data)
