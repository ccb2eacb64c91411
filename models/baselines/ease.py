"""EASE, a linear item-item model in closed form, over the user's history, latest first.

Steck 2019: B minimises |X - X B|^2 + l2 |B|^2 with a diagonal of zeros; with P = (X'X + l2 I)^-1 it is
B_ij = -P_ij / P_jj. Recency as in the item-item cosine: score(i) = sum over the context of decay^r * B_ji,
r counting from 0 at the latest event j.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import sparse
from scipy.linalg import lapack

from models.baselines.interactions import buyers, positives, purchases
from models.baselines.tuning import best, valid_queries
from models.ranking import Floats
from pipelines.errors import VitrineError
from pipelines.progress import log
from pipelines.snapshot import Queries, SnapshotData

L2S = (100.0, 500.0, 2000.0)
DECAYS = (0.7, 0.8, 0.9, 1.0)
# The inverse is dense: so many items are 1.6 GB and a minute or two. Best-sellers go first.
MAX_ITEMS = 20_000


@dataclass(frozen=True)
class Ease:
    """Linear item-item weights; where a context has no item that they know, popular ones."""

    l2: float
    decay: float
    weights: Floats = field(repr=False)  # [kept, kept], diagonal 0
    kept: np.ndarray = field(repr=False)  # int64 [kept] rows of the items that have weights
    fallback: Floats = field(repr=False)  # [items] below 0, higher for more popular
    name: str = "ease"

    def refit(self, data: SnapshotData) -> "Ease":
        """With the same parameters, on the train events of `data`."""
        return fit(data, self.l2, self.decay)

    def scores(self, data: SnapshotData, queries: Queries) -> Floats:
        """Scores [queries, items]; items without weights, and queries without a known item, by popularity."""
        place = np.full(data.num_items, -1, np.int64)
        place[self.kept] = np.arange(len(self.kept))
        owner, item = positives(data, queries)
        after = np.cumsum(np.bincount(owner, minlength=len(queries)))[owner] - 1 - np.arange(len(owner))
        strength, column = (self.decay ** after).astype(np.float32), place[item]
        known = column >= 0
        context = sparse.csr_array((strength[known], (owner[known], column[known])),
                                   shape=(len(queries), len(self.kept)))
        # Popularity stays below every linear score, so that it orders only what the weights do not reach.
        scores = np.tile(self.fallback - 1e3, (len(queries), 1))
        told = np.flatnonzero(np.diff(context.indptr))
        scores[np.ix_(told, self.kept)] = context[told] @ self.weights
        return scores


def fit(data: SnapshotData, l2: float = 100.0, decay: float = 0.9, max_items: int = MAX_ITEMS) -> Ease:
    """Weights of the train events' items.

    Args:
        l2: of the ridge regression.
        decay: weight of an event against the one after it, 0 < decay <= 1.
        max_items: the best-selling items that get weights; memory is their square times 4 bytes, twice.

    Raises:
        VitrineError: the regression cannot be solved, which a larger l2 mends.
    """
    return _fit(data, _kept(data, max_items), l2, decay)


def tuned(data: SnapshotData, l2s: Sequence[float] = L2S, decays: Sequence[float] = DECAYS) -> Ease:
    """l2 and decay of the best recall@10 on valid queries."""
    kept = _kept(data, MAX_ITEMS)

    def candidates() -> Iterator[Ease]:
        for l2 in l2s:
            fitted = _fit(data, kept, l2, decays[0])
            yield from (replace(fitted, decay=decay) for decay in decays)

    return best(candidates(), data, valid_queries(data))


def _kept(data: SnapshotData, max_items: int) -> np.ndarray:
    count = buyers(data)
    order = np.argsort(-count, kind="stable")[:max_items]
    if int((count > 0).sum()) > max_items:
        log.warning("ease: weights for the %s best-selling of %s items, the others by popularity",
                    f"{max_items:,}", f"{data.num_items:,}")
    return np.sort(order[count[order] > 0])


def _fit(data: SnapshotData, kept: np.ndarray, l2: float, decay: float) -> Ease:
    table = purchases(data)[:, kept]
    gram = (table.T @ table).toarray(order="F").astype(np.float32, copy=False)
    gram[np.diag_indices_from(gram)] += np.float32(l2)
    factor, failed = lapack.spotrf(gram, lower=1, overwrite_a=1)
    if not failed:
        inverse, failed = lapack.spotri(factor, lower=1, overwrite_c=1)
    if failed:
        raise VitrineError(f"ease: the regression over {len(kept):,} items has no solution at l2 {l2}: raise l2")
    # Only the lower half is filled in: mirrored block by block, without a third copy.
    diagonal = inverse.diagonal().copy()
    for first in range(0, len(kept), 1024):
        rows = slice(first, first + 1024)
        low = np.tril(inverse[rows, : first + 1024], first)
        inverse[rows, : first + 1024] = low
        inverse[: first, rows] = low[:, :first].T
        square = inverse[rows, rows]
        inverse[rows, rows] = square + np.tril(square, -1).T
    inverse /= -diagonal[None, :]
    inverse[np.diag_indices_from(inverse)] = 0
    count = buyers(data)
    return Ease(l2, decay, inverse, kept, count / (count.max(initial=0) + 1) - 1)
