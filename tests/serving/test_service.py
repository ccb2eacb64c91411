"""Answers of the arithmetic shop with columns (tests/serving/shop.py), each derivable by hand.

score(user, i) = 2 * (events of the user in group i % 4) + (40 - i) / 1000
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from pipelines.errors import DataError, NothingLive, Unanswerable
from serving.asked import UnknownItem
from serving.filters import Filters, Range
from serving.questions import Event, NewEvent, NewEvents, Recommend, Search
from serving.service import Service
from serving.sessions.contract import SessionsUnavailable
from serving.shoppers import NO_SESSIONS
from tests.serving.shop import SOLD_OUT, Holder, item, make_service


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return make_service(tmp_path)


def ids(slate) -> list[int]:
    return [int(found.item_id[1:]) for found in slate.items]


def views(*rows: int) -> tuple[Event, ...]:
    return tuple(Event(item_id=item(row), event_type="view") for row in rows)


def test_nobody_gets_the_prior_and_it_is_no_fallback(service: Service) -> None:
    slate = service.recommend(Recommend(k=3))
    assert ids(slate) == [0, 1, 2]
    assert [found.score for found in slate.items] == pytest.approx([0.040, 0.039, 0.038], abs=1e-6)
    assert (slate.release, slate.is_fallback, slate.fallback_reason, slate.known_events) == (7, False, None, 0)
    first = slate.items[0]
    assert (first.title, first.category, first.brand, first.price) == ("Item 0", "bags", "Aurel", 10.0)


def test_the_events_of_a_request_turn_the_row(service: Service) -> None:
    slate = service.recommend(Recommend(k=4, events=views(2)))
    # A view hides nothing: item 2 itself leads its group.
    assert ids(slate) == [2, 6, 10, 14]
    assert slate.items[0].score == pytest.approx(2 + 0.038, abs=1e-5)
    assert slate.known_events == 1


def test_what_was_bought_is_left_out_and_what_was_viewed_by_request(service: Service) -> None:
    bought = (Event(item_id=item(2), event_type="purchase"), *views(6))
    assert ids(service.recommend(Recommend(k=3, events=bought))) == [6, 10, 14]
    both = Recommend(k=3, events=bought, exclude_seen=("purchase", "view"))
    assert ids(service.recommend(both)) == [10, 14, 18]
    assert ids(service.recommend(Recommend(k=3, events=bought, exclude_seen=()))) == [2, 6, 10]


def test_a_return_is_no_sign_of_taste_and_no_purchase(service: Service) -> None:
    slate = service.recommend(Recommend(k=2, events=(Event(item_id=item(2), event_type="return"),)))
    assert (ids(slate), slate.known_events) == ([0, 1], 0)


def test_stored_events_and_those_of_the_request_are_one_history(service: Service) -> None:
    stored = NewEvent(event_id="e1", user_id="u", item_id=item(1), event_type="view")
    service.add_events(NewEvents(events=(stored,)))
    assert ids(service.recommend(Recommend(k=1, user_id="u"))) == [1]
    twice = (Event(item_id=item(1), event_type="view", event_id="e1"), *views(2))
    slate = service.recommend(Recommend(k=10, user_id="u", events=twice))
    assert slate.known_events == 2  # e1 once
    assert {row % 4 for row in ids(slate)} == {1, 2}
    assert ids(service.recommend(Recommend(k=1, user_id="somebody else"))) == [0]


def test_what_happens_after_the_moment_of_asking_does_not_count(service: Service) -> None:
    noon = datetime(2026, 11, 1, 12, tzinfo=UTC)
    events = tuple(Event(item_id=item(row), event_type="view", time=noon + timedelta(microseconds=shift))
                   for row, shift in ((2, -1), (3, 0), (1, 1)))
    slate = service.recommend(Recommend(k=10, events=events, time=noon))
    assert slate.known_events == 1
    assert {row % 4 for row in ids(slate)} == {2}


def test_a_clock_far_ahead_is_refused_by_name(service: Service) -> None:
    ahead = datetime.now(UTC) + timedelta(hours=2)
    with pytest.raises(DataError, match=r"events\.0\.time: .* lies 120 minutes ahead"):
        service.recommend(Recommend(events=(Event(item_id=item(1), time=ahead),)))
    near = (Event(item_id=item(1), time=datetime.now(UTC) + timedelta(seconds=30)),)
    assert service.recommend(Recommend(events=near)).known_events == 1


def test_strange_items_and_types_are_left_out_and_told(service: Service) -> None:
    slate = service.recommend(Recommend(events=(Event(item_id="new"), Event(item_id=item(1), event_type="wish"))))
    assert slate.known_events == 0
    assert slate.notices == ("1 events of items that this release does not know were left out",
                             "events of type wish were left out: this release knows purchase, return, view")


@pytest.mark.parametrize(("filters", "expected"), [
    ({"category": ["shoes"]}, lambda r: r % 4 == 1),
    ({"category": ["SHOES", "hats"]}, lambda r: r % 4 in (1, 3)),
    ({"brand": ["belloc"]}, lambda r: r >= 20),
    ({"price": {"min": 50, "max": 90}}, lambda r: 4 <= r <= 8),
    ({"columns": {"colour": ["red"]}}, lambda r: r % 5 == 1),
    ({"columns": {"materials": ["wool"]}}, lambda r: r % 3 == 0),
    ({"without": {"materials": ["leather"]}}, lambda r: r % 2 == 1),
    ({"without": {"materials": ["wool"], "colour": ["black"]}}, lambda r: r % 3 and r % 5),
    ({"ranges": {"price": {"min": 390}}}, lambda r: r >= 38),
    ({"include": ["i03", "i05", "nothing"]}, lambda r: r in (3, 5)),
    ({"exclude": ["i00", "i01", "nothing"]}, lambda r: r > 1),
    ({"category": ["bags"], "brand": ["Aurel"], "price": {"max": 100}}, lambda r: r % 4 == 0 and r <= 9),
    ({"columns": {"colour": ["mauve"]}}, lambda r: False),
])
def test_filters_let_through_exactly_what_they_say(service: Service, filters: dict, expected) -> None:
    slate = service.recommend(Recommend(k=40, events=views(2), filters=Filters.model_validate(filters)))
    right = {row for row in range(40) if expected(row) and row != SOLD_OUT}
    assert set(ids(slate)) == right
    assert slate.filtered.allowed == len(right)
    assert not slate.is_fallback


def test_every_door_keeps_to_the_filters(service: Service) -> None:
    shoes = Filters(category=("shoes",), without={"colour": ("red",)})
    right = {row for row in range(40) if row % 4 == 1 and row % 5 != 1}
    assert set(ids(service.similar(item(0), 40, shoes))) == right
    assert set(ids(service.basket([item(0)], 40, shoes))) == right


def test_unknown_columns_are_named_with_those_that_exist(service: Service) -> None:
    with pytest.raises(DataError, match=r"'size' is no categorical column.*category, brand, colour, materials"):
        service.recommend(Recommend(filters=Filters(columns={"size": ("L",)})))
    with pytest.raises(DataError, match=r"'colour' is no numeric column.*price"):
        service.recommend(Recommend(filters=Filters(ranges={"colour": Range(min=1)})))


def test_labels_that_no_item_has_are_told(service: Service) -> None:
    asked = Filters(category=("shoe",), without={"materials": ("Leath", "wool")})
    told = ("no item has the category 'shoe'; there is shoes", "no item has the materials 'Leath'; there is leather")
    assert service.recommend(Recommend(filters=asked)).notices == told
    assert service.similar(item(0), 3, asked).notices == told
    assert service.search(Search(text="red", filters=Filters(brand=("Nobody",)))).notices == (
        "no item has the brand 'Nobody'",)
    assert service.recommend(Recommend(filters=Filters(category=("SHOES",)))).notices == ()


def test_sold_out_is_gone_with_the_next_answer_and_comes_back(service: Service) -> None:
    everything = Recommend(k=40)
    assert SOLD_OUT not in ids(service.recommend(everything))
    changed = service.set_availability({item(0): False, item(SOLD_OUT): True, "later": False})
    assert (changed.changed, changed.unknown) == (3, ("later",))
    assert set(ids(service.recommend(everything))) == set(range(1, 40))
    assert ids(service.similar(item(4), 1)) == [8]
    assert not service.item(item(0)).is_available
    service.set_availability({item(0): True})
    assert ids(service.recommend(Recommend(k=1))) == [0]
    assert set(ids(service.recommend(Recommend(k=40, filters=Filters(sold_out=True))))) == set(range(40))


def test_who_has_everything_gets_best_sellers_that_say_so(service: Service) -> None:
    hats = Filters(category=("hats",))
    bought = tuple(Event(item_id=item(row), event_type="purchase") for row in range(3, 40, 4) if row != 7)
    slate = service.recommend(Recommend(k=4, events=bought, filters=hats))
    assert ids(slate) == [7, 3, 11, 15]  # the one left, then by sales
    assert [found.is_fallback for found in slate.items] == [False, True, True, True]
    assert not slate.is_fallback and "3 best-sellers" in (slate.fallback_reason or "")
    all_ten = (*bought, Event(item_id=item(7), event_type="purchase"))
    assert service.recommend(Recommend(k=4, events=all_ten, filters=hats)).is_fallback


def test_similar_and_basket_by_hand(service: Service) -> None:
    assert ids(service.similar(item(3), 3)) == [7, 11, 15]
    # Two of group 1 and one of group 2: 2 * 2 + prior before 2 * 1 + prior; what is in the basket is not answered.
    basket = service.basket([item(1), item(5), item(2), "nothing"], 3)
    assert ids(basket) == [9, 13, 17]
    assert basket.items[0].score == pytest.approx(4 + 0.031, abs=1e-5)
    assert basket.notices == ("1 items that this release does not know were left out",)
    with pytest.raises(UnknownItem, match="does not know the item 'nothing'"):
        service.similar("nothing", 3)
    with pytest.raises(UnknownItem, match="none of these 1"):
        service.basket(["nothing"], 3)


def test_diversity_mixes_the_groups_and_leads_with_the_best(service: Service) -> None:
    question = Recommend(k=4, events=views(2, 2, 1))
    assert {row % 4 for row in ids(service.recommend(question))} == {2}
    mixed = ids(service.recommend(question.model_copy(update={"k": 4, "diversity": 0.9})))
    assert mixed[0] == 2
    assert len({row % 4 for row in mixed}) == 2  # the pool of 20 holds groups 2 and 1


def test_reasons_are_the_nearest_visits_and_the_labels_above_the_average(service: Service) -> None:
    slate = service.recommend(Recommend(k=1, events=views(1, 2, 2), explain=True, exclude_seen=("view",)))
    assert ids(slate) == [6]
    reasons = slate.items[0].reasons or ()
    assert (reasons[0].kind, reasons[0].item_id, reasons[0].event_type) == ("event", "i02", "view")
    assert reasons[0].strength == pytest.approx(1.0)
    # Items of category coats are all of group 2: vector 2 * e2 against the average of .5 in each group and the mean
    # prior. The user is (0, 1, 2, 0, 1), so coats are worth 2 * 2 - .5 * 3 + (prior of coats - mean prior).
    coats = next(reason for reason in reasons if reason.label == "coats")
    priors = np.array([(40 - row) / 1000 for row in range(40)])
    assert coats.strength == pytest.approx(2.5 + priors[2::4].mean() - priors.mean(), abs=1e-5)
    assert all(reason.strength > 0 for reason in reasons)


def test_details_and_categories(service: Service) -> None:
    detail = service.item(item(6))
    assert detail.attributes == {"name": "Item 6", "category": "coats", "price": 70.0, "brand": "Aurel",
                                 "colour": "red", "materials": ["leather", "wool"]}
    assert [(c.name, c.items) for c in service.categories().categories] == [
        ("bags", 10), ("shoes", 10), ("coats", 10), ("hats", 10)]
    live = service.live_release()
    assert (live.release, live.items, live.event_types) == (7, 40, ("purchase", "return", "view"))
    assert live.label_columns == ("category", "brand", "colour", "materials")


def test_words_find_by_hand_and_by_taste(service: Service) -> None:
    slate = service.search(Search(text="Red shoes", k=4))
    assert ids(slate) == [1, 21, 5, 9]  # both words, then the category: two is more than one
    assert [found.score for found in slate.items] == pytest.approx([3, 3, 2, 2])
    cheap = Filters(price=Range(max=150), without={"colour": ("green",)})
    assert ids(service.search(Search(text="shoes", k=9, filters=cheap))) == [1, 5, 9, 0, 2, 4, 6, 7, 10]
    # Among the red ones, a shopper of hats gets the red hats first.
    hats = Search(text="red", k=8, personal=0.3, events=views(3, 3, 3))
    mixed = service.search(hats)
    assert ids(mixed)[:2] == [11, 31]
    assert mixed.known_events == 3
    assert set(ids(mixed)) == {1, 6, 11, 16, 21, 26, 31} | {ids(mixed)[-1]}
    with pytest.raises(DataError, match="asks for nothing"):
        service.search(Search(text="?!"))


def test_closed_doors_say_why(tmp_path: Path) -> None:
    service = make_service(tmp_path, has_words=False)
    with pytest.raises(Unanswerable, match="cannot be searched by words: it was trained before"):
        service.search(Search(text="bag"))
    with pytest.raises(Unanswerable, match="by a picture"):
        service.search_image(b"")


def test_before_the_first_release_it_says_so(tmp_path: Path) -> None:
    service = make_service(tmp_path)
    service.live = Holder(None)
    with pytest.raises(NothingLive):
        service.recommend(Recommend())
    assert service.set_availability({item(0): False}).unknown == ()  # kept for the first release


def test_without_a_session_store_the_request_still_counts(service: Service) -> None:
    service.shoppers.sessions.close()
    slate = service.recommend(Recommend(k=1, user_id="u", events=views(3)))
    assert ids(slate) == [3]
    assert NO_SESSIONS in slate.notices
    event = NewEvent(event_id="e", user_id="u", item_id=item(1), event_type="view")
    with pytest.raises(SessionsUnavailable):
        service.add_events(NewEvents(events=(event,)))
