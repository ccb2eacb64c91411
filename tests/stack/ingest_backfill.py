"""Days of the DAG `ingest`, asked for as a person does: by `airflow backfill create`."""

import json
import subprocess
from datetime import date
from pathlib import Path

from pipelines.lake import Lake
from stack.airflow_client import AirflowClient
from tests.lake_world import PER_DAY, march, numbers_of
from tests.stack.airflow_of_one_dag import OneDag, wait_for


def backfill(airflow: OneDag, first: date, last: date, shop: Path, *options: str) -> None:
    """Ask for days, once the backfill before is over."""
    wait_for("the end of the backfill before", lambda: are_over(airflow.client))
    asked = ["airflow", "backfill", "create", "--dag-id", "ingest", "--from-date", str(first), "--to-date", str(last),
             "--max-active-runs", "4", "--dag-run-conf", json.dumps({"data": str(shop)}), *options]
    said = subprocess.run(asked, env=airflow.environment, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr


def are_over(client: AirflowClient) -> bool:
    """Whether Airflow has seen that all backfills are, for which it looks every 30 s."""
    return all(one["completed_at"] for one in client.call("GET", "/backfills?dag_id=ingest")["backfills"])


def states(client: AirflowClient) -> list[str]:
    """The state of each run."""
    return [run["state"] for run in client.call("GET", "/dags/ingest/dagRuns?limit=200")["dag_runs"]]


def check_lake(lake: Lake, days: int) -> None:
    """Each day is there once, whole, and in its first revision."""
    assert [(one.day, one.revision) for one in lake.partitions()] == [(march(day), 1) for day in range(1, days + 1)]
    assert [n for day in lake.days() for n in numbers_of(lake, day)] == list(range(days * PER_DAY))
