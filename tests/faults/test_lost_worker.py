"""A Celery worker that is lost with all that it runs, and started again: every day is in the lake once.

The services are those of docker-compose.yml (tests/stack/rehearsal_stage.py); only what is minutes by default, until
Airflow takes a worker for dead, is seconds here.
"""

import signal
from pathlib import Path

import psutil
import pytest

from pipelines.lake import Lake
from stack import processes
from stack.airflow_client import AirflowClient
from stack.rehearsal.flow import UNSCHEDULED
from stack.rehearsal.running import until
from tests.faults.conftest import Sweep
from tests.lake_world import SHOP, log_of, march, write_kiosk
from tests.stack.ingest_backfill import are_over, check_lake, states
from tests.stack.rehearsal_stage import staged

pytestmark = [pytest.mark.e2e, pytest.mark.full_faults]
ROUNDS, DAYS = 5, 3
PATIENCE_S = 1200.0
SOON = {f"AIRFLOW__SCHEDULER__{name}": seconds for name, seconds in (
    ("TASK_INSTANCE_HEARTBEAT_TIMEOUT", "20"), ("TASK_INSTANCE_HEARTBEAT_SEC", "3"),
    ("TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL", "5"), ("TASK_QUEUED_TIMEOUT", "60"),
    ("TASK_QUEUED_TIMEOUT_CHECK_INTERVAL", "10"))}
ALSO = {"scheduler": {**UNSCHEDULED["scheduler"], **SOON}, "worker": SOON}


def running(airflow: AirflowClient) -> int:
    asked = "/dags/ingest/dagRuns/~/taskInstances?state=running&limit=1"
    return int(airflow.call("GET", asked)["total_entries"])


def test_runs_end_right_when_workers_are_lost(sweep: Sweep, tmp_path: Path) -> None:
    with staged(tmp_path, write_kiosk(tmp_path, log_of(ROUNDS * DAYS + 1)), ALSO) as stage:
        rehearsal, airflow = stage.rehearsal, stage.airflow(PATIENCE_S)
        rehearsal.up("scheduler", "dag-processor", "worker")
        until("the DAG is parsed", lambda: airflow.has_dag("ingest"), PATIENCE_S)
        airflow.call("PATCH", "/dags/ingest", {"is_paused": False})
        for number in range(ROUNDS):
            first, last = number * DAYS + 1, (number + 1) * DAYS
            until("the end of the backfill before", lambda: are_over(airflow), PATIENCE_S)
            rehearsal.run("scheduler", "airflow", "backfill", "create", "--dag-id", "ingest", "--from-date",
                          str(march(first)), "--to-date", str(march(last)), "--max-active-runs", "3")
            until("a task at work", lambda: running(airflow) > 0, PATIENCE_S)
            worker = psutil.Process(rehearsal.process("worker").pid)
            processes.end([worker, *worker.children(recursive=True)], signal.SIGKILL, 10)
            rehearsal.end("worker")
            rehearsal.start("worker")  # as the engine does
            until("the end of all runs", lambda last=last: states(airflow) == ["success"] * last, PATIENCE_S)
            sweep.count(workers_lost=number + 1, runs_ended_right=last)
        lake = Lake(rehearsal.folder / "volumes" / "vitrine" / "lake" / SHOP)
        check_lake(lake, ROUNDS * DAYS)
        tries = [task["try_number"] for task in airflow.call(
            "GET", "/dags/ingest/dagRuns/~/taskInstances?limit=1000")["task_instances"]]
        assert max(tries) > 1
        sweep.count(tasks=len(tries), tried_again=sum(number > 1 for number in tries))
