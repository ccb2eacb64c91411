"""Word of a new catalogue starts `refresh_catalogue`, through a real scheduler."""

from pathlib import Path

import pytest

from stack.installation import Installation
from tests.lake_world import log_of, write_kiosk
from tests.stack.airflow_of_one_dag import OneDag, wait_for

pytestmark = pytest.mark.e2e


def test_an_event_of_the_catalogue_starts_a_refresh(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VITRINE_SOURCE", str(write_kiosk(tmp_path, log_of(1))))
    airflow = OneDag.start(installation, "refresh_catalogue", {"SCHEDULER__USE_JOB_SCHEDULE": True})
    before = {run["dag_run_id"] for run in airflow.runs("refresh_catalogue")}
    found = airflow.client.call("GET", "/assets?name_pattern=vitrine_catalogue")["assets"]
    airflow.client.call("POST", "/assets/events", {"asset_id": found[0]["id"], "extra": {"from": "the shop's export"}})

    def started() -> list[dict[str, object]]:
        return [run for run in airflow.runs("refresh_catalogue")
                if run["run_type"] == "asset_triggered" and run["dag_run_id"] not in before]

    wait_for("a run that the asset started", lambda: bool(started()))
    wait_for("its end", lambda: started()[0]["state"] in ("success", "failed"))
    # It went to the shop's own store, where nothing is live yet, and said so. The schedule may have started another.
    log = installation.task_log("refresh_catalogue", str(started()[0]["dag_run_id"]), "refresh", 1)
    assert f"{installation.home}/store/kiosk has no release whose catalogue" in log.read_text(encoding="utf-8")
