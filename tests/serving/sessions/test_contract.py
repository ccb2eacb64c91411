"""The contract of a session store, held to by each implementation."""

import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.sessions.contract import (
    DAY_US,
    Event,
    IdentityConflict,
    Merge,
    SessionLimits,
    SessionStore,
    SessionsUnavailable,
)
from serving.sessions.opening import open_sessions

NOW = 1_800_000_000_000_000
Open = Callable[..., SessionStore]


@pytest.fixture(params=["sqlite", "redis"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path, redis_url: str) -> Iterator[Open]:
    """Opens the store of this test; again means after a restart."""
    opened: list[SessionStore] = []
    place = str(tmp_path / "sessions.db") if request.param == "sqlite" else redis_url

    def build(**limits: int) -> SessionStore:
        opened.append(open_sessions(place, SessionLimits(**limits), prefix=tmp_path.name))
        return opened[-1]

    yield build
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: Open) -> SessionStore:
    return open_store()


def event(number: int, user: str = "u", ago_us: int = 1000) -> Event:
    return Event(f"e{number:04d}", user, f"i{number}", "view", NOW - ago_us)


def test_history_is_in_time_order_whatever_the_order_of_arrival(store: SessionStore) -> None:
    late, early, same = event(1, ago_us=10), event(2, ago_us=20), event(0, ago_us=10)
    assert store.add([late], NOW) == [True]
    assert store.add([early, same], NOW) == [True, True]
    assert store.history("u") == [early, same, late]
    assert store.history("somebody else") == []


def test_an_event_id_counts_once_whatever_comes_with_it(store: SessionStore) -> None:
    first = event(1)
    assert store.add([first, first], NOW) == [True, False]
    assert store.add([first._replace(item_id="other", user_id="v"), event(2)], NOW) == [False, True]
    assert store.history("u") == [first, event(2)]
    assert store.history("v") == []


def test_only_the_newest_are_kept_and_dropped_ids_stay_known(open_store: Open) -> None:
    store = open_store(events=3)
    all_five = [event(number, ago_us=100 - number) for number in range(5)]
    store.add(all_five, NOW)
    assert store.history("u") == all_five[2:]
    assert store.add([all_five[0]], NOW) == [False]
    assert store.history("u") == all_five[2:]
    # One that is older than all that is kept is new, and at once dropped again.
    assert store.add([event(9, ago_us=1000)], NOW) == [True]
    assert store.history("u") == all_five[2:]


def test_what_is_older_than_the_retention_goes(open_store: Open) -> None:
    store = open_store(days=10)
    old, kept = event(1, ago_us=9 * DAY_US), event(2, ago_us=1)
    assert store.add([event(0, ago_us=11 * DAY_US), old, kept], NOW) == [False, True, True]
    assert store.prune(NOW) == 0
    assert store.prune(NOW + 2 * DAY_US) == 1
    assert store.history("u") == [kept]


def test_it_survives_a_restart(open_store: Open) -> None:
    store = open_store()
    store.add([event(1)], NOW)
    store.identify(Merge("m", "session", "u", NOW))
    store.set_availability({"i1": False})
    store.take_note("s", {"text": "bag"}, NOW)
    store.close()
    again = open_store()
    assert again.history("session") == [event(1)]
    assert again.add([event(1)], NOW) == [False]
    said = again.availability()
    assert said is not None and (said.version, dict(said.items)) == (1, {"i1": False})
    assert again.note("s", NOW + 1) == {"text": "bag"}


def test_a_profile_is_all_that_is_merged_and_comes_apart_again(store: SessionStore) -> None:
    parts = [event(1, "session-1", 30), event(2, "card-1", 20), event(3, "customer", 10)]
    store.add(parts, NOW)
    assert store.identify(Merge("m1", "session-1", "card-1", NOW))
    assert store.identify(Merge("m2", "card-1", "customer", NOW))
    assert not store.identify(Merge("m2", "card-1", "customer", NOW))  # the same again
    for one in ("session-1", "card-1", "customer"):
        assert store.history(one) == parts
        assert store.profile(one) == [one, *sorted({"session-1", "card-1", "customer"} - {one})]
    assert store.separate("m2", NOW + 1)
    assert not store.separate("m2", NOW + 2)
    assert not store.separate("never", NOW)
    assert store.history("customer") == parts[2:]
    assert store.history("session-1") == parts[:2]
    assert store.identify(Merge("m3", "card-1", "another", NOW + 3))  # free again
    assert store.history("another") == parts[:2]


