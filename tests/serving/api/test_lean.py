"""The short way to an answer: it says what FastAPI's way says, and takes no thread where an answer is quick."""

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from serving import view as view_module
from serving.api.app import create_app
from serving.api.desk import Desk
from serving.api.keys import KeyRing, new_key
from serving.questions import Recommend
from serving.rules import Cap, Rules
from serving.service import Service
from tests.serving.shop import make_service

SHORT, WHOLE = "application/json", "application/json; charset=utf-8"
BODIES = ["{}", '{"k": 3}', '{"user_id": "u", "events": [{"item_id": "i02", "time": "2026-11-01T10:00:00Z"}]}',
          '{"k": 0}', '{"k": "3"}', '{"k": 3.0}', '{"strange": 1}', '{"k": 3', "", "[]", "null", '{"k": NaN}',
          '{"user_id": "\\ud800"}', '{"events": [{"item_id": "i02", "time": 1}]}', '{"k": 1, "k": 2}',
          '{"filters": {"price": {"min": 5, "max": 1}}}', '{"user_features": {"age": 1e999}}']


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    return make_service(tmp_path_factory.mktemp("shop"))


def told(client: TestClient, body: str, kind: str, **headers: str) -> tuple[int, Any]:
    answer = client.post("/v1/recommendations", content=body, headers={"content-type": kind} | headers)
    said = answer.json()
    return answer.status_code, {name: value for name, value in said.items() if name not in ("latency_ms", "request_id")}


@pytest.mark.parametrize("body", BODIES)
def test_both_ways_say_the_same(service: Service, body: str) -> None:
    with TestClient(create_app(service)) as client:
        assert told(client, body, SHORT) == told(client, body, WHOLE)


def test_both_ways_ask_for_the_same_key(service: Service) -> None:
    key, serves = new_key("shop", ("serve",), 0.001, 2)
    other, operates = new_key("ops", ("operate",), 100, 100)
    with TestClient(create_app(service, keys=KeyRing([serves, operates]))) as client:
        for kind in (SHORT, WHOLE):
            assert told(client, "{}", kind)[0] == 401
            assert told(client, "{}", kind, authorization=f"Basic {key}")[0] == 401
            assert told(client, "{}", kind, authorization="Bearer")[0] == 401
            assert told(client, "{}", kind, authorization=f"Bearer {other}")[0] == 403
            assert told(client, "{}", kind, authorization=f"bearer {key}")[0] == 200
        # Two at once and hardly any after: a request counts once whichever way it goes.
        assert told(client, "{}", SHORT, authorization=f"Bearer {key}")[0] == 429
        assert told(client, '{"k": 0}', SHORT, authorization=f"Bearer {key}")[0] == 429


def test_a_quick_answer_takes_no_thread(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
    run = Desk.run

    async def counted(self: Desk, answer: Any, *args: Any, **kwargs: Any) -> Any:
        taken.append("thread")
        return await run(self, answer, *args, **kwargs)

    monkeypatch.setattr(Desk, "run", counted)
    with TestClient(create_app(service)) as client:
        assert told(client, "{}", SHORT)[0] == 200 and not taken
        assert told(client, '{"explain": true}', SHORT)[0] == 200 and taken == ["thread"]
        assert client.post("/v1/similar", json={"item_id": "i03"}).status_code == 200 and len(taken) == 2


@pytest.mark.parametrize("more", [{"filters": {"price": {"min": 1}}}, {"explain": True}, {"diversity": 0.1},
                                  {"rules": {}}, {"filters": {"include": []}}])
def test_what_asks_for_more_is_not_quick(service: Service, more: dict[str, Any]) -> None:
    assert service.is_quick(Recommend(user_id="u", k=200))
    assert not service.is_quick(Recommend.model_validate(more))


def test_a_service_is_quick_only_where_nothing_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Recommend()
    ruled = make_service(tmp_path / "ruled", rules=Rules(caps=(Cap(column="brand", most=1),)))
    assert not ruled.is_quick(plain)
    service = make_service(tmp_path / "plain")
    assert service.is_quick(plain)
    monkeypatch.setattr(view_module, "SMALL", 39)  # the shop has 40 items, which are all compared with
    assert not service.is_quick(plain)
    monkeypatch.undo()
    monkeypatch.setattr(type(service.shoppers.sessions), "is_embedded", False)  # as Redis says
    assert not service.is_quick(plain)
