"""The items of the highest inner product with a query vector: exactly, or with ScaNN.

Both answer in the same shape, with exact scores, ties going to the lower row, so that nothing behind
them need know which one searches.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pipelines.errors import BundleRefused, DataError
from serving.encoding import Floats, run_starts
from serving.index_files import IndexConfig

Rows = npt.NDArray[np.int64]

NONE: Rows = np.zeros(0, np.int64)
NOTHING = -1  # row where there are fewer than k items to find; its score is -inf
_BLOCK = 1 << 24  # scores held at once by an exact search: 64 MB
_NUMBERS = 1 << 22  # of candidates' vectors that an approximate search holds at once: 16 MB
_PAIRS = 1 << 14  # of a candidate and an excluded row that are compared one by one, rather than sorted


class Retriever(Protocol):
    """Search over the item vectors of one bundle."""

    def search(self, vectors: Floats, k: int, exclude: Sequence[Rows] | None = None) -> tuple[Rows, Floats]:
        """The best items of each query.

        Args:
            vectors: [queries, D] of shoppers or of what was typed or shown.
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


def distinct(*rows: npt.NDArray[np.integer]) -> Rows:
    """Rows of several arrays, ascending and each once; most that are asked for are empty, which costs nothing."""
    filled = [one for one in rows if len(one)]
    if not filled:
        return NONE
    joined = filled[0] if len(filled) == 1 else np.concatenate(filled)
    if not (joined[1:] > joined[:-1]).all():
        joined = np.sort(joined)
        joined = joined[run_starts(joined)]  # as np.unique, in a third of its time for the few rows of a question
    return joined.astype(np.int64, copy=False)


class Blocks:
    """Item vectors [items, D] that lie in several arrays side by side: what two searches share lies in memory once."""

    def __init__(self, *blocks: Floats) -> None:
        """Take the arrays, each float32 [items, columns]."""
        self.blocks = blocks
        self.ends = np.cumsum([block.shape[1] for block in blocks])
        self.shape = len(blocks[0]), int(self.ends[-1])

    def __len__(self) -> int:
        return self.shape[0]

    def products(self, vectors: Floats) -> Floats:
        """Inner products [queries, items] with `vectors` [queries, D]."""
        parts = np.split(vectors, self.ends[:-1], axis=1)
        products: Floats = parts[0] @ self.blocks[0].T
        for part, block in zip(parts[1:], self.blocks[1:], strict=True):
            products += part @ block.T
        return products

    def take(self, rows: Rows) -> Floats:
        """The vectors of `rows` [...], whole: [..., D]."""
        if len(self.blocks) == 1:
            return self.blocks[0][rows]
        return np.concatenate([block[rows] for block in self.blocks], axis=-1)


