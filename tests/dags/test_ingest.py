"""The wiring of the ingest of a day, and what its tasks take from the form and from connections."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.lake_world import PER_DAY, log_of, write_kiosk
from tests.served import answering
from tests.stack.statsd_listener import Listener


@pytest.fixture
def dag(bag: dict[str, Any]) -> dict[str, Any]:
    return dict(bag["dags"]["ingest"])


def test_nothing_is_published_that_the_audit_has_not_let_through(dag: dict[str, Any]) -> None:
    assert {name: task["upstream"] for name, task in dag["tasks"].items()} == {
        "land": [], "audit": ["land"], "publish": ["audit"]}
    assert {task["rule"] for task in dag["tasks"].values()} == {"all_success"}


def test_the_asset_is_emitted_by_the_publication_alone(dag: dict[str, Any]) -> None:
    assert {name: task["outlets"] for name, task in dag["tasks"].items()} == {
        "land": ["vitrine_landed_day"], "audit": ["vitrine_audited_day"], "publish": ["vitrine_lake"]}
    assert {name: task["inlets"] for name, task in dag["tasks"].items()} == {
        "land": ["vitrine_source"], "audit": ["vitrine_landed_day"], "publish": ["vitrine_audited_day"]}


def test_days_have_explicit_intervals_and_are_not_caught_up(dag: dict[str, Any]) -> None:
    assert (dag["timetable"], dag["catchup"], dag["max_active_runs"]) == ("CronDataIntervalTimetable", False, 4)


def test_every_task_is_retried_with_growing_pauses_and_ends_some_day(dag: dict[str, Any]) -> None:
    for name, task in dag["tasks"].items():
        assert task["retries"] >= 2 and task["backoff"] > 1 and task["timeout"] > 0, name


def test_the_operators_manual_names_steps_and_parameters(dag: dict[str, Any]) -> None:
    for word in ("When it runs", "Parameters", "Late events", "How it ends", "Race conditions", "How to resume",
                 "land", "audit", "publish"):
        assert f"**{word}" in dag["doc"]
    for name in dag["params"]:
        assert name == "reason" or f"`{name}`" in dag["doc"]
    assert dag["defaults"]["data"] == "/log"


ASK = """
import json, sys
from datetime import UTC, datetime
from types import SimpleNamespace
from plugins.lake_task import ingest_params

def asked(interval, **form):
    form = {"data": "connection:shop", "day": None, "late_days": 7, "landing": True, "accept": [], "spec": None,
            "reason": "ingest", **form}
    run = SimpleNamespace(data_interval_start=interval)
    try:
        return ingest_params({"params": form, "dag_run": run}).model_dump(mode="json")
    except Exception as error:
        return f"{type(error).__name__}: {error}"

midnight = datetime(2026, 3, 1, tzinfo=UTC)
print(json.dumps([asked(midnight), asked(midnight, day="2026-02-01", accept=["volume"]), asked(None),
                  asked(midnight, data=None), asked(midnight, late_days=1000), asked(midnight, data="connection:none"),
                  asked(midnight, data="connection:empty")]))
"""


def test_the_day_is_the_intervals_and_the_source_a_connections(repository: Path, tmp_path: Path) -> None:
    environment = os.environ | {
        "AIRFLOW_HOME": str(tmp_path), "PYTHONPATH": str(repository),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path / 'unused.db'}",
        "AIRFLOW_CONN_SHOP": json.dumps({"conn_type": "postgres", "login": "reader", "password": "p@ss/word",
                                         "host": "db", "port": 5433, "schema": "boutique",
                                         "extra": {"sslmode": "require"}}),
        "AIRFLOW_CONN_EMPTY": json.dumps({"conn_type": "postgres", "host": "db"})}
    answer = subprocess.run([sys.executable, "-W", "ignore", "-c", ASK], env=environment, capture_output=True,
                            text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    usual, asked, without_day, without_data, wrong, unknown, empty = json.loads(answer.stdout.splitlines()[-1])
    assert (usual["day"], usual["source"]) == (
        "2026-03-01", "postgres://reader:p%40ss%2Fword@db:5433/boutique?sslmode=require")
    assert (asked["day"], asked["accept"]) == ("2026-02-01", ["volume"])
    assert "trigger again with day" in without_day and "set VITRINE_INGEST" in without_data
    assert wrong.startswith("SettingsError") and "late_days" in wrong and "p%40ss" not in wrong
    assert "no connection none" in unknown and "names no database" in empty


TAKE_IN = """
import json, os, sys
from collections import defaultdict
from datetime import UTC, datetime
from types import SimpleNamespace
from airflow.sdk.configuration import conf
from airflow.sdk.observability import stats
from airflow.sdk.observability.metrics import stats_utils
from dags.ingest import dag

