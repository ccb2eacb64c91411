"""A training as it serves: its exported files score a snapshot, without TensorFlow."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from models.ranking import Floats
from models.requests import request_inputs
from pipelines.errors import CorruptArtifact
from pipelines.snapshot import Queries, SnapshotData
from serving.user_tower import UserTower


@dataclass(frozen=True)
class TwoTowerScorer:
    """Score = user vector . item vector, on the snapshot that the training saw."""

    item_vectors: Floats = field(repr=False)  # [items, D]
    item_inputs: Floats = field(repr=False)  # [items, Din]
    tower: UserTower = field(repr=False)
    name: str = "two_tower"

    @classmethod
    def load(cls, folder: Path) -> "TwoTowerScorer":
        """Open a training's folder.

        Raises:
            CorruptArtifact: a file is missing or not what its name says.
        """
        try:
            vectors, inputs = (np.load(folder / f"{name}.npy", allow_pickle=False)
                               for name in ("item_vectors", "item_inputs"))
        except (OSError, ValueError) as error:
            raise CorruptArtifact(f"{folder} is no training: {error}; run the train stage again") from error
        return cls(vectors, inputs, UserTower(folder / "user_tower.tflite"))

    def scores(self, data: SnapshotData, queries: Queries) -> Floats:
        """Scores [queries, items].

        Raises:
            CorruptArtifact: the snapshot is of another catalogue than the training's.
        """
        if len(self.item_vectors) != data.num_items:
            raise CorruptArtifact(f"{len(self.item_vectors):,} item vectors for the {data.num_items:,} items of "
                                  f"{data.path}: training and snapshot do not belong together")
        users = self.tower.vectors(request_inputs(data, queries, self.item_inputs))
        return users @ self.item_vectors.T
