"""How a row moved, by hand."""

from hypothesis import given
from hypothesis import strategies as st

from serving.answers import Filtered, Item, Slate
from serving.storefront.cards import money
from serving.storefront.changes import Shift, moves, shifts


def items(*ids: str) -> list[Item]:
    return [Item(item_id=one, score=0.0) for one in ids]


def slate(*labels: tuple[str | None, str | None]) -> Slate:
    return Slate(release=1, model_version="1", latency_ms=1, filtered=Filtered(catalogue=9, allowed=9, search="exact"),
                 items=tuple(Item(item_id=str(n), score=0.0, category=category, brand=brand)
                             for n, (category, brand) in enumerate(labels)))


def test_what_rose_what_fell_and_what_is_new() -> None:
    assert moves(items("a", "b", "c"), items("c", "a", "x")) == [2, -1, None]
    assert moves(items("a", "b"), items("a", "b")) == [0, 0]


@given(st.permutations("abcdef"), st.permutations("abcdef"))
def test_moves_of_the_same_pieces_cancel_out(before: list[str], after: list[str]) -> None:
    assert sum(places or 0 for places in moves(items(*before), items(*after))) == 0


def test_the_labels_that_grew_most() -> None:
    before = slate(("bags", "Arc"), ("shoes", "Arc"), ("hats", "Belloc"), (None, None))
    after = slate(("bags", "Belloc"), ("bags", "Belloc"), ("bags", "Belloc"), ("shoes", None))
    # Bags 1 to 3, Belloc 1 to 3; shoes stay at 1, and what fell is not told.
    assert shifts(before, after) == [Shift("Belloc", 1, 3), Shift("bags", 1, 3)]
    assert shifts(after, after) == []


def test_prices_as_people_write_them() -> None:
    known = ((1290.0, "EUR"), (99.5, "CHF"), (1234.5, None), (0.1 + 0.2, "USD"), (None, "EUR"))
    assert [money(*one) for one in known] == [
        "€1,290", "99.50 CHF", "1,234.50", "$0.30", None]
