"""docker-compose.yml without containers: the commands and environments of its services, as processes of this machine.

`make production-rehearsal` takes the whole flow through all of them; here is what tells most in little time.
"""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import redis

from pipelines.contracts import Origin
from pipelines.gate import gate
from pipelines.gate_rules import GateSettings
from pipelines.index import IndexSettings, index
from pipelines.lake import Lake
from pipelines.promote import promote
from pipelines.settings import load_settings
from stack.rehearsal.flow import UNSCHEDULED
from stack.rehearsal.running import until
from stack.rehearsal.variables import new_client
from tests.lake_world import log_of, march, write_kiosk
from tests.mlflow_record import recorded
from tests.release_world import make_registered
from tests.stack.rehearsal_stage import Stage, staged

pytestmark = pytest.mark.e2e
PATIENCE_S = 600.0  # of a busy machine


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path, write_kiosk(tmp_path, log_of(2)), UNSCHEDULED) as made:
        yield made


def test_the_api_waits_serves_and_remembers_through_restarts(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = new_client(stage.variables)
    stage.rehearsal.up("proxy")

    # Before the first release it lives and is not ready; nothing is wrong with that.
    assert stage.doors.call("API_HOST", "/health").json()["release"] is None
    assert stage.doors.call("API_HOST", "/ready").status_code == 503

    # A release by the tasks' keys; no MLflow takes part here.
    places = load_settings({**stage.rehearsal.environment("worker"),
                            "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}"}).of_shop("kiosk")
    recorded(monkeypatch)
    sealed = index(make_registered(places.artifacts), IndexSettings(), places, places.artifacts)
    promote(gate(sealed, GateSettings(), places, places.artifacts), Origin(), False, places)
    until_ready(stage)

    asked = {"user_id": "eve", "k": 5}
    assert stage.doors.call("API_HOST", "/v1/recommendations", asked).status_code == 401
    slate = stage.doors.call("API_HOST", "/v1/recommendations", asked, key=key)
    assert slate.status_code == 200 and len(slate.json()["items"]) == 5
    event = {"event_id": "e1", "item_id": "i04", "event_type": "purchase", "user_id": "eve"}
    assert stage.doors.call("API_HOST", "/v1/events", {"events": [event]}, key=key).status_code == 200
    after = stage.doors.call("API_HOST", "/v1/recommendations", asked, key=key).json()
    # Whoever bought item 4 of group 0 is shown the other items of the group.
    assert [item["item_id"] for item in after["items"]] == ["i00", "i08", "i12", "i16", "i20"]

    # Both end when they are asked to, and what was stored is there again.
    assert stage.rehearsal.end("api", "sessions") == [0, 0]
    assert stage.doors.call("API_HOST", "/health").status_code == 502  # the proxy's own answer
    stage.rehearsal.up("api")
    until_ready(stage)
    again = stage.doors.call("API_HOST", "/v1/recommendations", asked, key=key).json()
    assert [item["item_id"] for item in again["items"]] == ["i00", "i08", "i12", "i16", "i20"]

    # The proxy keeps out what is too large and what is not for shoppers.
    assert stage.doors.call("API_HOST", "/metrics").status_code == 404
    large = stage.doors.call("API_HOST", "/v1/search/image", content=bytes(10 << 20), key=key)
    assert large.status_code == 413

    # The API's key writes leases, as it just did, and no release; nobody reads the sessions without the password.
    store = f"http://127.0.0.1:{stage.composition.ports['store', 8333]}/vitrine/stores/kiosk"
    signed = {"Authorization": "AWS4-HMAC-SHA256 Credential=vitrine-api/20260101/us-east-1/s3/aws4_request, "
                               "SignedHeaders=host, Signature=0"}
    assert httpx.put(f"{store}/releases/00000002.json", content=b"{}", headers=signed).status_code == 403
    assert httpx.put(f"{store}/leases/x/y.json", content=b"{}", headers=signed).status_code == 200
    assert httpx.get(f"{store}/releases/00000001.json").status_code == 403
    with (pytest.raises(redis.AuthenticationError),
          redis.Redis(port=stage.composition.ports["sessions", 6379]) as stranger):
        stranger.dbsize()
    assert stage.shown() == []


def until_ready(stage: Stage) -> None:
    until("the API is ready", lambda: stage.doors.call("API_HOST", "/ready").status_code == 200)


def test_a_celery_worker_runs_a_dag_and_mlflow_lets_in_nobody_without_a_password(stage: Stage) -> None:
    rehearsal = stage.rehearsal
    rehearsal.up("scheduler", "dag-processor", "worker")

    airflow = stage.airflow(PATIENCE_S)
    until("the DAG is parsed", lambda: airflow.has_dag("ingest"), PATIENCE_S)
    assert [(pool["name"], pool["slots"]) for pool in airflow.call("GET", "/pools")["pools"]
            if pool["name"] == "training"] == [("training", 1)]
    airflow.call("PATCH", "/dags/ingest", {"is_paused": False})
    airflow.trigger("ingest", "one", {"day": str(march(1))})
    until("the run has ended", lambda: airflow.run_state("ingest", "one") in ("success", "failed"), PATIENCE_S)
    assert {task["task_id"]: (task["state"], task["queue"]) for task in airflow.tasks("ingest", "one")} == {
        step: ("success", "default") for step in ("land", "audit", "publish")}
    lake = Lake(rehearsal.folder / "volumes" / "vitrine" / "lake" / "kiosk")
    assert lake.days() == [march(1)]
    # Celery says so after the task has told Airflow.
    until("the worker has said of each that it is done", lambda: rehearsal.log("worker").count("succeeded") >= 3)

    # MLflow: nobody without a password, the tasks' user with its own, who is no administrator.
    mlflow = f"http://127.0.0.1:{stage.composition.ports['mlflow', 5000]}/api/2.0/mlflow"
    tasks, admin = (("vitrine", stage.variables["MLFLOW_TASKS_PASSWORD"]),
                    ("admin", stage.variables["MLFLOW_ADMIN_PASSWORD"]))
    search = f"{mlflow}/experiments/search?max_results=1"
    assert [httpx.get(search, auth=who, timeout=30).status_code for who in (None, ("vitrine", "x"), tasks)] == [
        401, 401, 200]
    another = {"username": "another", "password": "of-twelve-or-more"}
    assert [httpx.post(f"{mlflow}/users/create", json=another, auth=who, timeout=30).status_code
            for who in (tasks, admin)] == [403, 200]

    # What prepares may run again, also with another password; the old one is worth nothing then.
    assert rehearsal.run("store-init", "python", "-m", "deploy.buckets", "vitrine", "mlflow").splitlines() == [
        "bucket vitrine: was there", "bucket mlflow: was there"]
    prepare = "python", "-m", "deploy.mlflow_users"
    assert rehearsal.run("mlflow-init", *prepare) == "user vitrine: as it should be\n"
    renewed = "env", "MLFLOW_TRACKING_PASSWORD=another-of-twelve", *prepare
    assert rehearsal.run("mlflow-init", *renewed) == "user vitrine: has its new password\n"
    assert httpx.get(search, auth=tasks, timeout=30).status_code == 401
    assert stage.shown() == []