class ExactRetriever:
    """Compares with every item: right below some 20,000 items, and the reference for every index."""

    def __init__(self, *blocks: Floats) -> None:
        """Take the item vectors, in one array or in several side by side."""
        self.items = Blocks(*blocks)

    def search(self, vectors: Floats, k: int, exclude: Sequence[Rows] | None = None) -> tuple[Rows, Floats]:
        """See `Retriever.search`."""
        vectors = _checked(vectors, k, self.items.shape[1])
        rows, scores = _empty(len(vectors), k)
        block = max(1, _BLOCK // len(self.items))
        for first in range(0, len(vectors), block):
            products = self.items.products(vectors[first : first + block])
            for query, row_scores in enumerate(products, start=first):
                if exclude is not None:
                    row_scores[exclude[query]] = -np.inf
                found, found_scores = best(row_scores, k)
                rows[query, : len(found)], scores[query, : len(found)] = found, found_scores
        return rows, scores


class ScannRetriever:
    """Approximate search, with scores computed from the item vectors themselves."""

    def __init__(self, searcher: Any, config: IndexConfig, *blocks: Floats) -> None:
        self.exact = ExactRetriever(*blocks)
        self.searcher, self.config, self.items = searcher, config, self.exact.items
        if searcher.size() != len(self.items):
            raise BundleRefused(f"the ScaNN index holds {searcher.size():,} items where the bundle has vectors of "
                                f"{len(self.items):,}; run the index stage again")

    @classmethod
    def load(cls, folder: Path, config: IndexConfig, *blocks: Floats) -> "ScannRetriever":
        """Open an index folder that serving.index_files has checked: ScaNN itself believes whatever it reads."""
        scann_ops_pybind = import_scann()
        # Not load_searcher(): it would unpickle item ids if it found some.
        assets = (folder / "scann_assets.pbtxt").read_text(encoding="utf-8")
        numpy_searcher = scann_ops_pybind.scann_pybind.ScannNumpy(str(folder), assets)
        return cls(scann_ops_pybind.ScannSearcher(numpy_searcher), config, *blocks)

    def search(self, vectors: Floats, k: int, exclude: Sequence[Rows] | None = None) -> tuple[Rows, Floats]:
        """See `Retriever.search`.

        ScaNN knows no filter, so that what may be excluded is fetched on top. A query that is left with
        too few items (long exclusions, few leaves) is searched exactly.
        """
        vectors = _checked(vectors, k, self.items.shape[1])
        rows, scores = _empty(len(vectors), k)
        if not len(vectors):
            return rows, scores
        width = min(k, len(self.items))
        if len(vectors) == 1:
            found, products = self._search_one(vectors[0], width, exclude[0] if exclude is not None else NONE)
            rows[0, : len(found)], scores[0, : len(found)] = found, products
            return rows, scores
        fetch = min(k + max((len(banned) for banned in exclude or ()), default=0), len(self.items))
        at_once = max(1, _NUMBERS // (fetch * self.items.shape[1]))
        for first in range(0, len(vectors), at_once):
            part = slice(first, first + at_once)
            rows[part, :width], scores[part, :width] = self._search(
                vectors[part], width, fetch, None if exclude is None else exclude[part])
        return rows, scores

    def _search_one(self, vector: Floats, k: int, banned: Rows) -> tuple[Rows, Floats]:
        """Rows and scores [<= k] for one query [D], as each answer of the online process asks for them: ScaNN takes a
        quarter less for it than for a batch of one."""
        fetch = min(k + len(banned), len(self.items))
        found, distances = self.searcher.search(
            vector, final_num_neighbors=fetch, leaves_to_search=self.config.leaves_to_search,
            pre_reorder_num_neighbors=max(self.config.reorder or 0, 2 * fetch))
        candidates: Rows = found[np.isfinite(distances)].astype(np.int64)
        if len(banned):
            candidates = candidates[~_among(candidates, banned)]
        products: Floats = self.items.take(candidates) @ vector
        order = np.lexsort((candidates, -products))[:k]
        if len(order) < k and len(order) < len(self.items) - len(distinct(banned)):
            rows, scores = self.exact.search(vector[None], k, [banned])
            return rows[0], scores[0]
        return candidates[order], products[order]

    def _search(self, vectors: Floats, k: int, fetch: int, exclude: Sequence[Rows] | None) -> tuple[Rows, Floats]:
        found, distances = self.searcher.search_batched(
            vectors, final_num_neighbors=fetch, leaves_to_search=self.config.leaves_to_search,
            pre_reorder_num_neighbors=max(self.config.reorder or 0, 2 * fetch),
        )
        # What the leaves could not fill comes as row 0 with a score of NaN.
        left_out = ~np.isfinite(distances)
        candidates: Rows = np.where(left_out, 0, found).astype(np.int64)
        if exclude is not None:
            for query, banned in enumerate(exclude):
                left_out[query] |= _among(candidates[query], banned)
        products: Floats = np.matmul(self.items.take(candidates), vectors[:, :, None])[:, :, 0]
        products[left_out] = -np.inf
        order = np.lexsort((candidates, -products))[:, :k]
        each = np.arange(len(vectors))[:, None]
        scores: Floats = products[each, order]
        rows: Rows = np.where(scores == -np.inf, NOTHING, candidates[each, order])
        for query in np.flatnonzero(rows[:, -1] == NOTHING).tolist():
            only = None if exclude is None else [exclude[query]]
            left = len(self.items) - (0 if only is None else len(distinct(*only)))
            if np.count_nonzero(rows[query] != NOTHING) < left:
                one = slice(query, query + 1)
                rows[one], scores[one] = self.exact.search(vectors[one], k, only)
        return rows, scores


def import_scann() -> Any:
    """ScaNN's `scann_ops_pybind`, without TensorFlow.

    Where TensorFlow is installed, `import scann` imports it for operators that nobody here calls: seconds to tens of
    seconds, and 600 MB. Its import is made to fail meanwhile, which ScaNN takes as a machine that has none.

    Raises:
        ImportError: ScaNN is not installed.
    """
    is_here = "tensorflow" in sys.modules
    if not is_here:
        sys.modules["tensorflow"] = None  # type: ignore[assignment]
    try:
        from scann.scann_ops.py import scann_ops_pybind
    finally:
        if not is_here:
            del sys.modules["tensorflow"]
    return scann_ops_pybind


def open_retriever(folder: Path, config: IndexConfig, *blocks: Floats) -> Retriever:
    """The search that a part of a checked bundle was sealed with.

    Args:
        folder: of the index.
        config: its index.json.
        blocks: the vectors that it is of, in one array or in several side by side.

    Raises:
        ImportError: it is a ScaNN index and ScaNN is not installed; there is no silent exact search.
    """
    return ExactRetriever(*blocks) if config.kind == "exact" else ScannRetriever.load(folder, config, *blocks)


def _checked(vectors: Floats, k: int, dimension: int) -> Floats:
    if k < 1:
        raise DataError(f"k is {k}: ask for at least 1 item")
    if vectors.ndim != 2 or vectors.shape[1] != dimension:
        raise DataError(f"query vectors are {list(vectors.shape)} where [queries, {dimension}] is needed: "
                        "what made them is not of this bundle")
    if not np.isfinite(vectors).all():
        broken = int((~np.isfinite(vectors).all(axis=1)).sum())
        raise DataError(f"{broken:,} of {len(vectors):,} query vectors are not finite: check the requests' numbers")
    return np.ascontiguousarray(vectors, np.float32)


def _among(candidates: Rows, banned: Rows) -> npt.NDArray[np.bool_]:
    """Which of the candidates [n] are banned; np.isin, which takes ten times as long for a handful."""
    if candidates.size * banned.size <= _PAIRS:
        found: npt.NDArray[np.bool_] = (candidates[:, None] == banned[None, :]).any(axis=1)
        return found
    return np.isin(candidates, banned)


def _empty(queries: int, k: int) -> tuple[Rows, Floats]:
    return np.full((queries, k), NOTHING, np.int64), np.full((queries, k), -np.inf, np.float32)
