"""With what a refreshed bundle is asked: shoppers of the base's panel, words and pictures of today's products."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pipelines.refresh.items import Base, Rows
from pipelines.search_spaces import PICTURES, SHOPPERS, WORDS, Space
from serving.bundle import Bundle
from serving.bundle_files import INDEX, ITEM_VECTORS, PICTURE_INDEX, TEXT_INDEX
from serving.doors import ITEM_TEXT, PICTURE_VECTORS
from serving.encoding import Floats, encode
from serving.panel import Panel, Shopper
from serving.query_encoder import QueryEncoder
from serving.recommender import Request
from serving.user_tower import UserTower

_BATCH = 256
_WORDS = 3  # of a product, that are typed


def user_vectors(bundle: Bundle, requests: Sequence[Request]) -> Floats:
    """User vectors [requests, D] by the bundle's own tower and inputs."""
    tower, parts = UserTower(bundle.path / "user_tower.tflite"), []
    for first in range(0, len(requests), _BATCH):
        part = requests[first : first + _BATCH]
        now = np.array([request.now_us for request in part], np.int64)
        tokens = np.stack([request.user_tokens for request in part]).astype(np.int32)
        parts.append(tower.vectors(encode([r.history for r in part], now, tokens, bundle.item_inputs, bundle.limits)))
    return np.concatenate(parts)


def shoppers(base: Base, panel: Panel, count: int) -> Panel:
    """Up to `count` histories: each of the panel's and its beginnings, then one event of evenly spaced products."""
    beginnings = [Shopper(**{name: values[:end] for name, values in one})
                  for one in panel.shoppers for end in range(len(one.items), 0, -1)]
    beginnings = [beginnings[place] for place in spaced(len(beginnings), count)]
    kind = max(base.bundle.spec["event_weights"], key=base.bundle.spec["event_weights"].__getitem__)
    rows = spaced(base.bundle.num_items, count - len(beginnings))
    single = [Shopper(items=(base.bundle.item_ids[row],), types=(kind,), weights=(1.0,), seconds_before=(3600,))
              for row in rows]
    return Panel(shoppers=(*beginnings, *single))


def spaces(base: Base, panel: Panel, words: Sequence[Sequence[str]] | None, out: Path, queries: int) -> Iterator[Space]:
    """The spaces of the bundle in `out`, each with at most so many queries.

    Args:
        base: that the bundle is made of.
        panel: its histories, without who was erased.
        words: of some of today's items; None where words are not searched by.
        out: the bundle in the making, with all vectors.
        queries: at most, a space.
    """
    bundle = base.bundle
    named = shoppers(base, panel, queries).requests(bundle.limits.user_slots)
    yield Space(SHOPPERS, INDEX, (ITEM_VECTORS,), user_vectors(bundle, [one.of(bundle) for one in named]))
    if words is not None:
        encoder = QueryEncoder.load(out)
        yield Space(WORDS, TEXT_INDEX, (ITEM_VECTORS, ITEM_TEXT),
                    np.stack([encoder.of_words(list(own)[:_WORDS]) for own in words]))
    if bundle.pictures is not None:
        shown = np.load(out / PICTURE_VECTORS, allow_pickle=False)
        yield Space(PICTURES, PICTURE_INDEX, (PICTURE_VECTORS,), shown[spaced(len(shown), queries)])


def spaced(number: int, count: int) -> Rows:
    """Up to `count` of `number` places, evenly spaced."""
    fewer = max(min(count, number), 0)
    return np.unique(np.linspace(0, max(number - 1, 0), fewer).astype(np.int64))