def test_merges_that_contradict_one_another_are_refused(store: SessionStore) -> None:
    store.identify(Merge("m1", "a", "b", NOW))
    store.identify(Merge("m2", "b", "c", NOW))
    with pytest.raises(IdentityConflict, match="'a' is merged into 'b' already"):
        store.identify(Merge("m3", "a", "x", NOW))
    with pytest.raises(IdentityConflict, match="'a' is merged into 'c'"):
        store.identify(Merge("m4", "c", "a", NOW))
    assert store.profile("a") == ["a", "b", "c"]


def test_a_forgotten_user_is_gone_under_all_ids_and_does_not_come_back(store: SessionStore) -> None:
    store.add([event(1, "a"), event(2, "b"), event(3, "c")], NOW)
    store.identify(Merge("m", "a", "b", NOW))
    store.take_note("a", {"text": "bag"}, NOW)
    assert store.forget("b") == 2
    assert store.history("a") == store.history("b") == []
    assert store.profile("a") == ["a"]
    assert store.note("a", NOW) is None
    assert store.add([event(1, "a")], NOW) == [False]  # delivered again
    assert store.history("a") == []
    assert store.history("c") == [event(3, "c")]
    assert store.forget("b") == 0


def test_after_scrubbing_the_files_hold_no_byte_of_who_was_forgotten(tmp_path: Path) -> None:
    for seed in range(5):  # in some orders of arrival pages split, and leave bytes behind that no deletion overwrites
        rng, path = random.Random(seed), tmp_path / f"{seed}.db"
        store = open_sessions(str(path))
        for step in range(20):
            users = [rng.choice(["the-person", f"user-{rng.randrange(500)}"]) for _ in range(100)]
            store.add([Event(f"{seed}-{step}-{n}", user, "i", "view", NOW - rng.randrange(10**9))
                       for n, user in enumerate(users)], NOW)
        store.identify(Merge("m", "session", "the-person", NOW))
        holding = [file for file in tmp_path.glob(f"{seed}.db*") if b"the-person" in file.read_bytes()]
        assert holding
        assert store.forget("session") > 0 and store.scrub()
        assert [file for file in tmp_path.glob(f"{seed}.db*") if b"the-person" in file.read_bytes()] == []
        assert store.history(f"user-{rng.randrange(500)}") is not None
        store.close()


def test_availability_is_handed_out_when_it_changed(store: SessionStore) -> None:
    nothing = store.availability()
    assert nothing is not None and not nothing.items
    version = store.set_availability({"i1": False, "i2": True})
    said = store.availability(nothing.version)
    assert said is not None and (said.version, dict(said.items)) == (version, {"i1": False, "i2": True})
    assert store.availability(version) is None
    assert store.set_availability({"i1": True}) > version
    again = store.availability(version)
    assert again is not None and dict(again.items) == {"i1": True, "i2": True}


def test_notes_are_replaced_and_grow_old(open_store: Open) -> None:
    store = open_store(follow_up_minutes=1)
    store.take_note("s", {"text": "bag", "price": {"max": 5.0}}, NOW)
    store.take_note("s", {"text": "tote"}, NOW)
    assert store.note("s", NOW + 59_000_000) == {"text": "tote"}
    assert store.note("s", NOW + 61_000_000) is None
    assert store.note("other", NOW) is None


def test_a_closed_store_does_not_answer_and_says_which(store: SessionStore) -> None:
    store.ping()
    store.close()
    with pytest.raises(SessionsUnavailable, match="session store"):
        store.history("u")


def test_many_threads_lose_nothing_and_repeat_nothing(store: SessionStore) -> None:
    # Each of 8 threads delivers all 60 events, in an order of its own.
    added: list[int] = []

    def deliver(shift: int) -> None:
        for number in range(60):
            added.append(sum(store.add([event((number + 7 * shift) % 60)], NOW)))

    threads = [threading.Thread(target=deliver, args=(shift,)) for shift in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(added) == 60
    assert sorted(e.event_id for e in store.history("u")) == [f"e{number:04d}" for number in range(60)]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(deliveries=st.lists(st.tuples(st.integers(0, 9), st.sampled_from("uvw"), st.integers(0, 50)), max_size=25))
def test_any_deliveries_give_what_a_plain_list_would(open_store: Open, deliveries: list[tuple[int, str, int]]) -> None:
    store = open_store(events=4)
    for user in "uvw":
        store.forget(user)
    salt = f"{id(deliveries)}-{len(deliveries)}-{hash(tuple(deliveries))}"
    met: set[int] = set()
    expected: dict[str, list[Event]] = {"u": [], "v": [], "w": []}
    for number, user, ago in deliveries:
        one = Event(f"{salt}-{number}", user, "i", "view", NOW - ago)
        assert store.add([one], NOW) == [number not in met]
        if number not in met:
            expected[user] = sorted([*expected[user], one], key=lambda e: (e.time_us, e.event_id))[-4:]
        met.add(number)
    assert {user: store.history(user) for user in "uvw"} == expected