# As the process does that runs a task.
stats.initialize(factory=stats_utils.get_stats_factory(),
                 export_legacy_names=conf.getboolean("metrics", "legacy_names_on"))
run = SimpleNamespace(data_interval_start=datetime(2026, 3, 1, tzinfo=UTC), triggering_user_name="ada", run_id="r",
                      dag_id="ingest", run_type=SimpleNamespace(value="manual"))
form = {"data": sys.argv[1], "day": None, "late_days": 7, "landing": True, "accept": [], "spec": None, "reason": "test"}
events, contract = defaultdict(SimpleNamespace), None
for name in ("land", "audit", "publish"):
    task = dag.get_task(name)
    task.upstream = contract
    contract = task.execute({"params": form, "dag_run": run, "outlet_events": events})
print(json.dumps({asset.name: event.extra for asset, event in events.items()}))
"""


def test_a_days_numbers_reach_a_statsd_server_and_its_events_say_what_was_read_and_written(
    repository: Path, tmp_path: Path
) -> None:
    shop = write_kiosk(tmp_path, log_of(3))
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW", "VITRINE"))}
    with answering(Listener()) as statsd:
        environment |= {
            "AIRFLOW_HOME": str(tmp_path), "PYTHONPATH": str(repository), "VITRINE_HOME": str(tmp_path / "home"),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path / 'unused.db'}",
            "AIRFLOW__METRICS__STATSD_ON": "True", "AIRFLOW__METRICS__STATSD_PORT": str(statsd.port),
            "AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED": "True"}
        answer = subprocess.run([sys.executable, "-W", "ignore", "-c", TAKE_IN, str(shop)], env=environment,
                                cwd=repository, capture_output=True, text=True, check=False)
        assert answer.returncode == 0, answer.stderr
        until = time.monotonic() + 10
        while not statsd.of("airflow.vitrine.publish.late_events"):
            assert time.monotonic() < until, statsd.heard
            time.sleep(0.05)
    # The kiosk sells three products, four times a day; nothing was published before, nothing came late.
    assert statsd.of("airflow.vitrine.land.items") == [3]
    assert statsd.of("airflow.vitrine.audit.checks_failed") == [0]
    assert ("airflow.vitrine.publish.events,shop=kiosk", PER_DAY, "g") in statsd.heard
    assert statsd.of("airflow.vitrine.publish.late_events") == [0]

    told = json.loads(answer.stdout.splitlines()[-1])
    landed, lake = told["vitrine_landed_day"], tmp_path / "home" / "lake" / "kiosk"
    assert landed["inputs"] == [{"namespace": "file", "name": f"{shop}/{table}"} for table in ("events", "items")]
    assert told["vitrine_audited_day"]["inputs"] == landed["outputs"]
    assert told["vitrine_lake"]["outputs"] == [
        {"namespace": "file", "name": f"{lake}/days"},
        {"namespace": "file", "name": f"{lake}/days/2026-03-01", "version": "1"}]
    assert (told["vitrine_lake"]["shop"], told["vitrine_lake"]["events"]) == ("kiosk", PER_DAY)
