"""A real Airflow on PostgreSQL for tests of one DAG: without MLflow and other DAGs, and quick to notice the dead."""

import contextlib
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from stack import postgres, processes, services
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
AS_IT_IS = """
# A file without the word airflow would be passed over.
from dags.{name} import dag
"""
COMPONENTS = {"api-server": ("--host", "127.0.0.1", "--workers", "1"), "dag-processor": (),
              "scheduler": ("--skip-serve-logs",)}
PAUSE_S = 2.0  # until what ended is started again
STARTED: "list[subprocess.Popen[bytes]]" = []  # by this process; their ends are heard by `installation`


@dataclass
class OneDag:
    """A running Airflow with one DAG.

    Attributes:
        client: of its API.
        environment: of its processes.
        database: PostgreSQL.
        components: Airflow's own processes, by name.
    """

    installation: Installation
    client: AirflowClient
    environment: dict[str, str]
    database: "subprocess.Popen[bytes]"
    components: "dict[str, subprocess.Popen[bytes]]" = field(default_factory=dict)

    @classmethod
    def start(cls, installation: Installation, name: str, settings: Mapping[str, object], is_quick: bool = True,
              mlflow_port: int = 0, more: str = "") -> "OneDag":
        """Start all of it and wait until the DAG is known.

        Args:
            installation: where.
            name: of the DAG and its file.
            settings: further AIRFLOW__ variables.
            is_quick: tasks are tried again after seconds; else after as long as the DAG says.
            mlflow_port: of the loopback, where there is an MLflow.
            more: lines of Python that change `dag`.
        """
        ensure_secrets(installation)
        database, folder = postgres.start(installation)
        STARTED.append(database)
        postgres.ensure_database(folder, "airflow")
        port = processes.choose_port("AIRFLOW_PORT", 8080)
        environment = airflow_environment(installation, partial(postgres.url, folder, "airflow"), port, mlflow_port)
        dags = installation.home / "dags"
        dags.mkdir()
        (dags / f"{name}.py").write_text((QUICK if is_quick else AS_IT_IS).format(name=name) + more, encoding="utf-8")
        chosen = {"CORE__DAGS_FOLDER": dags, **SOON, **settings}
        environment |= {f"AIRFLOW__{key}": str(value) for key, value in chosen.items()}
        logs = installation.logs
        processes.run_logged("airflow db migrate", ["airflow", "db", "migrate"], environment, logs / "migrate.log")
        client = AirflowClient(f"http://127.0.0.1:{port}", password(installation))
        started = cls(installation, client, environment, database)
        for component in COMPONENTS:
            started.spawn(component)
        processes.wait_until("api-server", lambda: answers(f"{client.url}/api/v2/version"),
                             started.components["api-server"], logs / "api-server.log", PATIENCE_S)
        wait_for("scheduler and DAG processor", client.is_healthy)
        wait_for(f"the DAG {name}", lambda: client.has_dag(name))
        client.ensure_pool(*services.POOL)
        return started

    def spawn(self, component: str) -> None:
        """Start a component, for the first time or in the place of one that is gone."""
        self.components[component] = processes.spawn(
            ["airflow", component, *COMPONENTS[component]], self.environment,
            self.installation.logs / f"{component}.log")
        STARTED.append(self.components[component])

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Start again what ends, as an engine of containers does."""
        is_over = threading.Event()

        def keep() -> None:
            while not is_over.wait(PAUSE_S):
                for component in [name for name, process in self.components.items() if process.poll() is not None]:
                    self.spawn(component)

        keeper = threading.Thread(target=keep, daemon=True)
        keeper.start()
        try:
            yield
        finally:
            is_over.set()
            keeper.join()

    @property
    def scheduler(self) -> psutil.Process:
        """The process that runs tasks, below itself."""
        return psutil.Process(self.components["scheduler"].pid)

    def supervisor(self) -> psutil.Process | None:
        """One of the executor's workers that is about a task; the task is its child."""
        with contextlib.suppress(psutil.NoSuchProcess):  # one that ended while it was looked at
            return next((worker for worker in self.scheduler.children() if worker.children()), None)
        return None

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """All runs of a DAG."""
        return list(self.client.call("GET", f"/dags/{dag_id}/dagRuns?limit=200")["dag_runs"])


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    """Places for a stack below the test's folder; what runs there is ended, and nobody's child any more, at the end."""
    made = Installation((tmp_path / "home").resolve())
    yield made
    services.stop(made)
    while STARTED:
        STARTED.pop().wait(60)


def wait_for(what: str, is_true: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    until = time.monotonic() + patience_s
    while not is_true():
        assert time.monotonic() < until, what
        time.sleep(0.2)
