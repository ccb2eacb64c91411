"""Shadow replay: the last day's requests once more, to the live bundle and to the challenger.

Evidence for people, and no part of the decision: nobody was shown these lists, so they say how much would change and
not whether it is for the better.
"""

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from models.bundle_scorer import user_tokens
from pipelines.contracts import Sealed
from pipelines.progress import log
from pipelines.requests import Shoppers, users_table
from pipelines.snapshot import SnapshotData
from pipelines.trial import ask
from serving.bundle import Bundle
from serving.probe import NO_ITEM

K = 10
_DAY_US = int(timedelta(days=1) / timedelta(microseconds=1))


def last_day(data: SnapshotData, as_of_us: int, count: int, seed: int) -> Shoppers:
    """Up to `count` moments of the day before the last event at which a shopper did something.

    Of each, the shopper's events at strictly earlier times are known. The day ends with the log, not with `as_of`,
    so that a window that ends in a quiet hour still has a day to replay.
    """
    h = data.histories
    last = int(h.time.max(initial=as_of_us - _DAY_US))
    events = np.flatnonzero(h.time > last - _DAY_US)
    user = np.searchsorted(h.indptr, events, side="right") - 1
    # One request an instant, however long the basket.
    _, first = np.unique(np.stack([user, h.time[events]]), axis=1, return_index=True)
    if len(first) > count:
        first = np.sort(np.random.default_rng(seed).choice(first, count, replace=False))
    events, user = events[first], user[first]
    start, now = h.indptr[user], h.time[events]
    ends = [s + np.searchsorted(h.time[s : e + 1], t) for s, e, t in zip(start, events, now, strict=True)]
    return Shoppers(user, np.asarray(start), np.array(ends, np.int64), np.asarray(now))


def replay(sealed: Sealed, champion: Path, count: int, seed: int) -> dict[str, Any]:
    """Both bundles' lists for the last day's requests, compared.

    Args:
        sealed: the challenger.
        champion: folder of the live bundle.
        count, seed: requests, at most, and of their sampling.

    Returns:
        requests; overlap (mean share of the first 10 that both show); same_first and unchanged (shares of the
        requests whose first item, whose ten in their order, are the same); by_overlap (requests that share 0, 1,
        ..., 10 items); new_items and gone_items (different items that only the challenger, only the champion shows).

    Raises:
        BundleRefused: one of the bundles does not answer.
    """
    snapshot = sealed.registered.evaluated.trained.snapshot
    data = SnapshotData.load(snapshot.path)
    shoppers = last_day(data, int(snapshot.window.as_of.timestamp() * 1_000_000), count, seed)
    lists = []
    for folder in (Path(sealed.path), champion):
        tokens = user_tokens(Bundle.load(folder), data, users_table(snapshot))
        lists.append(ask(folder, shoppers.named(data, tokens), K)[0])
    ours, theirs = ([[item for item in line if item != NO_ITEM] for line in found.tolist()] for found in lists)
    shared = np.array([len({*a} & {*b}) for a, b in zip(ours, theirs, strict=True)])
    shown = [{item for line in found for item in line} for found in (ours, theirs)]
    found = {
        "requests": len(shared), "overlap": float(shared.mean() / K),
        "same_first": float(np.mean([a[:1] == b[:1] for a, b in zip(ours, theirs, strict=True)])),
        "unchanged": float(np.mean([a == b for a, b in zip(ours, theirs, strict=True)])),
        "by_overlap": np.bincount(shared, minlength=K + 1).tolist(),
        "new_items": len(shown[0] - shown[1]), "gone_items": len(shown[1] - shown[0]),
    }
    log.info("gate: replay of %s requests of the last day: overlap@%d %.3f, same first item %.3f",
             f"{len(shared):,}", K, found["overlap"], found["same_first"])
    return found
