"""Figures of a ranking: recall, nDCG, coverage, slices, intervals and exposure.

Each evaluated event is a question with one relevant item, so that recall@k is the hit rate, and
nDCG@k is 1 / log2(rank + 1) of a hit (Järvelin and Kekäläinen 2002 with an ideal gain of 1).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from models.resampling import resampled_sums
from pipelines.snapshot import TRAIN, Queries, SnapshotData

Ranks = npt.NDArray[np.int32]  # [targets] from 1, 0 for a miss
Mask = npt.NDArray[np.bool_]
SLICE_K = 10
HEAD_SHARE = 0.8  # the tail is what lies behind the items that make up this share of the train events
CONFIDENCE = 0.95


def gains(rank: Ranks, ks: Sequence[int]) -> dict[str, npt.NDArray[np.float64]]:
    """Each target's share [targets] in every metric: the metric is the mean."""
    found: dict[str, npt.NDArray[np.float64]] = {}
    for k in ks:
        hit = (rank > 0) & (rank <= k)
        found[f"recall@{k}"] = hit.astype(np.float64)
        found[f"ndcg@{k}"] = hit / np.log2(np.maximum(rank, 1) + 1)
    return found


def coverage(top: npt.NDArray[np.int32], k: int, num_items: int) -> float:
    """Share of the catalogue that stands in the first k of any query."""
    return float((exposure(top, k, num_items) > 0).sum() / max(num_items, 1))


def exposure(top: npt.NDArray[np.int32], k: int, num_items: int) -> npt.NDArray[np.int64]:
    """How many queries show each item [items] among their first k."""
    shown = top[:, :k]
    return np.bincount(shown[shown >= 0], minlength=num_items).astype(np.int64)


def shared_items(ours: npt.NDArray[np.int32], theirs: npt.NDArray[np.int32], k: int) -> npt.NDArray[np.int64]:
    """How many of the first k items [queries] two models' lists [queries, >= k] have in common; -1 is no item."""
    same = (ours[:, :k, None] == theirs[:, None, :k]) & (ours[:, :k, None] >= 0)
    return np.asarray(same.any(axis=2).sum(axis=1))


def exposure_figures(shown: npt.NDArray[np.int64], popularity: npt.NDArray[np.int64]) -> dict[str, float]:
    """How evenly a model shows the catalogue.

    Returns:
        "gini" (0: every item as often, towards 1: one item takes all), "popular_share" (share of the
        slots that go to the most popular tenth of the catalogue) and "never_bought_share" (share that
        goes to items without a train event).
    """
    items, total = len(shown), max(int(shown.sum()), 1)
    ascending = np.sort(shown)
    gini = float((2 * np.arange(1, items + 1) - items - 1) @ ascending) / (items * total)
    popular = np.argsort(-popularity, kind="stable")[: max(items // 10, 1)]
    return {"gini": gini, "popular_share": float(shown[popular].sum() / total),
            "never_bought_share": float(shown[popularity == 0].sum() / total)}


def tail_items(data: SnapshotData) -> Mask:
    """Mask [items]: behind the items that take the first 80 % of the train events, best-selling first.

    All train events count, returns too, and of equally frequent items the one met first (by user, then
    time) goes first: to the letter what the measuring protocol does.
    """
    trained = data.histories.item[data.histories.split == TRAIN]
    found, first, count = np.unique(trained, return_index=True, return_counts=True)
    order = np.lexsort((first, -count))
    mask = np.zeros(data.num_items, bool)
    mask[found[order[np.cumsum(count[order]) > HEAD_SHARE * count.sum()]]] = True
    return mask


def slice_masks(data: SnapshotData, queries: Queries) -> dict[str, Mask]:
    """The targets [targets] of each slice.

    By the context's length in events: new_user (none), short_history_1_to_4, long_history_20_up. By
    the target: new_item (no train event at all) and tail_item (see `tail_items`).
    """
    length = (queries.end - queries.start)[queries.target_query]
    item = data.histories.item[queries.target_event]
    trained = np.bincount(data.histories.item[data.histories.split == TRAIN], minlength=data.num_items)
    return {
        "new_user": length == 0,
        "short_history_1_to_4": (length > 0) & (length < 5),
        "long_history_20_up": length >= 20,
        "new_item": trained[item] == 0,
        "tail_item": tail_items(data)[item],
    }


def slices(rank: Ranks, masks: Mapping[str, Mask], k: int = SLICE_K) -> dict[str, dict[str, float]]:
    """Events, recall@k and ndcg@k of each slice; only the count where a slice is empty."""
    figures = gains(rank, [k])
    found: dict[str, dict[str, float]] = {}
    for name, mask in masks.items():
        means = {metric: float(gain[mask].mean()) for metric, gain in figures.items()} if mask.any() else {}
        found[name] = {"events": int(mask.sum()), **means}
    return found


def metrics(top: npt.NDArray[np.int32], rank: Ranks, num_items: int, ks: Sequence[int]) -> dict[str, float]:
    """recall@k, ndcg@k and coverage@k for each k.

    Raises:
        ValueError: there is no target, so that no figure means anything.
    """
    if not len(rank):
        raise ValueError("there are no evaluated events: no metric can be computed")
    figures = {name: float(gain.mean()) for name, gain in gains(rank, ks).items()}
    return figures | {f"coverage@{k}": coverage(top, k, num_items) for k in ks}


def intervals(
    figures: Mapping[str, npt.NDArray[np.float64]], user: npt.NDArray[np.integer[Any]], samples: int, seed: int
) -> dict[str, list[float]]:
    """95 % intervals [low, high] of the means of `figures` ([targets] each), by users: models/resampling.py."""
    columns = np.stack([*figures.values(), np.ones(len(user))], axis=1)
    drawn = resampled_sums(user, columns, samples, seed)
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(drawn[:, :-1] / drawn[:, -1:], [tail, 100 - tail], axis=0)
    return {name: [float(a), float(b)] for name, a, b in zip(figures, low, high, strict=True)}


def differences(
    ours: Ranks, theirs: Ranks, user: npt.NDArray[np.integer[Any]], ks: Sequence[int], *, samples: int, seed: int
) -> dict[str, dict[str, float]]:
    """Paired differences (ours - theirs) of recall@k and ndcg@k: {"mean", "low", "high"} for each metric."""
    theirs_by_name = gains(theirs, ks)
    paired = {name: gain - theirs_by_name[name] for name, gain in gains(ours, ks).items()}
    bounds = intervals(paired, user, samples, seed)
    return {name: {"mean": float(gain.mean()), "low": bounds[name][0], "high": bounds[name][1]}
            for name, gain in paired.items()}
