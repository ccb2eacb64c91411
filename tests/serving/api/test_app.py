"""The HTTP process over the arithmetic shop with columns (tests/serving/shop.py)."""

import asyncio
import json
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from pipelines.errors import SettingsError
from serving.api.app import create_app
from serving.api.keys import Client, KeyRing, new_key
from serving.api.rates import Rates
from serving.api.settings import ApiSettings
from serving.live import Status
from serving.service import Service
from tests.serving.shop import Holder, Release, item, make_service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    """Shared by the tests that change nothing of it that another one reads."""
    return make_service(tmp_path_factory.mktemp("shop"))


@pytest.fixture
def client(service: Service) -> Iterator[TestClient]:
    with TestClient(create_app(service)) as client:
        yield client


def ids(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [found["item_id"] for found in answer.json()["items"]]


def test_every_question_by_http(client: TestClient) -> None:
    seen = [{"item_id": "i02", "event_type": "view"}]
    answer = client.post("/v1/recommendations", json={"k": 2, "events": seen, "filters": {"price": {"min": 40}}})
    assert ids(answer) == ["i06", "i10"]
    assert answer.json()["release"] == 7
    assert answer.json()["filtered"] == {"catalogue": 40, "allowed": 36, "search": "exact"}
    assert answer.headers["x-request-id"]
    assert ids(client.post("/v1/similar", json={"item_id": "i03", "k": 2})) == ["i07", "i11"]
    assert ids(client.post("/v1/basket", json={"item_ids": ["i01"], "k": 2})) == ["i05", "i09"]
    assert client.get("/v1/items/i06").json()["attributes"]["colour"] == "red"
    assert len(client.get("/v1/categories").json()["categories"]) == 4
    assert client.get("/v1/releases/live").json()["event_types"] == ["purchase", "return", "view"]
    assert ids(client.post("/v1/search", json={"text": "red shoes", "k": 2})) == ["i01", "i21"]
    wish = client.post("/v1/discover", json={"text": "red shoes under 100, not wool", "k": 2})
    assert ids(wish) == ["i01"]
    assert wish.json()["wish"] == {"text": "", "wanted": {"colour": ["red"], "category": ["shoes"]}, "high": 100.0,
                                   "unwanted": {"materials": ["wool"]}, "low": None, "like": None}
    closed = client.post("/v1/search/image", content=b"x", headers={"content-type": "image/png"})
    assert (closed.status_code, closed.json()["code"]) == (409, "unanswerable")


def test_events_merges_availability_and_forgetting(tmp_path: Path) -> None:
    with TestClient(create_app(make_service(tmp_path))) as client:
        event = {"event_id": "e1", "user_id": "session", "item_id": "i01", "event_type": "view"}
        assert client.post("/v1/events", json={"events": [event, event]}).json()["accepted"] == 1
        assert client.post("/v1/events", json={"events": [event]}).json()["repeated"] == 1
        assert ids(client.post("/v1/recommendations", json={"user_id": "session", "k": 1})) == ["i01"]
        merge = {"merge_id": "m", "alias": "session", "user_id": "customer"}
        assert client.post("/v1/identify", json=merge).json() == {"merge_id": "m", "is_new": True}
        assert ids(client.post("/v1/recommendations", json={"user_id": "customer", "k": 1})) == ["i01"]
        again = client.post("/v1/identify", json=merge | {"merge_id": "n", "user_id": "other"})
        assert (again.status_code, again.json()["code"]) == (409, "identity_conflict")
        assert client.delete("/v1/identify/m").json()["is_new"] is True
        assert ids(client.post("/v1/recommendations", json={"user_id": "customer", "k": 1})) == ["i00"]
        assert client.put("/v1/items/availability", json={"items": {"i00": False}}).json()["changed"] == 1
        assert ids(client.post("/v1/recommendations", json={"k": 1})) == ["i01"]
        assert client.delete("/v1/users/session").json() == {"deleted_events": 1, "erasure": None}
        text = client.get("/metrics").text
        assert 'vitrine_events_total{outcome="accepted"} 1.0' in text
        assert 'vitrine_events_total{outcome="repeated"} 2.0' in text


@pytest.mark.parametrize(("path", "body", "field", "bound"), [
    ("recommendations", {"k": 201}, "k", {"le": 200}),
    ("recommendations", {"k": 0}, "k", {"ge": 1}),
    ("recommendations", {"diversity": 1.5}, "diversity", {"le": 1}),
    ("recommendations", {"kk": 1}, "kk", {}),
    ("recommendations", {"user_id": ""}, "user_id", {"min_length": 1}),
    ("recommendations", {"events": [{"item_id": "x" * 300}]}, "events.0.item_id", {"max_length": 256}),
    ("recommendations", {"filters": {"price": {"min": -1, "max": "x"}}}, "filters.price.max", {}),
    ("recommendations", {"filters": {"price": {"min": 3, "max": 2}}}, "filters.price", {}),
    ("recommendations", {"filters": {"columns": {"size": ["L"]}}}, "", {}),
    ("recommendations", {"time": "1815-12-10T00:00:00Z"}, "time", {}),
    ("recommendations", {"time": "0001-01-01T00:00:00+00:01"}, "time", {}),
    ("events", {"events": [{"event_id": "e", "user_id": "u", "item_id": "i", "event_type": "view",
                            "time": "9999-12-31T23:59:59-00:01"}]}, "events.0.time", {}),
    ("similar", {}, "item_id", {}),
    ("basket", {"item_ids": []}, "item_ids", {"min_length": 1}),
    ("search", {"text": ""}, "text", {"min_length": 1}),
    ("discover", {"text": "x" * 513}, "text", {"max_length": 512}),
    ("events", {"events": []}, "events", {"min_length": 1}),
    ("identify", {"merge_id": "m", "alias": "a", "user_id": "a"}, "body", {}),
])
def test_bad_input_is_told_with_field_and_bound(
    client: TestClient, path: str, body: dict, field: str, bound: dict
) -> None:
    answer = client.post(f"/v1/{path}", json=body)
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["code"] == "invalid" and problem["request_id"] == answer.headers["x-request-id"]
    if field:
        assert (problem["fields"][0]["field"], problem["fields"][0]["bound"]) == (field, bound)
    else:
        assert "'size' is no categorical column" in problem["message"]


@pytest.mark.parametrize("body", [
    b"", b"{", b"[]", b"null", b'"\\ud800"', b'{"user_id": "\\ud800"}', b'{"user_features": {"\\ud800": 1}}',
    b'{"\\ud800": 1}', b'{"k": NaN}', b'{"diversity": 1e999}', b'{"k": ' + b"9" * 5000 + b"}", b"[" * 100_000,
    b'{"user_id": "\\u0000"}', b"\xff\xfe", b'{"events": [{"item_id": "i01", "time": 1e300}]}',
])
def test_hostile_bodies_are_refused_and_nothing_breaks(client: TestClient, body: bytes) -> None:
    answer = client.post("/v1/recommendations", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422), answer.text
    assert answer.json()["code"] in ("http", "invalid")


def test_unknown_things_are_not_found_and_methods_are_told(client: TestClient) -> None:
    missing = client.get("/v1/items/nothing")
    assert (missing.status_code, missing.json()["code"]) == (404, "unknown_item")
    assert client.get("/nowhere").status_code == 404
    wrong = client.get("/v1/recommendations")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")


def test_health_and_readiness_follow_release_and_sessions(tmp_path: Path) -> None:
    service = make_service(tmp_path)
    with TestClient(create_app(service)) as client:
        told = client.get("/health").json()
        assert {name: told[name] for name in ("status", "release", "sessions", "keys", "newest", "refused")} == {
            "status": "ok", "release": 7, "sessions": "up", "keys": "none: loopback only", "newest": 7, "refused": []}
        assert client.get("/ready").status_code == 200
        service.shoppers.sessions.close()
        assert client.get("/health").json()["status"] == "degraded"
        slate = client.post("/v1/recommendations", json={"user_id": "u", "k": 1}).json()
        assert "the session store does not answer" in slate["notices"][0]
        event = {"event_id": "e", "user_id": "u", "item_id": "i01", "event_type": "view"}
        lost = client.post("/v1/events", json={"events": [event]})
        assert (lost.status_code, lost.headers["retry-after"]) == (503, "1")
        assert str(tmp_path) not in lost.text
        service.live = Holder(None)
        assert client.get("/ready").status_code == 503
        assert client.get("/health").status_code == 200
        waiting = client.post("/v1/recommendations", json={})
        assert (waiting.status_code, waiting.json()["code"]) == (503, "no_release")
        assert waiting.headers["retry-after"]


def test_keys_scopes_and_rates(service: Service) -> None:
    key, serving = new_key("shop", ("serve",), 1000, 1000)
    slow_key, slow = new_key("slow", ("serve", "events", "operate"), 0.5, 2)
    with TestClient(create_app(service, keys=KeyRing([serving, slow]))) as client:
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {key}"}):
            answer = client.post("/v1/recommendations", json={}, headers=headers)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        mine = {"authorization": f"Bearer {key}"}
        assert client.post("/v1/recommendations", json={}, headers=mine).status_code == 200
        refused = client.delete("/v1/users/u", headers=mine)
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        theirs = {"authorization": f"Bearer {slow_key}"}
        answers = [client.post("/v1/recommendations", json={}, headers=theirs) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert answers[2].headers["retry-after"] == "2"  # half a request a second
        assert client.post("/v1/recommendations", json={}, headers=mine).status_code == 200
        for path in ("/health", "/ready", "/metrics"):
            assert client.get(path).status_code == 200
        assert client.get("/health").json()["keys"] == "required"


def test_a_bucket_fills_at_its_rate() -> None:
    now = [0.0]
    rates = Rates(lambda: now[0])
    client = Client(name="a", sha256="0" * 64, scopes=("serve",), per_second=2, burst=3)
    assert [rates.wait(client) for _ in range(4)] == [0, 0, 0, 0.5]
    now[0] = 0.5
    assert [rates.wait(client) for _ in range(2)] == [0, 0.5]
    now[0] = 100.0
    assert [rates.wait(client) for _ in range(4)] == [0, 0, 0, 0.5]  # never more than the burst


def test_a_key_file_holds_no_key_and_its_faults_are_told_without_one(tmp_path: Path) -> None:
    key, made = new_key("shop", ("serve",), 10, 10)
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"clients": [made.model_dump()]}))
    assert key not in path.read_text()
    assert KeyRing.load(path).client(key) == made
    assert KeyRing.load(path).client(key + "x") is None
    for text in ("{}", "[]", "{", json.dumps({"clients": [{"name": "Shop", "key": key}]})):
        path.write_text(text)
        with pytest.raises(SettingsError, match="holds no keys") as error:
            KeyRing.load(path)
        assert key not in str(error.value)
    with pytest.raises(SettingsError, match=r"name .* stands twice"):
        KeyRing([made, made])


