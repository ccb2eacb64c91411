"""`vitrine serve` as people start it: a process of its own on a release store, that follows it and ends when told."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.errors import SettingsError
from pipelines.serve import check_host
from serving.api.keys import KeyRing
from tests.live_world import LiveShop
from tests.served import free_port
from tests.serving.shop import make_shop

HEAVY = ("tensorflow", "airflow", "mlflow", "pandas", "scipy")


class Serving:
    """A running `vitrine serve` over the shop of tests/serving/shop.py."""

    def __init__(self, home: Path) -> None:
        self.home, self.port = home, free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.clients: list[httpx.Client] = []
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("VITRINE_")}
        self.environment |= {"VITRINE_HOME": str(home), "PYTHONWARNINGS": "ignore"}

    def start(self, **environment: str) -> httpx.Client:
        """Start, wait until it is ready, and give a client of it."""
        with (self.home / "serve.log").open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pipelines.cli", "serve", "--port", str(self.port)],
                env=self.environment | environment, stdout=output, stderr=subprocess.STDOUT)
        client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=10)
        self.clients.append(client)
        until = time.monotonic() + 300  # a busy machine
        while True:
            try:
                if client.get("/ready").status_code == 200:
                    return client
            except httpx.TransportError:
                assert self.process.poll() is None and time.monotonic() < until, self.log()
            time.sleep(0.05)

    def log(self) -> str:
        return (self.home / "serve.log").read_text(encoding="utf-8")

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.process.wait(30)


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    shop = LiveShop(tmp_path / "store" / "shop")
    shop.store = type(shop.store)(tmp_path / "store" / "shop")
    shop.release(shop.store.add_bundle(make_shop(tmp_path, "columns").path))
    running = Serving(tmp_path)
    running.shop = shop
    yield running
    for client in running.clients:
        client.close()
    if running.process is not None and running.process.poll() is None:
        running.process.kill()
        running.process.wait()


def test_it_serves_follows_remembers_and_ends(serving: Serving) -> None:
    client = serving.start()
    assert client.get("/health").json()["keys"] == "none: loopback only"
    event = {"event_id": "e1", "user_id": "u", "item_id": "i01", "event_type": "view"}
    assert client.post("/v1/events", json={"events": [event]}).json()["accepted"] == 1
    slate = client.post("/v1/recommendations", json={"user_id": "u", "k": 2}).json()
    assert [found["item_id"] for found in slate["items"]] == ["i01", "i05"]
    libraries = {Path(found.path).parts[-2] for found in psutil.Process(serving.process.pid).memory_maps()
                 if "/" in found.path and len(Path(found.path).parts) > 1}
    assert not {heavy for heavy in HEAVY for library in libraries if heavy in library}

    serving.shop.release(5)  # another bundle goes live: every score is 50 higher, and there are no columns
    until = time.monotonic() + 60
    while (slate := client.post("/v1/recommendations", json={"k": 1}).json())["release"] == 1:
        assert time.monotonic() < until, serving.log()
        time.sleep(0.05)
    assert slate["release"] == 2 and slate["items"][0]["score"] == pytest.approx(50.04, abs=1e-4)
    assert len(serving.shop.store.leases.all()) == 2  # the live bundle, and the one kept for a rollback

    assert serving.end(signal.SIGKILL) < 0
    serving.shop.release(serving.shop.store.get(1).bundle)  # a rollback
    client = serving.start()
    slate = client.post("/v1/recommendations", json={"user_id": "u", "k": 1}).json()
    assert (slate["release"], slate["items"][0]["item_id"]) == (3, "i01")  # what it was told survived the kill
    assert client.post("/v1/events", json={"events": [event]}).json()["repeated"] == 1
    assert serving.end() == 0
    assert len(list((serving.home / "landing/shop/events").rglob("live-*.parquet"))) == 2
    lines = [json.loads(line) for line in serving.log().splitlines() if line.startswith("{")]
    assert {"/v1/events", "/v1/recommendations"} <= {line["route"] for line in lines}


def test_with_keys_it_lets_in_whom_it_knows(serving: Serving) -> None:
    path = serving.home / "keys.json"
    made = CliRunner().invoke(app, ["keys", str(path), "--name", "shop", "--scopes", "serve"])
    assert made.exit_code == 0 and path.stat().st_mode & 0o777 == 0o600
    key = made.stdout.strip()
    client = serving.start(VITRINE_API_KEYS=str(path))
    assert client.post("/v1/recommendations", json={}).status_code == 401
    mine = {"authorization": f"Bearer {key}"}
    assert client.post("/v1/recommendations", json={}, headers=mine).status_code == 200
    assert client.delete("/v1/users/u", headers=mine).status_code == 403
    assert serving.end() == 0
    assert key not in serving.log()


def test_without_keys_nobody_else_is_served() -> None:
    for host in ("127.0.0.1", "::1", "localhost", "127.8.9.10"):
        check_host(host, KeyRing())
    for host in ("0.0.0.0", "192.168.0.4", "::", "shop.example"):
        with pytest.raises(SettingsError, match="can be reached by others"):
            check_host(host, KeyRing())
