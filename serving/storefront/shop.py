"""What each page shows, as plain values; no HTTP and no HTML."""

import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import numpy as np

from pipelines.columns import ARRIVES
from pipelines.errors import DataError, Unanswerable
from pipelines.moments import moment_of
from serving import questions
from serving.answers import Item, Slate
from serving.asked import UnknownItem
from serving.filters import Filters
from serving.landing import LandingUnavailable
from serving.service import Service
from serving.sessions.contract import Event, SessionsUnavailable
from serving.storefront.cards import NEW, Card, card, category_path, item_path
from serving.storefront.changes import Shift, moves, shifts
from serving.storefront.personas import Persona, personas_of
from serving.storefront.settings import StorefrontSettings
from serving.storefront.visitor import Visitor
from serving.storefront.wishes import told
from serving.view import ReleaseView

BAG_TYPES = ("add_to_cart", "add_to_bag", "cart")
_NEWEST = 60  # items that are new, among which each visitor's own are shown
_ONE_EVENT_S = 2  # a page that is loaded again within so many seconds is one look


@dataclass(frozen=True)
class Step:
    """A click and what it did to the row.

    Attributes:
        verb: what the visitor did.
        card: of the item.
        entered, places: how many items of the row were not in it before, and how many it has.
        shifts: labels that the row has more of.
    """

    verb: str
    card: Card
    entered: int
    places: int
    shifts: tuple[Shift, ...]


@dataclass(frozen=True)
class Row:
    """The row that is made for the visitor, and how it came to be."""

    cards: list[Card]
    slate: Slate
    steps: list[Step]


