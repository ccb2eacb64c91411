"""An erased person is nobody to the service: by stored events, by brought ones, and by late deliveries."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from serving import questions
from serving.api.app import create_app
from serving.discover.dialogue import Conversation
from serving.erased import ErasureLog
from serving.erased_watch import ErasedWatch
from serving.landing import LandingFolder
from serving.service import Service
from serving.shoppers import NO_ERASURES
from serving.storage import open_storage
from tests.serving.shop import make_service

PAST = datetime.now(UTC) - timedelta(hours=3)


class World:
    """A service with a store of erasures and a landing folder."""

    def __init__(self, tmp_path: Path) -> None:
        self.log = ErasureLog(open_storage(tmp_path / "store"))
        self.watch = ErasedWatch(self.log)
        self.watch.look()
        self.landing = LandingFolder(tmp_path / "landing", drop=self.watch.covers)
        self.service: Service = make_service(tmp_path, landing=self.landing, erasures=self.watch)

    def tell(self, user: str, number: int, time: datetime | None = PAST) -> int:
        told = questions.NewEvents(events=({"event_id": f"e{number}", "user_id": user, "item_id": "i01",
                                            "event_type": "view", "time": time},))
        return self.service.add_events(told).accepted

    def known(self, user: str, **asked: object) -> int:
        return self.service.recommend(questions.Recommend(user_id=user, k=1, **asked)).known_events


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.landing.seal()


def test_an_erasure_of_another_process_holds_for_all_ids_of_a_profile(world: World) -> None:
    world.tell("session", 1)
    world.service.identify(questions.Identify(merge_id="m", alias="session", user_id="customer", time=PAST))
    world.tell("customer", 2)
    assert world.known("customer") == 2
    ids = world.service.shoppers.sessions.profile("session")
    world.log.erase(ids, at=datetime.now(UTC), actor="another process", reason="asked for")
    assert world.known("customer") == 2  # it has not looked yet
    world.watch.look()
    assert (world.known("customer"), world.known("session")) == (0, 0)
    brought = {"events": [{"item_id": "i02", "event_type": "view", "time": PAST},
                          {"item_id": "i03", "event_type": "view"}]}
    assert world.known("customer", **brought) == 1 and world.known("stranger", **brought) == 2


def test_what_is_delivered_late_does_not_bring_a_person_back(world: World) -> None:
    world.tell("u", 1)
    gone = world.service.forget("u", "tester", "asked for")
    assert (gone.deleted_events, gone.erasure) == (1, 1)
    assert world.tell("u", 2) == 0
    late = questions.Identify(merge_id="m", alias="session", user_id="u", time=PAST)
    assert not world.service.identify(late).is_new
    assert world.service.shoppers.sessions.profile("u") == ["u"]
    assert world.known("u") == 0
    assert world.tell("u", 3, time=None) == 1 and world.known("u") == 1  # somebody new
    world.landing.seal()
    assert world.service.forget("u", "tester", "asked for").erasure == 2  # who is erased in turn
    assert world.service.forget("u", "tester", "asked for").erasure == 2
    assert world.known("u") == 0


def test_a_conversation_of_before_is_not_taken_up_again(world: World) -> None:
    shoppers, notices = world.service.shoppers, list[str]()
    assert shoppers.remember("u", Conversation(), notices)
    asked = list[str]()
    shoppers.sessions.note = lambda user, now_us: asked.append(user)  # whether the store is asked at all
    shoppers.conversation("u", notices)
    world.log.erase(["u"], at=datetime.now(UTC), actor="another process", reason="asked for")
    world.watch.look()
    assert shoppers.conversation("u", notices) == Conversation()
    assert asked == ["u"] and notices == []


def test_before_it_is_known_who_was_erased_everybody_is_a_stranger(world: World, tmp_path: Path) -> None:
    world.tell("u", 1)
    world.log.erase(["u"], at=datetime.now(UTC), actor="tester", reason="asked for")
    key = tmp_path / "store/erased/key.json"
    secret = key.read_bytes()
    key.unlink()
    restarted = ErasedWatch(world.log)
    restarted.look()
    service = Service(world.service.live, world.service.shoppers.sessions, erasures=restarted)
    with TestClient(create_app(service)) as client:
        slate = client.post("/v1/recommendations", json={"user_id": "u", "k": 1}).json()
        assert slate["known_events"] == 0 and slate["notices"] == [NO_ERASURES]
        assert client.get("/health").json()["status"] == "degraded"
        key.write_bytes(secret)
        restarted.look()
        slate = client.post("/v1/recommendations", json={"user_id": "u", "k": 1}).json()
        assert slate["known_events"] == 0 and slate["notices"] == []
        assert client.get("/health").json()["status"] == "ok"


def test_by_http_with_a_reason_and_without_the_store(world: World, tmp_path: Path) -> None:
    world.tell("u", 1)
    with TestClient(create_app(world.service)) as client:
        answer = client.delete("/v1/users/u", params={"reason": "request 17"})
        assert answer.json() == {"deleted_events": 1, "erasure": 1}
        record = world.log.read().records[0]
        assert (record.actor, record.reason) == ("api: no key", "request 17")
        folder = tmp_path / "store/erased"
        folder.rename(tmp_path / "aside")
        folder.write_text("no folder")
        world.tell("v", 2)
        answer = client.delete("/v1/users/v")
        assert answer.status_code == 503 and answer.json()["code"] == "store_unavailable"
        assert answer.headers["retry-after"] and str(tmp_path) not in answer.text
        assert world.known("v") == 1  # nothing is half done
