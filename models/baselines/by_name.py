"""The baselines that every model is measured against."""

from collections.abc import Callable, Mapping

from models.baselines import als, ease, itemknn, popularity
from models.ranking import Model
from pipelines.snapshot import SnapshotData

# Name -> fitted on train, tuned on valid.
BASELINES: Mapping[str, Callable[[SnapshotData], Model]] = {
    "popularity": popularity.tuned, "als": als.tuned, "itemknn": itemknn.tuned, "ease": ease.tuned,
}
