"""Rules on the arithmetic shop (tests/serving/shop.py).

score(user, i) = 2 * (events of the user in group i % 4) + (40 - i) / 1000
"""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pipelines.errors import DataError, SettingsError
from serving.filters import Filters
from serving.questions import Event, Recommend
from serving.rules import Boost, Cap, Pin, PriceBand, Rules, load_rules
from serving.service import Service
from tests.serving.shop import CATEGORIES, COLOURS, SOLD_OUT, item, make_service


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return make_service(tmp_path)


def ids(slate) -> list[int]:
    return [int(found.item_id[1:]) for found in slate.items]


def views(*rows: int) -> tuple[Event, ...]:
    return tuple(Event(item_id=item(row), event_type="view") for row in rows)


def ruled(service: Service, k: int = 4, events: tuple[Event, ...] = (), **rules) -> list[int]:
    return ids(service.recommend(Recommend(k=k, events=events, rules=Rules(**rules))))


def test_pins_stand_at_their_places_and_nowhere_else(service: Service) -> None:
    pins = (Pin(item_id=item(9), place=2), Pin(item_id=item(1), place=4))
    slate = service.recommend(Recommend(k=4, rules=Rules(pins=pins)))
    assert ids(slate) == [0, 9, 2, 1]
    assert [found.is_pinned for found in slate.items] == [False, True, False, True]
    assert slate.items[1].score == pytest.approx(0.031, abs=1e-6)  # its own


def test_a_pin_that_may_not_be_shown_is_none(service: Service) -> None:
    pins = tuple(Pin(item_id=item_id, place=place) for place, item_id in enumerate(
        (item(SOLD_OUT), "nothing", item(8), item(7)), 1))
    assert ruled(service, k=3, pins=pins) == [0, 1, 8]  # 36 is sold out, place 4 is beyond the slate
    narrow = Recommend(k=2, rules=Rules(pins=pins), filters=Filters(category=("shoes",)))
    assert ids(service.recommend(narrow)) == [1, 5]
    bought = Recommend(k=1, rules=Rules(pins=(Pin(item_id=item(8), place=1),)),
                       events=(Event(item_id=item(8), event_type="purchase"),))
    assert ids(service.recommend(bought)) == [0]


def test_a_boost_is_in_spreads_of_the_shoppers_scores(service: Service) -> None:
    # To nobody the scores are 0.001 to 0.040 with a spread of 0.0115. White ones are 2, 7, 12, ..., 37: half a spread
    # lifts 2 above 0 and 7 (0.033 + 0.0058) above 2's neighbour 1 (0.039)? It comes to 0.0388, just below it.
    spread = float(np.std(np.arange(1, 41) / 1000))
    assert ruled(service, k=4, boosts=(Boost(column="colour", labels=("white",), worth=0.5),)) == [2, 0, 1, 7]
    assert 0.033 + spread / 2 < 0.039 < 0.038 + spread / 2
    # What is boosted enough comes in from beyond the candidates, and a negative boost sends away.
    blue = Boost(column="colour", labels=("Blue",), worth=10)
    assert ruled(service, k=3, boosts=(blue,)) == [4, 9, 14]
    assert ruled(service, k=3, boosts=(blue, Boost(column="brand", labels=("Aurel",), worth=-10))) == [24, 29, 34]


def test_caps_hold_and_look_further_until_the_slate_is_full(service: Service) -> None:
    # Of bags come 0, 4, 8, ... first; at most two of a category leaves 0, 4 and then what sells.
    bags = views(0)
    assert ruled(service, k=6, events=bags) == [0, 4, 8, 12, 16, 20]
    assert ruled(service, k=6, events=bags, caps=(Cap(column="category", most=2),)) == [0, 4, 1, 2, 3, 5]
    # Only black ones are counted: 0 is one, the other nine may stay.
    black = Cap(column="colour", most=1, labels=("black",))
    assert ruled(service, k=6, events=bags, caps=(black,)) == [0, 4, 8, 12, 16, 24]
    both = (Cap(column="category", most=1), Cap(column="colour", most=1))
    # Then 1, 2, 3 of the other categories, whose colours differ. A fifth place cannot be filled, and that is said.
    slate = service.recommend(Recommend(k=5, events=bags, rules=Rules(caps=both)))
    assert ids(slate) == [0, 1, 2, 3]
    assert "1 of 5 places stay empty" in slate.notices[0] and not slate.is_fallback


def test_pins_count_in_caps(service: Service) -> None:
    rules = Rules(pins=(Pin(item_id=item(8), place=1),), caps=(Cap(column="category", most=1),))
    assert ids(service.recommend(Recommend(k=4, rules=rules))) == [8, 1, 2, 3]


