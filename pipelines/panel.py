"""What a bundle carries for comparisons: a panel of histories, and what was measured and set when it was made."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.artifacts import read_json
from pipelines.contracts import Registered, Trained
from pipelines.erasure.exclusion import EVERYBODY, Exclusion
from pipelines.requests import item_ids
from pipelines.snapshot import SnapshotData
from serving.panel import Panel, Shopper

EVENTS = 50  # of a history, the last ones
CHALLENGER = "two_tower"
_SECOND_US = 1_000_000


def draw(trained: Trained, shoppers: int, seed: int, exclusion: Exclusion = EVERYBODY) -> Panel:
    """Histories of up to `shoppers` users, drawn by `seed` among those with any event, without who they are.

    Who was erased since the snapshot was made is not among them.

    The order is by content, so that the place in the panel says nothing about the place in the users' table.
    """
    data = SnapshotData.load(trained.snapshot.path)
    h, now_us = data.histories, int(trained.snapshot.window.as_of.timestamp() * _SECOND_US)
    users = np.flatnonzero((np.diff(h.indptr) > 0) & ~exclusion.users(data))
    drawn = np.random.default_rng(seed).choice(users, min(shoppers, len(users)), replace=False)
    ids, types = item_ids(data), data.spec["event_types"]
    found = []
    for user in drawn:
        events = slice(max(h.indptr[user], h.indptr[user + 1] - EVENTS), h.indptr[user + 1])
        found.append(Shopper(
            items=tuple(str(ids[row]) for row in h.item[events]), types=tuple(types[kind] for kind in h.type[events]),
            weights=tuple(float(weight) for weight in h.weight[events]),
            seconds_before=tuple(int(now_us - time) // _SECOND_US for time in h.time[events])))
    return Panel(shoppers=tuple(sorted(found, key=lambda one: (one.items, one.seconds_before, one.types))))


def figures(registered: Registered, recalls: Mapping[str, float], recall_k: int) -> dict[str, Any]:
    """What a person compares two bundles by and the bundle's own files do not say.

    Args:
        registered: the chain that the bundle is made of.
        recalls: what an index is asked by -> its recall against exact search, at `recall_k`.
    """
    evaluated = registered.evaluated
    measured = read_json(Path(evaluated.path) / "metrics.json").get(CHALLENGER, {})
    return {
        "format": 1, "metrics": measured.get("metrics", {}), "slices": measured.get("slices", {}),
        "settings": read_json(Path(evaluated.trained.path) / "settings.json"),
        "index": {f"{asked_by} recall@{recall_k}": recall for asked_by, recall in recalls.items()},
    }
