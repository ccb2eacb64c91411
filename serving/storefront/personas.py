"""Customers to shop as: a few histories of the release's panel, which holds no user ids and no user features."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from serving import questions
from serving.erased import NOBODY, Erased
from serving.panel import Panel
from serving.panel import Shopper as PanelShopper
from serving.view import ReleaseView

LEAST_EVENTS = 4  # fewer say too little about a taste
MOST_EVENTS = 60
# A session always lies after the history that it continues.
_REST = timedelta(days=1)


@dataclass(frozen=True)
class Persona:
    """A customer of the shop, without a name.

    Attributes:
        key: what a cookie holds.
        name: what people read.
        story: what the customer did, in a few words.
        history: item ids, event types and seconds before the asking, oldest first.
    """

    key: str
    name: str
    story: str
    history: tuple[tuple[str, str, int], ...]

    def events(self, now: datetime) -> tuple[questions.Event, ...]:
        """The history as if it had ended a day before `now`."""
        end = now.astimezone(UTC) - _REST
        return tuple(questions.Event(item_id=item, event_type=kind, time=end - timedelta(seconds=seconds))
                     for item, kind, seconds in self.history)


def personas_of(view: ReleaseView, count: int, erased: Erased | None = NOBODY) -> tuple[Persona, ...]:
    """Up to `count` customers of the clearest and most different tastes among those of the panel.

    Who was erased since is not among them; nobody is, as long as that is not known (None).
    """
    if erased is None:
        return ()
    panel = Panel.load(view.bundle.path).without(erased.hides).known_to(set(view.bundle.rows))
    found: list[tuple[float, str, PanelShopper, Counter[str]]] = []
    for shopper in panel.shoppers:
        liked = [item for item, weight in zip(shopper.items, shopper.weights, strict=True) if weight > 0]
        kinds = Counter(kind for item in liked if (kind := _kind(view, item)) is not None)
        if len(liked) >= LEAST_EVENTS and kinds:
            main, number = kinds.most_common(1)[0]
            found.append((number / len(liked), main, shopper, kinds))
    found.sort(key=lambda one: -one[0])
    # The clearest of each main kind first, then whoever is left.
    clearest: dict[str, tuple[float, str, PanelShopper, Counter[str]]] = {}
    for one in found:
        clearest.setdefault(one[1], one)
    first = list(clearest.values())
    chosen = [*first, *(one for one in found if one not in first)][:count]
    return tuple(
        Persona(chr(ord("a") + place), f"Customer {chr(ord('A') + place)}", _story(view, shopper),
                _last(shopper))
        for place, (_, _, shopper, _) in enumerate(chosen))


def _last(shopper: PanelShopper) -> tuple[tuple[str, str, int], ...]:
    events = zip(shopper.items, shopper.types, shopper.seconds_before, strict=True)
    return tuple(events)[-MOST_EVENTS:]


def _kind(view: ReleaseView, item: str) -> str | None:
    row = view.row(item)
    shown = view.item(row, 0.0) if row is not None else None
    return (shown.category or shown.brand) if shown is not None else None


def _story(view: ReleaseView, shopper: PanelShopper) -> str:
    """Such as "bought 3 bags, 1 belts; looked at 5 more"."""
    bought = [item for item, kind in zip(shopper.items, shopper.types, strict=True) if kind in view.purchase_types]
    rest = len(shopper.items) - len(bought)
    parts = []
    if bought:
        parts.append(f"bought {_counted(view, bought)}")
    if rest:
        parts.append(f"{rest} other visits" if bought else f"looked at {_counted(view, list(shopper.items))}")
    return ", ".join(parts)


def _counted(view: ReleaseView, items: Sequence[str]) -> str:
    kinds = Counter(_kind(view, item) or "others" for item in items)
    return ", ".join(f"{number} {kind.lower()}" for kind, number in kinds.most_common(2))