def test_a_band_of_prices_is_about_what_was_looked_at(service: Service) -> None:
    band = PriceBand(low=0.5, high=1.2)
    # Items 9, 19, 29 cost 100, 200, 300: from 100 to 240 are items 9 to 23.
    inside = ruled(service, k=40, events=views(9, 19, 29), price_band=band)
    assert sorted(inside) == list(range(9, 24))
    assert ruled(service, k=3, price_band=band) == [0, 1, 2]  # of nobody no price is known


def test_the_requests_rules_come_before_the_shops_and_diversity_before_both(tmp_path: Path) -> None:
    house = Rules(pins=(Pin(item_id=item(9), place=1),), caps=(Cap(column="season", most=1),))
    service = make_service(tmp_path, rules=house)
    slate = service.recommend(Recommend(k=2))
    assert ids(slate) == [9, 0]
    assert slate.notices == ("the shop's rules for season do not hold: the release has no such column",)
    assert ids(service.recommend(Recommend(k=2, rules=Rules()))) == [0, 1]
    # All by difference: another group each time.
    apart = service.recommend(Recommend(k=5, diversity=1.0))
    assert ids(apart)[0] == 9 and {row % 4 for row in ids(apart)[1:]} == {0, 1, 2, 3}
    with pytest.raises(DataError, match="'season' is no categorical column"):
        service.recommend(Recommend(rules=house))


def test_rules_apart_are_named_each_alone() -> None:
    rules = Rules(pins=(Pin(item_id="a", place=1), Pin(item_id="b", place=2)), diversity=0.3, price_band=PriceBand(),
                  boosts=(Boost(column="brand", labels=("Aurel", "Belloc"), worth=-1),),
                  caps=(Cap(column="brand", most=2), Cap(column="category", most=3, labels=("bags",))))
    assert list(rules.apart()) == ["pins (2)", "boost brand Aurel, Belloc -1", "cap brand 2", "cap category bags 3",
                                   "prices x0.25 to x4", "diversity 0.3"]
    assert rules.apart()["cap brand 2"] == Rules(caps=(Cap(column="brand", most=2),))
    assert Rules().apart() == {}


def test_a_file_of_rules_is_read_and_its_faults_are_named(tmp_path: Path) -> None:
    path = tmp_path / "rules.json"
    path.write_text(json.dumps({"caps": [{"column": "brand", "most": 2}]}))
    assert load_rules(path) == Rules(caps=(Cap(column="brand", most=2),))
    path.write_text(json.dumps({"caps": [{"column": "brand", "most": 0}]}))
    with pytest.raises(SettingsError, match=r"caps\.0\.most"):
        load_rules(path)
    path.write_text("{")
    with pytest.raises(SettingsError, match="cannot be read"):
        load_rules(path)
    with pytest.raises(SettingsError, match="cannot be read"):
        load_rules(tmp_path / "none.json")
    with pytest.raises(ValidationError):
        Boost(column="brand", labels=(), worth=1)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(k=st.integers(1, 40), seen=st.lists(st.integers(0, 39), max_size=4), diversity=st.sampled_from([0.0, 0.4, 1.0]),
       most=st.integers(1, 4), worth=st.floats(-3, 3), pinned=st.lists(st.integers(0, 39), max_size=3, unique=True))
def test_any_rules_keep_to_caps_and_repeat_nothing(
    service: Service, k: int, seen: list[int], diversity: float, most: int, worth: float, pinned: list[int]
) -> None:
    pins = tuple(Pin(item_id=item(row), place=place) for place, row in enumerate(pinned, 1))
    rules = Rules(pins=pins, caps=(Cap(column="category", most=most),), diversity=diversity,
                  boosts=(Boost(column="colour", labels=(COLOURS[1],), worth=worth),))
    slate = service.recommend(Recommend(k=k, events=views(*seen), rules=rules))
    rows = ids(slate)
    assert len(set(rows)) == len(rows) <= k and SOLD_OUT not in rows
    shown = [row for row in pinned[:k] if row != SOLD_OUT]
    assert [row for row, one in zip(rows, slate.items, strict=True) if one.is_pinned] == [
        row for row in rows if row in shown]
    for group in range(len(CATEGORIES)):
        own = [row for row in rows if row % 4 == group]
        assert len(own) <= max(most, sum(row % 4 == group for row in shown))
    # Full wherever the caps allow it.
    room = sum(min(most, sum(row % 4 == group for row in range(40) if row != SOLD_OUT)) for group in range(4))
    assert len(rows) >= min(k, room)
