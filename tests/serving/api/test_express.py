"""The shortest way to an answer: it says, counts and refuses what the long way does."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving import view as view_module
from serving.api.app import create_app
from serving.api.express import Express
from serving.api.keys import KeyRing, new_key
from serving.questions import Recommend
from serving.service import Service
from tests.serving.shop import Holder, item, make_service

AHEAD = '{"events": [{"item_id": "i02", "time": "2099-01-01T00:00:00Z"}]}'


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    return make_service(tmp_path_factory.mktemp("shop"))


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bool]]:
    """Of each request, whether it took the shortest way."""
    found: list[bool] = []
    answered = Express.answered

    async def told(self: Express, *args: Any) -> bool:
        found.append(await answered(self, *args))
        return found[-1]

    monkeypatch.setattr(Express, "answered", told)
    yield found


QUESTIONS = st.builds(
    lambda k, events, excluded: {"k": k, "events": events, "exclude_seen": excluded},
    st.integers(1, 60), st.lists(st.fixed_dictionaries({
        "item_id": st.sampled_from([*(item(row) for row in range(0, 40, 3)), "unknown"]),
        "event_type": st.sampled_from(["view", "purchase", "return", "strange"])}), max_size=8),
    st.none() | st.just(["view"]))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(QUESTIONS)
def test_what_is_written_is_the_document(service: Service, asked: dict[str, Any]) -> None:
    question = Recommend.model_validate(asked)
    assert service.is_quick(question)
    written, slate = service.written(question), service.recommend(question)
    found, expected = json.loads(written.body), json.loads(slate.model_dump_json())
    assert found.pop("latency_ms") > 0 and expected.pop("latency_ms") > 0
    assert found == expected and list(found) == list(expected)
    assert [list(one) for one in found["items"]] == [list(one) for one in expected["items"]]
    assert written.spare == sum(one.is_fallback for one in slate.items)


def test_a_text_that_looks_like_json_stays_a_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = make_service(tmp_path)
    catalogue, title = service.view().catalogue, f'é "items":[] {view_module._UNSCORED} \\'
    monkeypatch.setattr(catalogue, "shown", lambda row: {"name": title, "price": 1.5})
    body = json.loads(service.written(Recommend(k=2)).body)
    assert [(one["title"], one["price"]) for one in body["items"]] == [(title, 1.5)] * 2
    assert service.recommend(Recommend(k=2)).items[0].title == title


@pytest.mark.parametrize(("body", "headers", "is_short"), [
    ("{}", {}, True), ('{"k": 3, "user_id": "u"}', {}, True), ('{"k": 0}', {}, False), (AHEAD, {}, False),
    ('{"explain": true}', {}, False), ("{}", {"content-type": "application/json; charset=utf-8"}, False)])
def test_what_takes_the_shortest_way(
    service: Service, taken: list[bool], body: str, headers: dict[str, str], is_short: bool
) -> None:
    with TestClient(create_app(service)) as client:
        client.post("/v1/recommendations", content=body, headers={"content-type": "application/json"} | headers)
        client.get("/v1/recommendations")
        client.post("/v1/similar", json={"item_id": "i03"})
    assert taken == [is_short, False, False]


def test_its_answer_has_the_headers_of_any_other(service: Service, taken: list[bool]) -> None:
    with TestClient(create_app(service)) as client:
        short = client.post("/v1/recommendations", json={}, headers={"x-request-id": "mine"})
        long = client.post("/v1/recommendations", json={"explain": True}, headers={"x-request-id": "mine"})
    assert taken == [True, False]
    assert short.headers["x-request-id"] == "mine"
    assert short.headers.keys() == long.headers.keys()
    assert short.headers["content-type"] == long.headers["content-type"] == "application/json"
    assert int(short.headers["content-length"]) == len(short.content)


def test_a_request_counts_once_for_its_key_whatever_becomes_of_it(service: Service, taken: list[bool]) -> None:
    key, client_of_two = new_key("shop", ("serve",), 0.001, 2)
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    with TestClient(create_app(service, keys=KeyRing([client_of_two]))) as client:
        statuses = [client.post("/v1/recommendations", content=body, headers=headers).status_code
                    for body in (AHEAD, "{}", "{}")]
        refused = client.post("/v1/recommendations", content="{}", headers={"content-type": "application/json"})
        text = client.get("/metrics").text
    assert statuses == [422, 200, 429] and taken[:4] == [False, True, True, True]
    assert refused.status_code == 401 and refused.json()["request_id"] == refused.headers["x-request-id"]
    assert refused.headers["www-authenticate"] == "Bearer"
    assert 'vitrine_refused_total{code="rate"} 1.0' in text
    assert 'vitrine_refused_total{code="unauthorized"} 1.0' in text
    assert 'vitrine_requests_total{method="POST",route="/v1/recommendations",status="200"} 1.0' in text
    assert 'vitrine_slates_total{question="recommend",search="exact",variant=""} 1.0' in text


def test_best_sellers_and_notices_are_counted(service: Service, taken: list[bool]) -> None:
    with TestClient(create_app(service)) as client:
        body = {"k": 200, "events": [{"item_id": "i02", "event_type": "purchase"}, {"item_id": "unknown"}]}
        answer = client.post("/v1/recommendations", json=body).json()
        text = client.get("/metrics").text
    assert taken[0] and answer["notices"] and sum(one["is_fallback"] for one in answer["items"]) == 1
    assert "vitrine_fallback_items_total 1.0" in text and "vitrine_degraded_total 1.0" in text


def test_without_a_release_it_says_so(tmp_path: Path, taken: list[bool]) -> None:
    service = make_service(tmp_path)
    service.live = Holder(None)
    with TestClient(create_app(service)) as client:
        answer = client.post("/v1/recommendations", json={})
    assert (answer.status_code, answer.json()["code"], taken) == (503, "no_release", [False])
