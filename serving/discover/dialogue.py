"""A conversation: each text refines what was asked before it in the same session.

A label takes the place of what was asked for in its column ("in red"), an exclusion adds to those there are, a bound
replaces the one on its side. A text that names a category begins anew: what was asked of bags says little of shoes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipelines.contracts import Document
from serving.catalogue import Bools, Catalogue
from serving.discover.prices import Asked
from serving.discover.reading import Part, Reading, Unheard
from serving.discover.wish import Wish, met
from serving.query_text import MAX_CHARACTERS

REMEMBERED = 50  # items shown, that a follow-up may speak of
_THIRDS = {"low": 100 / 3, "high": 200 / 3}  # percentiles of the price that are "cheap" and "expensive"


class Conversation(Document):
    """What a session store keeps until the follow-up: what is asked for, and the items that were shown."""

    wish: Wish = Wish()
    shown: tuple[str, ...] = ()


@dataclass(frozen=True)
class Turn:
    """One text, applied.

    Attributes:
        wish: what is asked for now.
        parts: what was understood, references resolved.
        unheard: what was not done, and why.
        is_follow_up: it went on from what was asked before.
    """

    wish: Wish
    parts: tuple[Part, ...]
    unheard: tuple[Unheard, ...]
    is_follow_up: bool


def turn(
    before: Conversation, reading: Reading, catalogue: Catalogue, base: Bools, spoken_of: str | None = None
) -> Turn:
    """Apply a text to a conversation.

    Args:
        before: what was asked and shown until now.
        reading: of the text.
        catalogue: of the release that answers now, which need not be the one that answered before.
        base: mask [items] of what may be shown at all.
        spoken_of: the item that "this" means, where the text is typed on an item's page.
    """
    return _Turning(before, reading, catalogue, base, spoken_of).turned()


class _Turning:
    def __init__(
        self, before: Conversation, reading: Reading, catalogue: Catalogue, base: Bools, spoken_of: str | None
    ) -> None:
        self.before, self.reading, self.catalogue, self.base = before, reading, catalogue, base
        self.spoken_of = spoken_of
        names_category = any(part.kind == "label" and part.column == catalogue.category and not part.is_excluded
                             for part in reading.parts)
        wish = Wish() if names_category else before.wish
        self.is_follow_up = not names_category and before != Conversation()
        self.wanted, self.unwanted = dict(wish.wanted), dict(wish.unwanted)
        self.low, self.high, self.like, self.text = wish.low, wish.high, wish.like, wish.text
        self.named: set[str] = set()  # columns that this text has asked for labels of
        self.unheard = list(reading.unheard)
        self._forget_strangers()

    def turned(self) -> Turn:
        done: dict[int, Part] = {}
        # What is cheap is said of what everything else lets through.
        last = sorted(range(len(self.reading.parts)),
                      key=lambda place: (price := self.reading.parts[place].price) is not None
                      and price.level is not None)
        for place in last:
            part = self.reading.parts[place]
            why, found = self._apply(part)
            if why is None:
                done[place] = found
            else:
                self.unheard.append(Unheard(said=part.said, why=why))
        if self.reading.left:
            self.text = f"{self.text} {self.reading.left}".strip()[-MAX_CHARACTERS:]
        return Turn(self._wish(), tuple(done[place] for place in sorted(done)), tuple(self.unheard), self.is_follow_up)

    def _apply(self, part: Part) -> tuple[str | None, Part]:
        """Why a part cannot be done, or None; and the part with what it came to mean."""
        if part.kind == "price":
            return self._price(part)
        if part.kind in ("like", "same_as"):
            return self._same(part)
        if part.kind == "any":
            self._lift(part.column)
        else:
            self._label(part)
        return None, part

    def _same(self, part: Part) -> tuple[str | None, Part]:
        """Be like an item that was shown, or have its labels in a column."""
        item = self._item(part.place)
        if item is None:
            return "no such item was shown", part
        if part.kind == "like":
            self.like = item
            return None, part
        labels = self.catalogue.labels(str(part.column))
        own = tuple(labels.values[code] for code in labels.of(self.catalogue.bundle.rows[item]))
        if not own:
            return f"the item {item} has no {part.column}", part
        resolved = part.model_copy(update={"labels": own})
        self._label(resolved)
        return None, resolved

    def _label(self, part: Part) -> None:
        column, labels = str(part.column), part.labels
        if part.is_excluded:
            self.unwanted[column] = tuple(dict.fromkeys((*self.unwanted.get(column, ()), *labels)))
            self.wanted = _less(self.wanted, column, labels)
            return
        kept = self.wanted.get(column, ()) if column in self.named else ()
        self.wanted[column] = tuple(dict.fromkeys((*kept, *labels)))
        self.unwanted = _less(self.unwanted, column, labels)
        self.named.add(column)

    def _lift(self, column: str | None) -> None:
        if column is None or column == self.catalogue.price:
            self.low = self.high = None
        else:
            self.wanted.pop(column, None)
            self.unwanted.pop(column, None)

    def _price(self, part: Part) -> tuple[str | None, Part]:
        asked = part.price or Asked()
        if self.catalogue.price is None:
            return "the items of this release have no price", part
        if asked.level is not None:
            limit = self._limit(asked, part.place)
            if limit is None:
                word = "less" if asked.level == "low" else "more"
                return f"nothing costs {word} than what it is compared with", part
            asked = asked.model_copy(update={"high" if asked.level == "low" else "low": limit})
        if asked.low is not None and asked.high is not None:
            self.low, self.high = asked.low, asked.high
        elif asked.high is not None:
            self.high = asked.high
            self.low = self.low if self.low is None or self.low <= asked.high else None
        elif asked.low is not None:
            self.low = asked.low
            self.high = self.high if self.high is None or self.high >= asked.low else None
        return None, part.model_copy(update={"price": asked})

    def _limit(self, asked: Asked, place: int | None) -> float | None:
        """The bound that "cheap" or "cheaper" comes to; None where nothing lies beyond what is compared with."""
        prices = self.catalogue.numbers(str(self.catalogue.price))
        than = [item for item in ([self._item(place)] if place is not None else self.before.shown)
                if asked.than_shown and item in self.catalogue.bundle.rows]
        known = prices[[self.catalogue.bundle.rows[item] for item in than if item is not None]]
        known = known[~np.isnan(known)]
        if not len(known):
            let_through, _ = met(self._wish().model_copy(update={"low": None, "high": None}), self.catalogue,
                                 self.base, 1)
            known = prices[let_through & ~np.isnan(prices)]
            return float(np.percentile(known, _THIRDS[str(asked.level)])) if len(known) else None
        middle = float(np.median(known))
        beyond = prices[prices < middle] if asked.level == "low" else prices[prices > middle]
        if not len(beyond):
            return None
        return float(beyond.max() if asked.level == "low" else beyond.min())

    def _item(self, place: int | None) -> str | None:
        """The item at a place of what was shown; without a place the one spoken of, or that stood first."""
        shown = self.before.shown
        if place is None:
            found = self.spoken_of or self.like or (shown[0] if shown else None)
        else:
            found = shown[place] if -len(shown) <= place < len(shown) else None
        return found if found in self.catalogue.bundle.rows else None

    def _forget_strangers(self) -> None:
        """Leave out what this release does not have; another one may have answered before."""
        for asked in (self.wanted, self.unwanted):
            for column in [name for name in asked if name not in self.catalogue.label_columns]:
                self.unheard.append(Unheard(said=", ".join(asked.pop(column)),
                                            why=f"this release has no column {column} any more"))
        if self.like is not None and self.like not in self.catalogue.bundle.rows:
            self.unheard.append(Unheard(said=self.like, why="this release does not have the item any more"))
            self.like = None

    def _wish(self) -> Wish:
        return Wish(text=self.text, wanted=self.wanted, unwanted=self.unwanted, low=self.low, high=self.high,
                    like=self.like)


def _less(
    asked: Mapping[str, tuple[str, ...]], column: str, labels: tuple[str, ...]
) -> dict[str, tuple[str, ...]]:
    """Conditions without some labels of a column; a column of which nothing is left is no condition."""
    left = {name: own if name != column else tuple(one for one in own if one not in labels)
            for name, own in asked.items()}
    return {name: own for name, own in left.items() if own}
