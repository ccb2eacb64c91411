"""Does a query find the item that it was made from? Recall of queries that training never saw."""

from collections.abc import Sequence
from functools import partial
from random import Random
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.query_sampling import misspelt as misspell
from models.query_sets import Query, exact, misspelt, shifted
from pipelines.item_texts import ItemText
from serving.encoding import Floats
from serving.query_encoder import QueryEncoder
from serving.retriever import Blocks

K = 10
_BLOCK = 1 << 24  # scores held at once: 64 MB


class HeldQueries(NamedTuple):
    """Queries of three kinds, see models/query_sets.py, and what was meant by each of the misspelt."""

    exact: list[Query]
    shifted: list[Query]
    misspelt: list[Query]
    meant: list[Query]


def held_queries(texts: Sequence[ItemText], held: npt.NDArray[np.bool_], number: int, seed: int) -> HeldQueries:
    """At most `number` queries of each kind; `held` [items] are those of which training sees no pair of title words."""
    asked = exact(texts, held, number, seed)
    vocabulary = {word for text in texts for word in text.words}
    wrong, meant = misspelt(asked, partial(misspell, rng=Random(seed)), vocabulary)
    return HeldQueries(asked, shifted(texts, held, number, seed + 1), wrong, meant)


def hit(scores: Floats, item: int) -> float:
    """Chance that `item` is among the K best of `scores` [items] where ties are ordered at random."""
    above, tied = int((scores > scores[item]).sum()), int((scores == scores[item]).sum())
    return float(np.clip((K - above) / tied, 0, 1))


def recall(encoder: QueryEncoder, items: Blocks, queries: Sequence[Query]) -> float:
    """Part of the queries whose own item is among the K best of `items` [items, encoder.width]."""
    size = max(1, _BLOCK // len(items))
    hits = [hit(scores, query.item) for first in range(0, len(queries), size)
            for block in [queries[first : first + size]]
            for query, scores in zip(block, items.products(np.stack([encoder.of_words(q.words) for q in block])),
                                     strict=True)]
    return float(np.mean(hits))


def figures(encoder: QueryEncoder, items: Blocks, queries: HeldQueries) -> dict[str, float]:
    """recall@10 of each kind of query that there is, under exact_recall@10 and so on."""
    asked = {"exact": queries.exact, "shifted": queries.shifted, "misspelt": queries.misspelt}
    return {f"{name}_recall@{K}": recall(encoder, items, some) for name, some in asked.items() if some}
