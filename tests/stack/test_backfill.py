"""A backfill by Airflow itself, of which a task and then the scheduler are killed: each day is there once."""

import contextlib
import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from pipelines.lake import Lake
from stack import postgres, processes, services
from stack.installation import Installation, airflow_environment
from tests.lake_world import FIRST, PER_DAY, SHOP, log_of, march, numbers_of, write_kiosk

pytestmark = pytest.mark.e2e
DAYS = 5
PATIENCE = 600.0  # seconds: a killed task waits for a minute, and a busy machine is slow to start one


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    made = Installation((tmp_path / "home").resolve())
    yield made
    services.stop(made)


def wait_for(what: str, is_true: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE
    while not is_true():
        assert time.monotonic() < until, what
        time.sleep(0.2)


def days_of(installation: Installation) -> int:
    folder = installation.home / "lake" / SHOP
    return len(Lake(folder).days()) if (folder / "lake.json").exists() else 0


def running_task(scheduler: int) -> psutil.Process | None:
    """A process that runs a task: a child of one of the executor's workers."""
    with contextlib.suppress(psutil.NoSuchProcess):  # one that ended while its children were asked for
        tasks = [task for worker in psutil.Process(scheduler).children() for task in worker.children()]
        return next(iter(tasks), None)
    return None


# The stack's processes outlive the objects that started them, and are ended by their ids.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <function Popen.__del__")
def test_a_backfill_whose_task_and_scheduler_are_killed_publishes_each_day_once(
    installation: Installation, tmp_path: Path
) -> None:
    shop = write_kiosk(tmp_path, log_of(DAYS + 1))
    stack = services.start(installation, None, print)
    client = services.client(installation, stack)
    ports = [int(address.rpartition(":")[2]) for address in (stack.airflow, stack.mlflow)]
    socket = postgres._socket_folder(installation)
    environment = airflow_environment(installation, partial(postgres.url, socket, "airflow"), *ports)
    environment["AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL"] = "20"
    environment["AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT"] = "30"
    wait_for("the DAG is parsed", lambda: client.has_dag("ingest"))

    asked = ["airflow", "backfill", "create", "--dag-id", "ingest", "--from-date", str(FIRST), "--to-date",
             str(march(DAYS)), "--max-active-runs", "2", "--dag-run-conf", json.dumps({"data": str(shop)})]
    said = subprocess.run(asked, env=environment, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr

    def states() -> dict[str, str]:
        runs = client.call("GET", "/dags/ingest/dagRuns?limit=100")["dag_runs"]
        return {run["dag_run_id"]: run["state"] for run in runs}

    # First a task that is at it ...
    wait_for("the first day", lambda: days_of(installation) >= 1)
    def is_up_for_retry() -> bool:
        return any(task["state"] == "up_for_retry" for run in states() for task in client.tasks("ingest", run))

    def kill_a_task() -> bool:
        """One that dies before it could say how it ended; a process may also be killed after that, for nothing."""
        task = running_task(stack.services["scheduler"])
        if task is None:
            return False
        with contextlib.suppress(psutil.NoSuchProcess):
            task.kill()
        patience = time.monotonic() + 10
        while not is_up_for_retry() and time.monotonic() < patience:
            time.sleep(0.2)
        return is_up_for_retry()

    wait_for("a task that was killed at its work", kill_a_task)
    # ... and then the scheduler, with all that it runs.
    wait_for("half of the days", lambda: days_of(installation) >= DAYS // 2)
    scheduler = psutil.Process(stack.services["scheduler"])
    processes.end([scheduler, *scheduler.children(recursive=True)], signal.SIGKILL, 10)
    assert days_of(installation) < DAYS
    processes.spawn(["airflow", "scheduler", "--skip-serve-logs"], environment, installation.logs / "scheduler-2.log")

    wait_for("the end of all runs", lambda: not {"queued", "running"} & set(states().values()))
    assert list(states().values()) == ["success"] * DAYS
    tries = [task["try_number"] for run in states() for task in client.tasks("ingest", run)]
    assert len(tries) == DAYS * 3 and max(tries) > 1
    lake = Lake(installation.home / "lake" / SHOP)
    assert [(one.day, one.revision) for one in lake.partitions()] == [(march(day), 1) for day in range(1, DAYS + 1)]
    assert [n for day in lake.days() for n in numbers_of(lake, day)] == list(range(DAYS * PER_DAY))