def test_large_bodies_are_refused_whether_they_say_so_or_not(service: Service) -> None:
    with TestClient(create_app(service, ApiSettings(max_body=2048))) as client:
        large = b" " * 3000
        assert client.post("/v1/recommendations", content=large).status_code == 413
        assert client.post("/v1/recommendations", content=iter([large[:1500], large[:1500]])).status_code == 413
        assert client.post("/v1/search/image", content=large).status_code == 409  # has a bound of its own
        assert 'vitrine_refused_total{code="too_large"} 2.0' in client.get("/metrics").text


def _call(app: FastAPI, path: str, receive, headers=()) -> tuple[int, dict[str, str]]:
    """One request by ASGI itself, for what no client library does."""
    sent: list[dict] = []

    async def send(message: dict) -> None:
        sent.append(message)

    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
             "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
             "headers": [(b"content-type", b"application/json"), *headers], "client": ("127.0.0.1", 1),
             "server": ("127.0.0.1", 80)}
    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]}


def test_a_body_that_does_not_arrive_is_given_up(service: Service) -> None:
    app = create_app(service, ApiSettings(body_timeout_s=0.05))

    async def drip() -> dict:
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b" ", "more_body": True}

    begun = time.monotonic()
    status, headers = _call(app, "/v1/recommendations", drip)
    assert (status, headers["connection"]) == (408, "close")
    assert time.monotonic() - begun < 2

    async def hang_up() -> dict:
        return {"type": "http.disconnect"}

    assert _call(app, "/v1/recommendations", hang_up)[0] == 408


