"""Items as a page shows them."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from serving.answers import Item, Reason
from serving.view import ReleaseView

_SYMBOLS = {"EUR": "€", "USD": "$", "GBP": "£", "JPY": "¥"}
_WHOLE = 1e-9  # prices that are whole are shown without cents
NEW = "new"


@dataclass(frozen=True)
class Card:
    """One item.

    Attributes:
        href, picture: addresses; no picture where the shop has none of it.
        alt: of the picture.
        move: "new" in the row, "+2" or "-1" places, or None where nothing is told.
        why: what speaks for it, as a sentence.
    """

    item_id: str
    href: str
    title: str
    brand: str | None
    category: str | None
    price: str | None
    picture: str | None
    alt: str
    move: str | None = None
    why: str | None = None


def item_path(item_id: str) -> str:
    """Address of an item's page."""
    return f"/product/{quote(item_id, safe='')}"


def category_path(name: str) -> str:
    """Address of a category's page."""
    return f"/category/{quote(name, safe='')}"


def money(price: float | None, currency: str | None) -> str | None:
    """A price as people write it: €1,290 or 99.50 CHF; None where none is known."""
    if price is None:
        return None
    number = f"{price:,.0f}" if abs(price - round(price)) < _WHOLE else f"{price:,.2f}"
    if currency is None:
        return number
    return f"{_SYMBOLS[currency]}{number}" if currency in _SYMBOLS else f"{number} {currency}"


def picture_path(view: ReleaseView, item: Item) -> str | None:
    """Address of an item's picture: of the release's own, else the shop's where it is on the web."""
    photos, row = view.bundle.photos, view.row(item.item_id)
    if photos is not None and row is not None and photos.has(row):
        # The address changes with the bundle, so that a browser may keep what it has.
        return f"/pictures/{quote(item.item_id, safe='')}?v={view.bundle.digest[:12]}"
    return item.image_url if item.image_url and item.image_url.startswith("https://") else None


def card(view: ReleaseView, item: Item, currency: str | None, move: int | str | None = None) -> Card:
    """A card of an answer's item.

    Args:
        view: the release that answered.
        item: of its answer.
        currency: of the prices.
        move: places that it rose, NEW, or None where nothing is to be told.
    """
    title = item.title or item.item_id
    told = move if isinstance(move, str) or move is None else f"{move:+d}" if move else None
    alt = ", ".join(part for part in (title, item.category) if part)
    return Card(item.item_id, item_path(item.item_id), title, item.brand, item.category, money(item.price, currency),
                picture_path(view, item), alt, told, because(view, item.reasons or ()))


def because(view: ReleaseView, reasons: Sequence[Reason]) -> str | None:
    """The strongest reason in a few words: an event of the shopper, and labels that the shopper's taste prefers."""
    event = next((reason for reason in reasons if reason.kind == "event" and reason.item_id), None)
    labels = [reason.label for reason in reasons if reason.kind == "feature" and reason.label][:2]
    parts = []
    if event is not None and event.item_id is not None and (row := view.row(event.item_id)) is not None:
        did = "bought" if event.event_type in view.purchase_types else "looked at"
        parts.append(f"close to {view.item(row, 0.0).title or event.item_id}, which you {did}")
    if labels:
        parts.append(f"your taste for {' and '.join(labels)}" if not parts else " · ".join(labels))
    return "; ".join(parts) or None
