"""A real Airflow on PostgreSQL for tests of one DAG: without MLflow and other DAGs, and quick to notice the dead."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from stack import postgres, processes
from stack.airflow_client import AirflowClient, answers
from stack.installation import Installation, airflow_environment, ensure_secrets, password

PATIENCE_S = 600.0  # seconds; a busy machine is slow to start a task
# What is minutes by default, so that a test of deaths waits for the work and not for a clock.
SOON = {
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": 20, "SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": 3,
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": 3, "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": 5,
    "SCHEDULER__SCHEDULER_HEARTBEAT_SEC": 2, "SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": 12,
    # The DAG does not change: parsing it again and again would take a core from the tasks.
    "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": 3600, "DAG_PROCESSOR__REFRESH_INTERVAL": 3600,
}
# The DAG as it is, but tried again after seconds.
QUICK = """
# A file without the word airflow would be passed over.
from datetime import timedelta
from dags.{name} import dag
for task in dag.tasks:
    task.retry_delay = task.max_retry_delay = timedelta(seconds=3)
"""


@dataclass
class OneDag:
    """A running Airflow with one DAG.

    Attributes:
        client: of its API.
        environment: of its processes.
        scheduler: the process that runs tasks, below itself.
    """

    installation: Installation
    client: AirflowClient
    environment: dict[str, str]
    scheduler: psutil.Process

    @classmethod
    def start(cls, installation: Installation, name: str, settings: Mapping[str, object]) -> "OneDag":
        """Start all of it and wait until the DAG is known; `settings` are further AIRFLOW__ variables."""
        ensure_secrets(installation)
        _, folder = postgres.start(installation)
        postgres.ensure_database(folder, "airflow")
        port = processes.choose_port("AIRFLOW_PORT", 8080)
        environment = airflow_environment(installation, partial(postgres.url, folder, "airflow"), port, 0)
        dags = installation.home / "dags"
        dags.mkdir()
        (dags / f"{name}.py").write_text(QUICK.format(name=name), encoding="utf-8")
        chosen = {"CORE__DAGS_FOLDER": dags, **SOON, **settings}
        environment |= {f"AIRFLOW__{key}": str(value) for key, value in chosen.items()}
        logs = installation.logs
        processes.run_logged("airflow db migrate", ["airflow", "db", "migrate"], environment, logs / "migrate.log")
        api = processes.spawn(["airflow", "api-server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"],
                              environment, logs / "api-server.log")
        processes.spawn(["airflow", "dag-processor"], environment, logs / "dag-processor.log")
        client = AirflowClient(f"http://127.0.0.1:{port}", password(installation))
        started = cls(installation, client, environment, spawn_scheduler(environment, logs / "scheduler.log"))
        processes.wait_until("api-server", lambda: answers(f"{client.url}/api/v2/version"), api,
                             logs / "api-server.log", PATIENCE_S)
        wait_for("scheduler and DAG processor", client.is_healthy)
        wait_for(f"the DAG {name}", lambda: client.has_dag(name))
        return started

    def restart_scheduler(self) -> None:
        """Start another one in the place of one that was killed."""
        self.scheduler = spawn_scheduler(self.environment, self.installation.logs / "scheduler-2.log")

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """All runs of a DAG."""
        return list(self.client.call("GET", f"/dags/{dag_id}/dagRuns?limit=100")["dag_runs"])


def spawn_scheduler(environment: Mapping[str, str], log: Path) -> psutil.Process:
    return psutil.Process(processes.spawn(["airflow", "scheduler", "--skip-serve-logs"], environment, log).pid)


def wait_for(what: str, is_true: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    until = time.monotonic() + patience_s
    while not is_true():
        assert time.monotonic() < until, what
        time.sleep(0.2)
