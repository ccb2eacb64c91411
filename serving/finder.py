"""The best items under a condition: approximately where it lets much through, exactly where it does not.

ScaNN knows no filter. What is asked of it beyond k grows as 1 / (share let through), and an exact scan costs as many
inner products as items are let through; `plan` takes the cheaper of the two for the condition that was measured.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from serving.catalogue import Bools
from serving.encoding import Floats
from serving.retriever import ExactRetriever, Retriever, Rows, ScannRetriever, best, distinct

How = Literal["approximate", "exact"]
# Microseconds of one core, 200,000 vectors of 64 columns (docs/benchmarks.md): an inner product of a row that has to be
# copied together first, one of a row among all, asking the index at all, and each row that is asked of it and scored.
SCAN_US, PRODUCT_US, ASK_US, FETCH_US = 0.22, 0.02, 100.0, 0.6
FEW = 500  # rows that an index is asked for on top, rather than sorted out by a mask of all items
_SPARE = 2.0  # asked for that many times the expected need: what a filter lets through is seldom spread evenly


@dataclass(frozen=True)
class Found:
    """Rows [n] and scores [n], best first, n <= k; how they were searched, and how many items were let through."""

    rows: Rows
    scores: Floats
    how: How
    allowed: int


def fetch_size(k: int, let_through: int, items: int) -> int:
    """What to ask an approximate search for so that about `_SPARE` * k of it are let through."""
    return min(items, math.ceil(_SPARE * k * items / max(let_through, 1)) + k)


def plan(k: int, let_through: int, items: int) -> How:
    """Which search is the cheaper one for k of `let_through` of `items`."""
    scan = min(SCAN_US * let_through, PRODUCT_US * items)
    return "exact" if scan <= ASK_US + FETCH_US * fetch_size(k, let_through, items) else "approximate"


class Finder:
    """Search in the items of one index under a condition."""

    def __init__(self, retriever: Retriever) -> None:
        if not isinstance(retriever, ExactRetriever | ScannRetriever):
            raise TypeError(f"{type(retriever).__name__} does not hold the vectors that an exact scan needs")
        self.retriever, self.vectors = retriever, retriever.items

    def find(self, vector: Floats, k: int, allowed: Bools | None, never: Rows) -> Found:
        """The k best items for a query.

        Args:
            vector: [D].
            k: at least 1.
            allowed: mask [items] of what may be found; None for everything.
            never: rows that must not be found whatever is allowed.
        """
        items = len(self.vectors)
        if allowed is None and len(never) <= FEW:
            rows, scores = self.retriever.search(vector[None], k, [never])
            kept = scores[0] > -np.inf
            how: How = "exact" if isinstance(self.retriever, ExactRetriever) else "approximate"
            return Found(rows[0][kept], scores[0][kept], how, items - len(distinct(never)))
        mask = np.ones(items, bool) if allowed is None else allowed.copy()
        mask[never] = False
        let_through = int(np.count_nonzero(mask))
        if isinstance(self.retriever, ScannRetriever) and plan(k, let_through, items) == "approximate":
            rows, scores = self.retriever.search(vector[None], fetch_size(k, let_through, items), None)
            kept = (scores[0] > -np.inf) & mask[rows[0]]
            if np.count_nonzero(kept) >= k:
                return Found(rows[0][kept][:k], scores[0][kept][:k], "approximate", let_through)
        if not let_through:
            return Found(np.zeros(0, np.int64), np.zeros(0, np.float32), "exact", 0)
        if SCAN_US * let_through > PRODUCT_US * items:
            products = self.vectors.products(vector[None])[0]
            products[~mask] = -np.inf
            return Found(*best(products, k), "exact", let_through)
        candidates = np.flatnonzero(mask)
        places, scores = best(self.vectors.take(candidates) @ vector, k)
        return Found(candidates[places], scores, "exact", let_through)
