"""Exact rankings of the whole catalogue: the one way in which every model is measured."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pipelines.progress import Progress
from pipelines.snapshot import Queries, SnapshotData

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


class Model(Protocol):
    """Whatever can score the catalogue for a query."""

    @property
    def name(self) -> str:
        """What the model is called in metrics and files."""

    def scores(self, data: SnapshotData, queries: Queries) -> Floats:
        """Scores [queries, items], higher is better; -inf for what the model cannot show."""


@dataclass(frozen=True)
class Ranking:
    """The best items of each query and where the targets stand among them."""

    top: npt.NDArray[np.int32]  # [queries, k] item rows, best first; -1 where too few items are left
    rank: npt.NDArray[np.int32]  # [targets] from 1; 0 where the target is not among the k


def contexts(queries: Queries) -> tuple[Ints, Ints]:
    """Every event of every context, in time order: its query [n] and its place in the histories [n]."""
    length = queries.end - queries.start
    owner = np.repeat(np.arange(len(queries)), length)
    offset = np.arange(len(owner)) - np.repeat(np.cumsum(length) - length, length)
    return owner, queries.start[owner] + offset


def blocks(queries: Queries, size: int) -> Iterator[tuple[int, Queries]]:
    """The queries in runs of `size`, each with the number of its first query."""
    for first in range(0, len(queries), size):
        yield first, queries.part(first, min(first + size, len(queries)))


def sample(queries: Queries, max_targets: int, seed: int) -> Queries:
    """A random part of the queries that holds at most `max_targets` targets; all of them where they fit.

    Whole queries are kept or left, in their old order, so that a basket is never cut. A query that alone
    has more targets than are allowed is left out.
    """
    if len(queries.target_query) <= max_targets:
        return queries
    order = np.random.default_rng(seed).permutation(len(queries))
    size = np.bincount(queries.target_query, minlength=len(queries))[order]
    order = order[size <= max_targets]
    total = np.cumsum(size[size <= max_targets])
    return queries.only(np.sort(order[: np.searchsorted(total, max_targets, side="right")]))


def top_items(scores: Floats, k: int) -> npt.NDArray[np.int32]:
    """The k highest columns of each row [rows, k], best first; of equal scores the lower column wins.

    Columns at -inf are never shown: -1 stands in their place.
    """
    rows, items = scores.shape
    k = min(k, items)
    cost = -scores
    worst = np.partition(cost, k - 1, axis=1)[:, k - 1, None]
    kept = cost <= worst
    number = np.count_nonzero(kept, axis=1)
    crowded = np.flatnonzero(number > k)
    if len(crowded):
        # Of the columns that share the k-th place, the lower ones fill what room there is.
        level = cost[crowded] == worst[crowded]
        room = k - number[crowded] + np.count_nonzero(level, axis=1)
        kept[crowded] &= ~level | (np.cumsum(level, axis=1, dtype=np.int32) <= room[:, None])
    found = (np.flatnonzero(kept) % items).reshape(rows, k)
    value = np.take_along_axis(cost, found, axis=1)
    order = np.argsort(value, axis=1, kind="stable")
    return np.take_along_axis(np.where(np.isposinf(value), -1, found), order, axis=1).astype(np.int32)


def scored(model: Model, data: SnapshotData, queries: Queries, block: int = 256) -> Iterator[tuple[Queries, Floats]]:
    """The queries in runs of `block`, each with its scores [queries, items], -inf for what the context met.

    Met is every item of any event of the context, returns too. Memory is block * items floats. Queries of like length
    stand together, for a model pads a run to its longest history: see `sorted_by_length`.

    Raises:
        ValueError: the model gave a NaN or scores of another shape.
    """
    progress = Progress(f"rank {model.name}", len(queries), "queries")
    for _, part in blocks(queries, block):
        scores = np.array(model.scores(data, part), np.float32)
        if scores.shape != (len(part), data.num_items):
            raise ValueError(f"{model.name}: scores are {scores.shape}, expected {(len(part), data.num_items)}")
        if np.isnan(scores).any():
            raise ValueError(f"{model.name}: {int(np.isnan(scores).sum())} scores are NaN among the questions of users "
                             f"{part.user.tolist()[:3]} ...")
        owner, event = contexts(part)
        scores[owner, data.histories.item[event]] = -np.inf
        yield part, scores
        progress.advance(len(part))
    progress.finish()


def rank(model: Model, data: SnapshotData, queries: Queries, k: int = 50, block: int = 256) -> Ranking:
    """Rank the catalogue for every query, without the items that the context met; see `scored`.

    Args:
        k: items kept a query; targets below are of rank 0.
    """
    by_length, order, target_order = sorted_by_length(queries)
    tops, ranks = [np.zeros((0, min(k, data.num_items)), np.int32)], [np.zeros(0, np.int32)]
    for part, scores in scored(model, data, by_length, block):
        top = top_items(scores, k)
        hit = top[part.target_query] == data.histories.item[part.target_event][:, None]
        tops.append(top)
        ranks.append(np.where(hit.any(axis=1), hit.argmax(axis=1) + 1, 0).astype(np.int32))
    found = Ranking(np.concatenate(tops), np.concatenate(ranks))
    return Ranking(found.top[np.argsort(order)], found.rank[np.argsort(target_order)])


def sorted_by_length(queries: Queries) -> tuple[Queries, Ints, Ints]:
    """The queries by the length of their contexts, and the orders [queries] and [targets] that they are then in."""
    order = np.argsort(queries.end - queries.start, kind="stable")
    place = np.argsort(order)[queries.target_query]
    targets = np.argsort(place, kind="stable")
    return Queries(queries.user[order], queries.start[order], queries.end[order], queries.time[order],
                   place[targets], queries.target_event[targets]), order, targets
