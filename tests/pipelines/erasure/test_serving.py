"""A running `vitrine serve` and an erasure beside it: how soon, how long, and what is left."""

import json
import time
import uuid
from datetime import UTC, datetime

import httpx
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from pipelines.cli import app
from tests.pipelines.test_serve import Serving, serving  # noqa: F401  (a fixture)

GENEROUS_S = 5.0  # on a busy machine; what it took is printed


def known(client: httpx.Client, user: str) -> int:
    return client.post("/v1/recommendations", json={"user_id": user, "k": 1}).json()["known_events"]


def tell(client: httpx.Client, user: str) -> None:
    event = {"event_id": uuid.uuid4().hex, "user_id": user, "item_id": "i01", "event_type": "view"}
    assert client.post("/v1/events", json={"events": [event]}).json()["accepted"] == 1


def test_it_takes_effect_within_a_second_and_outlives_rollbacks_and_restarts(
    serving: Serving, capsys: pytest.CaptureFixture[str]  # noqa: F811
) -> None:
    client, people = serving.start(), [f"customer-{number}" for number in range(5)]
    took = []
    for user in people:
        tell(client, user)
        assert known(client, user) == 1
        serving.shop.store.erasures.erase([user], at=datetime.now(UTC), actor="tester", reason="asked for")
        began = time.monotonic()
        while known(client, user):
            assert time.monotonic() - began < GENEROUS_S, serving.log()
            time.sleep(0.005)
        took.append(time.monotonic() - began)
    with capsys.disabled():
        print(f"\nerasure in effect after {max(took):.2f} s at most, {sum(took) / len(took):.2f} s on average")

    merge = {"merge_id": "m", "alias": "session-77", "user_id": "customer-77"}
    for user in ("customer-77", "session-77", "stays"):
        tell(client, user)
    assert client.post("/v1/identify", json=merge).json()["is_new"]
    answer = CliRunner().invoke(app, ["erase-user", "session-77", "--yes", "--json"], env={
        "VITRINE_HOME": str(serving.home)})
    assert answer.exit_code == 0, answer.output
    receipt = json.loads(answer.stdout)
    places = {one["name"]: one for one in receipt["places"]}
    assert (receipt["ids"], places["session store"]["removed"], places["landing folder"]["removed"]) == (2, 2, 3)
    assert places["landing folder"]["remains"] == ""
    files = list((serving.home / "landing").rglob("*.parquet"))
    users = {user for path in files for user in pq.read_table(path, partitioning=None).column("user_id").to_pylist()}
    assert users == {"stays"}  # the five went with their erasures, in the process itself
    assert not any(b"customer-77" in path.read_bytes() for path in (serving.home / "sessions").iterdir())

    live = serving.shop.release(5).number
    serving.shop.release(serving.shop.store.get(1).bundle)  # and back
    until = time.monotonic() + 60
    while client.get("/v1/releases/live").json()["release"] != live + 1:
        assert time.monotonic() < until, serving.log()
        time.sleep(0.05)
    tell_again = {"event_id": "late", "user_id": "customer-0", "item_id": "i01", "event_type": "view",
                  "time": "2026-01-01T00:00:00Z"}
    assert client.post("/v1/events", json={"events": [tell_again]}).json()["repeated"] == 1
    assert [known(client, user) for user in (*people, "customer-77", "session-77", "stays")] == [0] * 7 + [1]
    assert serving.end() == 0
    client = serving.start()
    assert [known(client, user) for user in (*people, "customer-77", "stays")] == [0] * 6 + [1]
    assert serving.end() == 0
    assert "customer-77" not in serving.log() and "session-77" not in serving.log()


def test_the_api_erases_by_the_same_record(serving: Serving) -> None:  # noqa: F811
    client = serving.start()
    tell(client, "customer-1")
    assert client.delete("/v1/users/customer-1").json() == {"deleted_events": 1, "erasure": 1}
    assert known(client, "customer-1") == 0
    assert serving.shop.store.erasures.read().records[0].actor == "api: no key"
    until = time.monotonic() + 30
    while list((serving.home / "landing").rglob("*.jsonl")) or list((serving.home / "landing").rglob("*.parquet")):
        assert time.monotonic() < until, "the landing folder still holds the event"
        time.sleep(0.05)
    answer = CliRunner().invoke(app, ["erase-user", "customer-1"], env={"VITRINE_HOME": str(serving.home)})
    assert answer.exit_code == 0 and "dry run, nothing is erased" in answer.stdout
    assert serving.shop.store.erasures.read().number == 1
    assert serving.end() == 0
