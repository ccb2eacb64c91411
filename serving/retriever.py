"""The items of the highest inner product with a user vector: exactly, or with ScaNN.

Both answer in the same shape, with exact scores, ties going to the lower row, so that nothing behind
them need know which one searches.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pipelines.errors import BundleRefused, DataError
from serving.bundle import Bundle
from serving.bundle_files import INDEX
from serving.encoding import Floats
from serving.index_files import IndexConfig

Rows = npt.NDArray[np.int64]

NOTHING = -1  # row where there are fewer than k items to find; its score is -inf
_BLOCK = 1 << 24  # scores held at once by an exact search: 64 MB


class Retriever(Protocol):
    """Search over the item vectors of one bundle."""

    def search(self, vectors: Floats, k: int, exclude: Sequence[Rows] | None = None) -> tuple[Rows, Floats]:
        """The best items of each query.

        Args:
            vectors: [queries, D] user vectors.
            k: items a query.
            exclude: one array of rows a query that must not be found.

        Returns:
            (rows int64 [queries, k], scores float32 [queries, k]), best first. Where a query has fewer
            than k items left, its tail is NOTHING and -inf.

        Raises:
            DataError: k is less than 1, or a vector has numbers that are not finite.
        """


def best(scores: Floats, k: int) -> tuple[Rows, Floats]:
    """Positions and values of the k highest scores [n] above -inf, best first, ties by position."""
    if k < len(scores):
        threshold = np.partition(scores, len(scores) - k)[len(scores) - k]
        # All that tie with the k-th are candidates: argpartition alone would pick any of them.
        candidates = np.flatnonzero((scores >= threshold) & (scores > -np.inf))
    else:
        candidates = np.flatnonzero(scores > -np.inf)
    order = candidates[np.lexsort((candidates, -scores[candidates]))[:k]]
    return order, scores[order]


class ExactRetriever:
    """Compares with every item: right below some 20,000 items, and the reference for every index."""

    def __init__(self, item_vectors: Floats) -> None:
        self.item_vectors = item_vectors

    def search(self, vectors: Floats, k: int, exclude: Sequence[Rows] | None = None) -> tuple[Rows, Floats]:
        """See `Retriever.search`."""
        vectors = _checked(vectors, k, self.item_vectors.shape[1])
        rows, scores = _empty(len(vectors), k)
        block = max(1, _BLOCK // len(self.item_vectors))
        for first in range(0, len(vectors), block):
            products = vectors[first : first + block] @ self.item_vectors.T
            for query, row_scores in enumerate(products, start=first):
                if exclude is not None:
                    row_scores[exclude[query]] = -np.inf
                found, found_scores = best(row_scores, k)
                rows[query, : len(found)], scores[query, : len(found)] = found, found_scores
        return rows, scores


class ScannRetriever:
    """Approximate search, with scores computed from the item vectors themselves."""

    def __init__(self, searcher: Any, item_vectors: Floats, config: IndexConfig) -> None:
        if searcher.size() != len(item_vectors):
            raise BundleRefused(f"the ScaNN index holds {searcher.size():,} items where item_vectors.npy has "
                                f"{len(item_vectors):,}; run the index stage again")
        self.searcher, self.item_vectors, self.config = searcher, item_vectors, config
        self.exact = ExactRetriever(item_vectors)

    @classmethod
    def load(cls, folder: Path, item_vectors: Floats, config: IndexConfig) -> "ScannRetriever":
        """Open an index folder that serving.index_files has checked: ScaNN itself believes whatever it reads."""
        from scann.scann_ops.py import scann_ops_pybind

        # Not load_searcher(): it would unpickle item ids if it found some.
        assets = (folder / "scann_assets.pbtxt").read_text(encoding="utf-8")
        numpy_searcher = scann_ops_pybind.scann_pybind.ScannNumpy(str(folder), assets)
        return cls(scann_ops_pybind.ScannSearcher(numpy_searcher), item_vectors, config)

    def search(self, vectors: Floats, k: int, exclude: Sequence[Rows] | None = None) -> tuple[Rows, Floats]:
        """See `Retriever.search`.

        ScaNN knows no filter, so that what may be excluded is fetched on top. A query that is left with
        too few items (long exclusions, few leaves) is searched exactly.
        """
        vectors = _checked(vectors, k, self.item_vectors.shape[1])
        rows, scores = _empty(len(vectors), k)
        if not len(vectors):
            return rows, scores
        fetch = min(k + max((len(banned) for banned in exclude or ()), default=0), len(self.item_vectors))
        found, distances = self.searcher.search_batched(
            vectors, final_num_neighbors=fetch, leaves_to_search=self.config.leaves_to_search,
            pre_reorder_num_neighbors=max(self.config.reorder or 0, 2 * fetch),
        )
        for query, vector in enumerate(vectors):
            # What the leaves could not fill comes as row 0 with a score of NaN.
            candidates = found[query][np.isfinite(distances[query])].astype(np.int64)
            banned = exclude[query] if exclude is not None else np.zeros(0, np.int64)
            candidates = np.sort(candidates[~np.isin(candidates, banned)])
            if len(candidates) < min(k, len(self.item_vectors) - len(np.unique(banned))):
                only = None if exclude is None else [banned]
                rows[query : query + 1], scores[query : query + 1] = self.exact.search(vector[None], k, only)
                continue
            order, best_scores = best(self.item_vectors[candidates] @ vector, k)
            rows[query, : len(order)], scores[query, : len(order)] = candidates[order], best_scores
        return rows, scores


def open_retriever(bundle: Bundle) -> Retriever:
    """The search that a checked bundle was sealed with.

    Raises:
        ImportError: it is a ScaNN index and ScaNN is not installed; there is no silent exact search.
    """
    if bundle.index.kind == "exact":
        return ExactRetriever(bundle.item_vectors)
    return ScannRetriever.load(bundle.path / INDEX, bundle.item_vectors, bundle.index)


def _checked(vectors: Floats, k: int, dimension: int) -> Floats:
    if k < 1:
        raise DataError(f"k is {k}: ask for at least 1 item")
    if vectors.ndim != 2 or vectors.shape[1] != dimension:
        raise DataError(f"user vectors are {list(vectors.shape)} where [queries, {dimension}] is needed: "
                        "the user tower is not of this bundle")
    if not np.isfinite(vectors).all():
        broken = int((~np.isfinite(vectors).all(axis=1)).sum())
        raise DataError(f"{broken:,} of {len(vectors):,} user vectors are not finite: check the requests' numbers")
    return np.ascontiguousarray(vectors, np.float32)


def _empty(queries: int, k: int) -> tuple[Rows, Floats]:
    return np.full((queries, k), NOTHING, np.int64), np.full((queries, k), -np.inf, np.float32)
