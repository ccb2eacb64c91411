"""Choosing among fitted candidates by the valid queries."""

import math
from collections.abc import Iterable
from typing import TypeVar

from models.metrics import metrics
from models.ranking import Model, rank, sample
from pipelines.errors import DataError
from pipelines.progress import log
from pipelines.snapshot import VALID, Queries, SnapshotData

M = TypeVar("M", bound=Model)
MAX_QUERIES = 5_000  # time goes by queries, precision by targets: a log of baskets is asked as a whole
SEED = 0


def valid_queries(data: SnapshotData, max_queries: int = MAX_QUERIES) -> Queries:
    """The valid queries; about `max_queries` of them, always the same, where there are more.

    Raises:
        DataError: the snapshot has no evaluated valid events.
    """
    queries = data.queries(VALID)
    if not len(queries):
        raise DataError(f"{data.path}: no evaluated events in the valid split, so that baselines cannot be "
                        "tuned; widen the window so that it holds more events")
    share = min(1.0, max_queries / len(queries))
    return sample(queries, math.ceil(share * len(queries.target_query)), SEED)


def best(candidates: Iterable[M], data: SnapshotData, queries: Queries) -> M:
    """The candidate of highest recall@10 on `queries`; of equals the earlier one, so begin with the plainest."""
    found: M | None = None
    highest = -1.0
    for model in candidates:
        ranking = rank(model, data, queries, k=10)
        figures = metrics(ranking.top, ranking.rank, data.num_items, [10])
        recall = figures["recall@10"]
        log.debug("tune %s: valid recall@10 %.4f, ndcg@10 %.4f", model, recall, figures["ndcg@10"])
        if recall > highest:
            found, highest = model, recall
    if found is None:
        raise ValueError("there is no candidate to choose from")
    log.info("tuned: %s has valid recall@10 %.4f", found, highest)
    return found
