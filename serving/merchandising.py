"""A slate by score and by rules: the same few lines serve shoppers and measure what a rule costs."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from serving.catalogue import Bools, Labels, fold
from serving.diversity import diversified
from serving.encoding import Floats, History
from serving.filters import rows_of
from serving.finder import Found
from serving.retriever import Rows
from serving.rules import Boost, Cap, PriceBand, Rules
from serving.view import ReleaseView

POOL = 5  # candidates a place that rules choose from
_WIDER = 4  # times as many, where caps leave too few
_PRICED = 20  # last events whose prices say what a shopper looks at


@dataclass(frozen=True)
class Arranged:
    """Rows [<= k] and scores in the order of the slate, and which of the rows a rule has put there."""

    found: Found
    pinned: frozenset[int]


def arranged(
    view: ReleaseView, vector: Floats, history: History, k: int, *, mask: Bools | None, never: Rows, rules: Rules,
    pool: int = POOL,
) -> Arranged:
    """The best k items for a shopper under rules.

    Args:
        view: the release; it has the columns that the rules name.
        vector: [D] of the shopper.
        history: whose prices a band of prices is about.
        k: places.
        mask: [items] what the request lets through; None for everything.
        never: rows that must not be shown.
        rules: that hold. Pins keep to `mask` and `never`, and to no other rule.
        pool: candidates a place that rules choose from.

    Raises:
        DataError: the release has no such column.
    """
    pins = _pins(view, rules, k, mask, never)
    taken = np.union1d(never, np.array(list(pins.values()), np.int64)) if pins else never
    places = k - len(pins)
    band = _band(view, history, rules.price_band) if rules.price_band is not None else None
    allowed = mask if band is None else band if mask is None else mask & band
    caps = [_Capped(cap, view.catalogue.labels(cap.column)) for cap in rules.caps]
    for cap in caps:
        cap.count(pins.values())
    size = places * (pool if rules.boosts or rules.caps or rules.diversity else 1)
    while True:
        candidates = _candidates(view, vector, max(size, 1), allowed, taken, rules.boosts)
        order = _order(view, candidates, places, rules, bool(caps))
        if not caps:
            break
        kept = list(_within(candidates.rows[order], caps, places))
        if len(kept) >= places or len(candidates.rows) >= candidates.allowed or size >= view.bundle.num_items:
            order = order[np.array(kept, np.int64)]
            break
        size *= _WIDER
    own, scores = candidates.rows[order][:places], candidates.scores[order][:places]
    for place, row in sorted(pins.items()):
        at = min(place - 1, len(own))
        own, scores = np.insert(own, at, row), np.insert(scores, at, view.bundle.item_vectors[row] @ vector)
    return Arranged(Found(own, scores, candidates.how, candidates.allowed + len(pins)), frozenset(pins.values()))


def _pins(view: ReleaseView, rules: Rules, k: int, mask: Bools | None, never: Rows) -> dict[int, int]:
    """Place -> row of the pins that may be shown; of two pins of one place or item the first counts."""
    found: dict[int, int] = {}
    for pin in rules.pins:
        for row in rows_of((pin.item_id,), view.bundle).tolist():
            is_free = pin.place <= k and pin.place not in found and row not in found.values()
            if is_free and (mask is None or mask[row]) and not np.isin(row, never):
                found[pin.place] = row
    return found


def _band(view: ReleaseView, history: History, band: PriceBand) -> Bools | None:
    """Mask [items] of a band of prices; None where nothing of the shopper says where it lies."""
    if view.catalogue.price is None:
        return None
    prices = view.catalogue.numbers(view.catalogue.price)
    known = prices[history.item[history.weight > 0][-_PRICED:]]
    known = known[~np.isnan(known)]
    if not len(known):
        return None
    middle = float(np.median(known))
    mask: Bools = ~((prices < middle * band.low) | (prices > middle * band.high))
    return mask


def _candidates(
    view: ReleaseView, vector: Floats, size: int, allowed: Bools | None, never: Rows, boosts: Sequence[Boost]
) -> Found:
    """The best by score, and of each boosted label its own best; scores with what boosts add, best first."""
    found = view.shoppers.find(vector, size, allowed, never)
    if not boosts or not len(found.rows):
        return found
    masks = [view.catalogue.labels(boost.column).having(boost.labels) for boost in boosts]
    rows = [found.rows]
    for boost, mask in zip(boosts, masks, strict=True):
        if boost.worth > 0:
            rows.append(view.shoppers.find(vector, size, mask if allowed is None else mask & allowed, never).rows)
    every = np.unique(np.concatenate(rows))
    unit = view.spread(vector)
    scores = view.bundle.item_vectors[every] @ vector
    for boost, mask in zip(boosts, masks, strict=True):
        scores = scores + np.float32(boost.worth * unit) * mask[every]
    best = np.argsort(-scores, kind="stable")
    return Found(every[best], scores[best].astype(np.float32), found.how, found.allowed)


def _order(view: ReleaseView, candidates: Found, places: int, rules: Rules, is_capped: bool) -> Rows:
    """Positions of the candidates in the order in which places are given away."""
    number = len(candidates.rows)
    if not rules.diversity:
        return np.arange(number, dtype=np.int64)
    vectors = view.bundle.item_vectors[candidates.rows, :-1]
    return diversified(candidates.scores, vectors, number if is_capped else places, rules.diversity)


class _Capped:
    """A cap while a slate is filled."""

    def __init__(self, cap: Cap, labels: Labels) -> None:
        self.most, self.labels = cap.most, labels
        self.codes = {labels.codes[fold(label)] for label in cap.labels if fold(label) in labels.codes}
        self.is_of_all = not cap.labels
        self.filled: Counter[int] = Counter()

    def of(self, row: int) -> list[int]:
        """Labels of an item that are counted."""
        return [code for code in self.labels.of(row) if self.is_of_all or code in self.codes]

    def count(self, rows: Iterable[int]) -> None:
        """Begin with these rows, which stand in the slate already."""
        self.filled = Counter(code for row in rows for code in self.of(row))


def _within(rows: Rows, caps: Sequence[_Capped], places: int) -> Iterator[int]:
    """Positions of the first rows that no cap refuses."""
    filled = [Counter(cap.filled) for cap in caps]
    given = 0
    for position, row in enumerate(rows.tolist()):
        if given >= places:
            return
        own = [cap.of(row) for cap in caps]
        if all(count[code] < cap.most for cap, codes, count in zip(caps, own, filled, strict=True) for code in codes):
            for codes, count in zip(own, filled, strict=True):
                count.update(codes)
            given += 1
            yield position
