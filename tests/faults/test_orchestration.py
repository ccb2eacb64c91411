"""What an orchestrator loses while runs are on: every run ends right without a hand, or stops and names the cause.

A real Airflow on PostgreSQL runs backfills of the DAG `ingest`, whose days anyone can count. What ends is started again
after seconds, as an engine of containers does; nobody touches a run. With --full-faults each loss has backfills of its
own; else some of them follow one another in one.
"""

import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from pipelines.lake import Lake
from stack import postgres, processes, services
from stack.installation import Installation
from tests.faults.conftest import Sweep
from tests.lake_world import SHOP, log_of, march, write_kiosk
from tests.stack.airflow_of_one_dag import STARTED, OneDag, wait_for
from tests.stack.ingest_backfill import backfill, check_lake, states

pytestmark = pytest.mark.e2e
ALL_DAYS = 40
PATIENCE_S = 900.0
DOWN_S = 5.0


def lose_the_task(airflow: OneDag) -> None:
    for task in at_work(airflow).children():
        task.kill()


def lose_the_supervisor(airflow: OneDag) -> None:
    """Its task lives on and has nobody to report to, while Airflow tries it again."""
    at_work(airflow).kill()


def lose_the_scheduler(airflow: OneDag) -> None:
    processes.end([airflow.scheduler, *airflow.scheduler.children(recursive=True)], signal.SIGKILL, 10)


def lose_the_api_server(airflow: OneDag) -> None:
    server = psutil.Process(airflow.components["api-server"].pid)
    processes.end([server, *server.children(recursive=True)], signal.SIGKILL, 10)


def restart_the_database(airflow: OneDag) -> None:
    airflow.database.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown: connections are cut
    airflow.database.wait(60)
    time.sleep(DOWN_S)
    airflow.database, _ = postgres.start(airflow.installation)
    STARTED.append(airflow.database)


LOSSES: dict[str, Callable[[OneDag], None]] = {
    "task": lose_the_task, "supervisor": lose_the_supervisor, "scheduler": lose_the_scheduler,
    "api_server": lose_the_api_server, "database": restart_the_database,
}
SHORT = ("supervisor", "database")  # tests/stack/test_backfill.py loses others


def at_work(airflow: OneDag) -> psutil.Process:
    """A supervisor with a task."""
    found: list[psutil.Process] = []

    def is_found() -> bool:
        supervisor = airflow.supervisor()
        found.extend([supervisor] if supervisor is not None else [])
        return bool(found)

    wait_for("a task at work", is_found)
    return found[0]


def is_under_way(airflow: OneDag, before: int) -> bool:
    """Whether a run is on, and something has succeeded since a loss before."""
    return "running" in states(airflow.client) and successes(airflow) > before


def successes(airflow: OneDag) -> int:
    tasks = airflow.client.call("GET", "/dags/~/dagRuns/~/taskInstances?state=success&limit=1")
    return int(tasks["total_entries"])


def test_runs_end_right_whatever_is_lost(sweep: Sweep, installation: Installation, tmp_path: Path) -> None:
    shop = write_kiosk(tmp_path, log_of(ALL_DAYS))
    airflow = OneDag.start(installation, "ingest", {})
    rounds = [[name, name] for name in LOSSES] if sweep.is_full else [list(SHORT)]
    days = sweep.size(2, 5)
    lost: Counter[str] = Counter()
    with airflow.kept():
        for number, losses in enumerate(rounds):
            first, last = number * days + 1, (number + 1) * days
            before = successes(airflow)
            backfill(airflow, march(first), march(last), shop)
            for loss in losses:
                wait_for(f"a run under way, to lose {loss}", lambda before=before: is_under_way(airflow, before))
                LOSSES[loss](airflow)
                lost[loss] += 1
                sweep.count(**lost)
                before = successes(airflow)
            wait_for("the end of all runs", lambda last=last: states(airflow.client) == ["success"] * last, PATIENCE_S)
            check_lake(Lake(installation.home / "lake" / SHOP), last)
            sweep.count(runs_ended_right=last)


@pytest.fixture
def small_disk(installation: Installation) -> Iterator[Path]:
    """A disk of 80 MB for what the tasks write."""
    disk = installation.home / "artifacts"
    disk.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=80m", "none", str(disk)], check=False,
                             capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")
    yield disk
    services.stop(installation)
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.full_faults
def test_a_full_disk_is_named_and_what_was_stopped_goes_on_after_it(
    sweep: Sweep, installation: Installation, small_disk: Path, tmp_path: Path
) -> None:
    days = 5
    shop = write_kiosk(tmp_path, log_of(ALL_DAYS))
    airflow = OneDag.start(installation, "ingest", {})
    (small_disk / "somebody-elses").write_bytes(bytes(40 << 20))
    backfill(airflow, march(1), march(days), shop)
    wait_for("the end of all runs", lambda: states(airflow.client) == ["failed"] * days, PATIENCE_S)
    logs = [path.read_text(encoding="utf-8") for path in installation.task_logs.rglob("attempt=4.log")]
    assert len(logs) == days  # after as many tries as the DAG has
    assert all("DiskFull" in log and "are free there; make room" in log for log in logs)
    assert not (installation.home / "lake" / SHOP / "days").exists()

    (small_disk / "somebody-elses").unlink()
    airflow.client.call("POST", "/dags/ingest/clearTaskInstances", {"dry_run": False, "only_failed": True})
    wait_for("the end of all runs", lambda: states(airflow.client) == ["success"] * days, PATIENCE_S)
    check_lake(Lake(installation.home / "lake" / SHOP), days)
    sweep.count(runs_stopped_with_the_cause=days, runs_ended_right=days)
