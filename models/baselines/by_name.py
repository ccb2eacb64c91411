"""The baselines that every model is measured against."""

from collections.abc import Callable, Mapping
from typing import Protocol

from models.baselines import als, ease, itemknn, popularity
from models.ranking import Model
from pipelines.snapshot import SnapshotData


class Baseline(Model, Protocol):
    """A model that knows its parameters."""

    def refit(self, data: SnapshotData) -> "Baseline":
        """With the same parameters, on the train events of `data`."""
        ...


# Name -> fitted on train, tuned on valid.
BASELINES: Mapping[str, Callable[[SnapshotData], Baseline]] = {
    "popularity": popularity.tuned, "als": als.tuned, "itemknn": itemknn.tuned, "ease": ease.tuned,
}
