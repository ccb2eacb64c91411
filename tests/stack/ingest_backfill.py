"""Days of the DAG `ingest`, asked for as a person does: by `airflow backfill create`."""

import json
import subprocess
from datetime import date
from pathlib import Path

from tests.stack.airflow_of_one_dag import OneDag, wait_for


def backfill(airflow: OneDag, first: date, last: date, shop: Path, *options: str) -> None:
    """Ask for days, once Airflow has seen that the backfill before is over, for which it looks every 30 s."""
    wait_for("the end of the backfill before", lambda: all(
        one["completed_at"] for one in airflow.client.call("GET", "/backfills?dag_id=ingest")["backfills"]))
    asked = ["airflow", "backfill", "create", "--dag-id", "ingest", "--from-date", str(first), "--to-date", str(last),
             "--max-active-runs", "4", "--dag-run-conf", json.dumps({"data": str(shop)}), *options]
    said = subprocess.run(asked, env=airflow.environment, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr


def states(airflow: OneDag) -> list[str]:
    """The state of each run."""
    return [run["state"] for run in airflow.runs("ingest")]
