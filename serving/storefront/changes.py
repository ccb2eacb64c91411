"""How a row differs from the one before a click."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from serving.answers import Item, Slate

MOST_SHIFTS = 2


@dataclass(frozen=True)
class Shift:
    """How often a label stands in a row, before and after."""

    label: str
    before: int
    after: int


def moves(before: Sequence[Item], after: Sequence[Item]) -> list[int | None]:
    """For each item of `after`, how many places it rose (below 0: fell); None where it is new in the row."""
    places = {item.item_id: place for place, item in enumerate(before)}
    return [places[item.item_id] - place if item.item_id in places else None for place, item in enumerate(after)]


def shifts(before: Slate, after: Slate) -> list[Shift]:
    """Categories and brands that a row has more of than before, the greatest growth first."""
    counts = [_labels(slate.items) for slate in (before, after)]
    grown = [Shift(label, counts[0][label], number) for label, number in counts[1].items() if number > counts[0][label]]
    return sorted(grown, key=lambda shift: (shift.before - shift.after, shift.label))[:MOST_SHIFTS]


def _labels(items: Sequence[Item]) -> Counter[str]:
    return Counter(label for item in items for label in (item.category, item.brand) if label)
