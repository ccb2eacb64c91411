"""How much a query searches: the cheapest way that finds what exact search finds, and the curve of what was tried.

Costs are estimated and not measured: a clock would give equal vectors another bundle on every machine and every run.
"""

from collections.abc import Callable

import numpy as np

from serving.encoding import Floats
from serving.index_files import CurvePoint, IndexConfig
from serving.retriever import NOTHING, Retriever, Rows

REORDERS = (50, 100, 200, 400, 800, 1600, 3200)  # candidates that are scored exactly
# Nanoseconds of one core for 64 columns (docs/benchmarks.md): comparing with a leaf's centre, with an item by its code,
# and with an item's own vector, which lies somewhere in memory.
CENTRE_NS, CODE_NS, VECTOR_NS = 6.0, 2.0, 70.0
_BEYOND = 2.0  # the curve goes on to this many times the cost of what was chosen: what more recall would cost
_BLOCK = 20_000  # items whose products with all queries are held at once
_TIED = 1e-5  # float32 products of one pair differ by this much between summation orders


class ExactAnswers:
    """What exact search finds for some queries, in double precision: the yardstick of an index.

    An item that ties with the k-th best counts as found: which of equals comes first is nobody's fault.
    """

    def __init__(self, item_vectors: Floats, queries: Floats, k: int) -> None:
        self.item_vectors, self.queries, self.k = item_vectors, queries, min(k, len(item_vectors))
        wide, top = queries.astype(np.float64), np.full((len(queries), self.k), -np.inf)
        for first in range(0, len(item_vectors), _BLOCK):
            products = wide @ item_vectors[first : first + _BLOCK].T.astype(np.float64)
            top = np.partition(np.concatenate([top, products], axis=1), -self.k, axis=1)[:, -self.k :]
        self.least = top[:, 0]  # [queries] the k-th best product

    def recall(self, retriever: Retriever) -> float:
        """Share of the k best items that `retriever` finds, over all queries."""
        rows, _ = retriever.search(self.queries, self.k)
        return self.recall_of(rows)

    def recall_of(self, rows: Rows) -> float:
        """Share of the k best items that stand in `rows` [queries, k], over all queries."""
        hits = 0
        for query, least, found in zip(self.queries, self.least, rows, strict=True):
            products = self.item_vectors[found[found != NOTHING]].astype(np.float64) @ query.astype(np.float64)
            hits += int((products >= least - _TIED * max(1.0, abs(least))).sum())
        return hits / (self.k * len(self.queries))


def cost_us(leaves: int, search: int, reorder: int, shape: tuple[int, int]) -> float:
    """Microseconds of one core for a query, about.

    Args:
        leaves: of the tree.
        search: leaves that are looked into.
        reorder: candidates that are scored exactly.
        shape: of the item vectors, [items, D].
    """
    items, dimension = shape
    compared = CENTRE_NS * leaves + CODE_NS * items * search / leaves + VECTOR_NS * min(reorder, items)
    return compared * dimension / 64 / 1000


def efforts(leaves: int, shape: tuple[int, int]) -> list[tuple[int, int]]:
    """(leaves to search, candidates to reorder) to try, cheapest first; leaves by steps of about a square root of 2."""
    searches = sorted({min(leaves, round(2 ** (step / 2))) for step in range(2 * leaves.bit_length() + 1)})
    ways = [(search, reorder) for search in searches for reorder in REORDERS]
    return sorted(ways, key=lambda way: (cost_us(leaves, way[0], way[1], shape), way))


def tuned(
    recall_of: Callable[[IndexConfig], float], leaves: int, shape: tuple[int, int], target: float
) -> tuple[IndexConfig, float]:
    """The cheapest way to search that reaches `target`, with the curve, and its recall.

    Where none does, the one that finds most.

    Args:
        recall_of: measures one way.
        leaves: of the tree.
        shape: of the item vectors, [items, D].
        target: recall that is enough.
    """
    curve: list[CurvePoint] = []
    chosen: CurvePoint | None = None
    for search, reorder in efforts(leaves, shape):
        cost = cost_us(leaves, search, reorder, shape)
        if chosen is not None and cost > _BEYOND * chosen.cost_us:
            break
        recall = recall_of(IndexConfig(kind="scann", leaves=leaves, leaves_to_search=search, reorder=reorder))
        if not curve or recall > curve[-1].recall:
            curve.append(CurvePoint(leaves_to_search=search, reorder=reorder, recall=recall, cost_us=round(cost, 1)))
        if chosen is None and recall >= target:
            chosen = curve[-1]
        if recall == 1.0:
            break
    best = chosen or curve[-1]
    return IndexConfig(kind="scann", leaves=leaves, leaves_to_search=best.leaves_to_search, reorder=best.reorder,
                       curve=tuple(curve)), best.recall
