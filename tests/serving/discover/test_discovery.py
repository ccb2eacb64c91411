"""Wishes put to the arithmetic shop with columns (tests/serving/shop.py), every answer derivable by hand.

Shoes are 1, 5, ..., 37; what is red 1, 6, ..., 36; of leather what is even, of wool every third. Item i costs
10 * (i + 1).
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.catalogue import Catalogue
from serving.discover.dialogue import Conversation, turn
from serving.discover.discovery import Discovery
from serving.discover.lexicon import Lexicon
from serving.discover.reading import read
from serving.discover.wish import Relaxed, Wish
from serving.filters import Filters, Range
from serving.questions import Discover, Event
from serving.service import Service
from serving.shoppers import NO_CONVERSATION
from tests.serving.shop import SOLD_OUT, item, make_service, recommender

Ask = Callable[..., Discovery]


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return make_service(tmp_path)


@pytest.fixture
def ask(service: Service) -> Ask:
    return lambda text, **rest: service.discover(Discover(text=text, **{"user_id": "session"} | rest))


def ids(slate: Discovery) -> list[int]:
    return [int(found.item_id[1:]) for found in slate.items]


def test_labels_and_prices_filter_and_a_denial_excludes(ask: Ask) -> None:
    # Black bags are 0, 20; of wool is 0.
    answer = ask("black bag under 300, no wool")
    assert ids(answer) == [20]
    assert answer.wish == Wish(wanted={"colour": ("black",), "category": ("bags",)}, unwanted={"materials": ("wool",)},
                               high=300)
    assert (answer.filtered.allowed, answer.relaxed, answer.notices) == (1, (), ())
    assert not answer.is_follow_up and answer.is_remembered
    assert [part.said for part in answer.parts] == ["black", "bag", "under 300", "wool"]


def test_the_rest_is_searched_and_the_shopper_decides_among_equals(ask: Ask) -> None:
    # Nothing is left of "shoes" to search by: the prior decides, and for who looked at red things nothing else either.
    assert ids(ask("shoes", k=3)) == [1, 5, 9]
    # Bags and shoes at least 350; of two bags and two shoes, a shopper of shoes gets them first.
    hers = ask("bags or shoes over 330", k=4, events=[Event(item_id=item(1), event_type="view")])
    assert ids(hers) == [33, 37, 32]  # 36 is sold out
    assert ids(ask("bags or shoes over 330", k=4)) == [32, 33, 37]


def test_a_conversation_is_refined_step_by_step(ask: Ask) -> None:
    assert ids(ask("red shoes")) == [1, 21]
    # The middle of what was shown costs 120; of prices below it, 110 is the highest.
    cheaper = ask("cheaper")
    assert (ids(cheaper), cheaper.wish.high, cheaper.is_follow_up) == ([1], 110, True)
    blue = ask("in blue")  # in place of red: 9 for 100, and 29, which is too dear
    assert (ids(blue), blue.wish.wanted) == ([9], {"colour": ("blue",), "category": ("shoes",)})
    assert ids(ask("any price")) == [9, 29]
    other = ask("not this brand")  # of what stands first: Aurel
    assert (ids(other), other.wish.unwanted) == ([29], {"brand": ("Aurel",)})
    assert other.parts[0].labels == ("Aurel",)
    like = ask("more like the first")
    # 29 itself is left out, and no other blue shoe is Belloc's: the colour is given up, and that is said.
    assert ids(like) == [21, 25, 33, 37]
    assert like.relaxed == (Relaxed(column="colour", labels=("blue",)),)
    assert like.wish.like == item(29)


def test_more_like_one_that_was_shown(ask: Ask) -> None:
    assert ids(ask("black or green under 200", k=4)) == [0, 3, 5, 8]
    # Item 3 is a green hat: green hats under 200 do not come again (23 costs 240), so hats first, then green things.
    like = ask("more like the second", k=4, personal=0.1)
    assert ids(like)[:2] == [15, 8] and item(3) not in [found.item_id for found in like.items]


def test_a_category_begins_anew(ask: Ask) -> None:
    ask("red shoes under 100")
    anew = ask("black bag")
    assert (ids(anew), anew.is_follow_up, anew.wish.high) == ([0, 20], False, None)
    apart = ask("cheaper", follow_up=False)
    # A third of the 39 that can be bought: no more is known than the catalogue.
    assert (apart.is_follow_up, apart.wish.wanted) == (False, {})
    assert apart.wish.high == pytest.approx(10 * (1 + 38 / 3))


def test_what_leaves_nothing_is_relaxed_and_said(ask: Ask) -> None:
    answer = ask("black bag under 5", k=1)
    assert ids(answer) == [0]
    assert answer.relaxed == (Relaxed(column="price", high=5, now_low=10, now_high=10),)
    # Two colours are enough by themselves; one of the two conditions has to go, the category last.
    gone = ask("wool bags of Belloc, between 10 and 100")
    assert [one.column for one in gone.relaxed] == ["price"]
    assert ids(gone) == [24]  # of 24 and 36, which is sold out


def test_what_is_not_wanted_and_the_callers_filters_are_never_given_up(ask: Ask) -> None:
    nothing = ask("bags, not Aurel, not Belloc")
    assert nothing.items == () and "nothing is left" in nothing.notices[0]
    narrow = Filters(price=Range(max=20))
    kept = ask("blue coats", filters=narrow)  # allowed are 0 and 1, neither of them blue or a coat
    assert ids(kept) == [0, 1]
    assert [one.column for one in kept.relaxed] == ["colour", "category"]


def test_without_a_user_nothing_is_remembered(ask: Ask) -> None:
    assert not ask("red shoes", user_id=None).is_remembered
    assert ask("more like the second", user_id=None).unheard[0].why == "no such item was shown"


def test_this_is_the_item_that_the_text_is_typed_beside(ask: Ask) -> None:
    answer = ask("not this brand", item_id=item(30))
    assert answer.wish.unwanted == {"brand": ("Belloc",)}
    assert ask("like this", item_id="nothing").unheard[0].why == "no such item was shown"


def test_a_shop_without_words_answers_by_labels_and_says_so(tmp_path: Path) -> None:
    answer = make_service(tmp_path, has_words=False).discover(Discover(text="red shoes for a wedding"))
    assert ids(answer) == [1, 21]
    assert answer.unheard[0].said == "wedding" and "cannot be searched by words" in answer.unheard[0].why


def test_a_session_store_that_is_down_costs_the_memory_and_no_answer(service: Service, ask: Ask) -> None:
    service.shoppers.sessions.close()
    answer = ask("red shoes")
    assert ids(answer) == [1, 21] and not answer.is_remembered
    assert answer.notices.count(NO_CONVERSATION) == 1


def test_a_forgotten_user_has_no_conversation(service: Service, ask: Ask) -> None:
    ask("red shoes")
    service.forget("session", "tester", "request")
    assert not ask("cheaper").is_follow_up


def test_what_another_release_does_not_have_is_said_and_left() -> None:
    catalogue = Catalogue(recommender(True).bundle)
    before = Conversation(wish=Wish(wanted={"season": ("winter",), "colour": ("red",)}, like="gone"), shown=("gone",))
    base = ~catalogue.labels("colour").having(())
    turned = turn(before, read("cheaper than the first", Lexicon(catalogue)), catalogue, base)
    assert turned.wish.wanted == {"colour": ("red",)} and turned.wish.like is None
    assert [one.said for one in turned.unheard] == ["winter", "gone"]
    # What was shown is not to be compared with: a third of what is red (20, 70, ..., 370) is meant.
    assert turned.wish.high == pytest.approx(20 + 50 * 7 / 3)


def test_a_note_of_another_version_counts_no_more(service: Service, ask: Ask) -> None:
    service.shoppers.sessions.take_note("session", {"wish": {"size": 1}}, 2_000_000_000_000_000)
    answer = ask("in red")
    assert not answer.is_follow_up and "another version" in answer.notices[0]


SAID = (
    "black", "red", "blue shoes", "bags", "hats", "silk", "Aurel", "wedding", "7", "in", "or", "and", ",", "not",
    "not leather", "no wool", "without red", "except bags", "not Belloc or Aurel", "not this brand", "another colour",
    "same brand as the second", "like the first", "the last one", "more like this", "under 100", "over 50",
    "between €50 and 150", "cheap", "expensive", "cheaper", "cheaper than the first", "pricier", "any price",
    "any brand",
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.lists(st.sampled_from(SAID), min_size=1, max_size=4).map(" ".join), min_size=1, max_size=4),
       bounds=st.sampled_from([None, Range(max=120), Range(min=5000)]), k=st.integers(1, 12))
def test_any_conversation_keeps_what_it_says(
    service: Service, texts: list[str], bounds: Range | None, k: int
) -> None:
    service.shoppers.sessions.forget("talk")  # the one before
    catalogue = Catalogue(recommender(True).bundle)
    prices = catalogue.numbers("price")
    for text in texts:
        answer = service.discover(Discover(user_id="talk", text=text, k=k, filters=Filters(price=bounds)))
        rows, wish = ids(answer), answer.wish
        assert len(set(rows)) == len(rows) == min(k, answer.filtered.allowed)
        assert rows or "nothing is left" in answer.notices[0]
        assert all(text[part.start : part.end] == part.said for part in answer.parts)
        given_up = {one.column for one in answer.relaxed}
        for row in rows:
            assert row != SOLD_OUT and wish.like != item(row)
            assert bounds is None or (bounds.min or 0) <= prices[row] <= (bounds.max or np.inf)
            for column, labels in wish.unwanted.items():
                assert not catalogue.labels(column).having(labels)[row]
            for column in wish.wanted.keys() - given_up:
                assert catalogue.labels(column).having(wish.wanted[column])[row]
            if "price" not in given_up:
                assert (wish.low or 0) <= prices[row] <= (wish.high if wish.high is not None else np.inf)
        assert not any(set(wish.wanted.get(column, ())) & set(labels) for column, labels in wish.unwanted.items())
