"""A backfill by Airflow itself, of which a task and then the scheduler are killed: each day is there once.

Five days in every run of the tests, thirty with --full-faults.
"""

import contextlib
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pipelines.lake import Lake
from stack import processes
from stack.installation import Installation
from tests.lake_world import FIRST, PER_DAY, SHOP, log_of, march, numbers_of, write_kiosk
from tests.served import answering
from tests.stack.airflow_of_one_dag import OneDag, wait_for
from tests.stack.ingest_backfill import backfill, check_lake, states
from tests.stack.statsd_listener import Listener

pytestmark = pytest.mark.e2e
PATIENCE_S = 120.0  # a day: seconds on an idle machine


@pytest.fixture
def days(request: pytest.FixtureRequest) -> int:
    return 30 if request.config.getoption("--full-faults") else 5


@pytest.fixture
def statsd() -> Iterator[Listener]:
    with answering(Listener()) as server:
        yield server


def lake_of(installation: Installation) -> Lake:
    return Lake(installation.home / "lake" / SHOP)


def published(installation: Installation) -> int:
    return len(lake_of(installation).days()) if (installation.home / "lake" / SHOP / "lake.json").exists() else 0


def kill_a_task(airflow: OneDag) -> bool:
    """One that dies before it could say how it ended; a process may also be killed after that, for nothing."""
    killed: list[psutil.Process] = []
    with contextlib.suppress(psutil.NoSuchProcess):
        supervisor = airflow.supervisor()
        if supervisor is None:
            return False
        killed = supervisor.children()
        for task in killed:
            task.kill()
    until = time.monotonic() + 10
    while not (tried := is_tried_again(airflow)) and time.monotonic() < until:
        if not any(task.is_running() for task in killed):
            until = min(until, time.monotonic() + 2)  # all is told by then, or else the next look will see it
        time.sleep(0.2)
    return tried


def is_tried_again(airflow: OneDag) -> bool:
    return any(task["state"] == "up_for_retry" or task["try_number"] > 1
               for run in airflow.runs("ingest") for task in airflow.client.tasks("ingest", run["dag_run_id"]))


def test_a_backfill_whose_task_and_scheduler_are_killed_publishes_each_day_once(
    installation: Installation, tmp_path: Path, days: int, statsd: Listener
) -> None:
    shop, told = write_kiosk(tmp_path, log_of(days + 1)), tmp_path / "openlineage.jsonl"
    airflow = OneDag.start(installation, "ingest", {
        "OPENLINEAGE__TRANSPORT": json.dumps({"type": "file", "log_file_path": str(told), "append": True}),
        "OPENLINEAGE__EXECUTION_TIMEOUT": 60,  # seconds to tell in; 10 are too few for a busy machine
        "METRICS__STATSD_ON": True, "METRICS__STATSD_PORT": statsd.port, "METRICS__STATSD_INFLUXDB_ENABLED": True})
    backfill(airflow, FIRST, march(days), shop)

    # First a task that is at it ...
    wait_for("the first day", lambda: published(installation) >= 1)
    wait_for("a task that was killed at its work", lambda: kill_a_task(airflow))
    # ... and then the scheduler, with all that it runs.
    wait_for("half of the days", lambda: published(installation) >= days // 2, PATIENCE_S * days)
    processes.end([airflow.scheduler, *airflow.scheduler.children(recursive=True)], signal.SIGKILL, 10)
    assert published(installation) < days
    airflow.spawn("scheduler")

    wait_for("the end of all runs", lambda: not {"queued", "running"} & set(states(airflow.client)), PATIENCE_S * days)
    assert states(airflow.client) == ["success"] * days
    tries = [task["try_number"] for run in airflow.runs("ingest")
             for task in airflow.client.tasks("ingest", run["dag_run_id"])]
    assert len(tries) == days * 3 and max(tries) > 1
    lake = lake_of(installation)
    check_lake(lake, days)
    # Days told what they published, under Airflow's own prefix and with their tag; UDP promises no packet.
    assert set(statsd.of("airflow.vitrine.publish.events")) == {PER_DAY}
    assert ("airflow.vitrine.publish.revision,shop=kiosk", 1.0, "g") in statsd.heard
    assert len(statsd.of("airflow.task.duration")) > days

    # Once more, with another event on the second day: that one is replaced, and nothing is doubled.
    more = log_of(days + 1)
    more.loc[PER_DAY, "item_id"] = "z"
    write_kiosk(tmp_path, more)
    backfill(airflow, FIRST, march(2), shop, "--reprocess-behavior", "completed")
    wait_for("the second backfill", lambda: len(states(airflow.client)) >= days
             and set(states(airflow.client)) == {"success"}
             and (march(2), 2) in [(one.day, one.revision) for one in lake_of(installation).partitions()])
    assert [one.revision for one in lake_of(installation).partitions()] == [1, 2, *[1] * (days - 2)]
    assert [n for day in lake.days() for n in numbers_of(lake, day)] == list(range(days * PER_DAY))

    # Where each day came from stands in the events of the assets, and OpenLineage's say the same.
    events = airflow.client.call("GET", "/assets/events?source_task_id=publish&limit=100")["asset_events"]
    outputs = [one["extra"]["outputs"][-1] for one in events]
    lake_folder = installation.home / "lake" / SHOP
    partitions = {*((f"{lake_folder}/days/{march(day)}", "1") for day in range(1, days + 1)),
                  (f"{lake_folder}/days/{march(2)}", "2")}
    assert {(one["name"], one["version"]) for one in outputs} == partitions
    lines = [json.loads(line) for line in told.read_text(encoding="utf-8").splitlines()]
    ends = [one for one in lines if one["eventType"] == "COMPLETE" and one["job"]["name"] == "ingest.publish"]
    assert {one["outputs"][0]["name"] for one in ends} == {f"{lake_folder}/days"}
    found = {(out["name"], out["facets"]["version"]["datasetVersion"]) for one in ends for out in one["outputs"][1:]}
    # A process tells OpenLineage after Airflow has its success: one that is killed between the two tells nobody.
    # Nothing was killed in the second backfill.
    assert {(f"{lake_folder}/days/{march(1)}", "1"), (f"{lake_folder}/days/{march(2)}", "2")} <= found <= partitions
    assert all(one["inputs"] for one in ends)
