"""The wiring of the ingest of a day, and what its tasks take from the form and from connections."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def dag(bag: dict[str, Any]) -> dict[str, Any]:
    return dict(bag["dags"]["ingest"])


def test_nothing_is_published_that_the_audit_has_not_let_through(dag: dict[str, Any]) -> None:
    assert {name: task["upstream"] for name, task in dag["tasks"].items()} == {
        "land": [], "audit": ["land"], "publish": ["audit"]}
    assert {task["rule"] for task in dag["tasks"].values()} == {"all_success"}


def test_the_asset_is_emitted_by_the_publication_alone(dag: dict[str, Any]) -> None:
    assert {name: task["outlets"] for name, task in dag["tasks"].items()} == {
        "land": [], "audit": [], "publish": ["vitrine_lake"]}


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
