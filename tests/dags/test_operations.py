"""The DAGs around the retrain: their forms, when they run, and what a form becomes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

# DAG -> its task, timetable, retries, fields of the form.
EXPECTED: dict[str, tuple[str, str, int, set[str]]] = {
    "refresh_catalogue": ("refresh", "AssetOrTimeSchedule", 3,
                          {"data", "max_changed", "max_churn", "spec", "dry_run", "reason"}),
    "export_feeds": ("export", "AssetTriggeredTimetable", 2,
                     {"data", "as_of", "window_days", "k", "similar", "currency", "link", "image_link", "brand",
                      "condition", "spec", "reason"}),
    "housekeeping": ("tidy", "CronTriggerTimetable", 3,
                     {"keep_bundles", "grace_hours", "attempt_hours", "checkpoint_days", "refresh_days", "run_hours",
                      "log_days", "dry_run", "reason"}),
    "erase_user": ("erase", "NullTimetable", 3, {"user", "reason", "shop", "dry_run"}),
    "rollback_drill": ("drill", "CronTriggerTimetable", 2, {"to", "shop", "patience_s", "reason"}),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_each_is_one_retried_task_with_a_form_and_a_manual(bag: dict[str, Any], name: str) -> None:
    dag = bag["dags"][name]
    task, timetable, retries, fields = EXPECTED[name]
    assert list(dag["tasks"]) == [task]
    found = dag["tasks"][task]
    assert (found["retries"], found["owner"]) == (retries, "recommendations")
    assert found["backoff"] > 1 and found["timeout"] > 0
    assert (dag["timetable"], dag["catchup"], dag["max_active_runs"]) == (timetable, False, 1)
    assert set(dag["params"]) == fields
    assert all(schema.get("title") for schema in dag["params"].values()) and set(dag["told"]) == fields
    for word in ("When it runs", "Parameters", "How it ends", "Race conditions", "How to resume"):
        assert f"**{word}" in dag["doc"]
    # The bounds of housekeeping are told beside their fields.
    for field in {"dry_run"} if name == "housekeeping" else fields - {"reason"}:
        assert f"`{field}`" in dag["doc"], field


def test_what_destroys_is_a_dry_run_unless_it_is_switched_off(bag: dict[str, Any]) -> None:
    assert bag["dags"]["erase_user"]["defaults"]["dry_run"] is True
    assert bag["dags"]["rollback"]["defaults"]["dry_run"] is True
    # The daily run tidies, a run by hand only looks.
    assert bag["dags"]["housekeeping"]["defaults"]["dry_run"] is None
    for name in ("erase_user", "rollback"):
        assert bag["dags"][name]["params"]["reason"]["minLength"] == 1


def test_runs_begin_by_what_a_lake_or_a_retrain_published_and_by_nothing_else(bag: dict[str, Any]) -> None:
    outlets = {f"{name}.{task}": found["outlets"] for name, dag in bag["dags"].items()
               for task, found in dag["tasks"].items() if found["outlets"]}
    assert (outlets["retrain.promote"], outlets["ingest.publish"]) == (["vitrine_may_release"], ["vitrine_lake"])
    awaited = {name for dag in bag["dags"].values() for name in dag["awaits"]}
    assert awaited == {"vitrine_catalogue", "vitrine_lake", "vitrine_release"}
    # All others are there to be looked at: an asset a task, in the two DAGs whose tasks hand things on.
    others = [name for found in outlets.values() for name in found if name not in ("vitrine_may_release", *awaited)]
    assert len(others) == len(set(others)) == 9
    assert {task.partition(".")[0] for task in outlets} == {"ingest", "retrain"}


def test_what_a_task_reads_another_wrote_or_the_shop_has(bag: dict[str, Any]) -> None:
    tasks = [task for name in ("ingest", "retrain") for task in bag["dags"][name]["tasks"].values()]
    written = {name for task in tasks for name in task["outlets"]}
    assert {name for task in tasks for name in task["inlets"]} - written == {"vitrine_source"}
    assert bag["dags"]["retrain"]["tasks"]["approve"]["inlets"] == []


FORMS = """
import json
from pkgutil import resolve_name
from dags import %s as module
from plugins.form_task import filled

found = []
for changes in %s:
    form = {name: module.dag.params.get_param(name).value for name in module.dag.params} | changes
    task = module.dag.tasks[0]
    try:
        resolve_name(task.call)
        found.append(filled(resolve_name(task.form), form).model_dump(mode="json"))
    except Exception as error:
        found.append(f"{type(error).__name__}: {error}")
print(json.dumps(found))
"""


def asked(name: str, changes: list[dict[str, Any]], repository: Path, home: Path) -> list[Any]:
    environment = os.environ | {
        "AIRFLOW_HOME": str(home), "PYTHONPATH": str(repository), "VITRINE_SOURCE": "/shop",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'unused.db'}",
        "AIRFLOW_CONN_SHOP": json.dumps({"conn_type": "postgres", "host": "db", "schema": "boutique"})}
    answer = subprocess.run([sys.executable, "-W", "ignore", "-c", FORMS % (name, changes)], env=environment,
                            capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return list(json.loads(answer.stdout.splitlines()[-1]))


def test_a_form_becomes_the_parameters_of_its_call(repository: Path, tmp_path: Path) -> None:
    usual, other, wrong, none = asked("refresh_catalogue", [
        {}, {"data": "connection:shop", "max_changed": 0.9, "dry_run": True}, {"max_churn": 7}, {"data": None},
    ], repository, tmp_path)
    assert usual == {"source": "/shop", "spec": None, "max_changed": 0.2, "max_churn": 0.3, "dry_run": False,
                     "reason": "refresh"}
    assert (other["source"], other["max_changed"], other["dry_run"]) == ("postgres://db/boutique", 0.9, True)
    assert wrong.startswith("SettingsError") and "max_churn" in wrong
    assert "set VITRINE_SOURCE" in none


@pytest.mark.parametrize(("name", "changes", "expected"), [
    ("housekeeping", {}, {"dry_run": None, "keep_bundles": 3, "attempt_hours": 48, "run_hours": 48, "log_days": 30}),
    ("rollback_drill", {"to": 4}, {"to": 4, "shop": None, "patience_s": 300}),
    ("erase_user", {"user": "C-1", "reason": "asked"}, {"user": "C-1", "dry_run": True, "shop": None}),
    ("export_feeds", {"currency": "EUR"}, {"source": "/shop", "currency": "EUR", "as_of": None, "k": 20}),
])
def test_every_form_fits_its_call(
    name: str, changes: dict[str, Any], expected: dict[str, Any], repository: Path, tmp_path: Path
) -> None:
    found = asked(name, [changes], repository, tmp_path)[0]
    assert {field: found[field] for field in expected} == expected