class Storefront:
    """The pages of one shop."""

    def __init__(self, service: Service, settings: StorefrontSettings) -> None:
        self.service, self.settings = service, settings
        # Of the release before, too: a visitor may be between two pages while it changes.
        self._chosen = lru_cache(maxsize=2)(lambda view, erased: personas_of(view, settings.personas, erased))

    def frame(self, visitor: Visitor) -> dict[str, Any]:
        """What every page shows around its content."""
        view = self.service.view()
        categories = self.service.categories().categories
        live = self.service.live_release()
        return {
            "shop": self.settings.name, "categories": [(c.name, category_path(c.name)) for c in categories],
            "personas": self._personas(view), "persona": self._persona(visitor, view), "live": live,
            "can_search": live.search is None, "can_search_pictures": live.pictures is None,
            "style": "/storefront/shop.css", "script": "/storefront/shop.js",
        }

    def home(self, visitor: Visitor) -> dict[str, Any]:
        """The row for the visitor, what others choose, and what is new; nothing twice."""
        row = self.row(visitor)
        shown = tuple(one.item_id for one in row.cards)
        trending = self.service.recommend(questions.Recommend(k=self.settings.row, filters=Filters(exclude=shown)))
        return {"row": row, "trending": self._cards(trending.items), "arrivals": self._arrivals(visitor, (
            *shown, *(item.item_id for item in trending.items)))}

    def product(self, visitor: Visitor, item_id: str) -> dict[str, Any]:
        """An item with what is like it and what goes with it; looking at it is an event.

        Raises:
            UnknownItem: the release does not know it.
        """
        detail, view = self.service.item(item_id), self.service.view()
        # A look that cannot be kept closes no page; the row's own notice tells it.
        with suppress(SessionsUnavailable, LandingUnavailable):
            self.tell(visitor, item_id, view.look_type)
        similar = self.service.similar(item_id, self.settings.row)
        near = {item.item_id for item in similar.items}
        # What a basket asks for and what is like the item overlap; each is shown once.
        basket = self.service.basket([item_id], self.settings.row * 2)
        goes = [item for item in basket.items if item.item_id not in near]
        told = {detail.title, detail.category, detail.brand, detail.price}
        attributes = dict(detail.attributes)
        description = attributes.pop("description", None)
        return {
            "item": card(view, _item(view, item_id), self.settings.currency), "detail": detail,
            "description": description,
            "attributes": [(name.replace("_", " "), ", ".join(value) if isinstance(value, list) else value)
                           for name, value in attributes.items()
                           if isinstance(value, list) or value not in told],
            "category_path": category_path(detail.category) if detail.category else None,
            "similar": self._cards(similar.items), "goes": self._cards(goes[: self.settings.row]),
            "can_bag": self._bag_type(view) is not None, "in_bag": self._is_in_bag(visitor, view, item_id),
            "row": self.row(visitor),
        }

    def category(self, visitor: Visitor, name: str, more: int) -> dict[str, Any]:
        """A category in the visitor's own order.

        Args:
            visitor: who asks.
            name: of the category.
            more: how often "show more" was chosen.

        Raises:
            UnknownItem: the release has no such category.
        """
        known = {c.name: c.items for c in self.service.categories().categories}
        if name not in known:
            raise UnknownItem(f"there is no category {name!r} here")
        k = min(self.settings.page * (more + 1), questions.MAX_K)
        slate = self._recommend(visitor, k, filters=Filters(category=(name,)), exclude_seen=())
        has_more = len(slate.items) == k < min(slate.filtered.allowed, questions.MAX_K)
        return {"name": name, "count": known[name], "cards": self._cards(slate.items), "slate": slate,
                "more": f"{category_path(name)}?more={more + 1}" if has_more else None}

    def search(self, text: str) -> dict[str, Any]:
        """What typed words ask for."""
        found: list[Card] = []
        problem = slate = None
        try:
            slate = self.service.search(questions.Search(text=text, k=self.settings.page))
            found = self._cards(slate.items)
        except (DataError, Unanswerable) as error:
            problem = str(error).removeprefix("text: ")
        return {"text": text, "cards": found, "problem": problem, "slate": slate}

    def discover(self, visitor: Visitor, text: str) -> dict[str, Any]:
        """What a wish in words asks for, and how it was understood; the next one refines it."""
        slate = self.service.discover(questions.Discover(text=text, user_id=visitor.session, k=self.settings.page))
        return {"text": text, "cards": self._cards(slate.items), "problem": None, "slate": slate,
                "told": told(slate, self.settings.currency), "is_wish": True}

    def search_picture(self, data: bytes, name: str) -> dict[str, Any]:
        """Whose picture is like an uploaded one."""
        found: list[Card] = []
        problem = slate = None
        try:
            slate = self.service.search_image(data, self.settings.page)
            found = self._cards(slate.items)
        except (DataError, Unanswerable) as error:
            problem = str(error)
        return {"picture_name": name, "cards": found, "problem": problem, "slate": slate}

    def picture(self, item_id: str) -> tuple[bytes, str] | None:
        """An item's picture and the digest of the bundle that it is of; None where there is none."""
        view = self.service.view()
        row, photos = view.row(item_id), view.bundle.photos
        data = photos.of(row) if photos is not None and row is not None else None
        return (data, view.bundle.digest) if data is not None else None

    def tell(self, visitor: Visitor, item_id: str, event_type: str) -> None:
        """Keep an event of the session.

        Raises:
            UnknownItem: the release does not know the item.
            SessionsUnavailable, LandingUnavailable: it cannot be kept at present.
        """
        view = self.service.view()
        if view.row(item_id) is None:
            raise UnknownItem(f"release {view.number} does not know the item {item_id!r}")
        moment = int(time.time()) // _ONE_EVENT_S
        event_id = uuid.uuid5(uuid.NAMESPACE_OID, f"{visitor.session}/{item_id}/{event_type}/{moment}").hex
        self.service.add_events(questions.NewEvents(events=(questions.NewEvent(
            event_id=event_id, user_id=visitor.session, item_id=item_id, event_type=event_type),)))

    def look(self, visitor: Visitor, item_id: str) -> None:
        """A look at an item without opening its page; see `tell`."""
        self.tell(visitor, item_id, self.service.view().look_type)

    def bag(self, visitor: Visitor, item_id: str) -> None:
        """Put an item into the bag; see `tell`.

        Raises:
            UnknownItem: the release knows no event of that type.
        """
        event_type = self._bag_type(self.service.view())
        if event_type is None:
            raise UnknownItem(f"this shop's log has no events of the types {', '.join(BAG_TYPES)}")
        self.tell(visitor, item_id, event_type)

    def row(self, visitor: Visitor) -> Row:
        """The row for the visitor, with the effect of the last clicks."""
        view, k = self.service.view(), self.settings.row
        clicks = [click for click in self.service.shoppers.history(visitor.session, [])
                  if click.item_id in view.bundle.rows and click.event_type in view.type_codes]
        # What was looked at just now need not be recommended.
        met = [click.item_id for click in clicks]
        slate = self._recommend(visitor, k, explain=True, filters=_without(met))
        first = max(0, len(clicks) - self.settings.steps)
        clicks = clicks[first:]
        # At the moment of a click it has not happened yet: what is asked for then is the row before it.
        rows = [self._recommend(visitor, k, time=moment_of(click.time_us),
                                filters=_without(met[: first + place]))
                for place, click in enumerate(clicks)] + [slate]
        rose = moves(rows[-2].items, slate.items) if clicks else [0] * len(slate.items)
        cards = [card(view, item, self.settings.currency, NEW if places is None else places)
                 for item, places in zip(slate.items, rose, strict=True)]
        if not slate.known_events:
            # Of somebody unknown there is no taste to speak of.
            cards = [replace(one, why=None) for one in cards]
        steps = [self._step(view, click, before, after)
                 for click, before, after in zip(clicks, rows[:-1], rows[1:], strict=True)]
        return Row(cards, slate, steps[::-1])

    def _step(self, view: ReleaseView, click: Event, before: Slate, after: Slate) -> Step:
        verb = {view.look_type: "You looked at"}.get(click.event_type, "You put into your bag" if (
            click.event_type in BAG_TYPES) else f"You did {click.event_type.replace('_', ' ')}:")
        entered = sum(places is None for places in moves(before.items, after.items))
        return Step(verb, card(view, _item(view, click.item_id), self.settings.currency), entered, len(after.items),
                    tuple(shifts(before, after)))

    def _recommend(self, visitor: Visitor, k: int, **rest: Any) -> Slate:
        persona = self._persona(visitor, self.service.view())
        events = persona.events(rest.get("time") or datetime.now(UTC)) if persona is not None else ()
        return self.service.recommend(questions.Recommend(user_id=visitor.session, events=events, k=k, **rest))

    def _arrivals(self, visitor: Visitor, shown: Sequence[str]) -> list[Card]:
        """The visitor's own among the newest items; none where the shop does not say when items arrive."""
        newest = _newest(self.service.view())
        if not newest:
            return []
        slate = self._recommend(visitor, self.settings.row, filters=Filters(include=newest, exclude=tuple(shown)))
        return self._cards(slate.items)

    def _personas(self, view: ReleaseView) -> tuple[Persona, ...]:
        chosen: tuple[Persona, ...] = self._chosen(view, self.service.shoppers.erased())
        return chosen

    def _persona(self, visitor: Visitor, view: ReleaseView) -> Persona | None:
        return next((one for one in self._personas(view) if one.key == visitor.persona), None)

    def _bag_type(self, view: ReleaseView) -> str | None:
        return next((name for name in BAG_TYPES if name in view.type_codes), None)

    def _is_in_bag(self, visitor: Visitor, view: ReleaseView, item_id: str) -> bool:
        name = self._bag_type(view)
        return any(event.item_id == item_id and event.event_type == name
                   for event in self.service.shoppers.history(visitor.session, []))

    def _cards(self, items: Sequence[Item]) -> list[Card]:
        view = self.service.view()
        return [card(view, item, self.settings.currency) for item in items]


def _without(item_ids: Sequence[str]) -> Filters:
    return Filters(exclude=tuple(dict.fromkeys(item_ids)))


def _item(view: ReleaseView, item_id: str) -> Item:
    row = view.row(item_id)
    if row is None:
        raise UnknownItem(f"release {view.number} does not know the item {item_id!r}")
    return view.item(row, 0.0)


@lru_cache(maxsize=2)
def _newest(view: ReleaseView) -> tuple[str, ...]:
    """Ids of the items that arrived last, the newest first."""
    table = view.bundle.items
    if ARRIVES not in table.column_names:
        return ()
    times = table.column(ARRIVES).cast("int64").fill_null(0).to_numpy()
    order = np.argsort(-times, kind="stable")[:_NEWEST]
    return tuple(view.bundle.item_ids[row] for row in order if times[row] > 0)


__all__ = ["BAG_TYPES", "Row", "Step", "Storefront", "item_path"]