class Stuck:
    """A live holder that does not answer until it is let go."""

    def __init__(self, inner: Holder) -> None:
        self.inner, self.go, self.entered = inner, threading.Event(), threading.Semaphore(0)

    def served(self) -> Release:
        self.entered.release()
        assert self.go.wait(20)
        return self.inner.served()

    def status(self) -> Status:
        return self.inner.status()


def test_too_much_to_do_is_shed_at_once_and_too_long_is_given_up(tmp_path: Path) -> None:
    service = make_service(tmp_path)
    stuck = Stuck(service.live)
    app = create_app(service, ApiSettings(threads=2, max_in_flight=3, timeout_s=0.5, retry_after_s=2))

    slow = {"explain": True}  # answered on a thread, where a plain question is answered at once

    async def story() -> tuple[list[httpx.Response], httpx.Response, httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            service.live = stuck
            waiting = [asyncio.create_task(client.post("/v1/recommendations", json=slow)) for _ in range(3)]
            for _ in range(2):  # both threads are taken, the third waits for one
                await asyncio.to_thread(stuck.entered.acquire)
            shed = await client.post("/v1/recommendations", json=slow)
            given_up = await asyncio.gather(*waiting)
            service.live = stuck.inner
            stuck.go.set()
            while (after := await client.post("/v1/recommendations", json=slow)).status_code == 503:
                await asyncio.sleep(0.01)
            return given_up, shed, after

    given_up, shed, after = asyncio.run(story())
    assert (shed.status_code, shed.headers["retry-after"], shed.json()["code"]) == (503, "2", "overloaded")
    assert [answer.status_code for answer in given_up] == [503] * 3
    assert all("no answer within 0.5 seconds" in answer.json()["message"] for answer in given_up)
    assert after.status_code == 200


def test_the_log_names_the_route_and_nobody(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "vitrine.access"):
        client.delete("/v1/users/jane.doe@example.com", headers={"x-request-id": "abc-1"})
        client.post("/v1/recommendations?note=jane.doe", json={"user_id": "jane.doe@example.com"},
                    headers={"authorization": "Bearer s3cret", "x-request-id": "bad id\u00e9".encode()})
        client.get("/jane.doe")
    assert "jane.doe" not in caplog.text and "s3cret" not in caplog.text
    first, second, third = (json.loads(record.message) for record in caplog.records if record.name == "vitrine.access")
    assert (first["route"], first["status"], first["request_id"]) == ("/v1/users/{user_id}", 200, "abc-1")
    assert (second["route"], second["release"]) == ("/v1/recommendations", 7)
    assert len(second["request_id"]) == 16  # one of our own
    assert (third["route"], third["status"]) == ("unmatched", 404)


@pytest.mark.parametrize(("method", "body"), [("written", {}), ("recommend", {"explain": True})])
def test_a_defect_is_a_problem_without_a_trace(
    service: Service, monkeypatch: pytest.MonkeyPatch, method: str, body: dict[str, bool]
) -> None:
    def broken(question: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(service, method, broken)
    with TestClient(create_app(service), raise_server_exceptions=False) as client:
        answer = client.post("/v1/recommendations", json=body)
    assert (answer.status_code, answer.json()["code"]) == (500, "defect")
    assert "secret" not in answer.text


def test_the_schema_has_an_example_for_every_body(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    bodies = [operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]
              for path in document["paths"].values() for operation in path.values()
              if "application/json" in operation.get("requestBody", {}).get("content", {})]
    assert len(bodies) >= 7
    for name in bodies:
        assert document["components"]["schemas"][name]["examples"], name


def test_every_example_of_a_question_is_answered(client: TestClient) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    known = json.loads(json.dumps(schemas["Recommend"]["examples"][0]).replace("P-00007", item(7)))
    assert client.post("/v1/recommendations", json=known).status_code == 200
