"""Several models of one training as one: their vectors stand side by side.

Models that differ in nothing but their random start disagree in what they got wrong, and the mean of their
scores is better than any of them (Lakshminarayanan et al. 2017, deep ensembles). A mean of inner products is
one inner product of longer vectors, so that index and serving know nothing of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from models.item_embedding import ItemEmbedding
from models.legacy_keras import tf
from models.ranking import Floats
from models.requests import request_inputs
from models.served_tower import ServedTower
from models.two_tower import TwoTower
from pipelines.snapshot import Queries, SnapshotData


@dataclass(frozen=True)
class Members:
    """What serves: the members' vectors side by side, and the prior of the training window's end."""

    models: Sequence[TwoTower]
    tower: ServedTower
    prior: Floats  # [items] added to the members' own priors
    name: str = "two_tower"

    @classmethod
    def of(cls, models: Sequence[TwoTower], data: SnapshotData, prior: Floats) -> "Members":
        """Wrap models of one shape, which go on being trained or not."""
        return cls(models, ServedTower([model.users for model in models], data.spec), prior)

    def raised(self, is_raised: npt.NDArray[np.bool_], offset: float) -> "Members":
        """With the priors of the items `is_raised` [items] higher by `offset`."""
        return replace(self, prior=self.prior + is_raised.astype(np.float32) * np.float32(offset))

    def item_matrices(self) -> tuple[Floats, Floats]:
        """Score vectors [items, M * D + 1], whose last column is the prior, and input vectors [items, M * D]."""
        parts = [model.items(None) for model in self.models]
        vectors = np.concatenate([vector for vector, _ in parts], axis=1).astype(np.float32)
        prior = np.mean([prior for _, prior in parts], axis=0) + self.prior
        return np.concatenate([vectors / len(parts), prior[:, None]], axis=1).astype(np.float32), vectors

    def embedding(self, newcomer_prior: float) -> ItemEmbedding:
        """What embeds products that these members were not trained on; `newcomer_prior` stands for their demand."""
        towers = [model.items for model in self.models]
        kernel = np.concatenate([tower.content_prior.kernel.numpy()[:, 0] for tower in towers]) / len(towers)
        bias = np.mean([tower.content_prior.bias.numpy() for tower in towers])
        return ItemEmbedding(
            np.array([tower.gain.numpy() for tower in towers], np.float32), newcomer_prior,
            np.concatenate([tower.tokens.numpy() for tower in towers], axis=1),
            np.concatenate([tower.project.kernel.numpy() for tower in towers], axis=1),
            np.append(kernel, bias).astype(np.float32))

    def lengths(self) -> Floats:
        """Lengths [items, M] of the members' vectors before each is brought to its gain."""
        return np.stack([model.items.lengths().numpy() for model in self.models], axis=1)

    def current(self) -> "Current":
        """The members as they stand, for ranking."""
        return Current(*self.item_matrices(), self.tower, self.name)


@dataclass(frozen=True)
class Current:
    """Item vectors of one moment of the training."""

    vectors: Floats  # [items, M * D + 1]
    inputs: Floats  # [items, M * D]
    tower: ServedTower
    name: str

    def scores(self, data: SnapshotData, queries: Queries) -> Floats:
        """Scores [queries, items]."""
        inputs = request_inputs(data, queries, self.inputs)
        users: Floats = self.tower.function(**{k: tf.constant(v) for k, v in inputs.items()})["vector"].numpy()
        return users @ self.vectors.T
