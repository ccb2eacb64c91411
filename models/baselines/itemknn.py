"""Item-item cosine over the user's history, latest first.

Sarwar et al. 2001 with shrinkage (Bell and Koren 2007) and recency decay:
score(i) = sum over the context of decay^r * |users of i and j| / (sqrt(|users of i| |users of j|) + shrink),
r counting from 0 at the latest event j.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import sparse

from models.baselines.interactions import buyers, positives, purchases
from models.baselines.tuning import best, valid_queries
from models.ranking import Floats
from pipelines.snapshot import Queries, SnapshotData

SHRINKS = (0.0, 10.0, 50.0)
DECAYS = (0.8, 0.9, 0.95, 1.0)


@dataclass(frozen=True)
class ItemKnn:
    """Similar items; where nothing is similar, popular ones."""

    shrink: float
    decay: float
    similarity: sparse.csr_array = field(repr=False)  # float32 [items, items], diagonal 0
    fallback: Floats = field(repr=False)  # [items] below 0, higher for more popular
    name: str = "itemknn"

    def refit(self, data: SnapshotData) -> "ItemKnn":
        """With the same parameters, on the train events of `data`."""
        return fit(data, self.shrink, self.decay)

    def scores(self, data: SnapshotData, queries: Queries) -> Floats:
        """Scores [queries, items]: above 0 where the context has a similar item, else by popularity below 0."""
        owner, item = positives(data, queries)
        after = np.cumsum(np.bincount(owner, minlength=len(queries)))[owner] - 1 - np.arange(len(owner))
        weights = sparse.csr_array(((self.decay ** after).astype(np.float32), (owner, item)),
                                   shape=(len(queries), data.num_items))
        near = (weights @ self.similarity).toarray()
        return np.where(near > 0, near, self.fallback)


def fit(data: SnapshotData, shrink: float = 10.0, decay: float = 0.9) -> ItemKnn:
    """Similarities of the train events' items.

    Args:
        shrink: number added to the norms: similarities that few users vouch for shrink towards 0.
        decay: weight of an event against the one after it, 0 < decay <= 1.
    """
    table = purchases(data)
    return _fit(data, (table.T @ table).tocsr(), shrink, decay)


def tuned(
    data: SnapshotData, shrinks: Sequence[float] = SHRINKS, decays: Sequence[float] = DECAYS
) -> ItemKnn:
    """Shrink and decay of the best recall@10 on valid queries."""
    table = purchases(data)
    together = (table.T @ table).tocsr()

    def candidates() -> Iterator[ItemKnn]:
        for shrink in shrinks:
            fitted = _fit(data, together, shrink, decays[0])
            yield from (replace(fitted, decay=decay) for decay in decays)

    return best(candidates(), data, valid_queries(data))


def _fit(data: SnapshotData, together: sparse.csr_array, shrink: float, decay: float) -> ItemKnn:
    norm = np.sqrt(together.diagonal())
    row = np.repeat(np.arange(data.num_items), np.diff(together.indptr))
    cosine = together.data / (norm[row] * norm[together.indices] + shrink)
    cosine[row == together.indices] = 0
    similarity = sparse.csr_array((cosine.astype(np.float32), together.indices, together.indptr), together.shape)
    count = buyers(data)
    return ItemKnn(shrink, decay, similarity, count / (count.max(initial=0) + 1) - 1)
