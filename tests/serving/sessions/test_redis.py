"""What Redis alone has to show: it may go away and come back."""

import threading
import time
from pathlib import Path

import pytest

from pipelines.errors import SettingsError
from serving.questions import NewEvent, NewEvents, Recommend
from serving.sessions.contract import Event, IdentityConflict, Merge, SessionsUnavailable
from serving.sessions.opening import open_sessions
from serving.sessions.redis import REST_S, TIMEOUT_S, RedisSessions
from serving.shoppers import NO_SESSIONS
from tests.redis_server import RedisServer
from tests.serving.shop import item, make_service

NOW = 1_800_000_000_000_000


def test_a_killed_redis_costs_one_timeout_and_its_return_brings_everything_back(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    server.start()
    clock = [0.0]
    service = make_service(tmp_path)
    service.shoppers.sessions = RedisSessions(server.url, clock=lambda: clock[0])
    view = NewEvent(event_id="e1", user_id="u", item_id=item(1), event_type="view")
    service.add_events(NewEvents(events=(view,)))
    question = Recommend(user_id="u", k=1)
    assert service.recommend(question).items[0].item_id == item(1)
    server.kill()
    degraded = service.recommend(question)
    assert degraded.items[0].item_id == item(0) and NO_SESSIONS in degraded.notices
    begun = time.monotonic()
    for _ in range(20):  # it rests, and asks for nothing
        assert NO_SESSIONS in service.recommend(question).notices
    assert time.monotonic() - begun < 20 * TIMEOUT_S
    with pytest.raises(SessionsUnavailable):
        service.add_events(NewEvents(events=(view,)))
    server.start()
    assert NO_SESSIONS in service.recommend(question).notices
    clock[0] += REST_S
    assert service.recommend(question).items[0].item_id == item(1)
    assert service.add_events(NewEvents(events=(view,))).repeated == 1
    server.kill()


def test_no_message_shows_the_address(tmp_path: Path) -> None:
    store = open_sessions("redis://user:s3cret@127.0.0.1:1/0")
    with pytest.raises(SessionsUnavailable) as error:
        store.ping()
    assert "s3cret" not in str(error.value)
    with pytest.raises(SettingsError, match="mysql URL") as wrong:
        open_sessions("mysql://user:s3cret@host")
    assert "s3cret" not in str(wrong.value)


def test_two_processes_cannot_merge_in_a_circle(redis_url: str) -> None:
    # Both merges are lawful by themselves; together they would be a circle.
    for turn in range(30):
        stores = [RedisSessions(redis_url, prefix=f"circle-{turn}") for _ in range(2)]
        gate, told = threading.Barrier(2), []

        def merge(store: RedisSessions, alias: str, user: str, gate=gate, told=told) -> None:
            gate.wait()
            try:
                told.append(store.identify(Merge(f"{alias}-{user}", alias, user, NOW)))
            except IdentityConflict:
                told.append(False)

        threads = [threading.Thread(target=merge, args=(store, *pair))
                   for store, pair in zip(stores, [("a", "b"), ("b", "a")], strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(told) == [False, True]
        assert stores[0].profile("a") == ["a", "b"]


def test_shops_in_one_redis_do_not_meet(redis_url: str) -> None:
    one, other = RedisSessions(redis_url, prefix="one"), RedisSessions(redis_url, prefix="other")
    one.add([Event("e", "u", "i", "view", NOW)], NOW)
    assert other.history("u") == []
    assert other.add([Event("e", "u", "i", "view", NOW)], NOW) == [True]
