"""Choosing among fitted candidates by the valid queries."""

from collections.abc import Iterable
from typing import TypeVar

from models.metrics import metrics
from models.ranking import Model, rank, sample
from pipelines.errors import DataError
from pipelines.progress import log
from pipelines.snapshot import VALID, Queries, SnapshotData

M = TypeVar("M", bound=Model)
MAX_TARGETS = 5_000
SEED = 0


def valid_queries(data: SnapshotData, max_targets: int = MAX_TARGETS) -> Queries:
    """A fixed sample of the valid queries.

    Raises:
        DataError: the snapshot has no evaluated valid events.
    """
    queries = sample(data.queries(VALID), max_targets, SEED)
    if not len(queries):
        raise DataError(f"{data.path}: no evaluated events in the valid split, so that baselines cannot be "
                        "tuned; widen the window so that it holds more events")
    return queries


def best(candidates: Iterable[M], data: SnapshotData, queries: Queries) -> M:
    """The candidate of highest recall@10 (then ndcg@10, then the earlier one) on `queries`."""
    found: M | None = None
    highest = (-1.0, -1.0)
    for model in candidates:
        ranking = rank(model, data, queries, k=10)
        figures = metrics(ranking.top, ranking.rank, data.num_items, [10])
        score = figures["recall@10"], figures["ndcg@10"]
        log.info("tune %s: valid recall@10 %.4f, ndcg@10 %.4f", model, *score)
        if score > highest:
            found, highest = model, score
    if found is None:
        raise ValueError("there is no candidate to choose from")
    return found
